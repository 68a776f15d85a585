//! Sources: what turns a stream into bytes that end.
//!
//! A source is opened, gives bytes until they end, can be told to stop, and says in the end what it
//! knows about why. The rest of the program sees no difference between them.

use std::fmt;
use std::pin::Pin;

use tokio::io::AsyncRead;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::domain::segment::EndReason;
use crate::domain::stream_url::StreamUrl;

/// A running source: one connection to a stream.
pub struct Running {
    /// What it delivers. Ends when the source has ended and everything was read.
    pub bytes: Pin<Box<dyn AsyncRead + Send>>,
    /// Cancel to stop it: TERM, after 5 s KILL, for the whole process group. What is left in the pipe
    /// can still be read.
    pub stop: CancellationToken,
    /// Resolves once, after the source has ended and its process was waited for.
    pub ended: oneshot::Receiver<SourceEnd>,
    /// The child process, if it is one.
    pub process: Option<ProcessId>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("process", &self.process).finish_non_exhaustive()
    }
}

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessId {
    /// Process id, also its process group.
    pub pid: u32,
    /// Start time in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub start_ticks: u64,
}

/// What a source said about its end. Only one of the facts that the tape judges by: mplayer exits 0
/// whatever happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceEnd {
    /// What its lines or its exit mean, where they mean anything.
    pub reason: Option<EndReason>,
    /// Its own words, without passwords, for people.
    pub detail: Option<String>,
}

/// Opens sources of one sort.
pub trait Source: Send + Sync + fmt::Debug {
    /// Short name: `mplayer`, `ffmpeg`; stored with each connection.
    fn name(&self) -> &'static str;

    /// Starts it on a stream. `label` marks its lines in the log (hall and connection).
    ///
    /// # Errors
    /// When it cannot be started at all (program missing, no process to be had). What goes wrong later
    /// shows as an end.
    fn open(&self, url: &StreamUrl, label: &str) -> Result<Running, SourceEnd>;
}
