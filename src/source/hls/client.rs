//! Requests of an HLS stream: playlists and keys whole, media segments as they come.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{LOCATION, RANGE, USER_AGENT};
use reqwest::{Client, Proxy, Response, StatusCode, redirect};
use url::Url;

use super::playlist::join;
use crate::domain::hls::ByteRange;
use crate::domain::redirect_policy::{RedirectRefusal, may_follow};
use crate::domain::segment::EndReason;
use crate::domain::stream_url::{StreamUrl, is_private_ip, redact_text};
use crate::domain::text::{one_line, shortened};
use crate::source::http::Setup;
use crate::source::{SourceEnd, net};

/// A playlist of more bytes is none: 1 MiB is three days in media segments of 6 s.
const MAX_PLAYLIST: usize = 1 << 20;
/// A key has 16 bytes.
const MAX_KEY: usize = 1 << 10;
/// The start of an MP4 has some hundred bytes, or some ten thousand with thumbnails.
const MAX_MAP: usize = 4 << 20;
/// A media segment of more bytes is none: 256 MiB is 10 s of 200 Mbit/s.
pub const MAX_SEGMENT_BYTES: u64 = 256 << 20;
/// Time to connect, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Nothing for so long: this request has failed.
const READ_TIMEOUT: Duration = Duration::from_secs(8);
/// How often an HTTP/2 connection with requests under way is asked whether it still lives, and how long it may take to
/// answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// For a whole playlist, key or map.
const SMALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Redirects followed.
const MAX_REDIRECTS: usize = 10;

/// Why there are no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchFailure {
    /// What it means for the connection.
    pub reason: EndReason,
    /// In words, without passwords.
    pub detail: String,
}

impl From<FetchFailure> for SourceEnd {
    fn from(failure: FetchFailure) -> Self {
        Self { reason: Some(failure.reason), detail: Some(failure.detail) }
    }
}

/// What makes requests for all streams: two pools of open connections.
#[derive(Clone, Debug)]
pub struct Clients {
    /// To hosts that may be private.
    own: Client,
    /// To hosts that strangers named: looks no name up as a private address.
    public: Client,
    proxies: Arc<Matcher>,
}

