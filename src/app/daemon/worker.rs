//! What is done with segments once they are closed: look at their media, join talks, prune fragments.
//! One thing at a time, beside the tapes and never in their way.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::app::library::assemble::{self, AssembleOutcome};
use crate::app::library::index::IndexOutcome;
use crate::app::library::prune::PruneRequest;
use crate::app::library::{adopt, index, prune, retention};
use crate::app::support::blocking::read;
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::app::support::free_space;
use crate::app::support::humanize::size;
use crate::catalog::schedule::{self, TalkFilter};
use crate::catalog::writer::Writer;
use crate::catalog::{self, assembly_queue, incidents, segments};
use crate::domain::ids::{EventId, SegmentId, TalkId};
use crate::domain::interval::Interval;
use crate::domain::segment::Verdict;
use crate::domain::talk::Talk;
use crate::domain::time::{Ms, SECOND};
use crate::media::CancellationToken;
use crate::notify::{Dispatcher, InFlight};
use crate::plan::wanted::window_of;

/// Without news the worker looks this often: settling times run out by themselves.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A talk whose assembly failed so often no longer holds up `--until-done`; a segment that could not be looked
/// at so often no longer holds up its talk, which is joined again should it succeed later.
const MAX_ATTEMPTS: u32 = 4;

/// How often it is looked what is old enough to be deleted: ages are days, and sizes grow by a file at a time.
const RETENTION_INTERVAL: Duration = Duration::from_secs(3600);

/// The longest wait before a segment that could not be looked at is looked at again.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(300);

/// The worker of a daemon.
#[derive(Debug)]
pub struct Worker {
    env: Env,
    reader: Arc<Mutex<Connection>>,
    writer: Writer,
    scope: Option<EventId>,
    closed: mpsc::UnboundedReceiver<Uuid>,
    doing: watch::Sender<CurrentJob>,
    done: Option<(mpsc::UnboundedSender<JoinNotice>, Dispatcher)>,
    disk_low: bool,
    hard: HashMap<SegmentId, FailedSegment>,
    retained: Option<Instant>,
}

/// A segment that cannot be looked at: its file, the programs, or we ourselves failed.
#[derive(Clone, Copy, Debug)]
struct FailedSegment {
    tries: u32,
    again: Instant,
}

/// A talk that the worker is done with, until something of it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinedTalk {
    /// Talk that was joined.
    pub talk: TalkId,
    /// Its file was made just now; else there is nothing to make one of.
    pub made: bool,
}

/// A talk that the worker is done with. Until the other half is dropped, its file counts as not handed over yet.
pub type JoinNotice = (JoinedTalk, InFlight);

/// What the worker is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentJob {
    /// In words, `None` while it rests.
    pub what: Option<String>,
    /// Talks that wait to be joined, or segments to be looked at; 0: nothing is left to do now.
    pub waiting: i64,
    /// Segments that were given up for now: they could not be looked at, again and again.
    pub given_up: usize,
    /// Rounds finished since the start.
    pub rounds: u64,
}

impl Worker {
    /// A worker that looks at what `closed` names, and at what is left from before.
    #[must_use]
    pub fn new(
        env: Env,
        reader: Connection,
        writer: Writer,
        scope: Option<EventId>,
        closed: mpsc::UnboundedReceiver<Uuid>,
    ) -> (Self, watch::Receiver<CurrentJob>) {
        let (doing, seen) = watch::channel(CurrentJob::default());
        let reader = Arc::new(Mutex::new(reader));
        let hard = HashMap::new();
        (Self { env, reader, writer, scope, closed, doing, done: None, disk_low: false, hard, retained: None }, seen)
    }

    /// What it reads the catalog with.
    pub(super) fn reader(&self) -> Arc<Mutex<Connection>> {
        Arc::clone(&self.reader)
    }

    /// Tells `done` of each talk that it is done with, whose file is to go by `post`. Nobody has to listen.
    #[must_use]
    pub fn telling(mut self, done: mpsc::UnboundedSender<JoinNotice>, post: Dispatcher) -> Self {
        self.done = Some((done, post));
        self
    }

    fn tell(&self, talk: TalkId, made: bool) {
        if let Some((done, post)) = &self.done {
            let _ = done.send((JoinedTalk { talk, made }, post.expect_file()));
        }
    }

    /// Works for ever; to be dropped when the daemon ends (children die with their handles, half-made
    /// files are found at the next start).
    pub(super) async fn run(mut self) {
        match self.take_in().await {
            Ok(0) => {}
            Ok(n) => tracing::warn!("{n} joined file(s) found that were not in the catalog; added"),
            Err(e) => tracing::error!("cannot search for joined files that are not in the catalog: {e}"),
        }
        loop {
            if let Err(e) = self.round().await {
                tracing::error!("after the recording: {e}");
            }
            let given_up = self.given_up().len();
            self.doing.send_modify(|d| {
                d.what = None;
                d.given_up = given_up;
                d.rounds += 1;
            });
            let _ = tokio::time::timeout(POLL_INTERVAL, self.closed.recv()).await;
        }
    }

