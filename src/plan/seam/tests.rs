use proptest::prelude::*;

use super::*;
use crate::domain::media::{EDGE_MS, MediaSpan};

/// An encoder's own packets in the order of its stream: pictures of 40 ms, sound of 23.2 ms.
fn original(seconds: i64, content: Content, video: bool) -> Vec<Packet> {
    let mut out = Vec::new();
    if video {
        for n in 0..seconds * 25 {
            // I P B B: decoded in another order than shown.
            let pts_ms = 40 * (n + [0, 2, -1, -1][(n % 4) as usize]) + 80;
            let hash = content.hash(1, n, n * 40);
            out.push((n * 40, Packet { track: 1, pts_ms, duration_ms: 40, key: n % 48 == 0, size: 100, hash }));
        }
    }
    let sound = if video { 2 } else { 1 };
    for n in 0..seconds * 1000 * 441 / 10_240 {
        let pts_ms = n * 10_240 / 441;
        let hash = content.hash(2, n, pts_ms);
        // Sound runs 300 ms ahead in the multiplex.
        out.push((pts_ms - 300, Packet { track: sound, pts_ms, duration_ms: 23, key: true, size: 20, hash }));
    }
    out.sort_by_key(|(at, _)| *at);
    out.into_iter().map(|(_, p)| p).collect()
}

/// Where packets repeat.
#[derive(Clone, Copy, Debug)]
enum Content {
    /// Nowhere.
    Unique,
    /// Everywhere between these times.
    Still(i64, i64),
    /// All the time, with this many packets to a round.
    Loop(i64),
}

impl Content {
    fn hash(self, track: u64, n: i64, at: i64) -> u64 {
        let n = match self {
            Self::Still(from, to) if (from..to).contains(&at) => n % 3,
            Self::Loop(round) => n % round,
            _ => n + 10,
        };
        track << 40 | n.cast_unsigned()
    }
}

/// A dump of `packets[from..to]`, begun at `wall` ms before the first of them is live.
struct Dump {
    index: MediaIndex,
    from: Vec<u64>,
}

fn dump(all: &[Packet], from: usize, to: usize, own_clock: bool, late_ms: i64, torn: bool) -> Dump {
    let mut packets = all[from..to].to_vec();
    let zero = if own_clock { packets.iter().map(|p| p.pts_ms).min().expect("some") } else { 0 };
    if torn {
        // The last packet of each track is cut in the middle.
        for track in [1, 2] {
            if let Some(p) = packets.iter_mut().rfind(|p| p.track == track) {
                (p.size, p.hash) = (p.size / 2, p.hash ^ 0xdead);
            }
        }
    }
    for p in &mut packets {
        p.pts_ms -= zero;
    }
    let start = packets.iter().map(|p| p.pts_ms).min().expect("some");
    let end = packets.iter().map(|p| p.pts_ms + p.duration_ms).max().expect("some");
    let count = |track, packets: &[Packet]| packets.iter().filter(|p| p.track == track).count() as u64;
    let tracks = [TrackKind::Video, TrackKind::Audio].map(|kind| Track {
        number: 1 + u32::from(kind == TrackKind::Audio),
        kind,
        codec: String::new(),
        format_hash: 7,
        stream: 0,
        adts: false,
        packet_ms: if kind == TrackKind::Video { 40 } else { 23 },
        packets: count(1 + u32::from(kind == TrackKind::Audio), &packets),
    });
    let video = all.iter().any(|p| p.track == 2);
    let tracks: Vec<_> = if video {
        tracks.into()
    } else {
        vec![Track { number: 1, packets: packets.len() as u64, ..tracks[1].clone() }]
    };
    let index = MediaIndex {
        spans: vec![MediaSpan { media_start_ms: start, media_end_ms: end, offset_ms: 1_000_000 + zero + late_ms }],
        head: packets.iter().filter(|p| p.pts_ms < start + EDGE_MS).copied().collect(),
        tail: packets.iter().filter(|p| p.pts_ms >= end - EDGE_MS).copied().collect(),
        keys_ms: packets.iter().filter(|p| video && p.key && p.track == 1).map(|p| p.pts_ms).collect(),
        format: if own_clock { "mp3" } else { "mpegts" }.to_owned(),
        ragged_end: torn,
        tracks,
        ..MediaIndex::default()
    };
    let before = |track| count(track, &all[..from]);
    Dump { index, from: vec![before(1), before(2)] }
}

