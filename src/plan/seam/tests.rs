use proptest::prelude::*;

use super::*;
use crate::plan::media_fixtures::{Content, Dump, content, dump, original};

/// For each track, the packets of the original that the two give together, by number.
fn joined(a: &Dump, b: &Dump, seam: &Seam) -> Vec<Vec<u64>> {
    seam.cuts
        .iter()
        .map(|cut| {
            let track = cut.first_track as usize - 1;
            let mut out: Vec<u64> = match cut.to {
                CutEnd::Packet(n) => (0..n).collect(),
                CutEnd::End => (0..a.index.tracks[track].packets).collect(),
                CutEnd::Time(_) => panic!("a time"),
            };
            for n in &mut out {
                *n += a.from[track];
            }
            let end = match whole_packets(&b.index, &b.index.tracks[track]) {
                CutEnd::Packet(n) => n,
                _ => b.index.tracks[track].packets,
            };
            if let CutStart::Packet(n) = cut.from {
                out.extend((n..end).map(|n| n + b.from[track]));
            }
            out
        })
        .collect()
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

    /// Dumps whose timestamps start at zero and whose wall-clock anchors are wrong: only the packets show the seam.
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
    assert!(matches!(seam.cuts[0].from, CutStart::Keyframe(at) if (299_000..=301_000).contains(&at)), "{seam:?}");
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
    assert_eq!((seam.cuts[0].to, seam.cuts[0].from), (CutEnd::Packet(1299), CutStart::Packet(200)));
}

#[test]
fn clocks_that_claim_an_overlap_without_an_equal_packet_cost_nothing() {
    // The encoder fell behind by 3 s: arrival says that the second began before the first one ended.
    let all = original(60, Content::Unique, true);
    let a = dump(&all, 0, 20 * 68, false, 0, true);
    let b = dump(&all, 22 * 68, 40 * 68, false, -3000, true);
    let seam = find(&a.index, &b.index);
    assert_eq!((seam.kind, seam.method, seam.contained), (SeamKind::Gap, Method::Clock, false));
    assert!((seam.missing_ms - 2000).abs() < 300, "{seam:?}");
    // The same without a clock in the media: how much is missing cannot be told, and nothing is left out.
    let all = original(60, Content::Unique, false);
    let a = dump(&all, 0, 20 * 43, true, 0, true);
    let b = dump(&all, 22 * 43, 40 * 43, true, -8000, true);
    let seam = find(&a.index, &b.index);
    assert_eq!((seam.kind, seam.contained, seam.missing_ms), (SeamKind::Gap, false, 0));
    assert_eq!(seam.cuts[0].from, CutStart::Start);
}
