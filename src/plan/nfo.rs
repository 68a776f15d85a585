//! What media centres (Kodi, Jellyfin) read beside a film: a talk as an NFO file, which is XML.

use chrono_tz::Tz;

use crate::domain::gap::Gap;
use crate::domain::schedule::TalkDetails;
use crate::domain::talk::Talk;
use crate::domain::time::{MINUTE, SECOND};

/// What is told of a talk and its file.
#[derive(Clone, Copy, Debug)]
pub struct Film<'a> {
    /// The talk that is described.
    pub talk: &'a Talk,
    /// Name of its event.
    pub event: &'a str,
    /// Name of its hall.
    pub hall: &'a str,
    /// What its start is told in.
    pub zone: Tz,
    /// What is missing of it.
    pub gaps: &'a [Gap],
    /// Length of the file's media, milliseconds.
    pub duration_ms: i64,
    /// What the schedule tells of it.
    pub details: &'a TalkDetails,
    /// Address of its page at the conference.
    pub url: Option<&'a str>,
}

/// Stands in each NFO that this program writes. One without it, a media centre's or one that somebody edited and took
/// it out of, is not ours to replace or delete.
pub const MARK: &str = "<!-- made by streamrip -->";

/// The NFO of a talk. What strangers wrote stays text, whatever is in it.
#[must_use]
pub fn nfo(film: &Film<'_>) -> String {
    let start = film.talk.slot.start.in_zone(film.zone);
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n".to_owned();
    out.push_str(&format!("{MARK}\n<movie>\n"));
    let mut add = |name: &str, value: &str| out.push_str(&format!("  <{name}>{}</{name}>\n", escaped(value)));
    add("title", &film.talk.title);
    if let Some(subtitle) = &film.details.subtitle {
        add("tagline", subtitle);
    }
    if let Some(summary) = &film.details.summary {
        add("outline", summary);
    }
    add("plot", &plot(film));
    if let Some(track) = &film.details.track {
        add("genre", track);
    }
    if let Some(language) = &film.details.language {
        add("language", language);
    }
    film.talk.speakers.iter().for_each(|speaker| add("credits", speaker));
    add("studio", film.hall);
    add("premiered", &start.format("%Y-%m-%d").to_string());
    add("aired", &start.format("%Y-%m-%d").to_string());
    add("year", &start.format("%Y").to_string());
    // In minutes, as it is read.
    add("runtime", &((film.duration_ms + MINUTE / 2) / MINUTE).max(1).to_string());
    if let Some(uid) = &film.talk.uid {
        out.push_str(&format!("  <uniqueid type=\"streamrip\" default=\"true\">{}</uniqueid>\n", escaped(uid)));
    }
    out.push_str(&format!("  <set><name>{}</name></set>\n</movie>\n", escaped(film.event)));
    out
}

/// What the schedule tells of it, where and when it was, what is missing, its licence and its page.
fn plot(film: &Film<'_>) -> String {
    let start = film.talk.slot.start.in_zone(film.zone).format("%Y-%m-%d %H:%M");
    let missing: i64 = film.gaps.iter().map(|gap| gap.at.len_ms()).sum();
    let told = if missing >= SECOND {
        format!(" {:.0} s of it were not recorded.", missing as f64 / 1000.0)
    } else {
        String::new()
    };
    let details = film.details;
    let mut paragraphs: Vec<String> = [&details.summary, &details.description].into_iter().flatten().cloned().collect();
    // Some schedules say the same in both.
    paragraphs.dedup();
    paragraphs.push(format!("{}, {}, {start}.{told}", film.event, film.hall));
    paragraphs.extend(details.licence.iter().map(|licence| format!("Licence: {licence}")));
    paragraphs.extend(film.url.map(str::to_owned));
    paragraphs.join("\n\n")
}