/// For each track, the packets of the original that the two give together, by number.
fn joined(a: &Dump, b: &Dump, seam: &Seam) -> Vec<Vec<u64>> {
    seam.cuts
        .iter()
        .map(|cut| {
            let track = cut.first_track as usize - 1;
            let mut out: Vec<u64> = match cut.to {
                To::Packet(n) => (0..n).collect(),
                To::End => (0..a.index.tracks[track].packets).collect(),
                To::Time(_) => panic!("a time"),
            };
            for n in &mut out {
                *n += a.from[track];
            }
            let end = match whole_packets(&b.index, &b.index.tracks[track]) {
                To::Packet(n) => n,
                _ => b.index.tracks[track].packets,
            };
            if let From::Packet(n) = cut.from {
                out.extend((n..end).map(|n| n + b.from[track]));
            }
            out
        })
        .collect()
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        3 => Just(Content::Unique),
        2 => (0_i64..100_000, 1_000_i64..90_000).prop_map(|(at, len)| Content::Still(at, at + len)),
        1 => (30_i64..400).prop_map(Content::Loop),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Two dumps of one stream with an overlap: nothing lost, nothing doubled.
    #[test]
    fn an_overlap_is_joined_packet_for_packet(
        content in content(), video: bool, a_from in 0_i64..60, a_len in 3_i64..40, overlap in 300_i64..20_000, b_len in 1_i64..40, torn: bool,
        late in 0_i64..800,
    ) {
        let all = original(140, content, video);
        let per_second = if video { 68 } else { 43 };
        let at = |ms: i64| usize::try_from(ms * per_second / 1000).expect("positive").min(all.len());
        let a_end = (a_from + a_len) * 1000;
        let b_from = (a_end - overlap).max(a_from * 1000 + 500);
        let (a1, a2, b1, b2) = (at(a_from * 1000), at(a_end), at(b_from), at(a_end + b_len * 1000));
        let a = dump(&all, a1, a2, false, 0, torn);
        let b = dump(&all, b1, b2, false, late, torn);
        let seam = find(&a.index, &b.index);
        prop_assert_eq!(seam.kind, SeamKind::Overlap);
        prop_assert!(!seam.contained);
        prop_assert!(seam.shift_ms.abs() <= 1, "shift {}", seam.shift_ms);
        for numbers in joined(&a, &b, &seam) {
            prop_assert!(numbers.windows(2).all(|w| w[0] + 1 == w[1]), "{:?}", seam);
        }
    }

    /// The same where each dump counts from zero and anchors are off: only the packets tell.
    #[test]
    fn without_a_common_clock_the_shift_is_computed(
        a_from in 0_i64..60, a_len in 5_i64..40, overlap in 200_i64..5_000, b_len in 1_i64..40, late in -8_000_i64..30_000, torn: bool,
        still in 0_i64..80_000,
    ) {
        // A pause of 2 s somewhere, which repeats packets.
        let all = original(140, Content::Still(still, still + 2000), false);
        let at = |ms: i64| usize::try_from(ms * 43 / 1000).expect("positive").min(all.len());
        let a_end = (a_from + a_len) * 1000;
        let (a1, a2) = (at(a_from * 1000), at(a_end));
        let (b1, b2) = (at(a_end - overlap), at(a_end + b_len * 1000));
        let unique = all[b1..a2].iter().filter(|p| p.hash & 0xff_ffff_ffff > 10).count();
        prop_assume!(unique > 4);
        let a = dump(&all, a1, a2, true, 0, torn);
        let b = dump(&all, b1, b2, true, late, torn);
        let seam = find(&a.index, &b.index);
        prop_assert_eq!((seam.kind, seam.method), (SeamKind::Overlap, Method::Packets));
        for numbers in joined(&a, &b, &seam) {
            prop_assert!(numbers.windows(2).all(|w| w[0] + 1 == w[1]), "{:?}", seam);
        }
    }

    /// A real gap is never taken for an overlap, however alike both edges look.
    #[test]
    fn a_gap_stays_a_gap(content in content(), video: bool, own_clock: bool, gap in 4_000_i64..30_000, a_len in 2_i64..30, b_len in 2_i64..30) {
        let all = original(140, content, video);
        let per_second = if video { 68 } else { 43 };
        let at = |ms: i64| usize::try_from(ms * per_second / 1000).expect("positive").min(all.len());
        // A loop is honest only where its rounds are longer than what arrival times leave open.
        prop_assume!(!(own_clock && matches!(content, Content::Loop(_))));
        let a_end = 5_000 + a_len * 1000;
        let a = dump(&all, at(5_000), at(a_end), own_clock, 0, true);
        let b = dump(&all, at(a_end + gap), at(a_end + gap + b_len * 1000), own_clock, 0, true);
        let seam = find(&a.index, &b.index);
        prop_assert_eq!(seam.kind, SeamKind::Gap, "{:?}", seam);
        prop_assert!((seam.missing_ms - gap).abs() < 900, "{} for {}", seam.missing_ms, gap);
    }

    /// A short connection inside what the first one has gives nothing.
    #[test]
    fn what_is_inside_gives_nothing(video: bool, own_clock: bool, from in 2_000_i64..50_000, len in 300_i64..8_000, late in 0_i64..9_000) {
        let all = original(62, Content::Unique, video);
        let per_second = if video { 68 } else { 43 };
        let at = |ms: i64| usize::try_from(ms * per_second / 1000).expect("positive").min(all.len());
        let a = dump(&all, 0, all.len(), own_clock, 0, true);
        let b = dump(&all, at(from), at(from + len).max(at(from) + 12), own_clock, late, true);
        let seam = find(&a.index, &b.index);
        prop_assert!(seam.contained, "{:?}", seam);
        prop_assert!(seam.cuts.is_empty());
    }
}

