//! From an address to a stream: redirects and playlists are followed, a little way and not everywhere.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderName};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::body::Body;
use super::client::{Client, HttpRequest, HttpResponse};
use super::credentials::{Login, of_netrc};
use super::playlist::{self, List};
use super::socket::Hangup;
use crate::domain::redirect_policy::may_follow;
use crate::domain::segment::EndReason;
use crate::domain::stream_url::StreamUrl;
use crate::source::SourceEnd;

/// Redirects followed from one address.
const MAX_REDIRECTS: u32 = 10;

/// A playlist may name a playlist that names a playlist.
const MAX_DEPTH: u32 = 3;

/// Requests for one stream, all in all.
const MAX_REQUESTS: u32 = 30;

/// The way to one stream.
pub(super) struct RedirectChain {
    client: Arc<Client>,
    first: Url,
    /// The user's own, for the server of the first address only.
    headers: HeaderMap,
    over: CancellationToken,
    /// Whether what a server names may be in a private network: where its own address is.
    may_be_private: Option<bool>,
    asked: u32,
    /// Takes words for the log.
    say: Box<dyn Fn(&str) + Send + Sync>,
}

/// What an address led to.
enum Target {
    Stream(Body),
    Lists(Vec<Url>),
}

impl RedirectChain {
    pub(super) fn new(
        client: Arc<Client>,
        url: &StreamUrl,
        headers: HeaderMap,
        over: CancellationToken,
        say: Box<dyn Fn(&str) + Send + Sync>,
    ) -> Result<Self, SourceEnd> {
        let first = Url::parse(url.secret()).map_err(|e| failed(EndReason::SourceFailed, e.to_string()))?;
        let may_be_private = if url.is_public_only() { Some(false) } else { url.is_private().then_some(true) };
        Ok(Self { client, first, headers, over, may_be_private, asked: 0, say })
    }

    /// Goes it. Of several addresses in a playlist the first that gives a stream is taken.
    pub(super) async fn go(mut self) -> Result<Body, SourceEnd> {
        let mut todo = vec![(self.first.clone(), 0)];
        let mut first_failure = None;
        while let Some((url, depth)) = todo.pop() {
            match self.one(url).await {
                Ok(Target::Stream(body)) => return Ok(body),
                Ok(Target::Lists(_)) if depth == MAX_DEPTH => {
                    let detail = format!("playlists that name playlists, more than {MAX_DEPTH} deep");
                    first_failure.get_or_insert(failed(EndReason::NotMedia, detail));
                }
                Ok(Target::Lists(entries)) => todo.extend(entries.into_iter().rev().map(|entry| (entry, depth + 1))),
                Err(end) => {
                    first_failure.get_or_insert(end);
                }
            }
        }
        Err(first_failure.unwrap_or_else(|| failed(EndReason::NotMedia, "a playlist without an address".to_owned())))
    }

    /// Follows redirects from one address.
    async fn one(&mut self, mut url: Url) -> Result<Target, SourceEnd> {
        for _ in 0..=MAX_REDIRECTS {
            self.asked += 1;
            if self.asked > MAX_REQUESTS {
                return Err(failed(EndReason::NotMedia, format!("no stream after {MAX_REQUESTS} requests")));
            }
            let answer = self.send(&url).await?;
            let status = answer.status;
            let kind = text(&answer.headers, &CONTENT_TYPE);
            (self.say)(&format!("{status} {kind}"));
            if !status.is_redirection() {
                return self.answered(&url, answer, &kind).await;
            }
            let location = text(&answer.headers, &LOCATION);
            if location.is_empty() {
                return Err(failed(EndReason::Http(status.as_u16()), "a redirect that leads nowhere".to_owned()));
            }
            url = self.next(&url, &location).map_err(|why| failed(EndReason::Http(status.as_u16()), why))?;
        }
        Err(failed(EndReason::Http(302), format!("more than {MAX_REDIRECTS} redirects")))
    }

    async fn send(&mut self, url: &Url) -> Result<HttpResponse, SourceEnd> {
        let printable = StreamUrl::parse(url.as_str()).map(|url| url.to_string()).unwrap_or_default();
        (self.say)(&format!("GET {printable}"));
        let at_first = url.origin() == self.first.origin();
        let login = Login::of(url).or_else(|| Login::of(&self.first).filter(|_| at_first));
        let login = match (login, &self.client.netrc, url.host_str()) {
            (None, Some(netrc), Some(host)) => of_netrc(netrc, host).await,
            (login, ..) => login,
        };
        // A name for oneself is no secret, and some servers ask for one; all else is for the user's own server.
        let mut elsewhere = HeaderMap::new();
        if let Some(agent) = self.headers.get(USER_AGENT) {
            elsewhere.insert(USER_AGENT, agent.clone());
        }
        let answer = self.client.send(HttpRequest {
            url,
            login: login.as_ref(),
            headers: if at_first { &self.headers } else { &elsewhere },
            public_only: self.may_be_private == Some(false),
            hangup: Hangup::new(self.over.clone()),
        });
        let answer = answer.await?;
        self.may_be_private.get_or_insert(answer.is_private);
        Ok(answer)
    }

