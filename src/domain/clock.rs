//! How time enters.

use std::fmt;

use super::time::Ms;

/// The wall clock. Slots are wall time; timeouts are monotonic time and use tokio's timers.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Now.
    fn now(&self) -> Ms;

    /// How long the machine has slept since some fixed instant, milliseconds: what tells a sleep from a
    /// wall clock that was set, which look alike to timers. 0 where it cannot be told.
    fn asleep_ms(&self) -> i64 {
        0
    }
}
