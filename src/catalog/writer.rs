//! The daemon's one writer: a thread that owns the connection and commits in groups.
//!
//! Each job runs in a savepoint of its own, so that one that fails, or panics, takes nothing else along; the answer
//! comes after the commit. A fault that may pass (locked, disk full, I/O) is tried again without end, with
//! all jobs kept in order: a tape must never stop, nor a row be lost, because the catalog is busy.
//!
//! The file may be deleted, moved or replaced while it is open. The writer looks for that now and then, and writes the
//! file out again from what it has open ([`super::file_guard`]).

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use super::file_guard::FileGuard;
pub use super::file_guard::Health;
use super::{CatalogError, Result};

/// Runs on the writer's thread, perhaps more than once: its first tries may be rolled back.
type Job = Box<dyn FnMut(&Connection) -> Result<()> + Send>;

struct Queued {
    job: Job,
    done: oneshot::Sender<Result<()>>,
}

/// Handle to the writer thread; cheap to clone. The thread ends when the last handle is gone and
/// everything queued is written.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::UnboundedSender<Queued>,
    health: watch::Receiver<Health>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

/// At most so many jobs share a transaction, so that the first one's answer does not wait for ever.
const GROUP: usize = 256;

/// Between two tries after a fault that may pass.
const RETRY: Duration = Duration::from_millis(500);

/// After so many tries in vain the fault is told again: a minute, where SQLite itself does not wait.
const SAY_AGAIN: u32 = 120;

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(db: Connection) -> std::io::Result<(Self, JoinHandle<()>)> {
        Self::begin(db, None)
    }

    /// As [`Self::start`], and looks after the file of the catalog in this data directory.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn guarding(db: Connection, data_dir: PathBuf) -> std::io::Result<(Self, JoinHandle<()>)> {
        Self::begin(db, Some(FileGuard::new(data_dir)))
    }

    fn begin(db: Connection, guard: Option<FileGuard>) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (queue, jobs) = mpsc::unbounded_channel();
        let (tell, health) = watch::channel(Health::default());
        let thread =
            std::thread::Builder::new().name("catalog".to_owned()).spawn(move || run(db, jobs, guard, &tell))?;
        Ok((Self { queue, health }, thread))
    }

    /// How the catalog's file is, now and from now on.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Queues a job at once and returns the answer to wait for, or to drop: the job runs all the same,
    /// after all that were queued before it.
    pub fn send<F>(&self, job: F) -> impl Future<Output = Result<()>> + Send + use<F>
    where
        F: FnMut(&Connection) -> Result<()> + Send + 'static,
    {
        let (done, answer) = oneshot::channel();
        // A closed queue drops `done`, which the answer shows.
        let _ = self.queue.send(Queued { job: Box::new(job), done });
        async move { answer.await.unwrap_or(Err(CatalogError::WriterGone)) }
    }

    /// Runs a job and gives back its value.
    ///
    /// # Errors
    /// What the job returned, or that the writer has stopped.
    pub async fn call<T, F>(&self, mut job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T> + Send + 'static,
    {
        let (give, take) = std::sync::mpsc::channel();
        self.send(move |db| {
            // Of several tries the last one counts; the receiver takes just that.
            let value = job(db)?;
            let _ = give.send(value);
            Ok(())
        })
        .await?;
        take.try_iter().last().ok_or(CatalogError::WriterGone)
    }
}

fn run(
    mut db: Connection,
    mut jobs: mpsc::UnboundedReceiver<Queued>,
    mut guard: Option<FileGuard>,
    health: &watch::Sender<Health>,
) {
    let mut batch = Vec::with_capacity(GROUP);
    // A daemon's heartbeat comes every few seconds, so the file is looked at about as often as the guard wants.
    while jobs.blocking_recv_many(&mut batch, GROUP) > 0 {
        if let Some(guard) = &mut guard {
            db = guard.look(db, health);
        }
        let mut tries = 0_u32;
        let results = loop {
            match commit(&mut db, &mut batch) {
                Ok(results) => {
                    if tries > 0 {
                        tracing::info!("the catalog can be written again");
                    }
                    break results;
                }
                Err(e) if e.is_transient() => {
                    // At once, then now and then: it may last for hours.
                    if tries.is_multiple_of(SAY_AGAIN) {
                        let waiting = batch.len() + jobs.len();
                        tracing::warn!(
                            "the catalog cannot be written now ({e}); {waiting} rows wait, recording goes on"
                        );
                    }
                    tries = tries.saturating_add(1);
                    // A thread of its own: nothing else waits here, and SQLite tells nobody when a lock is let go.
                    std::thread::sleep(RETRY);
                }
                Err(e) => {
                    damaged(&e, health);
                    let text = e.to_string();
                    break batch.iter().map(|_| Err(CatalogError::Value(text.clone()))).collect();
                }
            }
        };
        if let Some(e) = results.iter().filter_map(|r| r.as_ref().err()).find(|e| e.is_damage()) {
            damaged(e, health);
        }
        for (queued, result) in batch.drain(..).zip(results) {
            if let Err(e) = &result {
                tracing::debug!("catalog: a write was refused: {e}");
            }
            let _ = queued.done.send(result);
        }
    }
}

