//! The one place where the time of day is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub use crate::domain::clock::Clock;
use crate::domain::time::Ms;

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Ms {
        chrono::Utc::now().into()
    }

    fn asleep_ms(&self) -> i64 {
        use rustix::time::{ClockId, clock_gettime};
        // Of these two clocks only the first goes on while the machine sleeps.
        let (all, awake) = (clock_gettime(ClockId::Boottime), clock_gettime(ClockId::Monotonic));
        (all.tv_sec - awake.tv_sec) * 1000 + (all.tv_nsec - awake.tv_nsec) / 1_000_000
    }
}

/// A clock for tests: follows tokio's time, which tests pause and advance, from a start of the test's
/// choice, and can be stepped as a real wall clock can.
#[derive(Clone, Debug)]
pub struct TestClock {
    start: tokio::time::Instant,
    base: Arc<AtomicI64>,
    asleep: Arc<AtomicI64>,
}

impl TestClock {
    /// Shows `start` now.
    #[must_use]
    pub fn starting_at(start: Ms) -> Self {
        Self { start: tokio::time::Instant::now(), base: Arc::new(AtomicI64::new(start.0)), asleep: Arc::default() }
    }

    /// Steps the wall clock by so many milliseconds; timers do not notice.
    pub fn step(&self, ms: i64) {
        self.base.fetch_add(ms, Ordering::Relaxed);
    }

    /// The machine sleeps for so many milliseconds: the wall clock goes on, timers do not.
    pub fn sleep(&self, ms: i64) {
        self.step(ms);
        self.asleep.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Ms {
        let passed = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        Ms(self.base.load(Ordering::Relaxed)).plus(passed)
    }

    fn asleep_ms(&self) -> i64 {
        self.asleep.load(Ordering::Relaxed)
    }
}
