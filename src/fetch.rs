//! A SOURCE -> its bytes: a file, standard input, or an http(s) URL. Whole and bounded, or not at all.

mod place;
mod redirect;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use thiserror::Error;
use tokio::time::Instant;
use url::Url;

pub use self::place::Place;
use crate::domain::stream_url::redact_text;
use crate::domain::text::{one_line, shortened};

/// Time to connect, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Time for the whole answer: a schedule of 3 MB over a bad line of 0.5 Mbit/s.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Redirects followed.
const MAX_REDIRECTS: usize = 10;

/// Why there are no bytes.
#[derive(Debug, Error)]
pub enum FetchError {
    /// A scheme that is neither http nor https.
    #[error("{0:?} is neither a file nor an http or https address")]
    Scheme(String),
    /// A file that cannot be read.
    #[error("cannot read {path}: {why}")]
    File {
        /// Path of the schedule file, as the user named it.
        path: PathBuf,
        /// Error text of the operating system.
        why: String,
    },
    /// Standard input failed.
    #[error("cannot read standard input: {0}")]
    StandardInput(String),
    /// More than the limit.
    #[error("{place} is larger than {max} bytes")]
    TooLarge {
        /// Address or path of what was fetched; passwords are redacted.
        place: String,
        /// Size limit in bytes.
        max: usize,
    },
    /// An answer that is not 200.
    #[error("{url}: the server answered {status}")]
    Status {
        /// Without password.
        url: String,
        /// Number and words.
        status: String,
    },
    /// No https on this machine.
    #[error("cannot fetch {url}: {why}")]
    NoTls {
        /// Without password.
        url: String,
        /// Error text of the HTTP client; passwords are redacted.
        why: String,
    },
    /// No answer at all.
    #[error("cannot fetch {url}: {why}")]
    Web {
        /// Without password.
        url: String,
        /// Why, without password.
        why: String,
    },
}

impl FetchError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Scheme(_) => "give a file, -, or an address that begins with http:// or https://",
            Self::File { .. } => "check the path and its permissions",
            Self::StandardInput(_) => "pipe the calendar in, or name a file",
            Self::TooLarge { .. } => "is it the right file? the largest schedule seen has 3 MB",
            Self::Status { .. } => "open the address in a browser: the schedule may have moved",
            Self::NoTls { .. } => "install root certificates: apt install ca-certificates",
            Self::Web { .. } => "check the address and the network, or download the file and import that",
        }
    }
}

/// What was fetched from the web before, so that a server need not send again what has not changed. One
/// for each who fetches again and again; lives in memory only.
#[derive(Debug, Default)]
pub struct Cache(Mutex<HashMap<Url, Cached>>);

#[derive(Clone, Debug)]
struct Cached {
    etag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
    body: Vec<u8>,
    at: Instant,
}

/// What is older than this is fetched whole: a server that says "not modified" wrongly costs an hour, not
/// the day.
const BELIEVED: Duration = Duration::from_secs(3600);

impl Cache {
    fn get(&self, url: &Url) -> Option<Cached> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(url).filter(|cached| cached.at.elapsed() < BELIEVED).cloned()
    }

    /// Keeps an answer that can be asked for again; forgets the one before it otherwise.
    fn put(&self, url: &Url, headers: &HeaderMap, body: &[u8]) {
        let (etag, last_modified) = (headers.get(ETAG).cloned(), headers.get(LAST_MODIFIED).cloned());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if etag.is_some() || last_modified.is_some() {
            let cached = Cached { etag, last_modified, body: body.to_vec(), at: Instant::now() };
            known.insert(url.clone(), cached);
        } else {
            known.remove(url);
        }
    }
}

/// Reads it whole, `max` bytes at most.
///
/// # Errors
/// When it cannot be read, is larger, or does not come in a minute.
pub async fn fetch(place: &Place, max: usize) -> Result<Vec<u8>, FetchError> {
    fetch_again(place, max, &Cache::default()).await
}

