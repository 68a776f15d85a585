use proptest::prelude::*;

use super::*;
use crate::domain::gap::GapCause;
use crate::domain::media::{MediaSpan, Packet};
use crate::domain::segment::EndReason;
use crate::domain::time::MINUTE;
use crate::plan::edit_filter::EditFilter;
use crate::plan::fixtures;
use crate::plan::media_fixtures::{Content, Dump, dump, original};

/// Wall time of media time 0 in the fixtures' streams.
const ZERO: i64 = 1_000_000;

fn segment(n: usize, dump: &Dump) -> Segment {
    fixtures::segment(n as i64 + 1, dump.index.spans.clone())
}

fn plan_of(dumps: &[Dump], slot: Interval, padding: i64, gaps: &[Gap]) -> EditList {
    let segments: Vec<_> = dumps.iter().enumerate().map(|(n, d)| segment(n, d)).collect();
    let talk = Talk { slot, ..fixtures::talk(1, 1, 0, 60) };
    plan(&AssemblyInputs {
        talk: &talk,
        event: "27c3",
        hall: "Saal 1",
        zone: Tz::Europe__Berlin,
        window: slot.padded(padding, padding),
        segments: segments.iter().zip(dumps).map(|(s, d)| (s, Some(&d.index))).collect(),
        gaps,
        chapters: true,
    })
}

/// What comes out on each track: number of the packet in the original, time.
fn carried_out(plan: &EditList, dumps: &[Dump]) -> Vec<Vec<(u64, i64)>> {
    let mut out = vec![Vec::new(); 2];
    for run in plan.clips.chunk_by(|a, b| a.segment == b.segment) {
        let dump = &dumps[run[0].segment.0 as usize - 1];
        let mut filter = EditFilter::new(run);
        let mut ordinals = [0_u64; 2];
        for p in &dump.packets {
            let track = p.track as usize - 1;
            let ordinal = ordinals[track];
            ordinals[track] += 1;
            if let Some((to, at)) = filter.apply(p.track, ordinal, p.pts_ms, p.key) {
                out[to as usize - 1].push((dump.from[track] + ordinal, at));
            }
        }
    }
    out
}