/// Notes that the catalog cannot be written, and says it once: it will be found again with each row.
fn damaged(e: &CatalogError, health: &watch::Sender<Health>) {
    let text = e.to_string();
    let is_news = health.send_if_modified(|health| {
        let is_news = health.damage.is_none();
        if is_news {
            health.damage = Some(text.clone());
        }
        is_news
    });
    if is_news {
        tracing::error!("catalog: {text}; recording goes on, the next start begins with the newest backup");
    }
}

/// One transaction for all jobs of the batch; each one's own answer, or the fault that undid them all.
fn commit(db: &mut Connection, batch: &mut [Queued]) -> Result<Vec<Result<()>>> {
    let mut tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut results = Vec::with_capacity(batch.len());
    for queued in batch.iter_mut() {
        let savepoint = tx.savepoint()?;
        // A bug in one job (of a refresh, which reads what strangers wrote) must not end the thread that all tapes
        // tell of themselves. What the job did is rolled back, so nothing half done is seen afterwards.
        let result = catch_unwind(AssertUnwindSafe(|| (queued.job)(&savepoint))).unwrap_or_else(|panic| {
            let text = words_of(panic.as_ref());
            tracing::error!("catalog: internal error in a write: {text}");
            Err(CatalogError::Panicked(text))
        });
        match result {
            Ok(()) => {
                savepoint.commit()?;
                results.push(Ok(()));
            }
            Err(e) if e.is_transient() => return Err(e),
            // Dropping the savepoint rolls it back.
            Err(e) => results.push(Err(e)),
        }
    }
    tx.commit()?;
    Ok(results)
}

/// What a panic said.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason given".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{open_in_memory, open_reader, open_writer};

    fn bump(db: &Connection) -> Result<()> {
        db.execute("UPDATE meta SET schedule_version = schedule_version + 1", [])?;
        Ok(())
    }

    #[tokio::test]
    async fn a_failed_job_takes_no_other_along() {
        let (writer, thread) = Writer::start(open_in_memory().expect("db")).expect("thread");
        let good = writer.send(bump);
        let bad = writer.send(|db| {
            bump(db)?;
            Err(CatalogError::Value("no".to_owned()))
        });
        let also_good = writer.send(bump);
        assert!(good.await.is_ok());
        assert!(bad.await.is_err());
        assert!(also_good.await.is_ok());
        let count =
            |db: &Connection| Ok(db.query_row("SELECT schedule_version FROM meta", [], |r| r.get::<_, i64>(0))?);
        assert_eq!(writer.call(count).await.expect("read"), 2);
        drop(writer);
        thread.join().expect("ended");
    }

    #[tokio::test]
    async fn a_job_that_panics_fails_alone() {
        let (writer, thread) = Writer::start(open_in_memory().expect("db")).expect("thread");
        let good = writer.send(bump);
        let bad = writer.send(|db| {
            bump(db)?;
            let nothing: [u8; 0] = [];
            assert_eq!(nothing.first(), Some(&1), "a bug");
            Ok(())
        });
        let also_good = writer.send(bump);
        assert!(good.await.is_ok());
        let why = bad.await;
        assert!(matches!(&why, Err(CatalogError::Panicked(text)) if text.contains("a bug")), "{why:?}");
        assert!(also_good.await.is_ok());
        let count =
            |db: &Connection| Ok(db.query_row("SELECT schedule_version FROM meta", [], |r| r.get::<_, i64>(0))?);
        assert_eq!(writer.call(count).await.expect("read"), 2, "what the bad one wrote is rolled back");
        drop(writer);
        thread.join().expect("ended");
    }

    #[tokio::test]
    async fn what_is_queued_while_the_catalog_is_locked_is_written_afterwards() {
        let dir = tempfile::tempdir().expect("dir");
        let db = open_writer(dir.path()).expect("db");
        db.busy_timeout(Duration::from_millis(1)).expect("set");
        let other = open_writer(dir.path()).expect("second");
        other.execute_batch("BEGIN IMMEDIATE").expect("locked");
        let (writer, thread) = Writer::start(db).expect("thread");
        let mut waiting: Vec<_> = (0..20).map(|_| Box::pin(writer.send(bump))).collect();
        let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting[0]).await;
        assert!(early.is_err(), "nothing is written while it is locked");
        other.execute_batch("ROLLBACK").expect("released");
        for answer in waiting {
            answer.await.expect("written");
        }
        drop(writer);
        thread.join().expect("ended");
        let db = open_reader(dir.path()).expect("reader");
        let count: i64 = db.query_row("SELECT schedule_version FROM meta", [], |r| r.get(0)).expect("read");
        assert_eq!(count, 20);
    }
}
