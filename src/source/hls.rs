//! HLS inside the program: nothing to install, and it goes on where the last connection stopped.
//!
//! A playlist is the server's memory: the last media segments, by number. What was read whole is remembered per
//! hall and stream, so that a new connection begins right there (`plan::hls`), and what a server fails to give is
//! asked for again as long as its window holds it. So an outage that is shorter than the window costs
//! nothing.

mod client;
pub mod crypt;
mod feed;
pub mod playlist;
mod resume_state;
mod session;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::client::{Clients, Requests};
use self::feed::Feed;
use self::resume_state::StreamResume;
use self::session::PlaylistClient;
use super::ffmpeg::FfmpegSource;
use super::http::Setup;
use super::log::LineLog;
use super::{Hints, OpenRequest, Running, Source, SourceEnd};
use crate::domain::hls::Quality;
use crate::domain::ids::HallId;
use crate::domain::stream_url::StreamUrl;
use crate::domain::time::Ms;

/// Pieces on their way to the tape: of up to 64 KiB or so each, more than a tape takes at once.
const QUEUE_ITEMS: usize = 32;

/// A tape that throws away what it has read does so right after it has stopped us.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// Source that records HLS (RFC 8216) without an external program.
#[derive(Debug)]
pub struct Hls {
    log: Arc<dyn LineLog>,
    setup: Setup,
    clients: OnceLock<Clients>,
    ffmpeg: FfmpegSource,
    resume: Mutex<HashMap<(HallId, StreamUrl, Quality), StreamResume>>,
}

impl Hls {
    /// Writes what it meets to `log`. Proxies are those of the environment.
    #[must_use]
    pub fn new(log: Arc<dyn LineLog>) -> Self {
        Self::with(log, Setup::of_machine())
    }

    /// With the proxies that `setup` says.
    #[must_use]
    pub fn with(log: Arc<dyn LineLog>, setup: Setup) -> Self {
        Self { ffmpeg: FfmpegSource::new(log.clone()), log, setup, clients: OnceLock::new(), resume: Mutex::default() }
    }

    fn clients(&self) -> Result<Clients, SourceEnd> {
        if let Some(clients) = self.clients.get() {
            return Ok(clients.clone());
        }
        let clients = Clients::new(&self.setup)?;
        Ok(self.clients.get_or_init(|| clients).clone())
    }

    /// `look`: from the newest media segment on, whatever was taken before.
    fn start(&self, ask: OpenRequest, resume: StreamResume, look: bool) -> Result<Running, SourceEnd> {
        let http = Requests::new(self.clients()?, &ask.url);
        let (out, items) = mpsc::channel(QUEUE_ITEMS);
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let (tell, ended) = oneshot::channel();
        let variant = Arc::default();
        let bytes = Feed::new(items, ask.hints.clone(), resume.video.clone(), Arc::clone(&variant));
        let mut life =
            PlaylistClient::new(ask, http, out, self.log.clone(), self.ffmpeg.clone(), resume.clone(), variant);
        life.look = look;
        tokio::spawn(run(life, stop.clone(), kill.clone(), resume, tell));
        // Its media segments are handed over as they come; it has nothing to say ahead of its bytes.
        let over = CancellationToken::new();
        Ok(Running { bytes: Box::pin(bytes), stop, kill, ended, over, process: None })
    }
}

impl Source for Hls {
    fn name(&self) -> &'static str {
        "hls"
    }

    fn knows_its_end(&self) -> bool {
        true
    }

    fn checks_addresses(&self) -> bool {
        true
    }

    /// For a look at the stream: from its newest media segment on, and nothing is remembered.
    fn open(&self, url: &StreamUrl, label: &str) -> Result<Running, SourceEnd> {
        let (url, label, hints) = (url.clone(), label.to_owned(), Hints::default());
        let ask = OpenRequest {
            hall: HallId(0),
            url,
            label,
            now: Ms(0),
            from: Ms(0),
            quality: Quality::default(),
            alone: false,
            hints,
        };
        self.start(ask, StreamResume::default(), true)
    }

    fn open_for(&self, ask: &OpenRequest) -> Result<Running, SourceEnd> {
        let resume = {
            let mut resume = self.resume.lock().unwrap_or_else(PoisonError::into_inner);
            resume.entry((ask.hall, ask.url.clone(), ask.quality)).or_default().clone()
        };
        self.start(ask.clone(), resume, false)
    }
}

async fn run(
    life: PlaylistClient,
    stop: CancellationToken,
    kill: CancellationToken,
    resume: StreamResume,
    tell: oneshot::Sender<SourceEnd>,
) {
    let gone = life.gone();
    let said = tokio::select! {
        biased;
        () = kill.cancelled() => SourceEnd::default(),
        () = gone => SourceEnd::default(),
        // Its end of the feed goes with it, so that the tape sees the end.
        said = life.run(&stop) => said,
    };
    let _ = tell.send(said);
    // What the tape has thrown away, since the disk did not take it, is to be had again from the server.
    if tokio::time::timeout(KILL_TIMEOUT, kill.cancelled()).await.is_ok() {
        resume.forget();
    }
}