/// As text between two tags. XML has no way to say most control characters: they are left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' | '\n' => out.push(c),
            // A reader would make a line's end of it.
            '\r' => out.push_str("&#13;"),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c < ' ' => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::gap::GapCause;
    use crate::domain::ids::{EventId, HallId, TalkId};
    use crate::domain::interval::Interval;
    use crate::domain::talk::TalkStatus;
    use crate::domain::time::Ms;

    fn talk(title: &str, speakers: &[&str]) -> Talk {
        Talk {
            id: TalkId(7),
            event: EventId(1),
            hall: HallId(1),
            match_key: "x".to_owned(),
            uid: Some("a&b@example.org".to_owned()),
            title: title.to_owned(),
            speakers: speakers.iter().map(|s| (*s).to_owned()).collect(),
            slot: Interval::new(Ms(1_293_478_200_000), Ms(1_293_481_800_000)),
            status: TalkStatus::Scheduled,
            opted_out: false,
            known_since: Ms(0),
            follows: None,
        }
    }

    fn of(talk: &Talk, gaps: &[Gap]) -> String {
        nfo(&Film {
            talk,
            event: "27c3",
            hall: "Saal 1",
            zone: chrono_tz::Europe::Berlin,
            gaps,
            duration_ms: 4_650_000,
            details: &TalkDetails::default(),
            url: None,
        })
    }

    #[test]
    fn a_talk_is_told_as_a_film() {
        let gap = Gap::of_all(Interval::new(Ms(1_293_478_200_000), Ms(1_293_478_207_000)), GapCause::Unknown);
        let text = of(&talk("Keynote <we> & \"you\"", &["Rop", "Frank"]), &[gap]);
        let document = roxmltree::Document::parse(&text).expect("XML");
        let all = |name: &str| -> Vec<_> {
            document.descendants().filter(|n| n.has_tag_name(name)).filter_map(|n| n.text()).collect()
        };
        assert_eq!(all("title"), ["Keynote <we> & \"you\""]);
        assert_eq!(all("credits"), ["Rop", "Frank"]);
        assert_eq!(all("plot"), ["27c3, Saal 1, 2010-12-27 20:30. 7 s of it were not recorded."]);
        assert_eq!((all("aired"), all("year"), all("runtime")), (vec!["2010-12-27"], vec!["2010"], vec!["78"]));
        assert_eq!(
            (all("studio"), all("name"), all("uniqueid")),
            (vec!["Saal 1"], vec!["27c3"], vec!["a&b@example.org"])
        );
    }

    #[test]
    fn what_the_schedule_tells_is_in_the_plot() {
        let details = TalkDetails {
            subtitle: Some("A <subtitle>".to_owned()),
            summary: Some("In short.\nTwo lines.".to_owned()),
            description: Some("At length.".to_owned()),
            language: Some("de".to_owned()),
            track: Some("Society & Politics".to_owned()),
            licence: Some("CC BY 4.0".to_owned()),
            ..TalkDetails::default()
        };
        let talk = talk("Keynote", &[]);
        let zone = chrono_tz::Europe::Berlin;
        let url = Some("https://conference.example/talk/7");
        let text = nfo(&Film {
            talk: &talk,
            event: "27c3",
            hall: "Saal 1",
            zone,
            gaps: &[],
            duration_ms: 1,
            details: &details,
            url,
        });
        let document = roxmltree::Document::parse(&text).expect("XML");
        let of = |name: &str| document.descendants().find(|n| n.has_tag_name(name)).and_then(|n| n.text());
        assert_eq!(of("tagline"), Some("A <subtitle>"));
        assert_eq!(of("outline"), Some("In short.\nTwo lines."));
        assert_eq!((of("genre"), of("language")), (Some("Society & Politics"), Some("de")));
        let plot = "In short.\nTwo lines.\n\nAt length.\n\n27c3, Saal 1, 2010-12-27 20:30.\n\nLicence: CC BY 4.0\n\nhttps://conference.example/talk/7";
        assert_eq!(of("plot"), Some(plot));
    }

    proptest! {
        #[test]
        fn whatever_strangers_write_is_text(title in any::<String>(), speaker in "[\\x00-\\x20<>&'\"\\]a]{0,20}") {
            let text = of(&talk(&title, &[&speaker]), &[]);
            let document = roxmltree::Document::parse(&text).expect("XML");
            let found = document.descendants().find(|n| n.has_tag_name("title")).and_then(|n| n.text()).unwrap_or_default();
            let kept: String = title
                .chars()
                .filter(|c| matches!(c, '\t' | '\n' | '\r') || (*c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}')))
                .collect();
            prop_assert_eq!(found, kept);
            prop_assert_eq!(document.descendants().filter(|n| n.has_tag_name("credits")).count(), 1);
        }
    }
}
