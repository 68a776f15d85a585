//! What makes a daemon tick: a cron job a second, and a watchdog that does not trust it.
//!
//! tokio-cron-scheduler compares whole seconds of the wall clock. A clock that is set back stops its jobs
//! until the old time is reached again, and one-shot jobs fire early or are lost; so it only ever runs
//! jobs that may be missed and repeated. The watchdog lives on monotonic time: when the last
//! reconciliation is too old, it reconciles itself and puts the tick in anew.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use uuid::Uuid;

use super::Core;

/// Every second.
const TICK: &str = "* * * * * *";

/// A reconciliation older than this means that the tick has stopped: ticks come at most 1.5 s apart.
const TOO_OLD: Duration = Duration::from_millis(2500);

/// How long a call to the scheduler may take: `remove` has been seen to hang.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);

/// The default channel of the scheduler loses jobs when many are due at once.
const CHANNEL: usize = 1024;

/// A job of the daemon: called by cron, may be missed, may be called twice.
pub type Task = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The clockwork of a daemon.
pub struct Ticker {
    scheduler: JobScheduler,
    core: Arc<Core>,
    tick: Option<Uuid>,
}

impl std::fmt::Debug for Ticker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticker").field("tick", &self.tick).finish_non_exhaustive()
    }
}

impl Ticker {
    /// Starts ticking.
    ///
    /// # Errors
    /// When the scheduler cannot be made.
    pub async fn start(core: Arc<Core>) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new_with_channel_size(CHANNEL).await?;
        scheduler.start().await?;
        let mut ticker = Self { scheduler, core, tick: None };
        ticker.add_tick().await?;
        Ok(ticker)
    }

    async fn add_tick(&mut self) -> Result<(), JobSchedulerError> {
        let core = Arc::clone(&self.core);
        let job = Job::new_async(TICK, move |_, _| {
            let core = Arc::clone(&core);
            Box::pin(async move { core.reconcile().await })
        })?;
        self.tick = Some(self.scheduler.add(job).await?);
        Ok(())
    }

    /// Adds a job by a cron expression with seconds, UTC.
    ///
    /// # Errors
    /// When the expression is none.
    pub async fn add(&self, cron: &str, task: Task) -> Result<(), JobSchedulerError> {
        self.scheduler.add(Job::new_async(cron, move |_, _| task())?).await?;
        Ok(())
    }

    /// Watches for ever; to be dropped when the daemon ends.
    pub async fn watch(&mut self) {
        let mut last_mended = None::<Instant>;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if self.core.last_reconciled().elapsed() < TOO_OLD {
                continue;
            }
            self.core.reconcile().await;
            // The new tick needs a second or two of its own before it can be judged.
            if last_mended.is_some_and(|at| at.elapsed() < 2 * TOO_OLD) {
                continue;
            }
            last_mended = Some(Instant::now());
            tracing::warn!("the one-second timer stopped (was the clock set?); it was restarted");
            if let Some(old) = self.tick.take() {
                let _ = timeout(CALL_TIMEOUT, self.scheduler.remove(&old)).await;
            }
            match timeout(CALL_TIMEOUT, self.add_tick()).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => tracing::warn!("the scheduler refused the tick, the watchdog ticks instead: {e}"),
                Err(_) => tracing::warn!("the scheduler does not answer, the watchdog ticks instead"),
            }
        }
    }

    /// Ends the scheduler. Its jobs must be of no consequence by then: it waits for none.
    pub async fn stop(mut self) {
        let _ = timeout(CALL_TIMEOUT, self.scheduler.shutdown()).await;
    }
}
