//! What a look at the clocks tells: the wall clock was set, the machine slept. And what that means for
//! where media lies in wall time.

use crate::domain::clock::ClockStep;
use crate::domain::interval::Interval;
use crate::domain::media::MediaSpan;
use crate::domain::segment::Mark;
use crate::domain::time::{Ms, SECOND};

/// The wall clock may run away from monotonic time by so much between two looks before it counts as set.
/// (A clock that is slewed gains half a millisecond a second.)
pub const STEP_MS: i64 = 5 * SECOND;

/// A shorter sleep is none: the two clocks that show it are not read at one instant.
const SLEEP_MS: i64 = SECOND;

/// So far from a step a segment's marks are looked for: they are about a second apart while bytes come,
/// and a stall of ten seconds ends a segment.
const NEAR_MS: i64 = 15 * SECOND;

/// One look at the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// The wall clock.
    pub wall: Ms,
    /// Monotonic time, milliseconds, which stands still while the machine sleeps.
    pub monotonic_ms: i64,
    /// How long the machine has slept so far, milliseconds.
    pub asleep_ms: i64,
}

/// What happened between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockChange {
    /// The wall clock was set.
    pub step: Option<ClockStep>,
    /// The machine slept, at some time in here.
    pub asleep: Option<Interval>,
}

/// Compares two looks.
#[must_use]
pub fn compare(before: ClockReading, after: ClockReading) -> ClockChange {
    let awake = after.monotonic_ms.saturating_sub(before.monotonic_ms);
    let slept = after.asleep_ms.saturating_sub(before.asleep_ms).max(0);
    let passed = awake.saturating_add(slept);
    let expected = before.wall.plus(passed);
    let step = ClockStep { from: expected, to: after.wall };
    ClockChange {
        step: (step.by_ms().abs() > STEP_MS).then_some(step),
        // In the clock that is in force now, from the last look awake to the first one awake.
        asleep: (slept >= SLEEP_MS).then(|| Interval::new(after.wall.minus(passed), after.wall)),
    }
}

/// A step of the wall clock that a segment lived through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivedStep {
    /// When, by the clock that the segment began with.
    pub at: Ms,
    /// By how much, milliseconds; negative: back.
    pub by_ms: i64,
}

/// The marks of a segment by the clock that was in force when it began, and the steps it lived through.
/// Media is anchored where it came earliest after its own time, which makes sense by one clock only: by one
/// that is set in between, what came before the step would be taken for late, or what came after it. `marks`
/// and `steps` in the order they came.
#[must_use]
pub fn unstepped(marks: &[Mark], steps: &[ClockStep]) -> (Vec<Mark>, Vec<LivedStep>) {
    let mut out = marks.to_vec();
    let (mut passed, mut sum, mut first) = (Vec::new(), 0, 1);
    for step in steps {
        // Between these two marks the clock was set, if it was while bytes came. Where several pairs would
        // do, it is the one with the least time between, by the clock that is not set.
        let between = |n: &usize| {
            let after = marks[*n].at;
            // Between two arrivals may stand when their media was made, which is earlier than both.
            let earlier = n.checked_sub(2).map(|n| marks[n].at).filter(|earlier| marks[*n - 1].at < *earlier);
            let before = earlier.unwrap_or(marks[*n - 1].at);
            let waited = after.since(before) - step.by_ms();
            let is_near = (step.from.minus(NEAR_MS)..=step.from.plus(SECOND)).contains(&before)
                && (step.to.minus(SECOND)..=step.to.plus(NEAR_MS)).contains(&after);
            (is_near && waited >= -SECOND).then_some(waited)
        };
        let Some(at) = (first..marks.len()).filter(|n| between(n).is_some()).min_by_key(|n| between(n)) else {
            continue;
        };
        passed.push(LivedStep { at: step.from.minus(sum), by_ms: step.by_ms() });
        sum += step.by_ms();
        for mark in &mut out[at..] {
            mark.at = mark.at.minus(step.by_ms());
        }
        // The next step may lie between the same marks only if it undid this one, which is then no matter.
        first = at + 1;
    }
    (out, passed)
}