impl Clients {
    /// Both. Of `setup` the proxies and the trusted certificates are used.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(setup: &Setup) -> Result<Self, FetchFailure> {
        // Another part of the program may have chosen the same provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let proxies = Arc::new(setup.proxies());
        let builder = |public_only: bool| {
            let mut builder = Client::builder()
                .user_agent(concat!("streamrip/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                // One HTTP/2 connection carries the requests of all halls: one that is dead must not wait for the next try.
                .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
                .http2_keep_alive_timeout(KEEPALIVE_TIMEOUT)
                .dns_resolver(Arc::new(Names { public_only, proxies: proxies.clone() }))
                // Each step is looked at first, see `Requests::get`.
                .redirect(redirect::Policy::none());
            if let Some(tls) = &setup.tls {
                builder = builder.tls_backend_preconfigured(tls.as_ref().clone());
            }
            if !setup.environment {
                builder = builder.no_proxy();
            }
            for proxy in setup.proxy.iter().filter_map(|proxy| Proxy::all(proxy).ok()) {
                builder = builder.proxy(proxy);
            }
            builder
        };
        // A system without root certificates is refused even where none are needed; with none at all http works.
        let build = |public| builder(public).build().or_else(|_| builder(public).tls_certs_only([]).build());
        let client = |public| build(public).map_err(|e| failure(&e));
        Ok(Self { own: client(false)?, public: client(true)?, proxies })
    }
}

/// Looks names up. `public_only`: leaves out addresses at which no public server can be.
#[derive(Debug)]
struct Names {
    public_only: bool,
    proxies: Arc<Matcher>,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        // The proxy is named by the user.
        let public_only = self.public_only && !is_proxy(&self.proxies, name.as_str());
        Box::pin(async move {
            let found = net::look_up(name.as_str(), 0, public_only).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The proxy through which an address is asked for.
fn proxy_for(proxies: &Matcher, url: &str) -> Option<String> {
    let proxy = proxies.intercept(&url.parse().ok()?)?;
    proxy.uri().host().map(str::to_owned)
}

/// True where a proxy has that name.
fn is_proxy(proxies: &Matcher, name: &str) -> bool {
    let public = ["http://proxied.example/", "https://proxied.example/"];
    public.iter().filter_map(|url| proxy_for(proxies, url)).any(|host| host.eq_ignore_ascii_case(name))
}

/// The requests of one connection.
#[derive(Clone, Debug)]
pub struct Requests {
    clients: Clients,
    stream: StreamUrl,
    /// Whether the stream's server is in a private network, and so may name its neighbours.
    private: OnceLock<bool>,
}

impl Requests {
    /// For one stream.
    #[must_use]
    pub fn new(clients: Clients, stream: &StreamUrl) -> Self {
        let private = match stream.is_public_only() {
            true => Some(false),
            false => stream.is_private().then_some(true),
        };
        Self { clients, stream: stream.clone(), private: private.map(OnceLock::from).unwrap_or_default() }
    }

    /// Where the stream begins.
    ///
    /// # Errors
    /// Where that is no address.
    pub fn first(&self) -> Result<Url, FetchFailure> {
        Url::parse(self.stream.secret())
            .map_err(|e| FetchFailure { reason: EndReason::SourceFailed, detail: e.to_string() })
    }

    /// A playlist, and where it was found in the end.
    ///
    /// # Errors
    /// When it cannot be had whole.
    pub async fn playlist(&self, url: &Url) -> Result<(Vec<u8>, Url), FetchFailure> {
        self.small(url, None, MAX_PLAYLIST).await
    }

    /// A key.
    ///
    /// # Errors
    /// When it cannot be had, or has not 16 bytes.
    pub async fn key(&self, url: &Url) -> Result<[u8; 16], FetchFailure> {
        let (bytes, _) = self.small(url, None, MAX_KEY).await?;
        bytes.as_slice().try_into().map_err(|_| FetchFailure {
            reason: EndReason::SourceFailed,
            detail: format!("the key has {} bytes instead of 16", bytes.len()),
        })
    }

    /// The start of an MP4.
    ///
    /// # Errors
    /// When it cannot be had whole.
    pub async fn map(&self, url: &Url, range: Option<ByteRange>) -> Result<Vec<u8>, FetchFailure> {
        Ok(self.small(url, range, MAX_MAP).await?.0)
    }

    /// A media segment from byte `done` on.
    ///
    /// # Errors
    /// When the server does not give it.
    pub async fn segment(&self, url: &Url, range: Option<ByteRange>, done: u64) -> Result<Body, FetchFailure> {
        let wanted = match range {
            Some(range) => {
                let rest = range.length.saturating_sub(done);
                Some(ByteRange { offset: range.offset.saturating_add(done), length: rest })
            }
            None if done > 0 => Some(ByteRange { offset: done, length: u64::MAX - done }),
            None => None,
        };
        let (answer, found) = self.get(url, wanted).await?;
        // A server that does not know ranges gives all of it.
        let skip = if answer.status() == StatusCode::PARTIAL_CONTENT { 0 } else { wanted.map_or(0, |w| w.offset) };
        Ok(Body { answer, found, skip, left: wanted.map_or(u64::MAX, |w| w.length) })
    }

    async fn small(&self, url: &Url, range: Option<ByteRange>, max: usize) -> Result<(Vec<u8>, Url), FetchFailure> {
        let all = async {
            let mut body = self.segment(url, range, 0).await?;
            let found = body.found.clone();
            let mut bytes = Vec::new();
            while let Some(piece) = body.next().await? {
                if bytes.len() + piece.len() > max {
                    return Err(FetchFailure {
                        reason: EndReason::NotMedia,
                        detail: format!("{} is larger than {max} bytes", shown(url)),
                    });
                }
                bytes.extend_from_slice(&piece);
            }
            Ok((bytes, found))
        };
        tokio::time::timeout(SMALL_TIMEOUT, all).await.unwrap_or_else(|_| {
            Err(FetchFailure {
                reason: EndReason::Network,
                detail: format!("{}: no complete answer in time", shown(url)),
            })
        })
    }

    async fn get(&self, url: &Url, range: Option<ByteRange>) -> Result<(Response, Url), FetchFailure> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let trust = self.trust(&url)?;
            let client = if trust == Trust::Public { &self.clients.public } else { &self.clients.own };
            let mut request = client.get(url.clone());
            if self.is_own_server(&url, trust) {
                let own = self.stream.request();
                if let Some(agent) = own.user_agent() {
                    request = request.header(USER_AGENT, agent);
                }
                request = own.headers().iter().fold(request, |request, (name, value)| request.header(name, value));
            }
            if let Some(range) = range {
                request = request.header(RANGE, range_header(range));
            }
            let answer = request.send().await.map_err(|e| failure(&e))?;
            if trust == Trust::Own {
                // Where a proxy stands says nothing of the server.
                let direct = proxy_for(&self.clients.proxies, url.as_str()).is_none();
                let at = answer.remote_addr().filter(|_| direct);
                self.private.get_or_init(|| at.is_some_and(|at| is_private_ip(at.ip())));
            }
            let status = answer.status();
            if status == StatusCode::OK || status == StatusCode::PARTIAL_CONTENT {
                return Ok((answer, url));
            }
            let to = answer.headers().get(LOCATION).filter(|_| status.is_redirection());
            match to.and_then(|to| to.to_str().ok()).and_then(|to| join(&url, to)) {
                Some(to) => url = to,
                None => {
                    let detail = format!("{}: the server answered {status}", shown(&url));
                    return Err(FetchFailure { reason: EndReason::Http(status.as_u16()), detail });
                }
            }
        }
        Err(FetchFailure { reason: EndReason::Network, detail: format!("{}: too many redirects", shown(&url)) })
    }
}

/// Whom an address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// The host that the user named.
    Own,
    /// Another one, which may be private.
    Neighbour,
    /// One of the public network.
    Public,
}

impl Requests {
    /// True for the server that the user named: what is set for the stream is for that one.
    fn is_own_server(&self, url: &Url, trust: Trust) -> bool {
        trust == Trust::Own && url.port_or_known_default() == Some(self.stream.port())
    }

