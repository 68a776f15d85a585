//! The built-in source: HTTP inside this program. Nothing to install, no process a stream.
//!
//! One connection costs one socket, one buffer and no thread. Nothing reads ahead: the tape asks when its turn
//! comes, and until then bytes wait in the kernel. The size of that wait is left to the kernel (it grows with what
//! is read at once; a size set by us would switch that off and be no more than 208 KiB on most machines).

mod body;
mod client;
mod credentials;
mod icy;
mod playlist;
mod redirects;
mod socket;

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderName, HeaderValue};
use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::oneshot;
use tokio_rustls::rustls::ClientConfig;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use self::body::Body;
use self::client::Client;
use self::redirects::RedirectChain;
use super::log::LineLog;
use super::{Running, Source, SourceEnd};
use crate::domain::segment::EndReason;
use crate::domain::stream_url::{StreamUrl, redact_text};

/// So much is still taken after a stop: what a socket holds. A server that sends a file is faster than we are.
const AFTER_STOP: usize = 4 << 20;

/// Source that records HTTP and Icecast streams without an external program.
#[derive(Clone, Debug)]
pub struct Http {
    client: Arc<Client>,
    log: Arc<dyn LineLog>,
}

/// What it uses of the machine it runs on.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Proxies of the environment.
    pub environment: bool,
    /// This proxy for everything.
    pub proxy: Option<String>,
    /// A netrc file.
    pub netrc: Option<PathBuf>,
    /// Whom to trust; `None`: whom the machine trusts.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Setup {
    /// What the machine has: proxies of the environment (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`), the
    /// user's netrc, the certificates that it trusts.
    #[must_use]
    pub fn of_machine() -> Self {
        Self { environment: true, netrc: credentials::netrc_path(), ..Self::default() }
    }

    /// Which addresses are asked for through a proxy.
    pub(super) fn proxies(&self) -> Matcher {
        match &self.proxy {
            Some(proxy) => Matcher::builder().all(proxy.clone()).build(),
            None if self.environment => Matcher::from_env(),
            None => Matcher::builder().build(),
        }
    }
}

impl Http {
    /// As the user's other programs do it, see [`Setup::of_machine`].
    #[must_use]
    pub fn new(log: Arc<dyn LineLog>) -> Self {
        Self::with(log, &Setup::of_machine())
    }

    /// With nothing of the machine but what `setup` says.
    #[must_use]
    pub fn with(log: Arc<dyn LineLog>, setup: &Setup) -> Self {
        Self { client: Arc::new(Client::new(setup)), log }
    }
}

impl Source for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn knows_its_end(&self) -> bool {
        true
    }

    fn checks_addresses(&self) -> bool {
        true
    }

    fn open(&self, url: &StreamUrl, label: &str) -> Result<Running, SourceEnd> {
        if !url.is_web() {
            let detail =
                format!("{url}: the built-in client takes http and https only (recorder = \"auto\" takes more)");
            return Err(SourceEnd { reason: Some(EndReason::SourceFailed), detail: Some(detail) });
        }
        let (stop, kill, over) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let (log, label) = (self.log.clone(), format!("{label} http"));
        let say = Box::new(move |line: &str| log.line(&label, &redact_text(line)));
        let way = RedirectChain::new(self.client.clone(), url, headers(url), over.clone(), say)?;
        let (tell, ended) = oneshot::channel();
        let bytes = HttpBytes {
            state: State::Opening(Box::pin(way.go())),
            stopping: Box::pin(stop.clone().cancelled_owned()),
            allowance: None,
            tell: Some(tell),
        };
        Ok(Running { bytes: Box::pin(bytes), stop, kill, ended, over, process: None })
    }
}

/// What the user wants to be said.
fn headers(url: &StreamUrl) -> HeaderMap {
    let request = url.request();
    let agent = request.user_agent().map(|agent| (USER_AGENT, agent));
    let others =
        request.headers().iter().filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, value.as_str())));
    let mut headers = HeaderMap::new();
    for (name, value) in agent.into_iter().chain(others) {
        if let Ok(mut value) = HeaderValue::from_bytes(value.as_bytes()) {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    headers
}

/// What the tape reads. It does all the work itself, in the task of its reader.
struct HttpBytes {
    state: State,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    /// After a stop: so many bytes are still taken, if they are there.
    allowance: Option<usize>,
    tell: Option<oneshot::Sender<SourceEnd>>,
}

enum State {
    Opening(Pin<Box<dyn Future<Output = Result<Body, SourceEnd>> + Send>>),
    Flowing(Box<Body>),
    Over,
}

impl HttpBytes {
    fn finish(&mut self, end: SourceEnd) -> Poll<io::Result<()>> {
        self.state = State::Over;
        if let Some(tell) = self.tell.take() {
            let _ = tell.send(end);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for HttpBytes {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.allowance.is_none() && this.stopping.as_mut().poll(cx).is_ready() {
            this.allowance = Some(AFTER_STOP);
        }
        loop {
            match &mut this.state {
                State::Over => return Poll::Ready(Ok(())),
                State::Opening(_) if this.allowance.is_some() => return this.finish(SourceEnd::default()),
                State::Opening(way) => match way.as_mut().poll(cx) {
                    Poll::Ready(Ok(body)) => this.state = State::Flowing(Box::new(body)),
                    Poll::Ready(Err(end)) => return this.finish(end),
                    Poll::Pending => return Poll::Pending,
                },
                State::Flowing(_) if this.allowance == Some(0) => return this.finish(SourceEnd::default()),
                State::Flowing(body) => {
                    let before = buf.filled().len();
                    return match body.poll_fill(cx, buf) {
                        Poll::Ready(()) if buf.filled().len() == before => {
                            let end = body.end();
                            this.finish(end)
                        }
                        Poll::Ready(()) => {
                            let came = buf.filled().len() - before;
                            this.allowance = this.allowance.map(|left| left.saturating_sub(came));
                            Poll::Ready(Ok(()))
                        }
                        Poll::Pending if this.allowance.is_some() => this.finish(SourceEnd::default()),
                        Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }
}
