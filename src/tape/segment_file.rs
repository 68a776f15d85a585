//! One segment: a file that is written, hashed and synced beside the reader, which never waits for it.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use chrono_tz::Tz;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::budget::Budget;
use super::disk::{Disk, DiskFile, FileLoss};
use super::events::{TapeEvent, TapeSink};
use crate::domain::clock::Clock;
use crate::domain::ids::HallId;
use crate::domain::name::slug;
use crate::domain::segment::{Container, EndReason, Mark};
use crate::domain::time::{Ms, SECOND};

/// So much may wait for the disk: two minutes of 2 Mbit/s. Bytes.
pub const BUFFER_BYTES: usize = 32 << 20;

/// Between two writes. Every write is a hand-over to a thread and back, which costs more than the write; and
/// what waits in memory is lost by a kill -9.
const WRITE_INTERVAL: Duration = Duration::from_millis(250);

/// Files are synced this often: a power cut costs no more.
const SYNC_INTERVAL: Duration = Duration::from_secs(10);

/// Marks are told to the catalog this often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// A full disk is tried again after this time.
const FULL_DISK_RETRY: Duration = Duration::from_secs(2);

/// What waits in memory when a segment ends on a full disk is kept for so long: recordings are deleted by hand, and
/// that takes a person some minutes.
const FULL_DISK_TIMEOUT: Duration = Duration::from_secs(300);

/// How long the catalog may take for the row before the file is made all the same.
const ROW_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two marks, milliseconds.
const MARK_INTERVAL_MS: i64 = SECOND;

/// Where a tape's segments go, and what they are called.
#[derive(Debug)]
pub(super) struct SegmentStore {
    pub clock: Arc<dyn Clock>,
    pub sink: Arc<dyn TapeSink>,
    pub disk: Arc<dyn Disk>,
    pub data_dir: PathBuf,
    pub buffer_bytes: usize,
    /// What all segments of all tapes may hold together.
    pub memory: Arc<Budget>,
    /// Numbers of files, from 1.
    pub count: AtomicU32,
    /// True while the disk takes nothing.
    pub full: AtomicBool,
    /// The daemon ends: no file waits for room on a full disk any more.
    pub hurry: CancellationToken,
}

/// Whose segment it is.
#[derive(Clone, Debug)]
pub(super) struct SegmentOwner {
    pub hall: HallId,
    pub event_slug: String,
    pub hall_slug: String,
    pub zone: Tz,
    pub connection: Uuid,
}

impl SegmentStore {
    /// `segments/27c3/saal-1/2010-12-27/saal-1_2010-12-27_20-04-47.132_0001.asf`, in the event's time.
    fn next_path(&self, owner: &SegmentOwner, at: Ms, container: Container) -> PathBuf {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let local = at.in_zone(owner.zone);
        let hall = slug(&owner.hall_slug, 80);
        let name = format!("{hall}_{}_{number:04}.{}", local.format("%Y-%m-%d_%H-%M-%S%.3f"), container.extension());
        ["segments", &slug(&owner.event_slug, 80), &hall, &local.format("%Y-%m-%d").to_string(), &name].iter().collect()
    }
}

/// How a segment ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub reason: EndReason,
    pub container: Container,
    pub not_media: bool,
}

/// A segment that takes bytes.
#[derive(Debug)]
pub(super) struct SegmentFile {
    shared: Arc<Shared>,
    writer: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
    /// Bytes were lost in the middle and the disk works again: the connection should make place for a new
    /// one, whose file begins with a header.
    broken: CancellationToken,
    limit: usize,
    memory: Arc<Budget>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // What was given up.
        let waiting = self.queue().waiting;
        self.memory.release(waiting);
    }
}

