//! Two mirrors taped at the same time: where one has a gap, the other is taken.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::domain::ids::StreamId;
use crate::domain::media::{MediaSpan, Packet, PacketWindow};
use crate::plan::edit_filter::EditFilter;
use crate::plan::fixtures;
use crate::plan::media_fixtures::{Content, Dump, dump, original};
use crate::plan::seam::Method;

/// Wall time of media time 0 in the fixtures' streams.
const ZERO: i64 = 1_000_000;

struct Taped {
    lane: i64,
    dump: Dump,
    /// Holes: for each track, so many packets of it came before, so many are missing.
    holes: Vec<[(u64, u64); 2]>,
}

impl Taped {
    fn new(lane: i64, dump: Dump) -> Self {
        Self { lane, dump, holes: Vec::new() }
    }

    /// Takes out what came between these times of its own clock: packets that follow each other in the file, as
    /// video frames are decoded in another order than shown.
    fn lose(&mut self, from: i64, to: i64) {
        let dump = &mut self.dump;
        let mut lost: HashSet<(u32, i64)> = HashSet::new();
        let hole = [1, 2].map(|track| {
            let times: Vec<i64> = dump.packets.iter().filter(|p| p.track == track).map(|p| p.pts_ms).collect();
            let begin = times.iter().position(|pts| *pts >= from).unwrap_or(times.len());
            let end = times.iter().rposition(|pts| *pts < to).map_or(begin, |last| (last + 1).max(begin));
            lost.extend(times[begin..end].iter().map(|pts| (track, *pts)));
            (begin as u64, (end - begin) as u64)
        });
        self.holes.push(hole);
        let index = &mut dump.index;
        for packets in [&mut dump.packets, &mut index.head, &mut index.tail] {
            packets.retain(|p| !lost.contains(&(p.track, p.pts_ms)));
        }
        index.keys_ms.retain(|at| !lost.contains(&(1, *at)));
        for (track, (_, lost)) in index.tracks.iter_mut().zip(hole) {
            track.packets -= lost;
        }
        let at = index.spans.iter().position(|s| s.media_start_ms < from && to < s.media_end_ms).expect("inside");
        let span = index.spans[at];
        index.spans[at].media_end_ms = from;
        index.spans.insert(at + 1, MediaSpan { media_start_ms: to, ..span });
    }

    /// Number of a packet in the original.
    fn number(&self, track: usize, ordinal: u64) -> u64 {
        let lost: u64 =
            self.holes.iter().map(|hole| hole[track]).filter(|(at, _)| *at <= ordinal).map(|(_, n)| n).sum();
        self.dump.from[track] + ordinal + lost
    }
}

fn segment(n: usize, taped: &Taped) -> Segment {
    Segment { stream: Some(StreamId(taped.lane)), ..fixtures::segment(n as i64 + 1, taped.dump.index.spans.clone()) }
}

/// What the app reads from the middle of a file.
fn window(dump: &Dump, from_ms: i64, to_ms: i64) -> PacketWindow {
    let mut window = PacketWindow { from_ms, to_ms, before: vec![0; dump.index.tracks.len()], packets: Vec::new() };
    for track in 1..=dump.index.tracks.len() {
        let of_track = || dump.packets.iter().filter(|p| p.track as usize == track);
        let first = of_track().position(|p| p.pts_ms >= from_ms).unwrap_or(of_track().count());
        window.before[track - 1] = first as u64;
        window.packets.extend(of_track().skip(first).take_while(|p| p.pts_ms < to_ms));
    }
    window
}

fn plan_of(taped: &mut [Taped], slot: Interval) -> EditList {
    for _ in 0..6 {
        let segments: Vec<_> = taped.iter().enumerate().map(|(n, t)| segment(n, t)).collect();
        let talk = Talk { slot, ..fixtures::talk(1, 1, 0, 60) };
        let plan = plan(&AssemblyInputs {
            talk: &talk,
            event: "27c3",
            hall: "Saal 1",
            zone: Tz::Europe__Berlin,
            window: slot,
            segments: segments.iter().zip(taped.iter()).map(|(s, t)| (s, Some(&t.dump.index))).collect(),
            gaps: &[],
            chapters: true,
        });
        if plan.wanted.is_empty() {
            return plan;
        }
        for (segment, from, to) in &plan.wanted {
            let dump = &mut taped[segment.0 as usize - 1].dump;
            let window = window(dump, *from, *to);
            dump.index.packet_windows.push(window);
        }
    }
    panic!("the plan wants more and more");
}