    /// Whom an address leads to, and whether it is asked at all: a public server may not send us to machines of our
    /// network, and nobody to files.
    fn trust(&self, url: &Url) -> Result<Trust, FetchFailure> {
        let own = url.host_str() == Some(self.stream.host()) && !self.stream.is_public_only();
        let private = self.private.get().copied().unwrap_or(false);
        let refused = |refusal: RedirectRefusal| FetchFailure { reason: refusal.reason(), detail: refusal.to_string() };
        if !own && !private && is_proxy(&self.clients.proxies, url.host_str().unwrap_or_default()) {
            // Its name is looked up as the user's, who did not mean it for strangers.
            return Err(refused(RedirectRefusal::Private(shown(url))));
        }
        may_follow(url, &[], own || private).map_err(refused)?;
        Ok(match (own, private) {
            (true, _) => Trust::Own,
            (false, true) => Trust::Neighbour,
            (false, false) => Trust::Public,
        })
    }
}

fn range_header(range: ByteRange) -> String {
    match range.offset.checked_add(range.length) {
        Some(end) if end < u64::MAX && range.length > 0 => format!("bytes={}-{}", range.offset, end - 1),
        _ => format!("bytes={}-", range.offset),
    }
}

/// A body as it comes.
#[derive(Debug)]
pub struct Body {
    answer: Response,
    /// Where it was found, with the password that reqwest leaves out.
    found: Url,
    /// Bytes at its start that are not wanted.
    skip: u64,
    /// So many are.
    left: u64,
}

impl Body {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// When the connection fails before the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FetchFailure> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            let Some(mut piece) = self.answer.chunk().await.map_err(|e| failure(&e))? else { return Ok(None) };
            let skip_segment = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
            let _ = piece.split_to(skip_segment);
            self.skip -= skip_segment as u64;
            piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= piece.len() as u64;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }
}

