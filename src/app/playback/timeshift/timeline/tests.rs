use proptest::prelude::*;

use super::*;
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::media::MediaSpan;
use crate::domain::segment::Verdict;
use crate::domain::time::SECOND;
use crate::plan::fixtures;
use crate::plan::timeshift::{PlaylistEntry, playlist_entries};

const OPENED: Ms = Ms(1_000_000_000);

fn segment(closed: Option<Ms>, spans: Vec<MediaSpan>) -> Segment {
    Segment {
        at: Interval::new(OPENED, OPENED),
        opened: OPENED,
        closed,
        verdict: Verdict::Open,
        ..fixtures::segment(1, spans)
    }
}

/// A cut each second, 1000 bytes apart, from `clock` seconds on.
fn cuts(count: i64, clock: i64) -> Vec<Cut> {
    (0..count)
        .map(|s| Cut { byte: s.unsigned_abs() * 1000, ticks: (clock + s) * TICKS, jump: None, hash: s.unsigned_abs() })
        .collect()
}

/// So many bytes by this second after the first.
fn mark(second: i64, kilobytes: u64) -> Mark {
    Mark { at: OPENED.plus(second * SECOND), offset: kilobytes * 1000 }
}

#[test]
fn a_burst_lies_where_it_was_made() {
    let open = segment(None, Vec::new());
    // A minute at once, then a second a second.
    let marks: Vec<Mark> = (0..20).map(|s| mark(s, 60 + s.unsigned_abs())).collect();
    let begins = |count, marks: &[Mark]| begin(&open, &cuts(count, 500), marks).map(|at| at.since(OPENED) / SECOND);
    assert_eq!(begins(70, &marks[..3]), None, "not decided yet");
    assert_eq!(begins(60, &marks[..6]), None, "the cuts up to the mark are not known yet");
    assert_eq!(begins(70, &marks[..6]), Some(-59));
    assert_eq!(begins(80, &marks), Some(-59));
    assert_eq!(begin(&open, &[], &marks), None);
    // Closed before; without any mark.
    let closed = segment(Some(OPENED.plus(2 * SECOND)), Vec::new());
    assert_eq!(begin(&closed, &cuts(61, 500), &marks[..2]), Some(OPENED.minus(59 * SECOND)));
    assert_eq!(begin(&closed, &cuts(61, 500), &[]), Some(OPENED));
    // No burst.
    let marks: Vec<Mark> = (0..20).map(|s| mark(s, s.unsigned_abs())).collect();
    assert_eq!(begin(&open, &cuts(20, 500), &marks), Some(OPENED));
}

/// A real stream whose encoder begins anew in the middle.
fn restarted() -> Scan {
    use streamrip_lab::{Format, Recipe};
    let one = Recipe::new(Format::MpegTs).seconds(10.0).bytes();
    let ffmpeg = |clock: &str| {
        let folder = tempfile::tempdir().expect("works");
        std::fs::write(folder.path().join("one.ts"), &one).expect("works");
        let arguments = ["-v", "error", "-i", "one.ts", "-c", "copy", "-output_ts_offset", clock, "-f", "mpegts", "-"];
        let output = std::process::Command::new("ffmpeg").args(arguments).current_dir(folder.path()).output();
        output.expect("ffmpeg runs").stdout
    };
    let mut scan = Scan::default();
    scan.feed(&ffmpeg("5000"));
    scan.feed(&ffmpeg("20"));
    scan
}