/// On each track: number of the packet in the original, time.
fn carried_out(plan: &EditList, taped: &[Taped]) -> Vec<Vec<(u64, i64)>> {
    let mut out = vec![Vec::new(); 2];
    for run in plan.clips.chunk_by(|a, b| a.segment == b.segment) {
        let taped = &taped[run[0].segment.0 as usize - 1];
        let dump = &taped.dump;
        let mut filter = EditFilter::new(run);
        let mut ordinals = [0_u64; 2];
        for p in &dump.packets {
            let track = p.track as usize - 1;
            let ordinal = ordinals[track];
            ordinals[track] += 1;
            if let Some((to, at)) = filter.apply(p.track, ordinal, p.pts_ms, p.key) {
                out[to as usize - 1].push((taped.number(track, ordinal), at));
            }
        }
    }
    out
}

fn at(ms: i64, video: bool, all: &[Packet]) -> usize {
    usize::try_from(ms * if video { 68 } else { 43 } / 1000).expect("positive").min(all.len())
}

/// Cuts one lane at its failures: (begin, length), milliseconds.
fn lane(
    lane: i64,
    all: &[Packet],
    seconds: i64,
    failures: &[(i64, i64)],
    (video, own_clock, late, torn): (bool, bool, i64, bool),
) -> Vec<Taped> {
    let mut out = Vec::new();
    let mut from = 0;
    for (begin, length) in failures.iter().copied().chain([(seconds * 1000, 0)]) {
        if begin - from > 2000 {
            let (a, b) = (at(from, video, all), at(begin, video, all));
            out.push(Taped::new(lane, dump(all, a, b, own_clock, late, torn)));
        }
        from = begin + length;
    }
    out
}

fn numbers(packets: &[(u64, i64)]) -> Vec<u64> {
    packets.iter().map(|(n, _)| *n).collect()
}

const SECONDS: i64 = 900;

fn all_of_it(taped: &mut [Taped], all: &[Packet], video: bool) -> std::result::Result<EditList, String> {
    // From the middle of the first segments to the middle of the last.
    let slot = Interval::new(Ms(ZERO + 5_000), Ms(ZERO + SECONDS * 1000 - 5_000));
    let plan = plan_of(taped, slot);
    let out = carried_out(&plan, taped);
    for (track, packets) in out.iter().enumerate().take(1 + usize::from(video)) {
        let got = numbers(packets);
        let whole = got.windows(2).position(|w| w[0] + 1 != w[1]);
        if let Some(at) = whole {
            return Err(format!("track {track}: {} is followed by {}: {plan:#?}", got[at], got[at + 1]));
        }
        let sound = track == usize::from(video);
        if sound && packets.windows(2).any(|w| w[0].1 >= w[1].1) {
            return Err(format!("times fall: {plan:#?}"));
        }
        let of_track = all.iter().filter(|p| p.track as usize == track + 1).count() as u64;
        let missing = of_track - got.len() as u64;
        // Both ends are cut: 5 s each and up to a group of video frames.
        if missing > 14 * if video && track == 0 { 25 } else { 43 } {
            return Err(format!("track {track}: {missing} packets are missing: {plan:#?}"));
        }
    }
    if plan.clips.iter().any(|p| p.before.is_some()) {
        return Err(format!("a gap: {plan:#?}"));
    }
    Ok(plan)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Two mirrors that never fail at the same time: every packet once, and no gap.
    #[test]
    fn mirrors_that_fail_at_different_times_have_no_gap(
        video: bool, own_clock: bool, torn: bool,
        // The failures are holes inside segments, or end them.
        inside: bool,
        // Whose turn it is to fail, after how long, for how long.
        failures in prop::collection::vec((any::<bool>(), 3_000_i64..250_000, 500_i64..60_000), 0..9),
        late in (0_i64..700, 0_i64..700),
        still in prop::option::of((50_000_i64..800_000, 3_000_i64..120_000)),
    ) {
        let video = video && !own_clock;
        let content = match still {
            // Where there is no clock, minutes of silence cannot be told apart.
            Some((from, length)) if !own_clock && !inside => Content::Still(from, from + length),
            _ => Content::Unique,
        };
        let all = original(SECONDS, content, video);
        let (mut a, mut b, mut end) = (Vec::new(), Vec::new(), 5_000);
        for (first, after, length) in &failures {
            let begin = end + after;
            end = begin + length;
            if end + 10_000 > SECONDS * 1000 {
                break;
            }
            if *first { &mut a } else { &mut b }.push((begin, *length));
        }
        let cuts = |failures: &[(i64, i64)]| if inside { Vec::new() } else { failures.to_vec() };
        let mut taped = lane(1, &all, SECONDS, &cuts(&a), (video, own_clock, late.0, torn));
        taped.extend(lane(2, &all, SECONDS, &cuts(&b), (video, own_clock, late.1, torn)));
        for (taped, failures) in taped.iter_mut().zip([&a, &b]).filter(|_| inside) {
            // What is shorter is no hole.
            failures.iter().for_each(|(from, length)| taped.lose(*from, from + length.max(&1500)));
        }
        let made = all_of_it(&mut taped, &all, video);
        prop_assert!(made.is_ok(), "{}", made.err().unwrap_or_default());
    }
}

