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

/// So far from a step a segment's marks are looked for: they are about a second apart while bytes come.
const NEAR_MS: i64 = 5 * SECOND;

/// One look at the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The wall clock.
    pub wall: Ms,
    /// Monotonic time, milliseconds, which stands still while the machine sleeps.
    pub monotonic_ms: i64,
    /// How long the machine has slept so far, milliseconds.
    pub asleep_ms: i64,
}

/// What happened between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// The wall clock was set.
    pub step: Option<ClockStep>,
    /// The machine slept, at some time in here.
    pub asleep: Option<Interval>,
}

/// Compares two looks.
#[must_use]
pub fn compare(before: Look, after: Look) -> Happened {
    let awake = after.monotonic_ms.saturating_sub(before.monotonic_ms);
    let slept = after.asleep_ms.saturating_sub(before.asleep_ms).max(0);
    let passed = awake.saturating_add(slept);
    let expected = before.wall.plus(passed);
    let step = ClockStep { from: expected, to: after.wall };
    Happened {
        step: (step.by_ms().abs() > STEP_MS).then_some(step),
        // In the clock that is in force now, from the last look awake to the first one awake.
        asleep: (slept >= SLEEP_MS).then(|| Interval::new(after.wall.minus(passed), after.wall)),
    }
}

/// Mends the places of a segment's media for steps forward of the wall clock under it. Media is anchored
/// where it came earliest after its own time, which after such a step is too early by the step: what lies
/// behind the step is a span of its own, later by the step. (A clock that is set back needs nothing: the
/// smaller offset is the one in force since.) `marks` in the order they were set.
#[must_use]
pub fn across_steps(spans: Vec<MediaSpan>, marks: &[Mark], steps: &[ClockStep]) -> Vec<MediaSpan> {
    let mut spans = spans;
    for step in steps.iter().filter(|step| step.by_ms() > 0 && lived_through(marks, **step)) {
        let mut mended = Vec::with_capacity(spans.len() + 1);
        for span in spans {
            let later =
                |from: i64| MediaSpan { media_start_ms: from, offset_ms: span.offset_ms + step.by_ms(), ..span };
            let cut = step.from.0.saturating_sub(span.offset_ms);
            if span.wall().start >= step.to {
                // It was anchored by the clock that was set already.
                mended.push(span);
            } else if cut <= span.media_start_ms {
                mended.push(later(span.media_start_ms));
            } else if cut < span.media_end_ms {
                mended.push(MediaSpan { media_end_ms: cut, ..span });
                mended.push(later(cut));
            } else {
                mended.push(span);
            }
        }
        spans = mended;
    }
    spans
}

/// True where bytes came shortly before a step and the next ones after it.
fn lived_through(marks: &[Mark], step: ClockStep) -> bool {
    let over = |before: &Mark, after: &Mark| {
        (step.from.minus(NEAR_MS)..=step.from.plus(SECOND)).contains(&before.at)
            && (step.to.minus(SECOND)..=step.to.plus(NEAR_MS)).contains(&after.at)
    };
    // Between two arrivals may stand when their media was made, which is earlier than both.
    marks.windows(2).any(|pair| over(&pair[0], &pair[1]))
        || marks.windows(3).any(|three| three[1].at < three[0].at && over(&three[0], &three[2]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::MINUTE;

    fn look(wall: i64, monotonic: i64, asleep: i64) -> Look {
        Look { wall: Ms(wall), monotonic_ms: monotonic, asleep_ms: asleep }
    }

    #[test]
    fn steps_and_sleeps_are_told_apart() {
        let before = look(1_000_000, 50_000, 7_000);
        let step = |from, to| Some(ClockStep { from: Ms(from), to: Ms(to) });
        let asleep = |from, to| Some(Interval::new(Ms(from), Ms(to)));
        for (after, want) in [
            (look(1_001_000, 51_000, 7_000), Happened::default()),
            // Late by a minute, but by both clocks: a busy machine.
            (look(1_060_000, 110_000, 7_000), Happened::default()),
            (look(1_006_000, 51_000, 7_000), Happened::default()),
            (look(1_006_001, 51_000, 7_000), Happened { step: step(1_001_000, 1_006_001), asleep: None }),
            (look(4_601_000, 51_000, 7_000), Happened { step: step(1_001_000, 4_601_000), asleep: None }),
            (look(-2_599_000, 51_000, 7_000), Happened { step: step(1_001_000, -2_599_000), asleep: None }),
            (look(2_201_000, 51_000, 1_207_000), Happened { step: None, asleep: asleep(1_000_000, 2_201_000) }),
            // Asleep for 20 minutes, and the clock was an hour off afterwards.
            (
                look(5_801_000, 51_000, 1_207_000),
                Happened { step: step(2_201_000, 5_801_000), asleep: asleep(4_600_000, 5_801_000) },
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

    #[test]
    fn media_behind_a_step_forward_lies_behind_it() {
        let whole = vec![MediaSpan { media_start_ms: 77_000, media_end_ms: 1_277_000, offset_ms: -77_000 }];
        let step = ClockStep { from: Ms(300 * SECOND), to: Ms(900 * SECOND) };
        let mended = across_steps(whole.clone(), &marks(10 * MINUTE), &[step]);
        assert_eq!(walls(&mended), [(0, 300), (900, 1800)]);
        assert_eq!(mended[0].media_end_ms, mended[1].media_start_ms, "no media is lost or doubled");
        // A source that knows when its media was made says so between two arrivals.
        let mut told = marks(10 * MINUTE);
        told.insert(300, Mark { at: Ms(290 * SECOND), offset: 300_500 });
        assert_eq!(across_steps(whole.clone(), &told, &[step]), mended);
        // A hole in the media right at the step, and a further span behind it.
        let holed = vec![
            MediaSpan { media_end_ms: 370_000, ..whole[0] },
            MediaSpan { media_start_ms: 380_000, media_end_ms: 500_000, ..whole[0] },
        ];
        assert_eq!(walls(&across_steps(holed, &marks(10 * MINUTE), &[step])), [(0, 293), (903, 1023)]);
    }

    #[test]
    fn other_segments_and_other_steps_change_nothing() {
        let whole = vec![MediaSpan { media_start_ms: 0, media_end_ms: 1_200_000, offset_ms: 0 }];
        let forward = ClockStep { from: Ms(300 * SECOND), to: Ms(900 * SECOND) };
        assert_eq!(across_steps(whole.clone(), &marks(0), &[forward]), whole, "it was not there");
        let back = ClockStep { from: Ms(300 * SECOND), to: Ms(-300 * SECOND) };
        assert_eq!(across_steps(whole.clone(), &marks(-10 * MINUTE), &[back]), whole);
        assert_eq!(across_steps(whole.clone(), &[], &[forward]), whole);
    }
}
