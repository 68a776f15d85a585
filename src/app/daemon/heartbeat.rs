//! The daemon's signs of life, and what it notices about time itself.
//!
//! Slots are wall time, timeouts are monotonic time. Where the two part, the machine slept or its clock was
//! set: both are noted, since wall time that nobody could have recorded must not look like a failure.

use std::sync::Arc;

use tokio::time::Instant;

use crate::catalog::daemon_runs::{self, HEARTBEAT_MS};
use crate::catalog::incidents;
use crate::catalog::writer::Writer;
use crate::domain::clock::Clock;
use crate::domain::gap::GapCause;
use crate::domain::interval::Interval;
use crate::plan::clock_watch::{ClockReading, compare};

/// The heart of one life of a daemon.
#[derive(Debug)]
pub struct Heartbeat {
    writer: Writer,
    run: i64,
    clock: Arc<dyn Clock>,
    began: Instant,
    told: Instant,
    seen: ClockReading,
}

fn look(clock: &dyn Clock, began: Instant) -> ClockReading {
    let monotonic_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
    ClockReading { wall: clock.now(), monotonic_ms, asleep_ms: clock.asleep_ms() }
}

impl Heartbeat {
    /// The heart of daemon run `run`.
    #[must_use]
    pub fn new(writer: Writer, run: i64, clock: Arc<dyn Clock>) -> Self {
        let began = Instant::now();
        let seen = look(&*clock, began);
        Self { writer, run, clock, began, told: began, seen }
    }

    /// To be called about once a second. Waits for nothing: a catalog that is locked gets it later.
    pub fn beat(&mut self) {
        let look = look(&*self.clock, self.began);
        let happened = compare(std::mem::replace(&mut self.seen, look), look);
        let (run, wall) = (self.run, look.wall);
        if let Some(over) = happened.asleep {
            let length = over.len_ms() as f64 / 1000.0;
            self.note(GapCause::HostAsleep, over, format!("the machine slept: {length:+.1} s"));
        }
        if let Some(step) = happened.step {
            let size = step.by_ms() as f64 / 1000.0;
            self.note(
                GapCause::ClockSet,
                Interval::new(step.from, step.to),
                format!("the clock was set: {size:+.1} s"),
            );
        }
        let is_news = happened.asleep.is_some() || happened.step.is_some();
        if !is_news && self.told.elapsed().as_millis() < u128::from(HEARTBEAT_MS.unsigned_abs()) {
            return;
        }
        self.told = Instant::now();
        drop(self.writer.send(move |db| daemon_runs::beat(db, run, wall)));
    }

    fn note(&self, cause: GapCause, over: Interval, message: String) {
        tracing::warn!("{message}");
        let run = self.run;
        drop(self.writer.send(move |db| incidents::skipped(db, Some(run), cause, over, &message)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::app::support::clock::TestClock;
    use crate::catalog::incidents::{clock_steps, skipped_times};
    use crate::catalog::open_in_memory;
    use crate::domain::time::Ms;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_and_a_machine_that_slept_are_told_apart() {
        let db = open_in_memory().expect("db");
        let clock = TestClock::starting_at(Ms(0));
        let run = daemon_runs::begin(&db, uuid::Uuid::nil(), None, Ms(0)).expect("begun");
        let (writer, _) = Writer::start(db).expect("thread");
        let mut heart = Heartbeat::new(writer.clone(), run, Arc::new(clock.clone()));
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
        let (noted, steps) =
            writer.call(move |db| Ok((skipped_times(db, all)?, clock_steps(db, all)?))).await.expect("read");
        let seconds = |at: Ms| at.0 / 1000;
        let noted: Vec<_> = noted.iter().map(|g| (seconds(g.at.start), seconds(g.at.end), g.cause)).collect();
        assert_eq!(noted, [(1, 1202, GapCause::HostAsleep), (609, 669, GapCause::ClockSet)]);
        let sizes: Vec<_> = steps.iter().map(|step| step.by_ms()).collect();
        assert_eq!(sizes, [-600_000, 60_000]);
    }
}