#[test]
fn a_failure_in_the_middle_of_an_hour_is_filled_from_the_other_mirror() {
    for (video, own_clock) in [(true, false), (false, false), (false, true)] {
        let all = original(SECONDS, Content::Unique, video);
        let how = (video, own_clock, 100, true);
        let mut taped = lane(1, &all, SECONDS, &[(300_000, 20_000)], how);
        taped.extend(lane(2, &all, SECONDS, &[(600_000, 20_000)], how));
        let plan = all_of_it(&mut taped, &all, video).expect("whole");
        // From the first to the other one, and from that one back: no more seams than that.
        let order: Vec<i64> = plan.clips.iter().map(|p| p.segment.0).collect();
        assert_eq!(order, [1, 3, 2], "{plan:#?}");
        assert!(plan.seams.iter().all(|(_, _, s)| s.method == Method::Packets), "{:#?}", plan.seams);
        assert_eq!(
            taped.iter().map(|t| t.dump.index.packet_windows.len()).collect::<Vec<_>>(),
            [0, 1, 1, 0],
            "looked twice"
        );
    }
}

#[test]
fn two_encoders_share_no_packets_and_are_changed_at_a_key_picture_by_the_clock() {
    let all = original(SECONDS, Content::Unique, true);
    let mut other = all.clone();
    for p in &mut other {
        p.hash ^= 0xabcd;
        p.pts_ms += 5_000_000;
    }
    let how = (true, false, 0, false);
    let mut taped = lane(1, &all, SECONDS, &[(300_000, 20_000)], how);
    let mut second = lane(2, &other, SECONDS, &[(600_000, 20_000)], how);
    for t in &mut second {
        t.dump.index.spans[0].offset_ms -= 5_000_000;
    }
    taped.extend(second);
    let slot = Interval::new(Ms(ZERO + 5_000), Ms(ZERO + SECONDS * 1000 - 5_000));
    let plan = plan_of(&mut taped, slot);
    let order: Vec<i64> = plan.clips.iter().map(|p| p.segment.0).collect();
    assert_eq!(order, [1, 3, 2], "{plan:#?}");
    assert!(plan.seams.iter().all(|(_, _, s)| s.method == Method::Arrival), "{:#?}", plan.seams);
    assert!(plan.clips.iter().all(|p| p.before.is_none()));
    let out = carried_out(&plan, &taped);
    // Video frames: each once, or, beside a keyframe, none or two of one time: they are not the same video frames.
    let got = numbers(&out[0]);
    for w in got.windows(2) {
        assert!((w[0] + 1).abs_diff(w[1]) <= 3, "{} is followed by {}: {plan:#?}", w[0], w[1]);
    }
    assert!((plan.duration_ms - slot.len_ms()).abs() < 2500, "{} ms of {}", plan.duration_ms, slot.len_ms());
}