    /// Takes in joined files that no row names, before anything is joined: the first join of a catalog that was
    /// begun anew could otherwise replace a file by one with less. Says how many.
    async fn take_in(&self) -> Result<usize> {
        self.say("looking for joined files that the catalog does not know".to_owned());
        // A file that another process is about to enter is none of these.
        let turn = assemble::turn(&self.env).await?;
        let (env, cancel) = (self.env.clone(), CancellationToken::new());
        let _stop = cancel.clone().drop_guard();
        let look = tokio::task::spawn_blocking(move || {
            // Until it has ended, also where nobody waits for it any more.
            let _turn = turn;
            let mut db = catalog::open_writer(&env.data_dir)?;
            let taken = adopt::adopt_assemblies(&mut db, &env, &cancel)?;
            if taken > 0 {
                let what = format!("{taken} unknown joined file(s) taken in");
                incidents::note(&db, None, "recovered", &what, env.clock.now())?;
            }
            Ok(taken)
        });
        look.await.unwrap_or_else(|e| Err(Failure::new(Kind::Failed, "a task ended").because(e)))
    }

    fn say(&self, what: String) {
        self.doing.send_modify(|d| d.what = Some(what));
    }

    /// Looks at what was closed, and joins what is due. Idempotent. A segment that cannot be looked at, or a talk
    /// that cannot be joined, is tried again later and holds up no other.
    ///
    /// # Errors
    /// When the catalog cannot be used: the next round tries again.
    pub async fn round(&mut self) -> Result<()> {
        let unchecked = self.read(|db| Ok(segments::unfinished(db, Verdict::Unchecked)?)).await?;
        for segment in unchecked {
            if self.hard.get(&segment).is_some_and(|hard| hard.again > Instant::now()) {
                continue;
            }
            self.say(format!("looking at segment {segment}"));
            let (env, reader, writer) = (self.env.clone(), Arc::clone(&self.reader), self.writer.clone());
            let looked = apart(async move { index::index_segment(&env, &reader, &writer, segment).await }).await;
            match looked {
                Ok(Ok(IndexOutcome::Done)) => drop(self.hard.remove(&segment)),
                Ok(Ok(IndexOutcome::NotNow(why))) | Err(why) => self.put_off(segment, &why),
                // Perhaps no matter of this segment. It goes on all the same: segments come in one order for ever,
                // and what stopped here would never reach those behind it.
                Ok(Err(e)) => self.put_off(segment, &e.to_string()),
            }
        }
        let due = self.due().await?;
        let mut left = i64::try_from(due.len()).unwrap_or(i64::MAX);
        for talk in due {
            self.doing.send_modify(|d| d.waiting = left);
            if self.is_disk_low().await? {
                break;
            }
            self.say(format!("joining talk {}: {}", talk.id, talk.title));
            self.assemble(&talk).await?;
            left -= 1;
        }
        self.doing.send_modify(|d| d.waiting = left);
        if left == 0 && self.retained.is_none_or(|last| last.elapsed() >= RETENTION_INTERVAL) {
            self.retain().await?;
        }
        Ok(())
    }

    /// Deletes what is older than the user keeps it.
    async fn retain(&mut self) -> Result<()> {
        self.retained = Some(Instant::now());
        if retention::is_on(&self.env) {
            self.say("looking for what is old enough to be deleted".to_owned());
            let (env, reader, writer) = (self.env.clone(), Arc::clone(&self.reader), self.writer.clone());
            let done = apart(async move { retention::retain(&env, &reader, &writer, false).await }).await;
            done.unwrap_or_else(|panic| Err(Failure::new(Kind::Failed, panic)))?;
        }
        Ok(())
    }

    fn put_off(&mut self, segment: SegmentId, why: &str) {
        let tries = self.hard.get(&segment).map_or(1, |hard| hard.tries.saturating_add(1));
        let wait = MAX_RETRY_DELAY.min(POLL_INTERVAL * 2_u32.saturating_pow(tries.min(16)));
        tracing::warn!("segment {segment} cannot be indexed now, retrying in {} s: {why}", wait.as_secs());
        self.hard.insert(segment, FailedSegment { tries, again: Instant::now() + wait });
    }

    fn given_up(&self) -> HashSet<SegmentId> {
        self.hard.iter().filter(|(_, hard)| hard.tries >= MAX_ATTEMPTS).map(|(id, _)| *id).collect()
    }

