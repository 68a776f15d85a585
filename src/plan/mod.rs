//! What should be, computed from what is: pure functions of (schedule, halls, settings, observed
//! state, `now`). No I/O, no tasks, no clock. Each result is a value that can be printed with its
//! reasons.

pub mod coverage;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod reconcile;
pub mod wanted;