#[test]
fn the_format_that_covers_most_is_chosen_and_two_mirrors_of_one_count_once() {
    let all = original(300, Content::Unique, false);
    let how = (false, false, 0, false);
    // Two mirrors have the first 120 s in one format, a third one 200 s in another.
    let mut taped = vec![
        Taped::new(1, dump(&all, 0, at(120_000, false, &all), false, 0, false)),
        Taped::new(2, dump(&all, 0, at(120_000, false, &all), false, 0, false)),
    ];
    let mut third = lane(3, &all, 200, &[], how);
    third[0].dump.index.tracks[0].format_hash = 99;
    taped.extend(third);
    let plan = plan_of(&mut taped, Interval::new(Ms(ZERO), Ms(ZERO + 300_000)));
    assert_eq!(plan.clips.iter().map(|p| p.segment.0).collect::<Vec<_>>(), [3]);
    assert_eq!(plan.rejected.len(), 2);
    assert!(plan.rejected.iter().all(|r| !r.redundant), "they stay");
}

#[test]
fn a_hole_inside_a_segment_is_filled_from_the_other_mirror() {
    for (video, own_clock) in [(true, false), (false, false), (false, true)] {
        for (ours, theirs, want) in [
            // The other one goes on to the end: no seam back is needed.
            (vec![(300_000, 320_000)], vec![], vec![1, 2]),
            // It breaks off later, inside itself: then back to what lies behind our hole.
            (vec![(300_000, 320_000)], vec![(600_000, 620_000)], vec![1, 2, 1]),
            // Near each other, near an end, and several in one.
            (vec![(300_000, 303_000), (340_000, 350_000)], vec![(320_000, 324_000)], vec![1, 2, 1, 2]),
            (vec![(15_000, 17_000)], vec![(890_000, 892_000)], vec![1, 2, 1]),
        ] {
            let all = original(SECONDS, Content::Unique, video);
            let how = (video, own_clock, 100, true);
            let mut taped = lane(1, &all, SECONDS, &[], how);
            taped.extend(lane(2, &all, SECONDS, &[], (video, own_clock, 300, true)));
            for (taped, holes) in taped.iter_mut().zip([&ours, &theirs]) {
                holes.iter().for_each(|(from, to)| taped.lose(*from, *to));
            }
            let plan = all_of_it(&mut taped, &all, video).expect("whole");
            let order: Vec<i64> = plan.clips.iter().map(|p| p.segment.0).collect();
            assert_eq!(order, want, "{plan:#?}");
            assert!(plan.seams.iter().all(|(a, b, s)| a != b && s.method == Method::Packets), "{:#?}", plan.seams);
            assert!(plan.rejected.is_empty(), "both are used: {:?}", plan.rejected);
        }
    }
}

fn with_holes(ours: &[(i64, i64)], theirs: &[(i64, i64)], all: &[Packet], how: (bool, bool, i64, bool)) -> Vec<Taped> {
    let mut taped = lane(1, all, SECONDS, &[], how);
    taped.extend(lane(2, all, SECONDS, &[], how));
    for (taped, holes) in taped.iter_mut().zip([ours, theirs]) {
        holes.iter().for_each(|(from, to)| taped.lose(*from, *to));
    }
    taped
}

#[test]
fn a_hole_that_both_mirrors_have_stays_a_gap() {
    let all = original(SECONDS, Content::Unique, true);
    let mut taped = with_holes(&[(300_000, 320_000)], &[(300_600, 320_600)], &all, (true, false, 100, false));
    let slot = Interval::new(Ms(ZERO + 5_000), Ms(ZERO + SECONDS * 1000 - 5_000));
    let plan = plan_of(&mut taped, slot);
    assert_eq!(plan.clips.iter().filter(|p| p.before.is_some()).count(), 1, "{plan:#?}");
    assert!(taped.iter().all(|t| t.dump.index.packet_windows.is_empty()), "nobody looks closer for nothing");
    let other = plan.rejected.iter().find(|r| r.segment == SegmentId(2)).expect("left out");
    assert!(!other.redundant, "it has a part of the hole, which nothing else has: {other:?}");
}

