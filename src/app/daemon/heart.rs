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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::app::clock::TestClock;
    use crate::catalog::{open_in_memory, troubles::skipped_times};

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_and_a_machine_that_slept_are_told_apart() {
        let db = open_in_memory().expect("db");
        let clock = TestClock::starting_at(Ms(0));
        let run = daemon_runs::begin(&db, uuid::Uuid::nil(), None, Ms(0)).expect("begun");
        let (writer, _) = Writer::start(db).expect("thread");
        let mut heart = Heart::new(writer.clone(), run, Arc::new(clock.clone()));
        let mut second = async || {
            tokio::time::sleep(Duration::from_secs(1)).await;
            heart.beat();
        };
        second().await;
        clock.sleep(1_200_000);
        second().await;
        // A time server that corrects a little, and a user who sets the clock back, skip nothing.
        clock.step(4000);
        second().await;
        clock.step(-600_000);
        second().await;
        clock.step(60_000);
        second().await;
        let all = Interval::new(Ms(0), Ms(i64::MAX));
        let noted = writer.call(move |db| skipped_times(db, all)).await.expect("read");
        let seconds = |at: Ms| at.0 / 1000;
        let noted: Vec<_> = noted.iter().map(|g| (seconds(g.at.start), seconds(g.at.end), g.cause)).collect();
        assert_eq!(noted, [(1, 1202, GapCause::HostAsleep), (608, 669, GapCause::ClockSet)]);
    }
}
