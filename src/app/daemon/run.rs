//! One life of a daemon: lock, recover, tick, work, stop.

use std::collections::BTreeSet;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::alarms::{self, AlarmTask};
use super::catalog_sink::CatalogSink;
use super::core::Core;
use super::heartbeat::Heartbeat;
use super::status::{self, Status};
use super::supervisor::Supervisor;
use super::systemd::Notifier;
use super::ticker::Ticker;
use super::worker::{self, CurrentJob, Worker};
use crate::app::library::last_facts::LastFacts;
use crate::app::library::report::{self, Selection, TalkView};
use crate::app::library::rescue::{self, Rescue};
use crate::app::library::{backup, recover};
use crate::app::schedule::refresh;
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::app::support::lock::{self, DaemonLock};
use crate::app::support::{free_space, symlink_guard};
use crate::catalog::daemon_runs::DaemonRun;
use crate::catalog::writer::{Health, Writer};
use crate::catalog::{self, assemblies, assembly_queue, daemon_runs, incidents, schedule_changes};
use crate::domain::clock::Clock;
use crate::domain::ids::{AssemblyId, EventId, TalkId};
use crate::domain::interval::Interval;
use crate::domain::segment::EndReason;
use crate::domain::talk::TalkState;
use crate::domain::time::{HOUR, Ms};
use crate::media::CancellationToken;
use crate::notify::kept;
use crate::sleep_inhibitor::SleepInhibitor;
use crate::source::Sources;
use crate::source::log::{FileLog, LineLog, NoLog};
use crate::tape::TapeDeps;

/// How a daemon is to run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// End when the last window is past and everything is joined.
    pub until_done: bool,
    /// Tape only this event.
    pub scope: Option<EventId>,
    /// What is wrong beside the recording and stops nothing: it stands in the status as long as the daemon runs.
    pub problems: Vec<String>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was told to stop.
    Stopped,
    /// It ended, and the catalog did not take its last rows.
    Behind,
    /// All talks are past and complete.
    Complete,
    /// All talks are past; so many are partial or missed.
    Incomplete(usize),
}

/// Where the lines of mplayer and ffmpeg go, in the data directory.
pub const SOURCE_LOG: &str = "log/sources.log";

/// Between two looks at whether everything is done.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The machine stays awake for what begins within this time, milliseconds: one that fell asleep between two congress days would
/// not wake in the morning.
const AWAKE_MS: i64 = 24 * HOUR;

/// Between two looks at whether the machine must stay awake.
const AWAKE_INTERVAL: Duration = Duration::from_secs(2);

/// Between two looks at whether a full disk has space again.
const FREE_SPACE_INTERVAL: Duration = Duration::from_secs(2);

/// What is queued for the catalog at the end has this long to get there.
const CATALOG_DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Between two looks at whether the catalog is behind.
const KEEP: Duration = Duration::from_secs(1);

/// Messages about the last talk have this long to be delivered, where the daemon ends because all is done.
const NOTIFY_DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A part that is stopped, and messages where somebody waits for the daemon to end, have this long.
const NOTIFY_STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes to the catalog which joined files the hook has taken.
const HOOK_LEDGER: &str = "hook ledger";
/// Opens the catalog again where its file was written out anew.
const CATALOG_READERS: &str = "catalog readers";
/// Indexes closed segments and joins talks.
const WORKER: &str = "worker";
/// Writes the status, every second.
const STATUS: &str = "status";
/// Sends messages and alarms.
const MESSAGES: &str = "messages";
/// Writes the heartbeat.
const HEARTBEAT: &str = "heartbeat";
const LAST_FACTS: &str = "last facts";
/// Keeps the machine from sleeping.
const SLEEP_INHIBITOR: &str = "sleep inhibitor";