#[derive(Debug, Default)]
struct Queue {
    chunks: Vec<Bytes>,
    /// Bytes in `chunks` and in the writer's hands.
    waiting: usize,
    /// Bytes taken so far: the offset of the next one.
    taken: u64,
    lost: u64,
    marks: VecDeque<Mark>,
    /// When the newest of `marks`, told or not, was set.
    marked: Option<Ms>,
    /// Of the newest byte.
    last: Option<Mark>,
    ending: Option<Ending>,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SegmentFile {
    /// Begins a segment whose first byte came `at`. Row and file are made in the background.
    pub fn start(store: Arc<SegmentStore>, owner: SegmentOwner, container: Container, at: Ms) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Notify::new(),
            broken: CancellationToken::new(),
            limit: store.buffer_bytes,
            memory: store.memory.clone(),
        });
        let writer = Writer { store, owner, container, at, shared: shared.clone(), segment: Uuid::nil() };
        Self { shared, writer: tokio::spawn(writer.run()) }
    }

    /// Takes bytes that arrived `at`, at once. Where too many wait for the disk they are lost, and so is
    /// all that follows: the file must not have a hole in its middle.
    pub fn push(&self, bytes: Bytes, at: Ms) {
        let mut queue = self.shared.queue();
        let fits = queue.lost == 0 && queue.waiting + bytes.len() <= self.shared.limit;
        if !fits || !self.shared.memory.reserve(bytes.len()) {
            queue.lost += bytes.len() as u64;
        } else {
            queue.waiting += bytes.len();
            queue.taken += bytes.len() as u64;
            let mark = Mark { at, offset: queue.taken };
            // A clock that was set back must not silence the marks.
            if queue.marked.is_none_or(|marked| at.since(marked).abs() >= MARK_INTERVAL_MS) {
                queue.marks.push_back(mark);
                queue.marked = Some(at);
            }
            queue.last = Some(mark);
            queue.chunks.push(bytes);
        }
        drop(queue);
        self.shared.wake.notify_one();
    }

    /// Notes when the media of so many bytes was made, which the source knew. (Arrival is later.)
    pub fn add_mark(&self, made: Mark) {
        let mut queue = self.shared.queue();
        if queue.lost == 0 {
            queue.marks.push_back(made);
        }
    }

    /// Resolves when bytes were lost and the disk works again.
    pub fn broken(&self) -> CancellationToken {
        self.shared.broken.clone()
    }

    /// Writes what waits, syncs, and tells the catalog. On a full disk this takes some minutes, but at a shutdown.
    pub async fn close(self, ending: Ending) {
        self.shared.queue().ending = Some(ending);
        self.shared.wake.notify_one();
        if let Err(e) = self.writer.await {
            tracing::error!("a segment's writer failed: {e}");
        }
    }
}

struct Writer {
    store: Arc<SegmentStore>,
    owner: SegmentOwner,
    container: Container,
    at: Ms,
    shared: Arc<Shared>,
    segment: Uuid,
}

/// What goes into a blocking task and comes back.
struct Work {
    file: Option<Box<dyn DiskFile>>,
    path: PathBuf,
    hash: Sha256,
    written: u64,
    unwritten: VecDeque<Bytes>,
    sync: bool,
    dirty: bool,
    /// What somebody did to the file, to be told.
    loss: FileLoss,
    /// The file was cut short: nothing more is written into it.
    truncated: bool,
    /// Bytes that came after that.
    dropped: u64,
}

impl Work {
    /// Writes all there is, as far as the disk lets us.
    fn run(&mut self, store: &SegmentStore) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(store.disk.create(&store.data_dir, &self.path)?),
        };
        if self.truncated {
            self.dropped += self.unwritten.drain(..).map(|chunk| chunk.len() as u64).sum::<u64>();
            return Ok(());
        }
        while let Some(chunk) = self.unwritten.front_mut() {
            match file.write(chunk) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.hash.update(&chunk[..n]);
                    self.written += n as u64;
                    self.dirty = true;
                    chunk.advance(n);
                    if chunk.is_empty() {
                        self.unwritten.pop_front();
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if self.sync && self.dirty {
            file.sync()?;
            self.dirty = false;
            match file.look(self.written) {
                Ok(loss) => {
                    self.loss = loss;
                    self.truncated = matches!(loss, FileLoss::Truncated(_));
                }
                // The next look may succeed; what is open is written meanwhile.
                Err(e) => {
                    tracing::error!("{}: it was deleted or replaced while it is recorded: {e}", self.path.display());
                }
            }
        }
        Ok(())
    }
}

