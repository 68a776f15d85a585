//! One life of a source on a stream: opened, first byte, recognised, ended, and why.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::end_reason::{StopCause, judge_end};
use super::events::TapeEvent;
use super::read_pacing::next_read_delay;
use super::segment_file::{Ending, SegmentFile, SegmentOwner, SegmentStore};
use super::sniff_buffer::SniffBuffer;
use crate::domain::hall::{Recorder, Stream};
use crate::domain::hls::Quality;
use crate::domain::media_clock::MediaClock;
use crate::domain::segment::{Container, EndReason};
use crate::domain::settings::Record;
use crate::domain::sniff::{Sniff, sniff};
use crate::domain::time::Ms;
use crate::plan::hedge::Arrivals;
use crate::source::child::TERM_GRACE;
use crate::source::{Hints, OpenRequest, Running, Source, SourceEnd, ssrf_guard};

/// Memory for reads is taken in blocks of so many bytes, which are given back when they are written; a read that fills one
/// up is followed by the next at once. Hundreds of streams have a block each.
const READ_BYTES: usize = 32 * 1024;

/// How long the first bytes may wait in memory for their container to be known, and so their file's name.
const SNIFF_TIMEOUT: Duration = Duration::from_millis(500);

/// A source that has nothing more to give is killed if it has not ended after this time.
const EXIT_GRACE: Duration = Duration::from_millis(500);

/// HLS comes a segment at a time, and segments of ten seconds are usual: a stall is not called before this
/// time. Milliseconds.
const HLS_STALL_MS: i64 = 30_000;

/// What is needed to open one.
pub(super) struct ConnectionParams {
    pub id: Uuid,
    pub stream: Stream,
    pub source: Result<Arc<dyn Source>, SourceEnd>,
    /// Name of the source, also where there is none.
    pub source_name: &'static str,
    /// Marks its lines.
    pub label: String,
    pub owner: SegmentOwner,
    pub store: Arc<SegmentStore>,
    pub record: Record,
    /// A source that can reach back takes what was made since then.
    pub from: Ms,
    pub quality: Quality,
    /// There is no other mirror.
    pub alone: bool,
    /// How the bytes of this stream came so far.
    pub arrivals: Arrivals,
    /// When the clock of `arrivals` began.
    pub origin: Instant,
}

/// No bytes from a stream for so long is a stall. Milliseconds. `hls`: whatever receives it, it comes a chunk
/// at a time.
pub(super) fn stall_ms(record: &Record, hls: bool) -> i64 {
    if hls { record.stall_timeout_ms.max(HLS_STALL_MS) } else { record.stall_timeout_ms }
}

/// A connection that lives, or has just ended.
#[derive(Debug)]
pub(super) struct Connection {
    pub id: Uuid,
    pub stream: Stream,
    live: Arc<Mutex<ConnectionStats>>,
    stop: watch::Sender<Option<EndReason>>,
    over: oneshot::Receiver<ConnectionEnd>,
    task: JoinHandle<()>,
}

/// What is known of it while it lives.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ConnectionStats {
    pub bytes: u64,
    pub first_byte: Option<Instant>,
    pub last_byte: Option<Instant>,
    /// When media time went on for the last time: the one measure of whether a stream delivers. Not for a page, NULs or
    /// one frame again and again, though their bytes come.
    pub last_media: Option<Instant>,
    /// Since when media is recognised: the first byte's arrival.
    pub media_since: Option<Instant>,
    /// How its media came.
    pub arrivals: Arrivals,
}

impl ConnectionStats {
    /// How long it has been giving recognised media.
    pub fn good(self) -> Duration {
        match (self.media_since, self.last_media) {
            (Some(since), Some(last)) => last.duration_since(since),
            _ => Duration::ZERO,
        }
    }
}

/// The end of a connection: no byte comes from it any more.
#[derive(Clone, Debug)]
pub(super) struct ConnectionEnd {
    pub reason: EndReason,
    pub detail: Option<String>,
    /// How long it gave recognised media; `None` where it gave none.
    pub good: Option<Duration>,
}