fn at(all: &[Packet], ms: i64, video: bool) -> usize {
    usize::try_from(ms * if video { 68 } else { 43 } / 1000).expect("positive").min(all.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Connections with overlaps, bursts and gaps, joined: nothing twice, nothing lost that can be decoded.
    #[test]
    fn what_was_recorded_stands_in_the_assembly_once(
        video: bool, own_clock: bool, torn: bool,
        // Length of each, and how it follows the one before: an overlap where negative.
        raw in prop::collection::vec((3_000_i64..30_000, prop_oneof![-8_000_i64..-300, Just(0), 4_000_i64..9_000], 0_i64..600), 1..6),
        start in 0_i64..40_000, length in 10_000_i64..120_000,
    ) {
        // Raw audio has no video frames.
        let video = video && !own_clock;
        let all = original(200, Content::Unique, video);
        let (mut dumps, mut islands, mut end) = (Vec::new(), Vec::<(usize, usize)>::new(), 10_000_i64);
        let mut touched: Option<i64> = None;
        for (n, (len, step, late)) in raw.iter().enumerate() {
            // Pieces that touch are one where the first one's end and their clock are certain.
            let step = if *step == 0 && (torn || own_clock) { &4_000 } else { step };
            let mut from = if n == 0 { 10_000 } else { (end + step).max(10_000) };
            // Of two that begin together after a cut, the late anchor of the one that touches would put it second.
            if let Some(before) = touched {
                from = from.max(before + 700);
            }
            touched = (*step == 0).then_some(from);
            let to = from + len;
            if to <= end + 200 {
                continue;
            }
            let (a, b) = (at(&all, from, video), at(&all, to, video));
            dumps.push(dump(&all, a, b, own_clock, *late, torn));
            match islands.last_mut() {
                Some((island_start, island_end)) if n > 0 && from < end => {
                    (*island_start, *island_end) = ((*island_start).min(a), b);
                }
                _ => islands.push((a, b)),
            }
            end = to;
        }
        let slot = Interval::new(Ms(ZERO + start), Ms(ZERO + start + length));
        let plan = plan_of(&dumps, slot, 0, &[]);
        let out = carried_out(&plan, &dumps);
        let sound = usize::from(video);
        for (track, packets) in out.iter().enumerate() {
            // Video frames are decoded in another order than shown: their numbers tell, audio's times too.
            prop_assert!(packets.windows(2).all(|w| w[0].0 < w[1].0), "doubled: {:#?}", plan);
            if track == sound {
                prop_assert!(packets.windows(2).all(|w| w[0].1 < w[1].1), "times fall: {:#?}", plan);
            }
        }
        // Audio: of each island all but the torn last one, between the window's edges.
        let numbers = |track: usize| -> Vec<u64> { out[track].iter().map(|(n, _)| *n).collect() };
        let got = numbers(sound);
        let mut want = Vec::new();
        for (a, b) in &islands {
            let mut ours: Vec<_> = all.iter().enumerate().filter(|(_, p)| p.track as usize == sound + 1).enumerate()
                .filter(|(_, (at, _))| (a..b).contains(&at)).map(|(n, (_, p))| (n as u64, p.pts_ms)).collect();
            if torn {
                ours.pop();
            }
            want.extend(ours);
        }
        // The edges are as exact as anchors are late, and a keyframe before.
        for (n, pts) in &want {
            let inside = *pts > start + 700 && *pts < start + length - 700;
            prop_assert!(!inside || got.binary_search(n).is_ok(), "sound {} at {} lost: {:#?}", n, pts, plan);
        }
        for n in &got {
            let pts = want.iter().find(|(m, _)| m == n).map(|(_, pts)| *pts);
            prop_assert!(pts.is_some_and(|pts| pts > start - 2700 && pts < start + length + 700), "sound {} is too much", n);
        }
        // Video frames: of each island from its first keyframe on.
        if video {
            let got = numbers(0);
            for (a, b) in &islands {
                let ours: Vec<_> = all.iter().enumerate().filter(|(_, p)| p.track == 1).enumerate()
                    .filter(|(_, (at, _))| (a..b).contains(&at)).map(|(n, (_, p))| (n as u64, *p)).collect();
                let whole = &ours[..ours.len() - usize::from(torn)];
                for (n, p) in whole.iter().skip_while(|(_, p)| !p.key) {
                    let inside = p.pts_ms > start + 700 && p.pts_ms < start + length - 900;
                    prop_assert!(!inside || got.binary_search(n).is_ok(), "picture {} lost: {:#?}", n, plan);
                }
            }
            // What comes out first, and first after each gap, is a keyframe.
            for (k, n) in got.iter().enumerate() {
                if k == 0 || got[k - 1] + 1 < *n {
                    prop_assert!(n % 48 == 0, "picture {} begins", n);
                }
            }
        }
        let ends = out.iter().flatten().map(|(_, at)| *at).max().unwrap_or_default();
        prop_assert!((plan.duration_ms - ends).abs() < 100, "{} planned, {} made", plan.duration_ms, ends);
        let begins = out.iter().flatten().map(|(_, at)| *at).min().unwrap_or_default();
        // Times are rounded to milliseconds.
        prop_assert!((-2..60).contains(&begins), "begins at {}", begins);
    }
}

fn wall(from: i64, to: i64) -> Interval {
    Interval::new(Ms(ZERO + from * 1000), Ms(ZERO + to * 1000))
}

#[test]
fn a_gap_is_closed_and_marked_with_its_cause() {
    let all = original(200, Content::Unique, true);
    let dumps = [
        dump(&all, at(&all, 10_000, true), at(&all, 60_000, true), false, 0, true),
        dump(&all, at(&all, 72_300, true), at(&all, 150_000, true), false, 0, true),
    ];
    let gaps = [Gap::of_all(wall(60, 72), GapCause::Connection(EndReason::Stalled))];
    let plan = plan_of(&dumps, wall(30, 120), 10_000, &gaps);
    let titles: Vec<_> = plan.chapters.iter().map(|c| (c.at_ms / 1000, c.title.as_str())).collect();
    assert_eq!(titles.len(), 5, "{titles:?}");
    assert_eq!((titles[0], titles[1]), ((0, "before the talk"), (10, "Talk 1")));
    assert!(titles[2].1.starts_with("gap: 12.") && titles[2].1.ends_with(" s missing (stalled)"), "{titles:?}");
    assert_eq!((titles[3].1, titles[4].1), ("Talk 1", "after the talk"), "the talk goes on behind the gap");
    assert!((1..3).contains(&(titles[3].0 - titles[2].0)), "{titles:?}");
    // 110 s of window less 12 s of gap, and video frames begin a little before.
    assert!((97_000..100_500).contains(&plan.duration_ms), "{}", plan.duration_ms);
    assert_eq!(plan.clips.len(), 2);
    assert_eq!(plan.tags[0].1, "Talk 1");
    // Any change of what goes in shows; the same gives the same.
    assert_eq!(plan.digest(), plan_of(&dumps, wall(30, 120), 10_000, &gaps).digest());
    assert_ne!(plan.digest(), plan_of(&dumps, wall(30, 121), 10_000, &gaps).digest());
    assert_ne!(plan.digest(), plan_of(&dumps, wall(30, 120), 10_000, &[]).digest());
}

#[test]
fn what_is_left_out_says_why() {
    let all = original(200, Content::Unique, false);
    let whole = dump(&all, at(&all, 0, false), at(&all, 100_000, false), false, 0, true);
    let inside = dump(&all, at(&all, 50_000, false), at(&all, 52_000, false), false, 0, true);
    let mut other = dump(&all, at(&all, 60_000, false), at(&all, 70_000, false), false, 0, true);
    other.index.tracks[0].format_hash = 99;
    let late = dump(&all, at(&all, 95_000, false), at(&all, 120_000, false), false, 0, true);
    let plan = plan_of(&[whole, inside, other, late], wall(10, 90), 0, &[]);
    let reason = |id: i64| {
        let found = plan.rejected.iter().find(|r| r.segment == SegmentId(id)).expect("rejected");
        (found.reason.as_str(), found.redundant)
    };
    assert_eq!(plan.clips.len(), 1);
    assert!(reason(2).0.starts_with("segment 1 goes on") && reason(2).1, "{:?}", reason(2));
    assert!(reason(3).0.starts_with("its format") && !reason(3).1, "{:?}", reason(3));
    assert!(reason(4).0.contains("outside"), "{:?}", reason(4));
}

#[test]
fn nothing_would_be_missed_without_a_segment_that_is_gone() {
    for (verdict, want) in [
        (Verdict::Pruned, true),
        (Verdict::Lost, true),
        (Verdict::NotMedia, true),
        (Verdict::Media, false),
        (Verdict::Open, false),
        (Verdict::Unchecked, false),
        (Verdict::Quarantined, false),
    ] {
        let segment = Segment { verdict, ..fixtures::segment(1, Vec::new()) };
        assert_eq!(usable_index(&segment, None, wall(0, 60)).expect_err("not used").1, want, "{verdict:?}");
    }
}

#[test]
fn a_short_connection_inside_a_burst_gives_nothing_and_the_next_one_follows() {
    let all = original(200, Content::Unique, true);
    let cut = |from, to| dump(&all, at(&all, from, true), at(&all, to, true), false, 0, true);
    // The third one's burst reaches back over the second one, whose own start it also holds.
    let dumps = [cut(0, 40_000), cut(33_000, 36_000), cut(31_000, 90_000)];
    let plan = plan_of(&dumps, wall(5, 80), 0, &[]);
    let used: Vec<_> = plan.clips.iter().map(|p| p.segment.0).collect();
    assert_eq!(used, [1, 3]);
    assert_eq!(plan.rejected.len(), 1);
    // The first one began too late and is held by the burst of the second.
    let dumps = [cut(50_000, 53_000), cut(46_000, 90_000)];
    let plan = plan_of(&dumps, wall(5, 80), 0, &[]);
    assert_eq!(plan.clips.len(), 1);
    assert_eq!((plan.clips[0].segment.0, plan.rejected[0].segment.0), (2, 1));
}

#[test]
fn what_reaches_back_before_a_segment_does_not_stand_in_it() {
    let all = original(200, Content::Unique, true);
    // Arrival calls the longer one the earlier; its packets begin within the short one, which holds more before.
    let long = dump(&all, at(&all, 50_000, true), at(&all, 80_000, true), false, -8_000, true);
    let short = dump(&all, at(&all, 46_000, true), at(&all, 53_000, true), false, 0, true);
    let plan = plan_of(&[long, short], wall(5, 65), 0, &[]);
    assert!(!plan.rejected.iter().any(|r| r.redundant), "{:?}", plan.rejected);
    assert_eq!(plan.clips.iter().map(|p| p.segment.0).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn nothing_recorded_gives_no_pieces() {
    let plan = plan_of(&[], wall(0, 10), MINUTE, &[]);
    assert!(plan.clips.is_empty() && plan.chapters.is_empty() && plan.starts.is_none());
}

#[test]
fn a_hole_inside_a_segment_is_closed_where_the_media_goes_on() {
    let all = original(60, Content::Unique, false);
    let mut with_hole = dump(&all, 0, all.len(), false, 0, false);
    let hole = |p: &Packet| (20_000..28_000).contains(&p.pts_ms);
    with_hole.packets.retain(|p| !hole(p));
    let index = &mut with_hole.index;
    index.head.retain(|p| !hole(p));
    index.tail.retain(|p| !hole(p));
    index.tracks[0].packets = with_hole.packets.len() as u64;
    let whole = index.spans[0];
    let end = with_hole.packets.iter().rfind(|p| p.pts_ms < 20_000).map(|p| p.pts_ms + p.duration_ms).expect("some");
    let start = with_hole.packets.iter().find(|p| p.pts_ms >= 28_000).map(|p| p.pts_ms).expect("some");
    index.spans = vec![MediaSpan { media_end_ms: end, ..whole }, MediaSpan { media_start_ms: start, ..whole }];
    let plan = plan_of(&[with_hole], wall(5, 55), 0, &[]);
    assert_eq!(plan.clips.len(), 2);
    assert_eq!(plan.clips[1].out_start_ms, plan.clips[0].out_end_ms, "{:#?}", plan.clips);
    let gap = plan.chapters.iter().find(|c| c.title.starts_with("gap")).expect("a chapter for it");
    assert_eq!(gap.at_ms, plan.clips[0].out_end_ms);
}

#[test]
fn what_only_the_wall_clock_calls_the_same_is_never_called_redundant() {
    let all = original(100, Content::Unique, false);
    let earlier = dump(&all, 0, at(&all, 20_000, false), false, 0, false);
    // A minute later the clock was set back by a minute: other media, the same wall time.
    let later = dump(&all, at(&all, 62_000, false), at(&all, 80_000, false), false, -60_000, false);
    let plan = plan_of(&[earlier, later], wall(5, 15), 0, &[]);
    assert_eq!(plan.clips.len(), 1);
    assert_eq!(plan.rejected.iter().map(|r| (r.segment.0, r.redundant)).collect::<Vec<_>>(), [(2, false)]);
    // The same media a second time may go.
    let (once, twice) =
        (dump(&all, 0, at(&all, 20_000, false), false, 0, false), dump(&all, 100, 600, false, 0, false));
    let plan = plan_of(&[once, twice], wall(5, 15), 0, &[]);
    assert_eq!(plan.rejected.iter().map(|r| r.redundant).collect::<Vec<_>>(), [true]);
}

#[test]
fn after_a_gap_pictures_wait_for_a_key_one_also_over_pieces_that_have_none() {
    // Keyframes at 5760 and 7680 ms; the second and third piece have none.
    let all = original(20, Content::Unique, true);
    for overlap_ms in [0, 150] {
        let cuts = [(0, 4000), (6000, 6500), (6500 - overlap_ms, 7000), (7000 - overlap_ms, 12_000)];
        let dumps: Vec<Dump> =
            cuts.iter().map(|(a, b)| dump(&all, at(&all, *a, true), at(&all, *b, true), false, 0, false)).collect();
        assert!(dumps[1..3].iter().all(|d| d.index.keys_ms.is_empty()));
        let plan = plan_of(&dumps, Interval::new(Ms(ZERO), Ms(ZERO + 20_000)), 0, &[]);
        assert_eq!(plan.clips.iter().filter(|p| p.before.is_some()).count(), 1, "{plan:#?}");
        let out = carried_out(&plan, &dumps);
        let pictures: Vec<u64> = out[0].iter().map(|(n, _)| *n).filter(|n| *n > 120).collect();
        assert_eq!(pictures.first(), Some(&192), "{plan:#?}");
        assert!(pictures.windows(2).all(|w| w[0] + 1 == w[1]));
        // Audio waits for nothing.
        let sound: Vec<u64> = out[1].iter().map(|(n, _)| *n).collect();
        assert_eq!(sound.windows(2).filter(|w| w[0] + 1 != w[1]).count(), 1, "{plan:#?}");
        assert_eq!(
            sound.iter().position(|n| *n == dumps[1].from[1]),
            Some(dumps[0].packets.iter().filter(|p| p.track == 2).count())
        );
    }
}
