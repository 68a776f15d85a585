//! What should be, computed from what is: pure functions of (schedule, halls, settings, observed
//! state, `now`). No I/O, no tasks, no clock. Each result is a value that can be printed with its
//! reasons.

pub mod alarms;
pub mod anchor;
pub mod assembly;
pub mod backdating;
pub mod backoff;
pub mod clock_watch;
pub mod coverage;
pub mod cut;
pub mod edit_filter;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod hall_plan;
pub mod hall_rename;
pub mod hedge;
pub mod hls;
pub mod kept_recording;
pub mod lanes;
#[cfg(test)]
pub(crate) mod media_fixtures;
pub mod merge;
pub mod moved_talks;
pub mod nfo;
pub mod overlap;
pub mod presented;
pub mod programme_join;
pub mod programme_schedule;
pub mod prune;
pub mod rate_limit;
pub mod reconcile;
pub mod refresh_guard;
pub mod retention;
pub mod same_hall;
pub mod schedule_diff;
pub mod schedule_warnings;
pub mod seam;
pub mod splice;
pub mod stream_choice;
pub mod stretches;
pub mod timeshift;
pub mod title;
pub mod verify;
pub mod wanted;
