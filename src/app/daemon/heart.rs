//! The daemon's signs of life, and what it notices about time itself.
//!
//! Slots are wall time, timeouts are monotonic time. Where the two part, the machine slept or its clock was
//! set: both are noted, since wall time that nobody could have recorded must not look like a failure.

use std::sync::Arc;

use tokio::time::Instant;

use crate::catalog::daemon_runs::{self, HEARTBEAT_MS};
use crate::catalog::troubles;
use crate::catalog::writer::Writer;
use crate::domain::clock::Clock;
use crate::domain::gap::GapCause;
use crate::domain::interval::Interval;
use crate::domain::time::Ms;

/// A wall clock that is off by more than this was set. Milliseconds; time servers slew what is less.
const STEP_MS: i64 = 5000;

/// The heart of one life of a daemon.
#[derive(Debug)]
pub struct Heart {
    writer: Writer,
    run: i64,
    clock: Arc<dyn Clock>,
    told: Instant,
    seen: Look,
}

/// A look at all clocks at once.
#[derive(Clone, Copy, Debug)]
struct Look {
    wall: Ms,
    at: Instant,
    asleep_ms: i64,
}

impl Look {
    fn at(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), at: Instant::now(), asleep_ms: clock.asleep_ms() }
    }
}

impl Heart {
    /// The heart of daemon run `run`.
    #[must_use]
    pub fn new(writer: Writer, run: i64, clock: Arc<dyn Clock>) -> Self {
        let seen = Look::at(&*clock);
        Self { writer, run, clock, told: seen.at, seen }
    }

    /// To be called about once a second. Waits for nothing: a catalog that is locked gets it later.
    pub fn beat(&mut self) {
        let look = Look::at(&*self.clock);
        let last = std::mem::replace(&mut self.seen, look);
        let (run, wall) = (self.run, look.wall);
        let passed = i64::try_from(look.at.duration_since(last.at).as_millis()).unwrap_or(i64::MAX);
        let off = look.wall.since(last.wall).saturating_sub(passed);
        if off.abs() > STEP_MS {
            // Half of it, for a machine that wakes sets its clock too.
            let slept = look.asleep_ms.saturating_sub(last.asleep_ms) > off / 2 && off > 0;
            let (cause, what) = match slept {
                true => (GapCause::HostAsleep, "the machine slept"),
                false => (GapCause::ClockSet, "the clock was set"),
            };
            let message = format!("{what}: {:+.1} s", off as f64 / 1000.0);
            tracing::warn!("{message}");
            let over = Interval::new(last.wall.min(wall), wall);
            drop(self.writer.send(move |db| troubles::skipped(db, Some(run), cause, over, &message)));
        } else if look.at.duration_since(self.told).as_millis() < u128::from(HEARTBEAT_MS.unsigned_abs()) {
            return;
        }
        self.told = look.at;
        drop(self.writer.send(move |db| daemon_runs::beat(db, run, wall)));
    }
}