impl Connection {
    /// Opens one, in a task of its own.
    pub fn open(params: ConnectionParams) -> Self {
        let live = ConnectionStats { arrivals: params.arrivals.reconnected(), ..ConnectionStats::default() };
        let live = Arc::new(Mutex::new(live));
        let (stop, asked) = watch::channel(None);
        let (tell, over) = oneshot::channel();
        let (id, stream, opened) = (params.id, params.stream.clone(), Instant::now());
        let life = ConnectionTask {
            params,
            live: live.clone(),
            asked,
            opened,
            hints: Hints::default(),
            pushed: 0,
            clock: None,
            head: Some(SniffBuffer::default()),
            segment: None,
        };
        Self { id, stream, live, stop, over, task: tokio::spawn(life.run(tell)) }
    }

    /// What is known of it.
    pub fn live(&self) -> ConnectionStats {
        *lock(&self.live)
    }

    /// Ends it; the first reason counts. `Unwanted` takes no further byte.
    pub fn stop(&self, reason: EndReason) {
        self.stop.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert(reason);
            first
        });
    }

    /// Waits for its last byte.
    pub async fn over(&mut self) -> ConnectionEnd {
        (&mut self.over).await.unwrap_or_else(|_| {
            tracing::error!("internal error: a connection's task failed");
            ConnectionEnd { reason: EndReason::SourceFailed, detail: Some("internal error".to_owned()), good: None }
        })
    }

    /// What remains to be done after the last byte: close the file, tell the catalog.
    pub fn into_task(self) -> JoinHandle<()> {
        self.task
    }
}

fn lock(live: &Mutex<ConnectionStats>) -> MutexGuard<'_, ConnectionStats> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

struct ConnectionTask {
    params: ConnectionParams,
    live: Arc<Mutex<ConnectionStats>>,
    asked: watch::Receiver<Option<EndReason>>,
    opened: Instant,
    /// What the source knows of when its media was made.
    hints: Hints,
    /// Bytes given to the segment.
    pushed: u64,
    /// The media that came; `None` until the sniffer has decided.
    clock: Option<MediaClock>,
    /// `None` once the sniffer has decided.
    head: Option<SniffBuffer>,
    segment: Option<(SegmentFile, Container)>,
}

impl ConnectionTask {
    async fn run(mut self, over: oneshot::Sender<ConnectionEnd>) {
        let at = self.params.store.clock.now();
        let running = match &self.params.source {
            Ok(source) => match self.may_open(source.as_ref()).await {
                Ok(()) => source.open_for(&OpenRequest {
                    hall: self.params.owner.hall,
                    url: self.params.stream.url.clone(),
                    label: self.params.label.clone(),
                    now: self.params.store.clock.now(),
                    from: self.params.from,
                    quality: self.params.quality,
                    alone: self.params.alone,
                    hints: self.hints.clone(),
                }),
                Err(end) => Err(end),
            },
            Err(end) => Err(end.clone()),
        };
        self.send(TapeEvent::ConnectionOpened {
            connection: self.params.id,
            hall: self.params.owner.hall,
            stream: self.params.stream.id,
            source: self.params.source_name,
            at,
            process: running.as_ref().ok().and_then(|r| r.process),
        });
        let (why, said) = match running {
            Ok(mut running) => {
                let why = self.read(&mut running).await;
                (why, self.end(running, why).await)
            }
            Err(end) => (self.asked.borrow().map_or(StopCause::Ended, StopCause::Asked), end),
        };
        let what = self.sniff_rest();
        let live = *lock(&self.live);
        let not_media = matches!(what, Some(Sniff::NotMedia(_)));
        let exact = self.params.source.as_ref().is_ok_and(|source| source.knows_its_end());
        let (reason, mut detail) = judge_end(why, what, live.bytes, said, exact);
        if reason == EndReason::Stalled {
            detail = Some(silence(live));
        }
        if let (EndReason::NotMedia, Some(Sniff::NotMedia(what))) = (reason, what) {
            detail = Some(what.to_string());
        }
        let at = self.params.store.clock.now();
        let _ =
            over.send(ConnectionEnd { reason, detail: detail.clone(), good: live.media_since.map(|_| live.good()) });
        if let Some((segment, container)) = self.segment.take() {
            segment.close(Ending { reason, container, not_media }).await;
        }
        self.send(TapeEvent::ConnectionClosed { connection: self.params.id, bytes: live.bytes, reason, detail, at });
    }

    /// Asks where the address leads, for as long as the connection is wanted; unless the source does that itself,
    /// which may know a proxy that knows the name.
    async fn may_open(&self, source: &dyn Source) -> Result<(), SourceEnd> {
        if source.checks_addresses() {
            return Ok(());
        }
        let mut asked = self.asked.clone();
        tokio::select! {
            biased;
            _ = asked.wait_for(Option::is_some) => Err(SourceEnd::default()),
            answer = ssrf_guard::check(&self.params.stream.url) => answer,
        }
    }