impl Writer {
    async fn run(mut self) {
        let mut work = Work {
            file: None,
            path: self.announce().await,
            hash: Sha256::new(),
            written: 0,
            unwritten: VecDeque::new(),
            sync: false,
            dirty: false,
            loss: FileLoss::None,
            truncated: false,
            dropped: 0,
        };
        let mut synced = Instant::now();
        let mut told = Instant::now();
        // The last mark that the catalog was told.
        let mut known: Option<Mark> = None;
        // Since when the end of the segment waits for a full disk.
        let mut stuck: Option<Instant> = None;
        let ending = loop {
            let ending = {
                let mut queue = self.shared.queue();
                work.unwritten.extend(queue.chunks.drain(..));
                queue.ending
            };
            if work.unwritten.is_empty() && ending.is_some() {
                break ending;
            }
            let sync_due = synced + SYNC_INTERVAL;
            if work.unwritten.is_empty() && (!work.dirty || Instant::now() < sync_due) {
                tokio::select! {
                    () = self.shared.wake.notified() => {}
                    () = sleep_until(sync_due), if work.dirty => {}
                }
                continue;
            }
            work.sync = Instant::now() >= sync_due;
            if work.sync {
                synced = Instant::now();
            }
            let before = work.written + work.dropped;
            let store = self.store.clone();
            let done = tokio::task::spawn_blocking(move || {
                let result = work.run(&store);
                (work, result)
            });
            let result;
            (work, result) = match done.await {
                Ok(done) => done,
                Err(e) => {
                    // The runtime is going down, and nothing can be written any more.
                    tracing::error!("writing a segment ended early: {e}");
                    return;
                }
            };
            let written = usize::try_from(work.written + work.dropped - before).unwrap_or(usize::MAX);
            self.shared.queue().waiting -= written;
            self.shared.memory.release(written);
            match result {
                Ok(()) => {
                    self.tell_loss(&mut work);
                    self.works_again();
                    let _ = timeout(WRITE_INTERVAL, self.ended()).await;
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && work.file.is_none() => {
                    // Someone made it between our look and our making: this row is nobody's now.
                    self.closed(Vec::new(), 0, Sha256::new(), None, 0);
                    work.path = self.announce().await;
                    continue;
                }
                Err(e) => {
                    self.is_full(&work, &e);
                    match ending {
                        None => drop(timeout(FULL_DISK_RETRY, self.ended()).await),
                        Some(Ending { reason, .. }) => {
                            let hurry = reason == EndReason::Shutdown || self.store.hurry.is_cancelled();
                            match stuck {
                                Some(since) if hurry || since.elapsed() >= FULL_DISK_TIMEOUT => break ending,
                                Some(_) => {}
                                None => stuck = Some(Instant::now()),
                            }
                            if !hurry {
                                let _ = timeout(FULL_DISK_RETRY, self.store.hurry.cancelled()).await;
                            }
                        }
                    }
                }
            }
            if Instant::now() >= told + PROGRESS_INTERVAL {
                told = Instant::now();
                let marks = self.marks_up_to(work.written);
                if let Some(last) = marks.last() {
                    known = Some(*last);
                    self.send(TapeEvent::Progress {
                        segment: self.segment,
                        marks,
                        bytes: work.written,
                        at: self.store.clock.now(),
                    });
                }
            }
        };
        self.finish(work, ending, known).await;
    }

    async fn finish(self, work: Work, ending: Option<Ending>, known: Option<Mark>) {
        let Work { file, path, mut hash, mut written, unwritten, truncated, dropped, .. } = work;
        let waiting: usize = unwritten.iter().map(Bytes::len).sum();
        if let Some(mut file) = file {
            // The file is dropped, and so closed, in there too.
            let done = tokio::task::spawn_blocking(move || {
                let synced = file.sync();
                // Of a file that was cut short, what is left counts.
                (synced, truncated.then(|| file.content().ok()).flatten())
            });
            match done.await {
                Ok((synced, left)) => {
                    if let Err(e) = synced {
                        tracing::error!("{}: cannot be synced: {e}", path.display());
                    }
                    if let Some(left) = left {
                        (written, hash) = left;
                    }
                }
                Err(e) => tracing::error!("{}: cannot be synced: {e}", path.display()),
            }
        }
        let mut marks = self.marks_up_to(written);
        let (lost, last) = {
            let queue = self.shared.queue();
            (queue.lost + dropped + waiting as u64, queue.last)
        };
        let newest = marks.last().copied().or(known);
        if let Some(last) = last.filter(|last| last.offset <= written && newest != Some(*last)) {
            marks.push(last);
        }
        self.closed(marks, written, hash, ending, lost);
    }

    /// Chooses a name, tells the catalog, and waits a little for its answer: the row first, then the file.
    async fn announce(&mut self) -> PathBuf {
        let path = loop {
            let path = self.store.next_path(&self.owner, self.at, self.container);
            let (store, candidate) = (self.store.clone(), path.clone());
            let taken = tokio::task::spawn_blocking(move || store.disk.exists(&store.data_dir, &candidate));
            if !taken.await.unwrap_or(false) {
                break path;
            }
        };
        self.segment = Uuid::new_v4();
        let answer = self.store.sink.send(TapeEvent::SegmentOpened {
            segment: self.segment,
            connection: self.owner.connection,
            hall: self.owner.hall,
            path: path.clone(),
            container: self.container,
            at: self.at,
        });
        if timeout(ROW_TIMEOUT, answer).await.is_err() {
            tracing::warn!("the catalog does not respond; {} is recorded without waiting for it", path.display());
        }
        path
    }

    /// Until the end was asked for; other bytes do not matter now.
    async fn ended(&self) {
        while self.shared.queue().ending.is_none() {
            self.shared.wake.notified().await;
        }
    }

    /// Marks of bytes that are in the file, which were not told yet.
    fn marks_up_to(&self, written: u64) -> Vec<Mark> {
        let mut queue = self.shared.queue();
        let n = queue.marks.iter().take_while(|m| m.offset <= written).count();
        queue.marks.drain(..n).collect()
    }

    fn is_full(&self, work: &Work, error: &io::Error) {
        if !self.store.full.swap(true, Ordering::Relaxed) {
            tracing::error!("{}: cannot be written: {error}; trying again", work.path.display());
            self.send(TapeEvent::DiskFull { hall: self.owner.hall, full: true, at: self.store.clock.now() });
        }
    }

    /// Tells what somebody did to the file. One that was cut short ends: the connection makes place for the next one,
    /// whose file begins with a header.
    fn tell_loss(&self, work: &mut Work) {
        let path = work.path.display();
        let message = match std::mem::replace(&mut work.loss, FileLoss::None) {
            FileLoss::None => return,
            FileLoss::WrittenOutAgain => {
                format!(
                    "{path} was deleted or moved while it was recorded; it was written out again, nothing is missing"
                )
            }
            FileLoss::Truncated(left) => {
                self.shared.queue().lost += 1;
                self.shared.broken.cancel();
                format!(
                    "{path} was cut to {left} of {} bytes while it was recorded; recording goes on in a new file",
                    work.written
                )
            }
        };
        tracing::error!("file-damaged: {message}");
        self.send(TapeEvent::FileDamaged { hall: self.owner.hall, message, at: self.store.clock.now() });
    }

    /// Everything that waited is written.
    fn works_again(&self) {
        let lost = self.shared.queue().lost;
        let newly_broken = lost > 0 && !self.shared.broken.is_cancelled();
        if newly_broken && !self.store.full.swap(true, Ordering::Relaxed) {
            // The disk was too slow rather than full; for the recording it is the same.
            self.send(TapeEvent::DiskFull { hall: self.owner.hall, full: true, at: self.store.clock.now() });
        }
        if self.store.full.swap(false, Ordering::Relaxed) {
            self.send(TapeEvent::DiskFull { hall: self.owner.hall, full: false, at: self.store.clock.now() });
        }
        if newly_broken {
            tracing::error!("{lost} bytes were lost: the disk was full or too slow");
            self.shared.broken.cancel();
        }
    }

    fn closed(&self, marks: Vec<Mark>, bytes: u64, hash: Sha256, ending: Option<Ending>, lost_bytes: u64) {
        let Ending { reason, container, not_media } =
            ending.unwrap_or(Ending { reason: EndReason::DiskFull, container: self.container, not_media: false });
        self.send(TapeEvent::SegmentClosed {
            segment: self.segment,
            marks,
            bytes,
            lost_bytes,
            sha256: hash.finalize().into(),
            container,
            not_media,
            reason,
            at: self.store.clock.now(),
        });
    }

    fn send(&self, event: TapeEvent) {
        // Only the row of a new segment is waited for.
        drop(self.store.sink.send(event));
    }
}

#[cfg(test)]
mod tests;