/// Runs a daemon until `shutdown` resolves, or until done.
///
/// # Errors
/// When another daemon runs on the data directory, or the catalog cannot be used. Once taping has begun
/// nothing that goes wrong ends it.
pub async fn run(
    env: &Env,
    options: RunOptions,
    seen: watch::Sender<Status>,
    shutdown: impl Future<Output = ()>,
) -> Result<Outcome> {
    symlink_guard::check(&env.data_dir)?;
    let lock = Arc::new(lock::take(&env.data_dir)?);
    let mut shutdown = pin!(shutdown);
    let Started { db, run_id, recovery, before, last_change, untold, rescue } = tokio::select! {
        begun = begin(env, options.scope, &lock) => begun?,
        () = &mut shutdown => return Ok(Outcome::Stopped),
    };
    let started = env.clock.now();
    if let Some(done) = recovery.describe() {
        tracing::warn!("recovered: {done}");
    }
    crate::app::library::assemble::remove_half_made(&env.data_dir);
    let (writer, thread) = Writer::guarding(db, env.data_dir.clone())
        .map_err(|e| Failure::new(Kind::Failed, "cannot start the catalog's writer").because(e))?;

    let (closed, closed_segments) = mpsc::unbounded_channel();
    let facts = LastFacts::open(&env.data_dir, Some(run_id));
    let deps = TapeDeps::new(
        Arc::clone(&env.clock),
        Arc::new(CatalogSink::new(writer.clone(), Some(run_id), closed).keeping(facts.clone())),
        Sources::programs(&source_log(env)),
        env.data_dir.clone(),
        env.settings.record.clone(),
    );
    let reader = || catalog::open_reader(&env.data_dir);
    let core = Core::new(env.clone(), reader()?, deps, options.scope);
    let (worker, doing) = Worker::new(env.clone(), reader()?, writer.clone(), options.scope, closed_segments);
    let (tell_done, done_talks) = mpsc::unbounded_channel();
    let reconciled = core.reconciliations();
    let (tell_taken, taken) = mpsc::unbounded_channel();
    let post = alarms::post(env, move || reconciled.borrow().elapsed(), tell_taken);
    let worker = worker.telling(tell_done, post.clone());
    post.send_kept(&kept::read(&env.data_dir));
    alarms::restarted(&post, before, recovery.describe(), started);
    if let Some(rescue) = rescue {
        alarms::rescued(&post, &rescue.describe(), started);
    }
    let watcher = Arc::new(Mutex::new(reader()?));
    let readers = vec![core.reader(), worker.reader(), Arc::clone(&watcher)];

    core.reconcile().await;
    let systemd = Notifier::from_env();
    systemd.ready();
    let failed = |e: tokio_cron_scheduler::JobSchedulerError| {
        Failure::new(Kind::Failed, "cannot start the scheduler").because(e)
    };
    let mut ticker = Ticker::start(Arc::clone(&core)).await.map_err(failed)?;
    add_refresh(&ticker, env, &writer, &watcher).await?;
    add_backup(&ticker, env).await.map_err(failed)?;
    let mut parts = Supervisor::default();
    parts.start(HOOK_LEDGER, alarms::note(writer.clone(), Arc::clone(&env.clock), taken));
    parts.start(WORKER, worker.run());
    parts.start(STATUS, tell(Arc::clone(&core), env.clone(), started, options.problems, doing.clone(), seen));
    if post.has_channels() {
        let caller =
            AlarmTask::new(env.clone(), Arc::clone(&core), Arc::clone(&watcher), post.clone(), started, last_change);
        parts.start(MESSAGES, caller.watching(writer.health()).handing_over(untold).run(done_talks));
    } else {
        // Nobody reads them: a talk's file counts as not expected once its message is dropped.
        drop(done_talks);
    }
    parts.start(CATALOG_READERS, reopen(writer.health(), env.clone(), readers));
    parts.start(LAST_FACTS, keep(facts.clone(), Arc::clone(&env.clock)));
    parts.start(HEARTBEAT, beat(Heartbeat::new(writer.clone(), run_id, Arc::clone(&env.clock))));
    if env.settings.record.keep_awake {
        parts.start(SLEEP_INHIBITOR, stay_awake(Arc::clone(&core), env.clone()));
    }

    let done = async {
        if options.until_done {
            until_done(&core, env, &watcher, options.scope, &doing).await;
            post.files_taken().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let finished = {
        let (done, watch) = (pin!(done), pin!(ticker.watch()));
        let feed = pin!(systemd.feed(|| core.last_reconciled().elapsed()));
        tokio::select! {
            () = &mut shutdown => false,
            () = done => true,
            () = watch => false,
            () = feed => false,
        }
    };

    tracing::info!("stopping: closing files");
    systemd.stopping();
    parts.stop(STATUS, NOTIFY_STOP_TIMEOUT).await;
    parts.stop(HEARTBEAT, NOTIFY_STOP_TIMEOUT).await;
    parts.stop(SLEEP_INHIBITOR, NOTIFY_STOP_TIMEOUT).await;
    parts.stop(CATALOG_READERS, NOTIFY_STOP_TIMEOUT).await;
    core.stop(EndReason::Shutdown).await;
    // Only now: what it was joining is made again at the next start.
    parts.stop(WORKER, CATALOG_DRAIN_TIMEOUT).await;
    // It ends by itself, now that no talk can be done any more.
    parts.finish(MESSAGES, CATALOG_DRAIN_TIMEOUT).await;
    deliver(&post, &env.data_dir, if finished { NOTIFY_DRAIN_TIMEOUT } else { NOTIFY_STOP_TIMEOUT }).await;
    // After the hook: the files that it takes yet are written down.
    parts.stop(HOOK_LEDGER, CATALOG_DRAIN_TIMEOUT).await;
    ticker.stop().await;
    let _ = std::fs::remove_file(env.data_dir.join(status::FILE_NAME));
    let stopped = env.clock.now();
    let last = writer.send(move |db| daemon_runs::end(db, run_id, stopped));
    let is_behind = tokio::time::timeout(CATALOG_DRAIN_TIMEOUT, last).await.is_err();
    parts.stop(LAST_FACTS, NOTIFY_STOP_TIMEOUT).await;
    facts.keep_all(stopped);
    if is_behind {
        tracing::error!(
            "the last rows were not written to the catalog in time; the next start recovers them from the files"
        );
    } else {
        drop((core, writer));
        let _ = tokio::time::timeout(CATALOG_DRAIN_TIMEOUT, tokio::task::spawn_blocking(move || thread.join())).await;
    }
    if is_behind {
        return Ok(Outcome::Behind);
    }
    if !finished {
        return Ok(Outcome::Stopped);
    }
    let env = env.clone();
    let missing = blocking(move || {
        let db = watcher.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let scope = catalog::schedule::events(&db)?.into_iter().find(|e| Some(e.id) == options.scope).map(|e| e.name);
        let views = report::select(&db, &env, &Selection { event: scope, ..Selection::default() })?;
        // Events that were over before this daemon began are not its matter, unless there are no others.
        let ours: BTreeSet<_> = views.iter().filter(|v| v.window.end > started).map(|v| v.event.id).collect();
        let failed = |v: &&TalkView| matches!(v.report.state, TalkState::Partial | TalkState::Missed);
        Ok(views.iter().filter(|v| ours.is_empty() || ours.contains(&v.event.id)).filter(failed).count())
    })
    .await?;
    Ok(if missing == 0 { Outcome::Complete } else { Outcome::Incomplete(missing) })
}

/// Sees to it that what the catalog does not take now is not lost.
async fn keep(facts: LastFacts, clock: Arc<dyn Clock>) {
    let mut every = tokio::time::interval(KEEP);
    loop {
        every.tick().await;
        let (facts, now) = (facts.clone(), clock.now());
        let _ = tokio::task::spawn_blocking(move || facts.keep(now)).await;
    }
}

/// Delivers the messages that wait, for `deadline` at most, and logs what is left.
async fn deliver(post: &crate::notify::Dispatcher, data_dir: &Path, deadline: Duration) {
    let left = post.flush(deadline).await;
    let unsent = post.undelivered();
    match kept::write(data_dir, &unsent) {
        Ok(()) if left.messages > 0 => {
            tracing::warn!("{} message(s) could not be delivered in time: the next start sends them", left.messages);
        }
        Ok(()) => {}
        Err(e) => tracing::error!("{} message(s) could not be delivered, and are lost: {e}", unsent.len()),
    }
    if left.files > 0 {
        tracing::warn!(
            "notify.on_talk_done has not taken {} joined file(s) yet: the next start hands them over",
            left.files
        );
    }
}

/// What a daemon begins with.
struct Started {
    db: Connection,
    run_id: i64,
    recovery: recover::Recovery,
    /// The run before this one.
    before: Option<DaemonRun>,
    /// The number of the schedule's last change; later ones are news.
    last_change: i64,
    /// Joined files that the run before this one did not hand to the hook.
    untold: Vec<(TalkId, AssemblyId)>,
    /// The catalog was damaged, and this was done about it.
    rescue: Option<Rescue>,
}

/// Opens the catalog, recovers, and writes that a daemon runs. On a full disk none of that can be, nor any taping:
/// there it waits for space, since nobody may be there to start it again. Dropping the future stops it soon; until then
/// it holds the lock, so that no other daemon takes in the same files.
async fn begin(env: &Env, scope: Option<EventId>, lock: &Arc<DaemonLock>) -> Result<Started> {
    let mut told = false;
    let cancel = CancellationToken::new();
    let _stop = cancel.clone().drop_guard();
    loop {
        // Before: a catalog that is closed gives some space back.
        let full = free_space::is_full(&env.data_dir);
        let (job, cancel, lock) = (env.clone(), cancel.clone(), Arc::clone(lock));
        let begun = blocking(move || {
            let _lock = lock;
            let (mut db, rescue) = rescue::open(&job)?;
            if let Some(rescue) = &rescue {
                tracing::error!("catalog-damaged: {}", rescue.describe());
                incidents::note(&db, None, "catalog-damaged", &rescue.describe(), job.clock.now())?;
            }
            assembly_queue::set_paddings(&db, &job.settings.record)?;
            let (before, last_change) = (daemon_runs::newest(&db)?, schedule_changes::newest(&db)?);
            let recovery = recover::recover(&job, &mut db, &cancel)?;
            let run_id = daemon_runs::begin(&db, Uuid::now_v7(), scope, job.clock.now())?;
            let untold = assemblies::untold(&db)?;
            Ok(Started { db, run_id, recovery, before, last_change, untold, rescue })
        });
        match begun.await {
            Err(e) if full || free_space::is_full(&env.data_dir) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::error!("disk-full: cannot begin ({e}); trying again until there is space");
                }
                tokio::time::sleep(FREE_SPACE_INTERVAL).await;
            }
            other => return other,
        }
    }
}