/// Plans two mirrors with these holes. What the plan says is missing must be so much, and what comes out must have each
/// packet once and lack no more.
fn only_lacks(
    ours: &[(i64, i64)],
    theirs: &[(i64, i64)],
    want_ms: i64,
    slack_ms: i64,
    (video, own_clock): (bool, bool),
) -> std::result::Result<(), String> {
    let all = original(SECONDS, Content::Unique, video);
    let mut taped = with_holes(ours, theirs, &all, (video, own_clock, 100, false));
    let plan = plan_of(&mut taped, Interval::new(Ms(ZERO + 5_000), Ms(ZERO + SECONDS * 1000 - 5_000)));
    let missing: i64 = plan.clips.iter().filter_map(|p| Some(p.before.as_ref()?.ms)).sum();
    if !(want_ms - 500..=want_ms + slack_ms).contains(&missing) {
        return Err(format!("{missing} of {want_ms} ms: {ours:?} {theirs:?} {plan:#?}"));
    }
    for (track, packets) in carried_out(&plan, &taped).iter().enumerate().take(1 + usize::from(video)) {
        let got = numbers(packets);
        let each: HashSet<u64> = got.iter().copied().collect();
        let (first, last) = (got.iter().min().expect("some"), got.iter().max().expect("some"));
        let lost = i64::try_from(last + 1 - first).expect("few") - got.len() as i64;
        let lost_ms = lost * 1000 / if video && track == 0 { 25 } else { 43 };
        if each.len() != got.len() || lost_ms > want_ms + slack_ms {
            let twice = got.len() - each.len();
            return Err(format!(
                "track {track}: {lost_ms} of {want_ms} ms, {twice} twice: {ours:?} {theirs:?} {plan:#?}"
            ));
        }
    }
    Ok(())
}

#[test]
fn of_holes_that_lie_over_each_other_in_part_only_what_both_lack_is_missing() {
    for how in [(true, false), (false, false), (false, true)] {
        for (ours, theirs, want) in [
            (vec![(300_000, 320_000)], vec![(310_000, 330_000)], 10_000),
            (vec![(310_000, 330_000)], vec![(300_000, 320_000)], 10_000),
            (vec![(300_000, 340_000)], vec![(310_000, 320_000)], 10_000),
            (vec![(310_000, 320_000)], vec![(300_000, 340_000)], 10_000),
            (vec![(300_000, 340_000)], vec![(280_000, 310_000), (325_000, 350_000)], 25_000),
            // Both lose the same, and the one that goes on is not the one that was taken before.
            (vec![(200_000, 220_000), (300_000, 320_000)], vec![(299_980, 322_000)], 20_000),
            // A hole that both have and that is not filled, in sight of a seam.
            (vec![(55_771, 68_186), (101_899, 104_806)], vec![(100_900, 103_807), (128_081, 129_581)], 1_908),
        ] {
            // After a gap video frames begin with a keyframe: up to 2 s later.
            only_lacks(&ours, &theirs, want, 4000, how).expect("no more than that");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Two mirrors with holes wherever they fall.
    #[test]
    fn what_one_of_two_mirrors_has_is_not_missing(
        how in prop_oneof![Just((true, false)), Just((false, false)), Just((false, true))],
        holes in prop::collection::vec((any::<bool>(), 3_000_i64..100_000, 1_500_i64..40_000), 0..12),
    ) {
        let (mut lanes, mut ends) = ([Vec::new(), Vec::new()], [12_000, 12_000]);
        for (first, after, length) in holes {
            let n = usize::from(!first);
            let begin = ends[n] + after;
            if begin + length + 10_000 < SECONDS * 1000 {
                ends[n] = begin + length;
                lanes[n].push((begin, ends[n]));
            }
        }
        let [ours, theirs] = lanes.clone().map(|all| {
            all.into_iter().map(|(from, to)| Interval::new(Ms(from), Ms(to))).collect::<IntervalSet>()
        });
        let both: i64 = ours.iter().map(|hole| theirs.clip(hole).total_ms()).sum();
        // What is shorter than a second is not worth a seam.
        let slack = 3000 * (lanes[0].len() + lanes[1].len()) as i64 + 1000;
        let made = only_lacks(&lanes[0], &lanes[1], both, slack, how);
        prop_assert!(made.is_ok(), "{}", made.err().unwrap_or_default());
    }
}