/// As [`fetch`]; an address is asked whether it has changed since `cache` saw it.
///
/// # Errors
/// As [`fetch`].
pub async fn fetch_again(place: &Place, max: usize, cache: &Cache) -> Result<Vec<u8>, FetchError> {
    match place {
        Place::Web(url) => web(url, max, cache, TIMEOUT).await,
        Place::File(_) | Place::StandardInput => {
            let local = place.clone();
            let read = tokio::task::spawn_blocking(move || read_local(&local, max)).await;
            read.unwrap_or_else(|e| Err(FetchError::StandardInput(e.to_string())))
        }
    }
}

fn read_local(place: &Place, max: usize) -> Result<Vec<u8>, FetchError> {
    use std::io::Read;
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    match place {
        Place::File(path) => {
            let wrong = |e: std::io::Error| {
                let why = match e.kind() {
                    std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
                    _ if path.is_dir() => "it is a directory".to_owned(),
                    _ => e.to_string(),
                };
                FetchError::File { path: path.clone(), why }
            };
            std::fs::File::open(path).map_err(wrong)?.take(limit).read_to_end(&mut bytes).map_err(wrong)?;
        }
        _ => {
            let read = std::io::stdin().lock().take(limit).read_to_end(&mut bytes);
            read.map_err(|e| FetchError::StandardInput(e.to_string()))?;
        }
    }
    if bytes.len() > max {
        return Err(FetchError::TooLarge { place: place.to_string(), max });
    }
    Ok(bytes)
}