/// Opens the catalog anew for those who read it, each time that its file was written out again: what they had open is
/// the file that is gone.
async fn reopen(mut health: watch::Receiver<Health>, env: Env, readers: Vec<Arc<Mutex<Connection>>>) {
    let mut seen = health.borrow().written_out;
    while health.changed().await.is_ok() {
        let now = health.borrow_and_update().written_out;
        if std::mem::replace(&mut seen, now) == now {
            continue;
        }
        for reader in &readers {
            let (data_dir, reader) = (env.data_dir.clone(), Arc::clone(reader));
            let opened = blocking(move || {
                let db = catalog::open_reader(&data_dir)?;
                *reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = db;
                Ok(())
            });
            if let Err(e) = opened.await {
                tracing::error!("the catalog cannot be opened again for reading: {e}");
            }
        }
    }
}

async fn blocking<T: Send + 'static>(job: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(job)
        .await
        .unwrap_or_else(|e| Err(Failure::new(Kind::Failed, "a task ended").because(e)))
}

fn source_log(env: &Env) -> Arc<dyn LineLog> {
    match FileLog::open(&env.data_dir.join(SOURCE_LOG), Arc::clone(&env.clock)) {
        Ok(log) => Arc::new(log),
        Err(e) => {
            tracing::warn!("cannot keep the log of mplayer and ffmpeg: {SOURCE_LOG}: {e}");
            Arc::new(NoLog)
        }
    }
}

