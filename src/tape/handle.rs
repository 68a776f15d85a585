//! What a tape is told, and what it shows of itself.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono_tz::Tz;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::budget::{Budget, MEMORY_BYTES};
use super::disk::{Disk, RealDisk};
use super::events::TapeSink;
use super::segment_file::BUFFER_BYTES;
use crate::domain::clock::Clock;
use crate::domain::hall::{Recorder, Stream};
use crate::domain::hls::Quality;
use crate::domain::ids::HallId;
use crate::domain::segment::EndReason;
use crate::domain::settings::Record;
use crate::domain::stream_url::StreamUrl;
use crate::domain::time::Ms;
use crate::source::Sources;

/// What to tape, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapeOrder {
    /// Hall that is recorded.
    pub hall: HallId,
    /// For messages.
    pub hall_name: String,
    /// Folder of the event.
    pub event_slug: String,
    /// Folder of the hall, and the beginning of its files' names.
    pub hall_slug: String,
    /// The event's zone, for file names.
    pub zone: Tz,
    /// Mirrors, the preferred one first. Without any the tape waits.
    pub streams: Vec<Stream>,
    /// What turns them into bytes.
    pub recorder: Recorder,
    /// Which rendition, where a stream has several.
    pub quality: Quality,
    /// How many connections may be open at once; 1: handovers are skipped, but for one to another server where the
    /// stream is not listed any more.
    pub max_connections: u32,
    /// Media from before is not wanted, of a source that could reach back so far.
    pub from: Ms,
    /// End of the union of windows.
    pub until: Ms,
    /// Starts of windows inside: a handover at each. Past ones do no harm.
    pub boundaries: Vec<Ms>,
    /// Handovers begin so long before their boundary, so that the halls' are spread. Milliseconds.
    pub handover_lead_ms: i64,
}

/// What a tape needs.
#[derive(Clone, Debug)]
pub struct TapeDeps {
    /// Source of wall-clock and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Where its events go.
    pub sink: Arc<dyn TapeSink>,
    /// What opens streams.
    pub sources: Sources,
    /// Files go below it.
    pub data_dir: PathBuf,
    /// Timeouts and other settings of recording.
    pub record: Record,
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// So much may wait for the disk, per connection.
    pub buffer_bytes: usize,
    /// Limit for unwritten bytes of all tapes that share this budget.
    pub memory: Arc<Budget>,
    /// Files are numbered from here on, so that two lanes of a hall never ask for the same name.
    pub first_number: u32,
}

impl TapeDeps {
    /// On the real file system.
    #[must_use]
    pub fn new(
        clock: Arc<dyn Clock>,
        sink: Arc<dyn TapeSink>,
        sources: Sources,
        data_dir: PathBuf,
        record: Record,
    ) -> Self {
        Self {
            clock,
            sink,
            sources,
            data_dir,
            record,
            disk: Arc::new(RealDisk),
            buffer_bytes: BUFFER_BYTES,
            memory: Arc::new(Budget::of(MEMORY_BYTES)),
            first_number: 0,
        }
    }
}

/// What a tape is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapeState {
    /// The hall has no stream.
    NoStream,
    /// A connection is open, and no byte has come yet.
    Connecting,
    /// Bytes are arriving.
    Taping,
    /// Waiting until then for the next try.
    Waiting(Ms),
    /// It was told to stop, or its time is over.
    Stopping,
    /// Over: nothing runs any more.
    Ended,
}

/// A look at a tape, half a second old at most.
#[derive(Clone, Debug, PartialEq)]
pub struct TapeStatus {
    /// When it began.
    pub since: Ms,
    /// What it is doing.
    pub state: TapeState,
    /// The stream it is connected to.
    pub stream: Option<StreamUrl>,
    /// Bytes received by all its connections; at handovers twice.
    pub bytes: u64,
    /// Bytes per second of the connection over the last seconds.
    pub bytes_per_second: f64,
    /// Connections opened so far.
    pub connections: u32,
    /// The last thing that went wrong: when, what, and the source's words.
    pub last_trouble: Option<(Ms, EndReason, Option<String>)>,
    /// Arrival of the last byte of what passed for media, on the clock that nobody sets.
    pub last_media: Option<Instant>,
    /// The disk takes nothing at the moment.
    pub disk_full: bool,
    /// A handover is under way.
    pub handover: bool,
}

impl TapeStatus {
    /// For how long no media has come; `None` where none has come yet.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        self.last_media.map(|last| last.elapsed())
    }

    /// A tape of which nothing has come yet.
    pub(super) fn new(since: Ms, state: TapeState) -> Self {
        Self {
            since,
            state,
            stream: None,
            bytes: 0,
            bytes_per_second: 0.0,
            connections: 0,
            last_trouble: None,
            last_media: None,
            disk_full: false,
            handover: false,
        }
    }
}

/// A running tape. Dropping it stops the tape as a shutdown does.
#[derive(Debug)]
pub struct TapeHandle {
    control: watch::Sender<Control>,
    status: Arc<Mutex<TapeStatus>>,
    task: JoinHandle<()>,
    over: bool,
}

/// What a tape is told.
#[derive(Clone, Debug)]
pub(super) struct Control {
    pub order: TapeOrder,
    pub stop: Option<EndReason>,
}

impl TapeHandle {
    pub(super) fn new(control: watch::Sender<Control>, status: Arc<Mutex<TapeStatus>>, task: JoinHandle<()>) -> Self {
        Self { control, status, task, over: false }
    }

    /// Changes what is to be taped. Bytes that flow are not stopped by it before the old end: a later end,
    /// other boundaries and other streams count at once (a running connection to a stream that is no longer
    /// listed is left by a handover; where its server allows no second one, it ends before the next begins), an
    /// earlier end only where nothing flows. To end it, use [`TapeHandle::stop`].
    pub fn retarget(&self, order: TapeOrder) {
        self.control.send_if_modified(|control| {
            let changed = control.order != order;
            control.order = order;
            changed
        });
    }

    /// Ends it; the first reason counts. With `Unwanted` no further byte is kept.
    pub fn stop(&self, reason: EndReason) {
        self.control.send_if_modified(|control| {
            let first = control.stop.is_none();
            control.stop.get_or_insert(reason);
            first
        });
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> TapeStatus {
        lock(&self.status).clone()
    }

    /// True when it is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.over || self.task.is_finished()
    }

    /// Waits until all its connections and files are closed; at most 6 s after it was told to stop.
    pub async fn finished(&mut self) {
        if self.over {
            return;
        }
        if let Err(e) = (&mut self.task).await {
            tracing::error!("a tape failed: {e}");
        }
        self.over = true;
        lock(&self.status).state = TapeState::Ended;
    }
}

pub(super) fn lock(status: &Mutex<TapeStatus>) -> MutexGuard<'_, TapeStatus> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}
