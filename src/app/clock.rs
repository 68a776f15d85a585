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
        let ms = |id| {
            let at = clock_gettime(id);
            at.tv_sec.saturating_mul(1000).saturating_add(at.tv_nsec / 1_000_000)
        };
        // The one counts while the machine sleeps, the other does not. Read in this order, the difference
        // is never too small by the time between the two calls.
        let awake = ms(ClockId::Monotonic);
        ms(ClockId::Boottime).saturating_sub(awake)
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

    /// Suspends the machine for so many milliseconds: the wall clock goes on, timers do not.
    pub fn suspend(&self, ms: i64) {
        self.asleep.fetch_add(ms, Ordering::Relaxed);
        self.step(ms);
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
