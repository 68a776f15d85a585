//! Requests of an HLS stream: playlists and keys whole, chunks as they come.

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{LOCATION, RANGE, USER_AGENT};
use reqwest::{Client, Response, StatusCode, redirect};
use thiserror::Error;
use url::Url;

use super::super::SourceEnd;
use super::playlist::join;
use crate::domain::hls::ByteRange;
use crate::domain::segment::EndReason;
use crate::domain::stream_url::{StreamUrl, is_private_ip, redact_text};
use crate::domain::text::{one_line, shortened};

/// A playlist of more bytes is none: 1 MiB is three days in chunks of 6 s.
const MAX_PLAYLIST: usize = 1 << 20;
/// A key has 16 bytes.
const MAX_KEY: usize = 1 << 10;
/// The start of an MP4 has some hundred bytes, or some ten thousand with thumbnails.
const MAX_MAP: usize = 4 << 20;
/// A chunk of more bytes is none: 256 MiB is 10 s of 200 Mbit/s.
pub const MAX_CHUNK: u64 = 256 << 20;
/// Time to connect, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Nothing for so long: this request has failed.
const READ_TIMEOUT: Duration = Duration::from_secs(8);
/// For a whole playlist, key or map.
const SMALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Redirects followed.
const MAX_REDIRECTS: usize = 10;

/// Why there are no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it means for the connection.
    pub reason: EndReason,
    /// In words, without passwords.
    pub detail: String,
}

impl From<Failure> for SourceEnd {
    fn from(failure: Failure) -> Self {
        Self { reason: Some(failure.reason), detail: Some(failure.detail) }
    }
}

/// What makes requests for all streams: two pools of open connections.
#[derive(Clone, Debug)]
pub struct Clients {
    /// To the host that the user named.
    own: Client,
    /// To hosts that strangers named: looks no name up as a private address.
    public: Client,
}

impl Clients {
    /// Both.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, Failure> {
        // Another part of the program may have chosen the same provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = |public: bool| {
            let builder = Client::builder()
                .user_agent(concat!("streamrip/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                // Each step is looked at first, see `Requests::get`.
                .redirect(redirect::Policy::none());
            if public { builder.dns_resolver(Arc::new(PublicOnly)) } else { builder }
        };
        // A system without root certificates is refused even where none are needed; with none at all http works.
        let build = |public| builder(public).build().or_else(|_| builder(public).tls_certs_only([]).build());
        let client = |public| build(public).map_err(|e| failure(&e));
        Ok(Self { own: client(false)?, public: client(true)? })
    }
}