/// The places of media in wall time, from those by the clock that its segment began with: what came after a
/// step is a span of its own, by the clock that was in force then.
#[must_use]
pub fn stepped(spans: Vec<MediaSpan>, passed: &[LivedStep]) -> Vec<MediaSpan> {
    if passed.is_empty() {
        return spans;
    }
    let mut out = Vec::with_capacity(spans.len() + passed.len());
    for span in spans {
        let (mut from, mut sum) = (span.media_start_ms, 0);
        for step in passed {
            let cut = step.at.0.saturating_sub(span.offset_ms);
            if cut >= span.media_end_ms {
                break;
            }
            if cut > from {
                let offset_ms = span.offset_ms + sum;
                out.push(MediaSpan { media_start_ms: from, media_end_ms: cut, offset_ms });
                from = cut;
            }
            sum += step.by_ms;
        }
        out.push(MediaSpan { media_start_ms: from, offset_ms: span.offset_ms + sum, ..span });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::{HOUR, MINUTE};

    fn look(wall: i64, monotonic: i64, asleep: i64) -> ClockReading {
        ClockReading { wall: Ms(wall), monotonic_ms: monotonic, asleep_ms: asleep }
    }

    #[test]
    fn steps_and_sleeps_are_told_apart() {
        let before = look(1_000_000, 50_000, 7_000);
        let step = |from, to| Some(ClockStep { from: Ms(from), to: Ms(to) });
        let asleep = |from, to| Some(Interval::new(Ms(from), Ms(to)));
        for (after, want) in [
            (look(1_001_000, 51_000, 7_000), ClockChange::default()),
            // Late by a minute, but by both clocks: a busy machine.
            (look(1_060_000, 110_000, 7_000), ClockChange::default()),
            (look(1_006_000, 51_000, 7_000), ClockChange::default()),
            (look(1_006_001, 51_000, 7_000), ClockChange { step: step(1_001_000, 1_006_001), asleep: None }),
            (look(4_601_000, 51_000, 7_000), ClockChange { step: step(1_001_000, 4_601_000), asleep: None }),
            (look(-2_599_000, 51_000, 7_000), ClockChange { step: step(1_001_000, -2_599_000), asleep: None }),
            (look(2_201_000, 51_000, 1_207_000), ClockChange { step: None, asleep: asleep(1_000_000, 2_201_000) }),
            // Asleep for 20 minutes, and the clock was an hour off afterwards.
            (
                look(5_801_000, 51_000, 1_207_000),
                ClockChange { step: step(2_201_000, 5_801_000), asleep: asleep(4_600_000, 5_801_000) },
            ),
        ] {
            assert_eq!(compare(before, after), want, "{after:?}");
        }
    }

    /// A segment of 20 minutes from 10:00:00 (0 here), with a mark a second, its clock stepped at 5:00.
    fn marks(step_ms: i64) -> Vec<Mark> {
        let at = |s: i64| Ms(s * SECOND + if s > 300 { step_ms } else { 0 });
        (1..=1200).map(|s: i64| Mark { at: at(s), offset: s.unsigned_abs() * 1000 }).collect()
    }

    fn walls(spans: &[MediaSpan]) -> Vec<(i64, i64)> {
        spans.iter().map(|s| (s.wall().start.0 / SECOND, s.wall().end.0 / SECOND)).collect()
    }

    const WHOLE: MediaSpan = MediaSpan { media_start_ms: 77_000, media_end_ms: 1_277_000, offset_ms: -77_000 };

    #[test]
    fn media_behind_a_step_lies_where_the_new_clock_says() {
        for (by, want) in [
            (10 * MINUTE, [(0, 300), (900, 1800)]),
            (-10 * MINUTE, [(0, 300), (-300, 600)]),
            (7 * SECOND, [(0, 300), (307, 1207)]),
            (-7 * SECOND, [(0, 300), (293, 1193)]),
        ] {
            let step = ClockStep { from: Ms(300 * SECOND), to: Ms(300 * SECOND + by) };
            let (even, passed) = unstepped(&marks(by), &[step]);
            assert_eq!(even, marks(0), "one clock for all of it: {by}");
            let mended = stepped(vec![WHOLE], &passed);
            assert_eq!(walls(&mended), want, "{by}");
            assert_eq!(mended[0].media_end_ms, mended[1].media_start_ms, "no media is lost or doubled");
        }
        // A source that knows when its media was made says so between two arrivals.
        let step = ClockStep { from: Ms(300 * SECOND), to: Ms(900 * SECOND) };
        let mut told = marks(10 * MINUTE);
        told.insert(300, Mark { at: Ms(290 * SECOND), offset: 300_500 });
        assert_eq!(walls(&stepped(vec![WHOLE], &unstepped(&told, &[step]).1)), [(0, 300), (900, 1800)]);
        // A hole in the media right at the step, and a further span behind it.
        let step = ClockStep { from: Ms(300 * SECOND), to: Ms(900 * SECOND) };
        let (_, passed) = unstepped(&marks(10 * MINUTE), &[step]);
        let holed = vec![
            MediaSpan { media_end_ms: 370_000, ..WHOLE },
            MediaSpan { media_start_ms: 380_000, media_end_ms: 500_000, ..WHOLE },
        ];
        assert_eq!(walls(&stepped(holed, &passed)), [(0, 293), (903, 1023)]);
    }

    #[test]
    fn a_clock_that_is_set_and_set_right_again_leaves_media_in_its_place() {
        let at = |s: i64| Ms(s * SECOND + if (300..600).contains(&s) { HOUR } else { 0 });
        let marks: Vec<Mark> = (1..=1200).map(|s: i64| Mark { at: at(s), offset: s.unsigned_abs() * 1000 }).collect();
        let steps = [(300, HOUR), (600, -HOUR)].map(|(s, by)| {
            let from = Ms(s * SECOND + if by < 0 { HOUR } else { 0 });
            ClockStep { from, to: from.plus(by) }
        });
        let (_, passed) = unstepped(&marks, &steps);
        assert_eq!(walls(&stepped(vec![WHOLE], &passed)), [(0, 300), (3900, 4200), (600, 1200)]);
    }

    #[test]
    fn other_segments_and_other_steps_change_nothing() {
        let forward = ClockStep { from: Ms(300 * SECOND), to: Ms(900 * SECOND) };
        assert_eq!(unstepped(&marks(0), &[forward]), (marks(0), vec![]), "it was not there");
        assert_eq!(unstepped(&[], &[forward]), (vec![], vec![]));
        assert_eq!(stepped(vec![WHOLE], &[]), [WHOLE]);
    }
}
