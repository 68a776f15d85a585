//! How time enters.

use std::fmt;

use super::time::Ms;

/// The wall clock. Slots are wall time; timeouts are monotonic time and use tokio's timers.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Wall-clock time, milliseconds since the Unix epoch (UTC).
    fn now(&self) -> Ms;

    /// How long the machine has slept since some fixed instant, milliseconds: what tells a sleep from a
    /// wall clock that was set, which look alike to timers. 0 where it cannot be told.
    fn asleep_ms(&self) -> i64 {
        0
    }
}

/// The wall clock was set: where it stood and where it stood then. `to` lies before `from` where it was
/// set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    /// What it would have shown.
    pub from: Ms,
    /// What it showed.
    pub to: Ms,
}

impl ClockStep {
    /// Size in milliseconds, negative where it was set back.
    #[must_use]
    pub fn by_ms(self) -> i64 {
        self.to.since(self.from)
    }
}
