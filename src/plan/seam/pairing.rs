//! Which track of one segment goes on in which track of another.

use std::cmp::Reverse;
use std::collections::HashSet;

use crate::domain::media::{MediaIndex, Track};

/// Tracks that share fewer packets than this may share silence only.
const SURE: usize = 3;

/// A track of a segment.
pub(crate) type TrackOf<'a> = (&'a MediaIndex, &'a Track);

/// Pairs tracks of equal format, each used once; in the order of the second segment's tracks. Where several are of one
/// format, equal packets tell them apart, then the language, the PID, and the order, in which the encoder may list them
/// anew after each cut.
#[must_use]
pub fn pair_tracks<'a>(first: &'a MediaIndex, second: &'a MediaIndex) -> Vec<(&'a Track, &'a Track)> {
    let known: Vec<TrackOf<'a>> = first.tracks.iter().map(|track| (first, track)).collect();
    pair(&known, second).into_iter().map(|(at, track)| (known[at].1, track)).collect()
}

/// As [`pair_tracks`], for tracks of several segments: gives the place of the one among `known`.
pub(crate) fn pair<'a>(known: &[TrackOf<'_>], second: &'a MediaIndex) -> Vec<(usize, &'a Track)> {
    let equal = |a: &Track, b: &Track| a.kind == b.kind && a.format_hash == b.format_hash;
    // Which of its format it is.
    let rank = |tracks: &mut dyn Iterator<Item = &Track>, of: &Track| tracks.filter(|t| equal(t, of)).count();
    let mut candidates = Vec::new();
    for (j, b) in second.tracks.iter().enumerate() {
        let rivals = second.tracks.iter().filter(|other| equal(other, b)).count();
        let of_format: Vec<usize> = (0..known.len()).filter(|i| equal(known[*i].1, b)).collect();
        let is_clear = rivals == 1 && of_format.len() == 1;
        let hashes = if is_clear { HashSet::new() } else { hashes(second, b) };
        let rank_b = rank(&mut second.tracks[..j].iter(), b);
        for i in of_format {
            let (index, a) = known[i];
            let rank_a = rank(&mut known[..i].iter().map(|(_, track)| *track), b);
            let shared = if is_clear { 0 } else { shared(index, a, &hashes) };
            let language = !a.language.is_empty() && a.language == b.language;
            let pid = a.pid != 0 && a.pid == b.pid;
            candidates.push(((Reverse(shared), !language, !pid, rank_a.abs_diff(rank_b), i, j), i, j));
        }
    }
    candidates.sort_unstable();
    let (mut used_a, mut used_b) = (HashSet::new(), HashSet::new());
    let mut out: Vec<(usize, usize)> = Vec::new();
    for (_, i, j) in candidates {
        if !used_a.contains(&i) && !used_b.contains(&j) {
            used_a.insert(i);
            used_b.insert(j);
            out.push((i, j));
        }
    }
    out.sort_unstable_by_key(|(_, j)| *j);
    out.into_iter().map(|(i, j)| (i, &second.tracks[j])).collect()
}

fn hashes(index: &MediaIndex, track: &Track) -> HashSet<u64> {
    let windows = index.packet_windows.iter().flat_map(|window| &window.packets);
    let all = index.head.iter().chain(&index.tail).chain(windows);
    all.filter(|p| p.track == track.number).map(|p| p.hash).collect()
}

/// How many different packets a track has at its end of those with these hashes; 0 where that proves nothing.
fn shared(index: &MediaIndex, track: &Track, of: &HashSet<u64>) -> usize {
    let count = hashes(index, track).intersection(of).count();
    if count < SURE { 0 } else { count }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::media::{Packet, TrackKind};

    /// Two tracks of audio of one format: language, PID, and the first of the hashes of their packets.
    fn index(tracks: [(&str, u16, u64); 2]) -> MediaIndex {
        let mut index = MediaIndex::default();
        for (number, (language, pid, hash)) in (1..).zip(tracks) {
            index.tracks.push(Track {
                number,
                kind: TrackKind::Audio,
                codec: "A_AAC".to_owned(),
                format_hash: 7,
                stream: number - 1,
                adts: false,
                whole_end: true,
                packet_ms: 20,
                packets: 10,
                pid,
                language: language.to_owned(),
                entry: Vec::new(),
                keys_ms: Vec::new(),
            });
            let packet =
                |n: u64| Packet { track: number, pts_ms: 0, duration_ms: 20, key: true, size: 1, hash: hash + n };
            index.head.extend((0..10).map(packet));
        }
        index.tail = index.head.clone();
        index
    }

    #[test]
    fn packets_tell_then_the_language_then_the_pid_then_the_order() {
        let first = index([("deu", 1, 100), ("eng", 2, 200)]);
        for (second, want) in [
            // What is equal decides, whatever it is called.
            (index([("deu", 1, 203), ("eng", 2, 104)]), [(2, 1), (1, 2)]),
            (index([("eng", 1, 900), ("deu", 2, 800)]), [(2, 1), (1, 2)]),
            (index([("", 2, 900), ("", 1, 800)]), [(2, 1), (1, 2)]),
            (index([("", 8, 900), ("", 9, 800)]), [(1, 1), (2, 2)]),
            // Silence is equal in both.
            (index([("eng", 1, 108), ("deu", 2, 208)]), [(2, 1), (1, 2)]),
        ] {
            let pairs: Vec<_> = pair_tracks(&first, &second).iter().map(|(a, b)| (a.number, b.number)).collect();
            assert_eq!(pairs, want);
        }
        assert!(pair_tracks(&MediaIndex::default(), &first).is_empty());
    }
}