fn shown(url: &Url) -> String {
    // Without what may be a signature.
    let mut url = url.clone();
    url.set_query(None);
    shortened(&one_line(&redact_text(url.as_str())), 200)
}

fn failure(e: &reqwest::Error) -> FetchFailure {
    let reason = if e.is_builder() { EndReason::SourceFailed } else { net::meaning(e) };
    // Its own words are "error sending request", with the address.
    let cause = std::error::Error::source(e).map_or_else(|| one_line(&redact_text(&e.to_string())), net::words);
    let late = if e.is_timeout() { "no answer in time: " } else { "" };
    let at = e.url().map(|url| format!("{}: ", shown(url))).unwrap_or_default();
    FetchFailure { reason, detail: shortened(&format!("{at}{late}{cause}"), 300) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(stream: &StreamUrl, setup: &Setup) -> Requests {
        Requests::new(Clients::new(setup).expect("TLS"), stream)
    }

    fn by_user(host: &str) -> StreamUrl {
        StreamUrl::parse(&format!("http://{host}/x.m3u8")).expect("an address")
    }

    #[tokio::test]
    async fn a_playlist_leads_to_its_own_host_and_to_public_ones_only() {
        let own = requests(&by_user("h.example"), &Setup::default());
        let judged = |of: &Requests, url: &str| of.trust(&Url::parse(url).expect("an address")).map_err(|f| f.reason);
        assert_eq!(judged(&own, "http://h.example:81/x.ts"), Ok(Trust::Own));
        assert_eq!(judged(&own, "https://cdn.example/x.ts"), Ok(Trust::Public));
        let by_schedule = StreamUrl::parse_from_schedule("http://h.example/x.m3u8").expect("an address");
        let schedule = requests(&by_schedule, &Setup::default());
        assert_eq!(judged(&schedule, "http://h.example/x.ts"), Ok(Trust::Public), "its name is looked up with care");
        for bad in [
            "http://127.0.0.1/x",
            "http://localhost/x",
            "http://169.254.169.254/x",
            "http://[::1]/",
            "http://10.0.0.1/",
        ] {
            assert_eq!(judged(&own, bad), Err(EndReason::PrivateAddress), "{bad}");
            assert_eq!(judged(&schedule, bad), Err(EndReason::PrivateAddress), "{bad}");
        }
        let private = requests(&by_user("10.0.0.5"), &Setup::default());
        assert_eq!(judged(&private, "http://10.0.0.6/x.ts"), Ok(Trust::Neighbour));
        for bad in ["file:///etc/passwd", "ftp://h.example/x", "data:text/plain,x", "rtsp://h.example/"] {
            assert_eq!(judged(&private, bad), Err(EndReason::SourceFailed), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_into_a_private_network_is_not_followed_unless_it_is_the_proxys() {
        let reason = async |setup: &Setup, url: &str| {
            let requests = requests(&by_user("h.example"), setup);
            // Only the look-up can tell: the name looks like any other.
            let answer = requests.clients.public.get(url).send().await;
            failure(&answer.expect_err("nobody listens there")).reason
        };
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let at_home = format!("http://localhost:{nobody}/");
        assert_eq!(reason(&Setup::default(), &at_home).await, EndReason::PrivateAddress);
        let setup = Setup { proxy: Some(at_home), ..Setup::default() };
        assert_eq!(reason(&setup, "http://h.example/").await, EndReason::Refused);
        // Strangers do not lead to the proxy itself.
        let setup = Setup { proxy: Some("http://home.example:3128".to_owned()), ..Setup::default() };
        let to_proxy = Url::parse("http://home.example/").expect("an address");
        let refused = requests(&by_user("h.example"), &setup).trust(&to_proxy).expect_err("refused");
        assert_eq!(refused.reason, EndReason::PrivateAddress);
    }
}
