//! The parts of a daemon: tasks that run as long as it does, each with a name, a cancellation token and a deadline.
//!
//! All tokens are children of one, which dropping the supervisor cancels: no part outlives the daemon, however it ends.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// One part that runs.
#[derive(Debug)]
struct Task {
    name: &'static str,
    cancel: CancellationToken,
    join: JoinHandle<()>,
}

/// Starts the parts of a daemon and stops them.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    root: CancellationToken,
    tasks: Vec<Task>,
}

impl Supervisor {
    /// Starts a part. It is cancelled at one of its awaits, as if its future were dropped there. `name`: for the log and
    /// for [`Supervisor::stop`]; no other part that runs has it.
    pub fn start(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        debug_assert!(self.tasks.iter().all(|task| task.name != name), "{name} runs already");
        let cancel = self.root.child_token();
        let token = cancel.clone();
        let join = tokio::spawn(async move {
            if token.run_until_cancelled(part).await.is_none() {
                tracing::trace!("{name} was cancelled");
            }
        });
        self.tasks.push(Task { name, cancel, join });
    }

    /// Cancels a part and waits until it has ended, for `deadline` at most; then it is aborted. A part that does not run
    /// is no failure.
    pub async fn stop(&mut self, name: &str, deadline: Duration) {
        let Some(task) = self.take(name) else { return };
        task.cancel.cancel();
        task.ended(deadline).await;
    }

    /// Waits until a part ends by itself, for `deadline` at most; then it is cancelled and aborted. A part that does not
    /// run is no failure.
    pub async fn finish(&mut self, name: &str, deadline: Duration) {
        let Some(task) = self.take(name) else { return };
        task.ended(deadline).await;
    }

    fn take(&mut self, name: &str) -> Option<Task> {
        let at = self.tasks.iter().position(|task| task.name == name)?;
        Some(self.tasks.remove(at))
    }
}

impl Task {
    async fn ended(mut self, deadline: Duration) {
        match timeout(deadline, &mut self.join).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::error!("the daemon's part {:?} ended: {e}", self.name),
            Err(_) => {
                tracing::warn!(
                    "the daemon's part {:?} did not end within {} s and is aborted",
                    self.name,
                    deadline.as_secs_f64()
                );
                self.cancel.cancel();
                self.join.abort();
            }
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.root.cancel();
        for task in &self.tasks {
            task.join.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Sets its flag when it is dropped: the future that holds it has ended.
    struct Ended(Arc<AtomicBool>);

    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn endless(ended: &Arc<AtomicBool>) -> impl Future<Output = ()> + Send + use<> {
        let ended = Ended(Arc::clone(ended));
        async move {
            let _ended = ended;
            std::future::pending::<()>().await;
        }
    }

    #[tokio::test]
    async fn a_part_is_stopped_and_has_ended_then() {
        let (ended, other) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let mut parts = Supervisor::default();
        parts.start("one", endless(&ended));
        parts.start("other", endless(&other));
        parts.stop("one", streamrip_lab::PATIENCE).await;
        assert!(ended.load(Ordering::Relaxed) && !other.load(Ordering::Relaxed));
        parts.stop("one", streamrip_lab::PATIENCE).await;
        let token = parts.root.clone();
        drop(parts);
        assert!(token.is_cancelled());
        streamrip_lab::eventually("the other to end", streamrip_lab::PATIENCE, || other.load(Ordering::Relaxed)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_does_not_end_is_waited_for_no_longer_than_its_deadline() {
        let ended = Arc::<AtomicBool>::default();
        let mut parts = Supervisor::default();
        parts.start("endless", endless(&ended));
        parts.start("brief", async {});
        let begun = tokio::time::Instant::now();
        parts.finish("brief", Duration::from_secs(3)).await;
        assert!(begun.elapsed() < Duration::from_secs(3));
        parts.finish("endless", Duration::from_secs(3)).await;
        assert_eq!(begun.elapsed().as_secs(), 3);
        tokio::task::yield_now().await;
        assert!(ended.load(Ordering::Relaxed), "it was aborted");
    }

    #[tokio::test]
    async fn a_panic_of_one_part_ends_no_other() {
        let ended = Arc::<AtomicBool>::default();
        let mut parts = Supervisor::default();
        parts.start("broken", async { panic!("a bug") });
        parts.start("sound", endless(&ended));
        parts.finish("broken", streamrip_lab::PATIENCE).await;
        assert!(!ended.load(Ordering::Relaxed));
    }
}
