//! HLS inside the program: nothing to install, and it goes on where the last connection stopped.
//!
//! A playlist is the server's memory: the last chunks, by number. What was read whole is remembered per
//! hall and stream, so that a new connection begins right there (`plan::hls`), and what a server fails to give is
//! asked for again as long as its window holds it. So an outage that is shorter than the window costs
//! nothing.

mod client;
pub mod crypt;
mod feed;
mod life;
mod memo;
pub mod playlist;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::client::{Clients, Requests};
use self::feed::Feed;
use self::life::Life;
use self::memo::Memos;
use super::ffmpeg::Ffmpeg;
use super::http::Setup;
use super::log::LineLog;
use super::{Ask, Hints, Running, Source, SourceEnd};
use crate::domain::hls::Quality;
use crate::domain::ids::HallId;
use crate::domain::stream_url::StreamUrl;
use crate::domain::time::Ms;

/// Pieces on their way to the tape: of up to 64 KiB or so each, more than a tape takes at once.
const PIECES: usize = 32;

/// A tape that throws away what it has read does so right after it has stopped us.
const KILL_PATIENCE: Duration = Duration::from_secs(1);

/// The source.
#[derive(Debug)]
pub struct Hls {
    log: Arc<dyn LineLog>,
    setup: Setup,
    clients: OnceLock<Clients>,
    ffmpeg: Ffmpeg,
    memos: Mutex<HashMap<(HallId, StreamUrl, Quality), Memos>>,
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
        Self { ffmpeg: Ffmpeg::new(log.clone()), log, setup, clients: OnceLock::new(), memos: Mutex::default() }
    }

    fn clients(&self) -> Result<Clients, SourceEnd> {
        if let Some(clients) = self.clients.get() {
            return Ok(clients.clone());
        }
        let clients = Clients::new(&self.setup)?;
        Ok(self.clients.get_or_init(|| clients).clone())
    }

    /// `look`: from the newest chunk on, whatever was taken before.
    fn start(&self, ask: Ask, memos: Memos, look: bool) -> Result<Running, SourceEnd> {
        let http = Requests::new(self.clients()?, &ask.url);
        let (out, items) = mpsc::channel(PIECES);
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let (tell, ended) = oneshot::channel();
        let variant = Arc::default();
        let bytes = Feed::new(items, ask.hints.clone(), memos.picture.clone(), Arc::clone(&variant));
        let mut life = Life::new(ask, http, out, self.log.clone(), self.ffmpeg.clone(), memos.clone(), variant);
        life.look = look;
        tokio::spawn(run(life, stop.clone(), kill.clone(), memos, tell));
        // Its chunks are handed over as they come; it has nothing to say ahead of its bytes.
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

    /// For a look at the stream: from its newest chunk on, and nothing is remembered.
    fn open(&self, url: &StreamUrl, label: &str) -> Result<Running, SourceEnd> {
        let (url, label, hints) = (url.clone(), label.to_owned(), Hints::default());
        let ask = Ask {
            hall: HallId(0),
            url,
            label,
            now: Ms(0),
            from: Ms(0),
            quality: Quality::default(),
            alone: false,
            hints,
        };
        self.start(ask, Memos::default(), true)
    }

    fn open_for(&self, ask: &Ask) -> Result<Running, SourceEnd> {
        let memos = {
            let mut memos = self.memos.lock().unwrap_or_else(PoisonError::into_inner);
            memos.entry((ask.hall, ask.url.clone(), ask.quality)).or_default().clone()
        };
        self.start(ask.clone(), memos, false)
    }
}

async fn run(
    life: Life,
    stop: CancellationToken,
    kill: CancellationToken,
    memos: Memos,
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
    if tokio::time::timeout(KILL_PATIENCE, kill.cancelled()).await.is_ok() {
        memos.forget();
    }
}