    /// What an answer that is no redirect is.
    async fn answered(&self, url: &Url, answer: HttpResponse, kind: &str) -> Result<Target, SourceEnd> {
        let status = answer.status;
        if !status.is_success() {
            return Err(failed(EndReason::Http(status.as_u16()), format!("the server answered {status}")));
        }
        let coded = text(&answer.headers, &CONTENT_ENCODING);
        if !coded.is_empty() && !coded.eq_ignore_ascii_case("identity") {
            let detail = format!("the server sends it as {coded}, though it was asked not to");
            return Err(failed(EndReason::NotMedia, detail));
        }
        let every = text(&answer.headers, &HeaderName::from_static("icy-metaint")).parse().unwrap_or(0);
        let is_chunked = answer.headers.contains_key(TRANSFER_ENCODING);
        let mut body = Body::new(answer.body, answer.connection, every, is_chunked);
        let promised = playlist::is_promised(kind, url.path());
        let hangup = answer.hangup;
        let stream = |body| {
            hangup.want();
            Ok(Target::Stream(body))
        };
        let Some(start) = body.next().await else {
            // Nothing at all, or an error, which says itself what it is.
            return stream(body);
        };
        let mut start = start.to_vec();
        if !playlist::is_list(&start, promised) {
            body.give_back(start);
            return stream(body);
        }
        while start.len() < playlist::MAX
            && let Some(more) = body.next().await
        {
            start.extend_from_slice(&more);
        }
        let List::Entries(entries) = playlist::read(&start) else {
            // Who reads the bytes says what it is.
            body.give_back(start);
            return stream(body);
        };
        (self.say)(&format!("a playlist of {} addresses", entries.len()));
        let mut usable = Vec::new();
        let mut refused = None;
        for entry in &entries {
            match self.next(url, entry) {
                Ok(url) => usable.push(url),
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        match refused {
            Some(why) if usable.is_empty() => Err(failed(EndReason::NotMedia, why)),
            _ => Ok(Target::Lists(usable)),
        }
    }

    /// An address that a server named, if we go there.
    fn next(&self, from: &Url, named: &str) -> Result<Url, String> {
        let joined = from.join(named.trim()).map_err(|e| format!("the server names an address that is none: {e}"))?;
        may_follow(&joined, &[], self.may_be_private != Some(false)).map_err(|refusal| refusal.to_string())?;
        Ok(joined)
    }
}

fn failed(reason: EndReason, detail: String) -> SourceEnd {
    SourceEnd { reason: Some(reason), detail: Some(detail) }
}

/// A header as text; nothing where it is missing or no text.
fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    let value = headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    value.unwrap_or_default().trim().chars().take(2000).map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Setup;
    use super::*;

    fn way(url: &str, may_be_private: Option<bool>) -> (RedirectChain, Url) {
        let client = Arc::new(Client::new(&Setup::default()));
        let url = StreamUrl::parse(url).expect("valid");
        let mut way = RedirectChain::new(client, &url, HeaderMap::new(), CancellationToken::new(), Box::new(|_| {}))
            .expect("way");
        way.may_be_private = way.may_be_private.or(may_be_private);
        let first = way.first.clone();
        (way, first)
    }

    #[test]
    fn a_public_server_does_not_lead_into_a_private_network() {
        let (way, from) = way("http://93.184.216.34/a/b", Some(false));
        for named in
            ["http://127.0.0.1/", "http://[::1]:8000/x", "//10.0.0.1/x", "http://localhost/", "https://x.local/"]
        {
            assert!(way.next(&from, named).expect_err(named).contains("private network"), "{named}");
        }
        for named in ["file:///etc/passwd", "gopher://h/", "rtsp://h/x", "javascript:1", "http://"] {
            assert!(way.next(&from, named).is_err(), "{named}");
        }
        assert_eq!(way.next(&from, " c?d ").map(String::from).as_deref(), Ok("http://93.184.216.34/a/c?d"));
        assert_eq!(way.next(&from, "https://h/").map(String::from).as_deref(), Ok("https://h/"));
    }

    #[test]
    fn a_private_server_may_name_its_neighbours_and_no_password_is_said() {
        let (way, from) = way("http://127.0.0.1/", None);
        assert!(way.next(&from, "http://10.0.0.1/x").is_ok());
        let refused = way.next(&from, "mms://me:s3cret@h/x").expect_err("mms");
        assert!(refused.contains("mms://me:***@h/x"), "{refused}");
    }
}