    /// True where joining must wait for space. Says so once, and prunes what may go.
    async fn is_disk_low(&mut self) -> Result<bool> {
        let reserve = self.env.settings.disk.reserve_bytes;
        let free = free_space::free_bytes(&self.env.data_dir).unwrap_or(u64::MAX);
        let low = free < reserve;
        if low != std::mem::replace(&mut self.disk_low, low) {
            if low {
                tracing::error!(
                    "disk-full: {} free, less than disk.reserve ({}): joining is paused, recording continues",
                    size(free),
                    size(reserve)
                );
                prune::prune(&self.env, &self.reader, &self.writer, PruneRequest::default()).await?;
                self.retain().await?;
            } else {
                tracing::info!("the disk has free space again: joining continues");
            }
        }
        Ok(low)
    }

    async fn assemble(&self, talk: &Talk) -> Result<()> {
        let now = self.env.clock.now();
        let (env, reader, writer, id) = (self.env.clone(), Arc::clone(&self.reader), self.writer.clone(), talk.id);
        let joined = apart(async move {
            assemble::assemble_talk(&env, &reader, &writer, id, false, assemble::no_progress()).await
        });
        match joined.await.unwrap_or_else(|panic| Err(Failure::new(Kind::Failed, panic))) {
            Ok(AssembleOutcome::Made { path, duration_ms, gaps }) => {
                let seconds = duration_ms / 1000;
                tracing::info!("joined {:?}: {} ({seconds} s, {gaps} gaps)", talk.title, path.display());
                self.tell(talk.id, true);
                prune::prune(&self.env, &self.reader, &self.writer, PruneRequest::default()).await?;
            }
            Ok(AssembleOutcome::Nothing(why)) => {
                tracing::debug!("talk {}: {why}", talk.id);
                self.tell(talk.id, false);
            }
            Ok(other) => tracing::debug!("talk {}: {other:?}", talk.id),
            Err(e) => {
                tracing::error!("talk {} {:?} cannot be joined: {e}", talk.id, talk.title);
                let (id, problem) = (talk.id, e.to_string());
                self.writer.call(move |db| assembly_queue::failed(db, id, &problem, now)).await?;
            }
        }
        Ok(())
    }

    /// Talks whose window ended long enough ago and whose media is all closed.
    async fn due(&self) -> Result<Vec<Talk>> {
        let now = self.env.clock.now();
        let (record, settle) = (self.env.settings.record.clone(), self.env.settings.assemble.settle_ms);
        let scope = self.scope;
        let given_up = self.given_up();
        self.read(move |db| {
            let listed = assembly_queue::due(db, now)?;
            if listed.is_empty() {
                return Ok(listed);
            }
            let events = schedule::events(db)?;
            let mut out = Vec::new();
            for talk in listed {
                let window = window_of(&talk, events.iter().find(|e| e.id == talk.event), &record);
                if scope.is_none_or(|e| e == talk.event)
                    && window.end.plus(settle) <= now
                    && !is_open(db, &talk, window, &given_up)?
                {
                    out.push(talk);
                }
            }
            Ok(out)
        })
        .await
    }

    async fn read<T: Send + 'static>(&self, job: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        read(&self.reader, job).await
    }
}

/// Does a piece of work in a task of its own, which ends when this is dropped: a panic in it, a bug of ours, is the
/// failure of that piece and not the end of all joining. The error is in words.
async fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> std::result::Result<T, String> {
    AbortOnDropHandle::new(tokio::spawn(work)).await.map_err(|e| format!("internal error: {e}"))
}

/// True while a segment that holds part of the window waits to be looked at (and is not `given_up`), or is being
/// written and has not come to the window's end yet.
fn is_open(db: &Connection, talk: &Talk, window: Interval, given_up: &HashSet<SegmentId>) -> Result<bool> {
    // A minute more: a segment's own clock is known only once it is indexed.
    let near = window.padded(0, 60 * SECOND);
    let found = segments::segments_of_hall(db, talk.hall, near)?;
    Ok(found.iter().any(|s| match s.verdict {
        Verdict::Open => s.at.start < window.end && s.at.end < window.end,
        Verdict::Unchecked => !given_up.contains(&s.id),
        _ => false,
    }))
}

/// True when nothing is left to do for talks whose window is past: for `--until-done`. `given_up`: so many
/// segments are not waited for.
pub(super) fn is_done(db: &Connection, env: &Env, scope: Option<EventId>, given_up: usize) -> Result<bool> {
    let now: Ms = env.clock.now();
    if segments::unfinished(db, Verdict::Unchecked)?.len() > given_up
        || !segments::unfinished(db, Verdict::Open)?.is_empty()
    {
        return Ok(false);
    }
    let filter = TalkFilter { event: scope, ..TalkFilter::default() };
    Ok(assembly_queue::count(db, filter, MAX_ATTEMPTS, now)? == 0)
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
