//! Which of the streams that a congress offers a hall is to be taped from.

use std::collections::BTreeMap;

use crate::domain::hall::fold_name;
use crate::domain::hls::Quality;
use crate::domain::offer::{Offer, Room, Tech};
use crate::domain::stream_url::StreamUrl;

/// The streams of a room by preference: the wanted quality, sent the wanted way first; then the same quality otherwise.
/// One quality only, and sound only where it is asked for or nothing else is offered: a hall's streams stand in for each
/// other.
#[must_use]
pub fn choose(room: &Room, quality: Quality, first: Tech) -> Vec<StreamUrl> {
    let heights = || room.offers.iter().filter_map(|o| o.lines);
    let sound = room.offers.iter().any(|o| o.lines.is_none());
    let height = match quality {
        Quality::Audio if sound => None,
        Quality::Best => heights().max(),
        Quality::Worst | Quality::Audio => heights().min(),
        Quality::Lines(most) => heights().filter(|h| *h <= most).max().or(heights().min()),
    };
    let mut chosen: Vec<&Offer> = room.offers.iter().filter(|o| o.lines == height).collect();
    chosen.sort_by_key(|o| (o.tech != first, o.tech));
    let mut out: Vec<StreamUrl> = Vec::new();
    for offer in chosen {
        if !out.contains(&offer.url) {
            out.push(offer.url.clone());
        }
    }
    out
}

/// The hall (by its place among `halls`, each a list of its names) that a room is; `None`: none, or several.
#[must_use]
pub fn hall_of(room: &Room, halls: &[Vec<String>]) -> Option<usize> {
    // The first name that fits decides: the others may be another hall's by accident.
    for name in room.names.iter().map(|n| fold_name(n)).filter(|n| !n.is_empty()) {
        let mut found = halls.iter().enumerate().filter(|(_, names)| names.iter().any(|n| fold_name(n) == name));
        match (found.next(), found.next()) {
            (Some((place, _)), None) => return Some(place),
            (Some(_), Some(_)) => return None,
            (None, _) => {}
        }
    }
    None
}

/// Streams that several of these share, with the names of those: one of them will be recorded with the other's talks.
#[must_use]
pub fn shared(chosen: &[(String, Vec<StreamUrl>)]) -> Vec<(StreamUrl, Vec<String>)> {
    let mut by_url: BTreeMap<&str, (StreamUrl, Vec<String>)> = BTreeMap::new();
    for (name, urls) in chosen {
        for url in urls.iter().take(1) {
            by_url.entry(url.secret()).or_insert_with(|| (url.clone(), Vec::new())).1.push(name.clone());
        }
    }
    by_url.into_values().filter(|(_, names)| names.len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(tech: Tech, lines: Option<u32>) -> Offer {
        let height = lines.map_or("sound".to_owned(), |l| l.to_string());
        Offer { tech, lines, url: url(&format!("{height}.{tech}")) }
    }

    fn url(name: &str) -> StreamUrl {
        StreamUrl::parse(&format!("http://cdn.example/{name}")).expect("an address")
    }

    fn room(offers: Vec<Offer>) -> Room {
        Room { names: vec!["Adams".to_owned(), "halla".to_owned()], offers }
    }

    #[test]
    fn one_quality_the_wanted_way_first() {
        use Tech::{Hls, Mp3, Opus, Webm};
        let all = room(vec![
            offer(Mp3, None),
            offer(Opus, None),
            offer(Webm, Some(576)),
            offer(Hls, Some(576)),
            offer(Webm, Some(1080)),
            offer(Hls, Some(1080)),
            offer(Hls, Some(1080)),
        ]);
        for (quality, first, want) in [
            (Quality::Best, Hls, vec!["1080.hls", "1080.webm"]),
            (Quality::Best, Webm, vec!["1080.webm", "1080.hls"]),
            (Quality::Worst, Hls, vec!["576.hls", "576.webm"]),
            (Quality::Lines(720), Hls, vec!["576.hls", "576.webm"]),
            (Quality::Lines(100), Hls, vec!["576.hls", "576.webm"]),
            (Quality::Audio, Hls, vec!["sound.opus", "sound.mp3"]),
            (Quality::Audio, Mp3, vec!["sound.mp3", "sound.opus"]),
        ] {
            let want: Vec<_> = want.into_iter().map(url).collect();
            assert_eq!(choose(&all, quality, first), want, "{quality} {first}");
        }
        assert_eq!(choose(&room(vec![offer(Mp3, None)]), Quality::Best, Hls), [url("sound.mp3")]);
        assert_eq!(choose(&room(vec![offer(Webm, Some(576))]), Quality::Audio, Hls), [url("576.webm")]);
        assert!(choose(&room(Vec::new()), Quality::Best, Hls).is_empty());
    }

    #[test]
    fn a_room_is_the_hall_of_its_first_name_that_fits() {
        let hall = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let adams = room(Vec::new());
        for (halls, want) in [
            (vec![hall(&["Borg"]), hall(&["ADAMS "])], Some(1)),
            (vec![hall(&["Borg"]), hall(&["Hall A", "halla"])], Some(1)),
            (vec![hall(&["halla"]), hall(&["Adams"])], Some(1)),
            (vec![hall(&["Adams"]), hall(&["x", "adams"])], None),
            (vec![hall(&["Borg"])], None),
            (vec![], None),
        ] {
            assert_eq!(hall_of(&adams, &halls), want, "{halls:?}");
        }
    }

    #[test]
    fn two_rooms_on_one_stream_are_seen() {
        let chosen = [("A", vec!["1", "9"]), ("B", vec!["2", "9"]), ("C", vec!["1"])];
        let chosen = chosen.map(|(name, urls)| (name.to_owned(), urls.into_iter().map(url).collect()));
        assert_eq!(shared(&chosen), [(url("1"), vec!["A".to_owned(), "C".to_owned()])]);
    }
}
