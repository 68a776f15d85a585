//! Sources: what turns a stream into bytes that end.
//!
//! A source is opened, gives bytes until they end, can be told to stop, and says in the end what it
//! knows about why. The rest of the program sees no difference between them.

pub mod child;
pub mod ffmpeg;
pub mod hls;
pub mod http;
mod lines;
pub mod log;
pub mod mplayer;
mod net;
pub mod ssrf_guard;

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncRead;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::domain::hall::Recorder;
use crate::domain::hls::Quality;
use crate::domain::ids::HallId;
use crate::domain::segment::{EndReason, Mark};
use crate::domain::stream_url::StreamUrl;
use crate::domain::time::Ms;
use log::LineLog;

/// A running source: one connection to a stream.
pub struct Running {
    /// What it delivers. Ends when the source has ended and everything was read.
    pub bytes: Pin<Box<dyn AsyncRead + Send>>,
    /// Cancel to stop it: TERM, after 5 s KILL, for the whole process group. What is left in the pipe
    /// can still be read.
    pub stop: CancellationToken,
    /// Cancel to end it at once (KILL), where there is nothing left to wait for.
    pub kill: CancellationToken,
    /// Resolves once, after the source has ended and its process was waited for.
    pub ended: oneshot::Receiver<SourceEnd>,
    /// Cancelled when no byte follows those that can be read now, so that its reader need not wait for its
    /// next turn. A source that cannot tell leaves it alone.
    pub over: CancellationToken,
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

/// What a tape asks of a source.
#[derive(Clone, Debug)]
pub struct OpenRequest {
    /// Whose tape asks: what one hall has taken, another has not.
    pub hall: HallId,
    /// Address of the stream.
    pub url: StreamUrl,
    /// Marks the source's lines in the log.
    pub label: String,
    /// The wall clock now.
    pub now: Ms,
    /// A source that can reach back takes what was made since then.
    pub from: Ms,
    /// Which rendition, where there are several.
    pub quality: Quality,
    /// There is no other mirror that could be tried instead.
    pub alone: bool,
    /// Where the source says when its media was made.
    pub hints: Hints,
}

/// What a source knows of the time at which its media was made: "the media in the first `offset` bytes was
/// complete by then". Clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct Hints(Arc<Mutex<VecDeque<Mark>>>);

impl Hints {
    /// Adds one; offsets only rise.
    pub fn push(&self, mark: Mark) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(mark);
    }

    /// Takes those of the first `bytes` bytes.
    #[must_use]
    pub fn up_to(&self, bytes: u64) -> Vec<Mark> {
        let mut hints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let n = hints.iter().take_while(|hint| hint.offset <= bytes).count();
        hints.drain(..n).collect()
    }
}

/// Opens sources of one sort.
pub trait Source: Send + Sync + fmt::Debug {
    /// Short name: `mplayer`, `ffmpeg`, `hls`; stored with each connection.
    fn name(&self) -> &'static str;

    /// True where what it says of its end is exact, also after bytes came. A program's last words may be about
    /// a try before.
    fn knows_its_end(&self) -> bool {
        false
    }

    /// True where it does by itself what [`ssrf_guard::check`] does before a program starts, at each step and with the
    /// addresses that it really connects to.
    fn checks_addresses(&self) -> bool {
        false
    }

    /// False where the program it needs is not installed.
    fn is_there(&self) -> bool {
        true
    }

    /// Starts it on a stream. `label` marks its lines in the log (hall and connection).
    ///
    /// # Errors
    /// When it cannot be started at all (program missing, no process to be had). What goes wrong later
    /// shows as an end.
    fn open(&self, url: &StreamUrl, label: &str) -> Result<Running, SourceEnd>;

    /// Starts it for a tape, which knows more of what it wants.
    ///
    /// # Errors
    /// As [`Source::open`].
    fn open_for(&self, ask: &OpenRequest) -> Result<Running, SourceEnd> {
        self.open(&ask.url, &ask.label)
    }
}

/// What the messages of a program would mean if it ended after them, and each line as the log gets it: for
/// tests that let a program say anything.
#[must_use]
pub fn judged(program: Recorder, url: &StreamUrl, messages: &[u8]) -> (SourceEnd, Vec<String>) {
    let judge = match program.for_url(url) {
        Recorder::Ffmpeg => ffmpeg::judge(url, &Arc::default()),
        _ => mplayer::judge(),
    };
    lines::judged(judge, messages)
}

/// The sources there are.
#[derive(Clone, Debug)]
pub struct Sources(Vec<Arc<dyn Source>>);

impl Sources {
    /// mplayer and ffmpeg, as found in `PATH` when they are needed, and the built-in ones. `log` takes their lines.
    #[must_use]
    pub fn programs(log: &Arc<dyn LineLog>) -> Self {
        Self(vec![
            Arc::new(mplayer::Mplayer::new(log.clone())),
            Arc::new(ffmpeg::FfmpegSource::new(log.clone())),
            Arc::new(http::Http::new(log.clone())),
            Arc::new(hls::Hls::new(log.clone())),
        ])
    }

    /// Others, for tests.
    #[must_use]
    pub fn of(sources: Vec<Arc<dyn Source>>) -> Self {
        Self(sources)
    }

    /// The source with that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Source>> {
        self.0.iter().find(|s| s.name() == name)
    }

    /// The source for a stream, as the hall's recorder says. With `Auto` the built-in client stands in for a
    /// program that is not installed.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn for_stream(&self, recorder: Recorder, url: &StreamUrl) -> Result<&Arc<dyn Source>, SourceEnd> {
        let name = recorder.for_url(url).as_str();
        let found = self.get(name);
        // Where the choice is ours, a fresh machine records at once with what needs nothing installed.
        let built_in =
            self.get(Recorder::Http.as_str()).filter(|_| recorder == Recorder::Auto && url.is_web() && !url.is_hls());
        if found.is_none_or(|source| !source.is_there())
            && let Some(built_in) = built_in
        {
            return Ok(built_in);
        }
        found.ok_or_else(|| SourceEnd {
            reason: Some(EndReason::SourceMissing),
            detail: Some(format!("there is no source named {name}")),
        })
    }
}