#[test]
fn a_clock_that_is_set_goes_on_by_the_wall() {
    let scan = restarted();
    let closed = segment(Some(OPENED.plus(20 * SECOND)), Vec::new());
    let strip = of_segment(&closed, (&scan).into(), Some(OPENED));
    assert_eq!(strip.keys.iter().filter(|k| k.jump.is_some()).count(), 1, "{strip:?}");
    let seconds: Vec<f64> = strip.keys.iter().map(|k| k.wall.since(OPENED) as f64 / 1000.0).collect();
    assert_eq!(seconds.len(), 20, "{seconds:?}");
    for (nth, second) in seconds.iter().enumerate() {
        assert!((second - nth as f64).abs() < 0.2, "{seconds:?}");
    }
    // The sixteenth second on is another talk's, opted out: none of it, and nothing else, is missing.
    let window = Interval::new(OPENED, OPENED.plus(100 * SECOND));
    let forbidden: IntervalSet = Interval::new(OPENED.plus(15 * SECOND), OPENED.plus(90 * SECOND)).into();
    let list = playlist_entries(&[strip], window, &forbidden, OPENED.plus(90 * SECOND));
    let length = list.iter().map(|c| c.length_us).sum::<i64>() as f64 / 1e6;
    assert!((13.8..14.2).contains(&length), "4, 4, 2 and 4 s: {list:?}");
}

#[test]
fn what_is_known_later_is_told_beside() {
    let scan = restarted();
    let first = scan.cuts()[0].ticks * 1000 / TICKS;
    let span = MediaSpan { media_start_ms: first, media_end_ms: first + 9000, offset_ms: OPENED.0 - first - 7000 };
    let looked_into = segment(Some(OPENED.plus(20 * SECOND)), vec![span]);
    let after = of_segment(&looked_into, (&scan).into(), Some(OPENED));
    assert_eq!(after.late_ms, -7000);
    let before = of_segment(&segment(Some(OPENED.plus(20 * SECOND)), Vec::new()), (&scan).into(), Some(OPENED));
    assert_eq!(after.keys, before.keys);
}

proptest! {
    /// However a server bursts and its bytes dribble in: what was listed while a segment grew is listed when it is closed.
    #[test]
    fn a_list_stays_when_its_segment_grows_and_is_closed(
        burst in 0_u64..60,
        came in prop::collection::vec(0_u64..3000, 5..30),
    ) {
        let (mut marks, mut offset) = (Vec::new(), burst * 1000);
        for (second, more) in (0_i64..).zip(&came) {
            offset += more;
            marks.push(Mark { at: OPENED.plus(second * SECOND), offset });
        }
        let all = cuts((offset / 1000).cast_signed(), 500);
        let mut before: Vec<PlaylistEntry> = Vec::new();
        let (mut decided, mut now) = (None, OPENED);
        for known in 1..=marks.len() + 1 {
            let closed = (known > marks.len()).then_some(now);
            let known = &marks[..known.min(marks.len())];
            let offset = known.last().map_or(0, |m| m.offset);
            now = known.last().map_or(OPENED, |m| m.at);
            let cuts: Vec<Cut> = all.iter().copied().filter(|c| c.byte < offset).collect();
            let segment = segment(closed, Vec::new());
            decided = decided.or_else(|| begin(&segment, &cuts, known));
            prop_assert_eq!(decided, begin(&segment, &cuts, known), "what was decided is decided again");
            let keys = decided.map(|begin| {
                cuts.iter().map(|c| SyncPoint {
                    byte: c.byte,
                    media_us: c.ticks * 1_000_000 / TICKS,
                    wall: begin.plus((c.ticks - cuts[0].ticks) * 1000 / TICKS),
                    jump: None,
                    hash: c.hash,
                }).collect()
            });
            let strip = SegmentTimeline {
                segment: segment.id,
                opened: OPENED,
                closed,
                bytes: offset,
                keys: keys.unwrap_or_default(),
                end_us: cuts.last().map_or(0, |c| c.ticks * 1_000_000 / TICKS + 1_000_000),
                late_ms: 0,
            };
            let window = Interval::new(OPENED.minus(10 * SECOND), OPENED.plus(1000 * SECOND));
            let list = playlist_entries(&[strip], window, &IntervalSet::new(), now);
            prop_assert!(list.starts_with(&before), "{:?} became {:?}", before, list);
            before = list;
        }
    }
}