    /// Reads until there is a reason to stop.
    async fn read(&mut self, running: &mut Running) -> StopCause {
        let mut asked = self.asked.clone();
        let mut buffer = BytesMut::new();
        let mut pause: Option<Instant> = None;
        let built_in = self.params.source_name == Recorder::Hls.as_str();
        let stall_ms = stall_ms(&self.params.record, built_in || self.params.stream.url.is_hls());
        let mut first_byte_ms = self.params.record.first_byte_timeout_ms;
        if built_in {
            // What is new is waited for: asking for the same playlist on another connection brings nothing.
            first_byte_ms = first_byte_ms.max(HLS_STALL_MS);
        }
        let mut taken = 0;
        // Nothing follows what is there: it is read without pauses.
        let mut hurry = false;
        loop {
            let live = *lock(&self.live);
            let (limit, reason) = match live.last_media.or(live.first_byte) {
                None => (self.opened + ms(first_byte_ms), EndReason::NoFirstByte),
                Some(last) => (last + ms(stall_ms), EndReason::Stalled),
            };
            let has_unnamed = self.segment.is_none() && self.head.as_ref().is_some_and(|head| !head.has_nothing());
            let name_due = live.first_byte.filter(|_| has_unnamed).map(|first| first + SNIFF_TIMEOUT);
            let broken = self.segment.as_ref().map(|(segment, _)| segment.broken());
            make_room(&mut buffer);
            tokio::select! {
                biased;
                wanted = asked.wait_for(Option::is_some) => {
                    // A tape that is gone without a word has been shut down.
                    return StopCause::Asked(wanted.ok().and_then(|reason| *reason).unwrap_or(EndReason::Shutdown));
                }
                () = cancelled(broken.as_ref()) => return StopCause::Broken,
                () = until(pause), if pause.is_some() => pause = None,
                () = running.over.cancelled(), if !hurry => (pause, hurry) = (None, true),
                read = running.bytes.read_buf(&mut buffer), if pause.is_none() => match read {
                    Ok(n) if n > 0 => {
                        let is_full = n == buffer.capacity();
                        if self.receive(buffer.split().freeze()) {
                            return StopCause::NotMedia;
                        }
                        taken += n;
                        if !is_full && !hurry {
                            pause = Some(Instant::now() + next_read_delay(taken, self.params.store.clock.now()));
                            taken = 0;
                        }
                    }
                    // An error of a pipe is its end.
                    Ok(_) | Err(_) => return StopCause::Ended,
                },
                () = until(name_due), if name_due.is_some() => self.open_segment(Container::Unknown),
                () = sleep_until(limit) => return StopCause::TimedOut(reason),
            }
        }
    }

    /// Takes bytes that came now. True where they are no media.
    fn receive(&mut self, bytes: Bytes) -> bool {
        let at = self.params.store.clock.now();
        let now = Instant::now();
        let first = {
            let mut live = lock(&self.live);
            live.bytes += bytes.len() as u64;
            live.last_byte = Some(now);
            let first = live.first_byte.is_none();
            live.first_byte.get_or_insert(now);
            first
        };
        if first {
            self.send(TapeEvent::FirstByte { connection: self.params.id, at });
        }
        let Some(head) = &mut self.head else {
            self.count(&bytes, now);
            self.push(bytes, at);
            return false;
        };
        head.add(at, bytes.clone(), self.segment.is_some());
        let found = sniff(&head.bytes, false);
        if self.segment.is_some() {
            self.push(bytes, at);
        }
        match found {
            Sniff::NeedMore => false,
            Sniff::Media(container) => {
                self.open_segment(container);
                let first = self.head.take().map(|head| head.bytes).unwrap_or_default();
                self.clock = Some(MediaClock::new(container));
                self.count(&first, now);
                let mut live = lock(&self.live);
                if found.recognised().is_some() {
                    live.last_media = Some(now);
                    live.media_since = live.first_byte;
                }
                false
            }
            Sniff::NotMedia(_) => {
                self.open_segment(Container::Unknown);
                true
            }
        }
    }