#[test]
fn long_overlaps_and_middles_are_seen_by_the_clock() {
    let all = original(400, Content::Unique, true);
    let at = |s: usize| s * 68;
    let a = dump(&all, 0, at(390), false, 0, true);
    // In the middle of the first, far from both its edges.
    let b = dump(&all, at(150), at(170), false, 0, true);
    let seam = find(&a.index, &b.index);
    assert!(seam.contained && seam.method == Method::Clock, "{seam:?}");
    // An overlap of 200 s: no packet is in both lists.
    let a = dump(&all, 0, at(300), false, 0, true);
    let b = dump(&all, at(100), at(390), false, 0, true);
    let seam = find(&a.index, &b.index);
    assert_eq!((seam.kind, seam.method, seam.contained), (SeamKind::Overlap, Method::Clock, false));
    assert!(matches!(seam.cuts[0].from, From::Key(at) if (299_000..=301_000).contains(&at)), "{seam:?}");
}

#[test]
fn other_formats_share_nothing() {
    let all = original(20, Content::Unique, true);
    let a = dump(&all, 0, 500, false, 0, false);
    let mut b = dump(&all, 400, 900, false, 0, false);
    for track in &mut b.index.tracks {
        track.format_hash = 8;
    }
    assert_eq!(find(&a.index, &b.index).kind, SeamKind::Format);
    b.index.tracks[1].format_hash = 7;
    let seam = find(&a.index, &b.index);
    assert_eq!((seam.kind, seam.cuts.len(), seam.cuts[0].second_track), (SeamKind::Overlap, 1, 2));
    b.index.spans.clear();
    assert_eq!(find(&a.index, &b.index).kind, SeamKind::Format);
}

#[test]
fn a_second_one_that_reaches_back_says_so() {
    let all = original(60, Content::Unique, true);
    let a = dump(&all, 1000, 1100, false, 0, true);
    let b = dump(&all, 600, 3000, false, 0, true);
    let seam = find(&a.index, &b.index);
    assert!((5_000..7_000).contains(&seam.reaches_back_ms), "{seam:?}");
}

#[test]
fn a_packet_lost_on_one_connection_does_not_matter() {
    let all = original(60, Content::Unique, false);
    let mut holed = all.clone();
    holed.remove(1200);
    let a = dump(&holed, 0, 1300, false, 0, true);
    let b = dump(&all, 1100, 2000, false, 0, true);
    let seam = find(&a.index, &b.index);
    // The first one keeps up to its last whole packet, 1298, which is the second one's 1299 - 1100.
    assert_eq!((seam.cuts[0].to, seam.cuts[0].from), (To::Packet(1299), From::Packet(200)));
}
