//! Watches the clocks beside a daemon: steps of the wall clock and sleeps of the machine go into the log
//! and the catalog, where they become causes of gaps.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::catalog::troubles;
use crate::catalog::writer::Writer;
use crate::domain::clock::Clock;
use crate::plan::clock_watch::{Look, compare};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Watches for ever; to be dropped when the daemon ends.
pub(super) async fn watch(writer: Writer, run: i64, clock: Arc<dyn Clock>) {
    let began = Instant::now();
    let look = || Look {
        wall: clock.now(),
        monotonic_ms: i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX),
        asleep_ms: clock.asleep_ms(),
    };
    let mut before = look();
    loop {
        tokio::time::sleep(EVERY).await;
        let after = look();
        let happened = compare(before, after);
        before = after;
        if let Some(step) = happened.step {
            let (by, words) = (step.by_ms(), if step.by_ms() < 0 { "back" } else { "forward" });
            tracing::warn!("the clock was set {words} by {:.1} s", by.abs() as f64 / 1000.0);
            // Not waited for: a catalog that is locked learns it later.
            drop(writer.send(move |db| troubles::clock_step(db, Some(run), step)));
        }
        if let Some(at) = happened.asleep {
            tracing::warn!("the machine was suspended for {:.0} s", at.len_ms() as f64 / 1000.0);
            drop(writer.send(move |db| troubles::host_asleep(db, Some(run), at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::clock::{SystemClock, TestClock};
    use crate::catalog::open_in_memory;
    use crate::domain::clock::ClockStep;
    use crate::domain::interval::{Interval, IntervalSet};
    use crate::domain::time::{HOUR, MINUTE, Ms, SECOND};

    #[tokio::test(start_paused = true)]
    async fn steps_and_sleeps_are_stored() {
        let db = open_in_memory().expect("db");
        let run = crate::catalog::daemon_runs::begin(&db, uuid::Uuid::now_v7(), None, Ms(0)).expect("run");
        let (writer, _thread) = Writer::start(db).expect("thread");
        let start = Ms(1_293_476_400_000);
        let clock = TestClock::starting_at(start);
        let watching = tokio::spawn(watch(writer.clone(), run, Arc::new(clock.clone())));
        let pass = |ms: i64| tokio::time::sleep(Duration::from_millis(ms.unsigned_abs()));
        pass(10 * SECOND + 500).await;
        clock.step(10 * MINUTE);
        pass(10 * SECOND).await;
        clock.suspend(20 * MINUTE);
        pass(10 * SECOND).await;
        clock.step(-HOUR);
        pass(10 * SECOND).await;
        watching.abort();
        let all = Interval::new(Ms(0), Ms(i64::MAX));
        let (steps, asleep) = writer
            .call(move |db| Ok((troubles::clock_steps(db, all)?, troubles::host_asleep_times(db, all)?)))
            .await
            .expect("read");
        let at = |s: i64| start.plus(s * SECOND);
        assert_eq!(
            steps,
            [
                ClockStep { from: at(11), to: at(11 + 600) },
                ClockStep { from: at(31 + 600 + 1200), to: at(31 + 600 + 1200 - 3600) },
            ]
        );
        assert_eq!(asleep, IntervalSet::from(Interval::new(at(20 + 600), at(21 + 600 + 1200))));
    }

    #[test]
    fn the_systems_clocks_agree_on_how_long_it_slept() {
        let (first, second) = (SystemClock.asleep_ms(), SystemClock.asleep_ms());
        assert!(first >= 0 && (second - first).abs() < SECOND, "{first} {second}");
    }
}
