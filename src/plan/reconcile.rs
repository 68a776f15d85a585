//! From what is running to what should run.

use std::collections::BTreeMap;
use std::fmt;

use super::wanted::{Wanted, WantedTape};
use crate::domain::ids::HallId;
use crate::domain::segment::EndReason;
use crate::domain::time::Ms;

/// What is known of a tape that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningTape {
    /// Until when it was told to run.
    pub until: Ms,
    /// The handovers it was told of.
    pub boundaries: Vec<Ms>,
}

/// One step towards the wanted state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Begin a tape.
    Start(WantedTape),
    /// Tell a running tape of another end or other handovers.
    Retarget {
        /// Hall whose tape changes.
        hall: HallId,
        /// New end of the recording.
        until: Ms,
        /// New handovers.
        boundaries: Vec<Ms>,
    },
    /// End a tape at once.
    Stop {
        /// Hall whose tape stops.
        hall: HallId,
        /// Reason that is recorded with the connection.
        reason: EndReason,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(tape) => {
                write!(f, "start hall {} until {:?} for talks", tape.hall, tape.window.end)?;
                tape.talks.iter().try_for_each(|talk| write!(f, " {talk}"))
            }
            Self::Retarget { hall, until, .. } => write!(f, "hall {hall} now until {until:?}"),
            Self::Stop { hall, reason } => write!(f, "stop hall {hall}: {reason}"),
        }
    }
}

/// Compares what is wanted at `now` with what runs.
///
/// A tape that runs is never ended before the end it was given, for a schedule that changes under it may
/// be wrong and bytes that were not taped are gone; it may be prolonged. The one exception is a talk that
/// is opted out: its tape stops at once, or before it begins. A tape stops by itself at its `until`.
#[must_use]
pub fn reconcile(now: Ms, wanted: &Wanted, running: &BTreeMap<HallId, RunningTape>) -> Vec<Step> {
    let mut steps = Vec::new();
    let at_now: BTreeMap<HallId, &WantedTape> = wanted.running_at(now).map(|t| (t.hall, t)).collect();
    for (hall, tape) in running {
        // Until when bytes may flow here at all.
        let forbidden = wanted.forbidden.get(hall).and_then(|slots| slots.iter().find(|slot| slot.end > now));
        if forbidden.is_some_and(|slot| slot.contains(now)) {
            steps.push(Step::Stop { hall: *hall, reason: EndReason::Unwanted });
            continue;
        }
        let limit = forbidden.map_or(Ms(i64::MAX), |slot| slot.start);
        let now_wanted = at_now.get(hall);
        let until = now_wanted.map_or(tape.until, |w| w.window.end.max(tape.until)).min(limit);
        let boundaries = match now_wanted {
            Some(w) => w.boundaries.iter().copied().filter(|b| *b < until).collect(),
            None => Vec::new(),
        };
        // Boundaries that are past tell the tape nothing; comparing them would retarget for ever.
        let coming = |all: &[Ms]| all.iter().copied().filter(|b| *b > now).collect::<Vec<_>>();
        if until != tape.until || coming(&boundaries) != coming(&tape.boundaries) {
            steps.push(Step::Retarget { hall: *hall, until, boundaries });
        }
    }
    for (hall, tape) in at_now {
        if !running.contains_key(&hall) {
            steps.push(Step::Start(tape.clone()));
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::settings::Record;
    use crate::domain::talk::{Talk, TalkStatus};
    use crate::plan::fixtures::{at, event, hall, talk};
    use crate::plan::wanted::wanted;

    fn steps(now: i64, talks: &[Talk], running: &[(i64, i64, &[i64])]) -> Vec<Step> {
        let wanted = wanted(at(now), &[event()], &[hall(1), hall(2)], talks, &Record::default());
        let running = running
            .iter()
            .map(|(hall, until, boundaries)| {
                let boundaries = boundaries.iter().map(|b| at(*b)).collect();
                (HallId(*hall), RunningTape { until: at(*until), boundaries })
            })
            .collect();
        reconcile(at(now), &wanted, &running)
    }

    #[test]
    fn a_window_that_opens_starts_a_tape_and_one_that_runs_is_left_alone() {
        let talks = [talk(1, 1, 600, 660), talk(2, 2, 700, 760)];
        assert_eq!(steps(594, &talks, &[]), []);
        let started = steps(595, &talks, &[]);
        assert!(
            matches!(&started[..], [Step::Start(t)] if t.hall == HallId(1) && t.window.end == at(675)),
            "{started:?}"
        );
        assert_eq!(steps(595, &talks, &[(1, 675, &[])]), []);
        assert_eq!(steps(675, &talks, &[]), []);
    }

    #[test]
    fn a_daemon_that_starts_in_the_middle_takes_what_is_left() {
        assert_eq!(steps(650, &[talk(1, 1, 600, 660)], &[]).len(), 1);
    }

    #[test]
    fn a_talk_that_is_prolonged_or_moved_later_prolongs_its_tape() {
        let retarget = |until| vec![Step::Retarget { hall: HallId(1), until: at(until), boundaries: vec![] }];
        assert_eq!(steps(640, &[talk(1, 1, 600, 690)], &[(1, 675, &[])]), retarget(705));
    }

    #[test]
    fn a_talk_that_is_shortened_cancelled_or_moved_away_is_taped_to_its_old_end() {
        assert_eq!(steps(640, &[talk(1, 1, 600, 645)], &[(1, 675, &[])]), []);
        let mut cancelled = talk(1, 1, 600, 660);
        cancelled.status = TalkStatus::Cancelled;
        assert_eq!(steps(640, &[cancelled], &[(1, 675, &[])]), []);
        let moved = steps(640, &[talk(1, 2, 600, 660)], &[(1, 675, &[])]);
        assert!(matches!(&moved[..], [Step::Start(t)] if t.hall == HallId(2)), "{moved:?}");
    }

    #[test]
    fn a_new_neighbour_adds_a_handover() {
        let talks = [talk(1, 1, 600, 660), talk(2, 1, 670, 700)];
        let want = Step::Retarget { hall: HallId(1), until: at(715), boundaries: vec![at(665)] };
        assert_eq!(steps(640, &talks, &[(1, 675, &[])]), [want]);
        assert_eq!(steps(640, &talks, &[(1, 715, &[665])]), []);
        assert_eq!(steps(666, &talks, &[(1, 715, &[665])]), [], "a handover that is past is no news");
    }

    #[test]
    fn an_opt_out_stops_a_tape_at_once_and_bounds_one_before_it() {
        let mut private = talk(1, 1, 600, 660);
        private.opted_out = true;
        let stop = Step::Stop { hall: HallId(1), reason: EndReason::Unwanted };
        assert_eq!(steps(640, std::slice::from_ref(&private), &[(1, 675, &[])]), [stop]);
        let talks = [talk(2, 1, 540, 600), private];
        let before = Step::Retarget { hall: HallId(1), until: at(600), boundaries: vec![] };
        assert_eq!(steps(570, &talks, &[(1, 615, &[])]), [before]);
    }
}