async fn add_refresh(ticker: &Ticker, env: &Env, writer: &Writer, reader: &Arc<Mutex<Connection>>) -> Result<()> {
    let cron = env.settings.refresh.cron.trim();
    if cron.is_empty() {
        return Ok(());
    }
    let busy = Arc::new(tokio::sync::Mutex::new(()));
    let cache = Arc::default();
    let (env, writer, reader) = (env.clone(), writer.clone(), Arc::clone(reader));
    let expression = cron.to_owned();
    ticker
        .add(
            &expression,
            Arc::new(move || {
                let (env, writer, reader, busy) = (env.clone(), writer.clone(), Arc::clone(&reader), Arc::clone(&busy));
                let cache = Arc::clone(&cache);
                Box::pin(async move {
                    // A slow server must not make refreshes pile up.
                    let Ok(_one_at_a_time) = busy.try_lock() else { return };
                    refresh::refresh_all(&env, &reader, &writer, &cache).await;
                })
            }),
        )
        .await
        .map_err(|e| {
            Failure::new(Kind::Usage, format!("refresh.cron: {expression:?} is not a cron expression"))
                .because(e)
                .hint("six fields: second minute hour day month weekday, UTC; \"0 */5 * * * *\" is every five minutes, \"\" is never")
        })
}