async fn web(url: &Url, max: usize, cache: &Cache, patience: Duration) -> Result<Vec<u8>, FetchError> {
    let shown = redact_text(url.as_str());
    let because = |why: String| FetchError::Web { url: shown.clone(), why };
    let wrong = |e: reqwest::Error| because(reasons(&e));
    // Another part of the program may have chosen the same provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        reqwest::Client::builder()
            .user_agent(concat!("streamrip/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(patience)
            // We look at each step ourselves.
            .redirect(reqwest::redirect::Policy::none())
    };
    let client = |pinned: &redirect::Hop| match pinned.pin(builder()).build() {
        // A system without root certificates is refused even where none are needed (measured). With
        // none at all, http works and https fails.
        Err(_) if pinned.url.scheme() == "http" => pinned.pin(builder()).tls_certs_only([]).build().map_err(wrong),
        Err(e) => Err(FetchError::NoTls { url: shown.clone(), why: reasons(&e) }),
        Ok(client) => Ok(client),
    };
    let cached = cache.get(url);
    let deadline = Instant::now() + patience;
    let late = || because("no complete answer in time".to_owned());
    let mut hop = redirect::Hop::first(url);
    let mut followed = 0;
    let mut answer = loop {
        let mut request = client(&hop)?.get(hop.url.clone());
        if let Some(cached) = &cached {
            for (name, value) in [(IF_NONE_MATCH, &cached.etag), (IF_MODIFIED_SINCE, &cached.last_modified)] {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
        }
        let answer = tokio::time::timeout_at(deadline, request.send()).await.map_err(|_| late())?.map_err(wrong)?;
        let Some(to) = redirect::target(&hop.url, &answer) else { break answer };
        followed += 1;
        if followed > MAX_REDIRECTS {
            return Err(because(format!("it is sent on more than {MAX_REDIRECTS} times")));
        }
        let next = tokio::time::timeout_at(deadline, hop.follow(to.map_err(because)?)).await.map_err(|_| late())?;
        hop = next.map_err(because)?;
    };
    if let Some(cached) = cached
        && answer.status() == reqwest::StatusCode::NOT_MODIFIED
    {
        return Ok(cached.body);
    }
    if answer.status() != reqwest::StatusCode::OK {
        return Err(FetchError::Status { url: shown, status: answer.status().to_string() });
    }
    let too_large = || FetchError::TooLarge { place: shown.clone(), max };
    let promised = answer.content_length();
    if promised.is_some_and(|n| n > u64::try_from(max).unwrap_or(u64::MAX)) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    loop {
        let chunk = tokio::time::timeout_at(deadline, answer.chunk()).await.map_err(|_| late())?;
        let Some(chunk) = chunk.map_err(wrong)? else { break };
        if bytes.len() + chunk.len() > max {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    cache.put(url, answer.headers(), &bytes);
    Ok(bytes)
}

/// The error and what is behind it, in one line, without passwords.
fn reasons(e: &reqwest::Error) -> String {
    if e.is_timeout() {
        return "no complete answer in time".to_owned();
    }
    let mut out: Vec<String> = Vec::new();
    let mut next: Option<&dyn std::error::Error> = std::error::Error::source(e);
    while let Some(e) = next {
        let text = one_line(&redact_text(&e.to_string()));
        // Wrappers repeat what they wrap.
        if !out.iter().any(|o| o.contains(&text)) {
            out.push(text);
        }
        next = e.source();
    }
    if out.is_empty() {
        out.push(one_line(&redact_text(&e.to_string())));
    }
    shortened(&out.join(": "), 200)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[tokio::test]
    async fn files_have_a_limit() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x");
        std::fs::write(&path, b"12345").expect("written");
        let place = Place::parse(path.to_str().expect("text")).expect("place");
        assert_eq!(fetch(&place, 5).await.expect("read"), b"12345");
        assert!(matches!(fetch(&place, 4).await, Err(FetchError::TooLarge { .. })));
        let missing = Place::parse("/nonexistent/x.ics").expect("place");
        assert!(fetch(&missing, 5).await.expect_err("missing").to_string().contains("no such file"));
        let folder = Place::parse(dir.path().to_str().expect("text")).expect("place");
        assert!(fetch(&folder, 5).await.expect_err("folder").to_string().contains("directory"));
    }

    /// Answers each connection with the next of these texts.
    fn server(answers: Vec<String>) -> std::net::SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
        let at = listener.local_addr().expect("address");
        std::thread::spawn(move || {
            for answer in answers {
                let Ok((mut peer, _)) = listener.accept() else { return };
                let _ = peer.read(&mut [0; 4096]);
                let _ = peer.write_all(answer.as_bytes());
            }
        });
        at
    }

    /// Answers each connection with the next of these texts, and tells what was asked.
    fn talkative(answers: Vec<String>) -> (std::net::SocketAddr, std::sync::mpsc::Receiver<String>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
        let at = listener.local_addr().expect("address");
        let (tell, asked) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for answer in answers {
                let Ok((mut peer, _)) = listener.accept() else { return };
                let mut buffer = [0; 4096];
                let n = peer.read(&mut buffer).unwrap_or(0);
                let _ = tell.send(String::from_utf8_lossy(&buffer[..n]).to_lowercase());
                let _ = peer.write_all(answer.as_bytes());
            }
        });
        (at, asked)
    }

    #[tokio::test]
    async fn what_has_not_changed_is_not_sent_again() {
        let answer = |head: &str, body: &str| {
            format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
        };
        let not_modified = "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n".to_owned();
        let (at, asked) = talkative(vec![
            answer("200 OK\r\nETag: W/\"one\"\r\nLast-Modified: Mon, 27 Dec 2010 10:00:00 GMT", "first"),
            not_modified.clone(),
            answer("200 OK\r\nLast-Modified: Mon, 27 Dec 2010 11:00:00 GMT", "second"),
            answer("503 Busy", "sorry"),
            not_modified.clone(),
            answer("200 OK", "third"),
            not_modified,
        ]);
        let place = Place::parse(&format!("http://{at}/x.ics")).expect("place");
        let cache = Cache::default();
        for (want, sent, not_sent) in [
            (Ok("first"), "get /x.ics", "if-"),
            (Ok("first"), "if-none-match: w/\"one\"\r\n", "?"),
            (Ok("second"), "if-modified-since: mon, 27 dec 2010 10:00:00 gmt", "?"),
            // A failure forgets nothing.
            (Err("503"), "if-modified-since: mon, 27 dec 2010 11:00:00 gmt", "if-none-match"),
            (Ok("second"), "if-modified-since: mon, 27 dec 2010 11:00:00 gmt", "if-none-match"),
            (Ok("third"), "if-modified-since", "if-none-match"),
            // Without anything to ask by, 304 is no answer.
            (Err("304"), "get /x.ics", "if-"),
        ] {
            let got = fetch_again(&place, 10, &cache).await;
            let request = asked.recv_timeout(Duration::from_secs(30)).expect("asked");
            assert!(request.contains(sent) && !request.contains(not_sent), "{request}");
            match (got, want) {
                (Ok(bytes), Ok(want)) => assert_eq!(bytes, want.as_bytes()),
                (Err(e), Err(want)) => assert!(e.to_string().contains(want), "{e}"),
                (got, want) => panic!("{got:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn what_was_fetched_long_ago_is_fetched_whole() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("runtime").block_on(async {
            let cache = Cache::default();
            let url = Url::parse("http://h/x.ics").expect("url");
            let headers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static("\"one\""))]);
            cache.put(&url, &headers, b"first");
            tokio::time::advance(BELIEVED - Duration::from_secs(1)).await;
            assert!(cache.get(&url).is_some());
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(cache.get(&url).is_none());
        });
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_and_one_that_never_ends_are_given_up() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
        let url = |at: std::net::SocketAddr| Url::parse(&format!("http://{at}/x.ics")).expect("url");
        let short = Duration::from_millis(300);
        let at = silent.local_addr().expect("address");
        let late = web(&url(at), 10, &Cache::default(), short).await.expect_err("silent");
        assert!(late.to_string().contains("in time"), "{late}");
        // No length is promised, and more comes than is allowed.
        let endless = server(vec![format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(100_000))]);
        let large = web(&url(endless), 10, &Cache::default(), TIMEOUT).await;
        assert!(matches!(large, Err(FetchError::TooLarge { .. })), "{large:?}");
    }

    #[tokio::test]
    async fn answers_of_servers() {
        let with_length = |status: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
        };
        let cut = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nonly".to_owned();
        let away =
            "HTTP/1.1 302 Found\r\nLocation: ftp://h/x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned();
        for (answers, want) in [
            (vec![with_length("200 OK", "12345")], Ok("12345")),
            (vec![with_length("200 OK", "123456789012")], Err("larger")),
            (vec![with_length("404 Not Found", "x")], Err("404")),
            (vec![cut], Err("cannot fetch")),
            (vec![away], Err("cannot fetch")),
            (vec!["garbage\r\n\r\n".to_owned()], Err("cannot fetch")),
        ] {
            let at = server(answers.clone());
            let place = Place::parse(&format!("http://me:s3cret@{at}/x.ics")).expect("place");
            let got = fetch(&place, 10).await;
            match (got, want) {
                (Ok(bytes), Ok(want)) => assert_eq!(bytes, want.as_bytes()),
                (Err(e), Err(want)) => {
                    let e = e.to_string();
                    assert!(e.contains(want) && !e.contains("s3cret"), "{answers:?}: {e}");
                }
                (got, want) => panic!("{answers:?}: {got:?}, not {want:?}"),
            }
        }
        // The redirect is followed to the end.
        let last = server(vec![with_length("200 OK", "moved")]);
        let first = server(vec![format!(
            "HTTP/1.1 301 Moved\r\nLocation: http://{last}/y.ics\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )]);
        let place = Place::parse(&format!("http://{first}/x.ics")).expect("place");
        assert_eq!(fetch(&place, 10).await.expect("fetched"), b"moved");
    }
}