    /// Notes whether bytes that came now brought media.
    fn count(&mut self, bytes: &[u8], now: Instant) {
        let Some(clock) = &mut self.clock else { return };
        let was = clock.container();
        if !clock.push(bytes) {
            return;
        }
        let container = clock.container();
        let mut live = lock(&self.live);
        live.last_media = Some(now);
        live.arrivals.arrived(i64::try_from(now.duration_since(self.params.origin).as_millis()).unwrap_or(i64::MAX));
        if container != was {
            // Behind what was none, the media begins here.
            live.media_since = Some(now);
            drop(live);
            self.open_segment(container);
        }
    }

    /// Begins the file if there is none yet, and notes what is in it.
    fn open_segment(&mut self, container: Container) {
        if let Some((_, known)) = &mut self.segment {
            *known = container;
            return;
        }
        let waiting = self.head.as_mut().map(|head| std::mem::take(&mut head.waiting)).unwrap_or_default();
        let Some(at) = waiting.first().map(|(at, _)| *at) else { return };
        let segment = SegmentFile::start(self.params.store.clone(), self.params.owner.clone(), container, at);
        self.segment = Some((segment, container));
        for (at, bytes) in waiting {
            self.push(bytes, at);
        }
    }

    /// Gives bytes to the segment, and before them what the source said of them and of those before.
    fn push(&mut self, bytes: Bytes, at: Ms) {
        let Some((segment, _)) = &self.segment else { return };
        self.pushed += bytes.len() as u64;
        for hint in self.hints.up_to(self.pushed) {
            segment.add_mark(hint);
        }
        segment.push(bytes, at);
    }

    /// Decides about what has not been decided yet, since nothing follows. `None`: it was media, or nothing.
    fn sniff_rest(&mut self) -> Option<Sniff> {
        let head = self.head.as_ref()?;
        if head.bytes.is_empty() {
            return None;
        }
        let found = sniff(&head.bytes, true);
        let container = match found {
            Sniff::Media(container) => container,
            _ => Container::Unknown,
        };
        self.open_segment(container);
        Some(found)
    }

    /// Ends the source, takes what it still gives, and waits for it.
    async fn end(&mut self, running: Running, why: StopCause) -> SourceEnd {
        let Running { mut bytes, stop, kill, mut ended, over: _, process: _ } = running;
        let patience = match why {
            StopCause::Asked(EndReason::Unwanted) | StopCause::Broken => Duration::ZERO,
            StopCause::Asked(reason) if reason != EndReason::Stalled => TERM_GRACE,
            StopCause::Asked(_) | StopCause::TimedOut(_) | StopCause::NotMedia | StopCause::Ended => EXIT_GRACE,
        };
        if why == StopCause::Ended {
            // It has mostly ended by itself.
            if let Ok(said) = timeout(EXIT_GRACE, &mut ended).await {
                return said.unwrap_or_default();
            }
        }
        stop.cancel();
        if patience.is_zero() {
            kill.cancel();
            drop(bytes);
        } else {
            let mut buffer = BytesMut::with_capacity(READ_BYTES);
            let drained = timeout(patience, async {
                while let Ok(n) = bytes.read_buf(&mut buffer).await
                    && n > 0
                {
                    self.receive(buffer.split().freeze());
                    make_room(&mut buffer);
                }
                // Its end, so that it is not killed while it tidies up.
                (&mut ended).await
            });
            if let Ok(said) = drained.await {
                return said.unwrap_or_default();
            }
            kill.cancel();
        }
        timeout(TERM_GRACE, ended).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    fn send(&self, event: TapeEvent) {
        drop(self.params.store.sink.send(event));
    }
}

/// How long it brought no media, for people.
fn silence(live: ConnectionStats) -> String {
    let since = |last: Option<Instant>| last.map_or(Duration::ZERO, |last| last.elapsed());
    let (no_media, no_byte) = (since(live.last_media.or(live.first_byte)), since(live.last_byte));
    if no_media > no_byte + Duration::from_secs(1) {
        return format!("no media for {:.1} s, though bytes came", no_media.as_secs_f64());
    }
    let longest = no_byte.max(ms(live.arrivals.longest_ms()));
    format!("no byte for {:.1} s", longest.as_secs_f64())
}

/// Sees to it that there is room for a read.
fn make_room(buffer: &mut BytesMut) {
    if buffer.capacity() < READ_BYTES / 2 {
        buffer.reserve(READ_BYTES);
    }
}

fn ms(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn cancelled(token: Option<&tokio_util::sync::CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}