/// Backups of the catalog: one that fails is tried again at the next look, and said once.
async fn add_backup(ticker: &Ticker, env: &Env) -> std::result::Result<(), tokio_cron_scheduler::JobSchedulerError> {
    let (busy, env) = (Arc::new(Mutex::new(String::new())), env.clone());
    let task = move || -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        let (busy, env) = (Arc::clone(&busy), env.clone());
        Box::pin(async move {
            let job = move || {
                let Ok(mut said) = busy.try_lock() else { return };
                let problem = match backup::hourly(&env) {
                    Ok(Some(path)) => {
                        tracing::debug!("backup of the catalog: {}", path.display());
                        String::new()
                    }
                    Ok(None) => return,
                    Err(e) => e.to_string(),
                };
                if !problem.is_empty() && *said != problem {
                    tracing::warn!("no backup of the catalog: {problem}");
                }
                *said = problem;
            };
            if let Err(e) = tokio::task::spawn_blocking(job).await {
                tracing::warn!("no backup of the catalog: {e}");
            }
        })
    };
    ticker.add(backup::CRON, Arc::new(task)).await
}

/// Tells what the daemon does, every second: to the file that `status` reads, and to whoever looks on.
async fn tell(
    core: Arc<Core>,
    env: Env,
    started: Ms,
    problems: Vec<String>,
    doing: watch::Receiver<CurrentJob>,
    seen: watch::Sender<Status>,
) {
    let mut failed = false;
    loop {
        let mut status = status::of_core(&core, &env, started).await;
        status.problems.extend_from_slice(&problems);
        {
            let doing = doing.borrow();
            status.working_on.clone_from(&doing.what);
            status.waiting = doing.waiting;
        }
        let data_dir = env.data_dir.clone();
        let copy = status.clone();
        let written = tokio::task::spawn_blocking(move || status::write(&data_dir, &copy)).await;
        if let Ok(Err(e)) = written
            && !std::mem::replace(&mut failed, true)
        {
            tracing::warn!("the status cannot be written: {e}");
        }
        seen.send_replace(status);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Keeps the machine from sleeping while something is recorded, or will be soon.
async fn stay_awake(core: Arc<Core>, env: Env) {
    let mut awake = SleepInhibitor::default();
    loop {
        let now = env.clock.now();
        let soon = |window: Interval| window.end > now && window.start.since(now) <= AWAKE_MS;
        let wanted = core.wanted().await.tapes.iter().any(|tape| soon(tape.window));
        awake.keep(wanted || !core.tapes().await.is_empty()).await;
        tokio::time::sleep(AWAKE_INTERVAL).await;
    }
}

async fn beat(mut heart: Heartbeat) {
    loop {
        heart.beat();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Resolves when no tape runs or will run, and everything that was taped is joined.
async fn until_done(
    core: &Core,
    env: &Env,
    reader: &Arc<Mutex<Connection>>,
    scope: Option<EventId>,
    doing: &watch::Receiver<CurrentJob>,
) {
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        let now = env.clock.now();
        if !core.tapes().await.is_empty() || core.wanted().await.tapes.iter().any(|t| t.window.end > now) {
            continue;
        }
        let asked = env.clone();
        let (idle, given_up) = {
            let doing = doing.borrow();
            (doing.what.is_none(), doing.given_up)
        };
        match crate::app::support::blocking::read(reader, move |db| worker::is_done(db, &asked, scope, given_up)).await
        {
            Ok(true) if idle => return,
            Ok(_) => {}
            Err(e) => tracing::debug!("cannot tell yet whether everything is done: {e}"),
        }
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
