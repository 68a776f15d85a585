//! How time enters.

use std::fmt;

use super::time::Ms;

/// The wall clock. Slots are wall time; timeouts are monotonic time and use tokio's timers.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Now.
    fn now(&self) -> Ms;
}