/// Looks names up, and leaves out addresses at which no public server can be.
#[derive(Debug)]
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|at| !is_private_ip(at.ip())).collect();
            if public.is_empty() {
                return Err(PrivateAddress.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// A name leads into a private network.
#[derive(Debug, Error)]
#[error("it is on this machine or in a private network, and not the host that the user named: it is not followed")]
struct PrivateAddress;

/// The requests of one connection.
#[derive(Clone, Debug)]
pub struct Requests {
    clients: Clients,
    stream: StreamUrl,
}

impl Requests {
    /// For one stream.
    #[must_use]
    pub fn new(clients: Clients, stream: &StreamUrl) -> Self {
        Self { clients, stream: stream.clone() }
    }

    /// Where the stream begins.
    ///
    /// # Errors
    /// Where that is no address.
    pub fn first(&self) -> Result<Url, Failure> {
        Url::parse(self.stream.secret()).map_err(|e| Failure { reason: EndReason::SourceFailed, detail: e.to_string() })
    }

    /// A playlist, and where it was found in the end.
    ///
    /// # Errors
    /// When it cannot be had whole.
    pub async fn playlist(&self, url: &Url) -> Result<(Vec<u8>, Url), Failure> {
        self.small(url, None, MAX_PLAYLIST).await
    }

    /// A key.
    ///
    /// # Errors
    /// When it cannot be had, or has not 16 bytes.
    pub async fn key(&self, url: &Url) -> Result<[u8; 16], Failure> {
        let (bytes, _) = self.small(url, None, MAX_KEY).await?;
        bytes.as_slice().try_into().map_err(|_| Failure {
            reason: EndReason::SourceFailed,
            detail: format!("the key has {} bytes instead of 16", bytes.len()),
        })
    }

    /// The start of an MP4.
    ///
    /// # Errors
    /// When it cannot be had whole.
    pub async fn map(&self, url: &Url, range: Option<ByteRange>) -> Result<Vec<u8>, Failure> {
        Ok(self.small(url, range, MAX_MAP).await?.0)
    }

    /// A chunk from byte `done` on.
    ///
    /// # Errors
    /// When the server does not give it.
    pub async fn chunk(&self, url: &Url, range: Option<ByteRange>, done: u64) -> Result<Body, Failure> {
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

    async fn small(&self, url: &Url, range: Option<ByteRange>, max: usize) -> Result<(Vec<u8>, Url), Failure> {
        let all = async {
            let mut body = self.chunk(url, range, 0).await?;
            let found = body.found.clone();
            let mut bytes = Vec::new();
            while let Some(piece) = body.next().await? {
                if bytes.len() + piece.len() > max {
                    return Err(Failure {
                        reason: EndReason::NotMedia,
                        detail: format!("{} is larger than {max} bytes", shown(url)),
                    });
                }
                bytes.extend_from_slice(&piece);
            }
            Ok((bytes, found))
        };
        tokio::time::timeout(SMALL_TIMEOUT, all).await.unwrap_or_else(|_| {
            Err(Failure { reason: EndReason::Network, detail: format!("{}: no complete answer in time", shown(url)) })
        })
    }

    async fn get(&self, url: &Url, range: Option<ByteRange>) -> Result<(Response, Url), Failure> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let trusted = judge(&url, &self.stream)?;
            let client = if trusted { &self.clients.own } else { &self.clients.public };
            let mut request = client.get(url.clone());
            // What the user has set for the stream is for its own server.
            if trusted && url.port_or_known_default() == Some(self.stream.port()) {
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
            let status = answer.status();
            if status == StatusCode::OK || status == StatusCode::PARTIAL_CONTENT {
                return Ok((answer, url));
            }
            let to = answer.headers().get(LOCATION).filter(|_| status.is_redirection());
            match to.and_then(|to| to.to_str().ok()).and_then(|to| join(&url, to)) {
                Some(to) => url = to,
                None => {
                    let detail = format!("{}: the server answered {status}", shown(&url));
                    return Err(Failure { reason: EndReason::Http(status.as_u16()), detail });
                }
            }
        }
        Err(Failure { reason: EndReason::Network, detail: format!("{}: too many redirects", shown(&url)) })
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
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            let Some(mut piece) = self.answer.chunk().await.map_err(|e| failure(&e))? else { return Ok(None) };
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
            let _ = piece.split_to(skipped);
            self.skip -= skipped as u64;
            piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= piece.len() as u64;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }
}

/// Whether the user named the host of an address. A server may not send us to other machines of our network,
/// or to files.
fn judge(url: &Url, stream: &StreamUrl) -> Result<bool, Failure> {
    let refused = |reason, why: String| Err(Failure { reason, detail: format!("{}: {why}", shown(url)) });
    if !matches!(url.scheme(), "http" | "https") {
        let why = format!("{:?} addresses are not followed", shortened(url.scheme(), 20));
        return refused(EndReason::SourceFailed, why);
    }
    if url.host_str() == Some(stream.host()) && !stream.is_public_only() {
        return Ok(true);
    }
    match StreamUrl::parse_from_schedule(url.as_str()) {
        Ok(_) => Ok(false),
        Err(_) => refused(EndReason::PrivateAddress, PrivateAddress.to_string()),
    }
}

fn shown(url: &Url) -> String {
    // Without what may be a signature.
    let mut url = url.clone();
    url.set_query(None);
    shortened(&one_line(&redact_text(url.as_str())), 200)
}

fn failure(e: &reqwest::Error) -> Failure {
    let mut words: Vec<String> = Vec::new();
    let (mut refused, mut private) = (false, false);
    let mut next: Option<&dyn std::error::Error> = e.source();
    while let Some(cause) = next {
        let text = one_line(&redact_text(&cause.to_string()));
        // Wrappers repeat what they wrap.
        if !words.iter().any(|w| w.contains(&text)) {
            words.push(text);
        }
        let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        private |= cause.is::<PrivateAddress>();
        refused |= kind == Some(std::io::ErrorKind::ConnectionRefused);
        next = cause.source();
    }
    let said = |word: &str| words.iter().any(|w| w.to_ascii_lowercase().contains(word));
    let reason = if private {
        EndReason::PrivateAddress
    } else if refused {
        EndReason::Refused
    } else if said("dns error") || said("failed to lookup") {
        EndReason::Dns
    } else if e.is_builder() {
        EndReason::SourceFailed
    } else {
        EndReason::Network
    };
    if e.is_timeout() {
        words.insert(0, "no answer in time".to_owned());
    }
    if words.is_empty() {
        words.push(one_line(&redact_text(&e.to_string())));
    }
    let at = e.url().map(|url| format!("{}: ", shown(url))).unwrap_or_default();
    Failure { reason, detail: shortened(&format!("{at}{}", words.join(": ")), 300) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playlist_leads_to_its_own_host_and_to_public_ones_only() {
        let by_user = |host: &str| StreamUrl::parse(&format!("http://{host}/x.m3u8")).expect("an address");
        let judged =
            |url: &str, stream: &StreamUrl| judge(&Url::parse(url).expect("an address"), stream).map_err(|f| f.reason);
        assert_eq!(judged("http://127.0.0.1:81/x.ts", &by_user("127.0.0.1")), Ok(true));
        assert_eq!(judged("https://cdn.example/x.ts", &by_user("h.example")), Ok(false));
        let by_schedule = StreamUrl::parse_from_schedule("http://h.example/x.m3u8").expect("an address");
        assert_eq!(judged("http://h.example/x.ts", &by_schedule), Ok(false), "its name is looked up with care");
        for bad in [
            "http://127.0.0.1/x",
            "http://localhost/x",
            "http://169.254.169.254/x",
            "http://[::1]/",
            "http://10.0.0.1/",
        ] {
            assert_eq!(judged(bad, &by_user("h.example")), Err(EndReason::PrivateAddress), "{bad}");
        }
        for bad in ["file:///etc/passwd", "ftp://h.example/x", "data:text/plain,x", "rtsp://h.example/"] {
            assert_eq!(judged(bad, &by_user("h.example")), Err(EndReason::SourceFailed), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_into_a_private_network_is_not_followed() {
        let requests =
            Requests::new(Clients::new().expect("TLS"), &StreamUrl::parse("http://h.example/").expect("valid"));
        // Only the look-up can tell: the name looks like any other.
        let answer = requests.clients.public.get("http://localhost:9/").send().await;
        assert_eq!(failure(&answer.expect_err("refused")).reason, EndReason::PrivateAddress);
    }
}
