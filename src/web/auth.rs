//! Who may look: the Host check, the token, and the headers of every answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, HeaderName, HeaderValue, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::app::library::json::hex;
use crate::app::support::failure::{Failure, Kind, Result};

/// A token shorter than this could be guessed.
const TOKEN_LENGTH: usize = 16;

/// Name of the cookie that carries the token.
const COOKIE_NAME: &str = "streamrip-token";

/// Who may look at the page.
#[derive(Clone, Default)]
pub struct Access {
    /// Without it only loopback may be listened on.
    pub token: Option<String>,
    /// Names, besides this machine's own addresses, by which browsers may call the page.
    pub hosts: Vec<String>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("token", &self.token.is_some()).field("hosts", &self.hosts).finish()
    }
}

impl Access {
    /// Whether the page may be shown on this address.
    ///
    /// # Errors
    /// `Usage`: without a token on an address that others reach, or with one that can be guessed.
    pub fn check(&self, listen: SocketAddr) -> Result<()> {
        let hint =
            format!("set web.token to {TOKEN_LENGTH} characters or more, in streamrip.toml or STREAMRIP_WEB_TOKEN");
        match &self.token {
            Some(token) if token.len() < TOKEN_LENGTH => {
                Err(Failure::new(Kind::Usage, "web.token is too short").hint(hint))
            }
            // No header carries it.
            Some(token) if !token.bytes().all(|b| b.is_ascii_graphic()) => {
                let what = "web.token has blanks or letters beyond ASCII: no browser could send it";
                Err(Failure::new(Kind::Usage, what).hint("openssl rand -hex 16 makes a good one"))
            }
            None if !listen.ip().is_loopback() => {
                let what = format!("others can reach {listen}: the page needs a token there");
                Err(Failure::new(Kind::Usage, what).hint(hint))
            }
            _ => Ok(()),
        }
    }

    /// An address is fine as it stands; a name only where it is known. A page of a stranger whose name was
    /// made to lead to this machine (DNS rebinding) is not.
    fn knows_host(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(HOST).and_then(|h| h.to_str().ok()) else { return false };
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        name.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    fn is_let_in(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let bearer = headers.get(AUTHORIZATION).and_then(|h| h.to_str().ok()?.strip_prefix("Bearer "));
        let cookies = headers.get_all(COOKIE).iter().filter_map(|h| h.to_str().ok()).flat_map(|h| h.split(';'));
        let cookie = cookies.filter_map(|c| c.trim().split_once('=')).filter(|(name, _)| *name == COOKIE_NAME);
        let in_cookie = cookie_value(token);
        bearer.is_some_and(|given| same(given, token)) || cookie.into_iter().any(|(_, value)| same(value, &in_cookie))
    }
}

/// What the cookie holds: a hash, since a token may have characters that a cookie may not.
fn cookie_value(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

/// Compared as hashes, so that the time it takes says nothing of the token.
fn same(a: &str, b: &str) -> bool {
    Sha256::digest(a.as_bytes()) == Sha256::digest(b.as_bytes())
}

/// Lets in who may look.
pub(super) async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    if !access.knows_host(request.headers()) {
        let text = "this page does not answer to that name; web.hosts in streamrip.toml lists the names it has\n";
        return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    if let Some(entered) = enter(&access, request.uri()) {
        return entered;
    }
    if !access.is_let_in(request.headers()) {
        let text = "a token is needed: open /?token=… once, or send Authorization: Bearer …\n";
        return (StatusCode::UNAUTHORIZED, text).into_response();
    }
    next.run(request).await
}

/// `?token=…` becomes a cookie, and the address bar is rid of it.
fn enter(access: &Access, uri: &Uri) -> Option<Response> {
    let token = access.token.as_ref()?;
    let query: Vec<(String, String)> = url::form_urlencoded::parse(uri.query()?.as_bytes()).into_owned().collect();
    let (_, given) = query.iter().find(|(name, _)| name == "token")?;
    // A plus sign that was not escaped means a blank in an address, and no token has a blank.
    if !same(&given.replace(' ', "+"), token) {
        return None;
    }
    let mut rest = url::form_urlencoded::Serializer::new(String::new());
    rest.extend_pairs(query.iter().filter(|(name, _)| name != "token"));
    let rest = rest.finish();
    let path = if rest.is_empty() { uri.path().to_owned() } else { format!("{}?{rest}", uri.path()) };
    // A path of two slashes would be another host's address.
    let path = format!("/{}", path.trim_start_matches('/'));
    let cookie = format!("{COOKIE_NAME}={}; HttpOnly; SameSite=Strict; Path=/", cookie_value(token));
    let mut answer = StatusCode::SEE_OTHER.into_response();
    answer.headers_mut().insert(LOCATION, HeaderValue::from_str(&path).ok()?);
    answer.headers_mut().insert(SET_COOKIE, HeaderValue::from_str(&cookie).ok()?);
    Some(answer)
}

/// What every answer says: nothing from elsewhere, nothing inside another page, no guessing of types.
const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; \
         connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-cache"),
];

/// Adds the security headers to every response.
pub(super) async fn headers(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    for (name, value) in HEADERS {
        answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(value).expect("works"));
        headers
    }

    #[test]
    fn an_address_is_known_a_strangers_name_is_not() {
        let access = Access { token: None, hosts: vec!["recorder.lan".to_owned()] };
        for (name, known) in [
            ("127.0.0.1:8273", true),
            ("[::1]:8273", true),
            ("localhost", true),
            ("LOCALHOST:1", true),
            ("recorder.lan:8273", true),
            ("evil.example:8273", false),
            ("localhost.evil.example", false),
            ("", false),
        ] {
            assert_eq!(access.knows_host(&host(name)), known, "{name}");
        }
        assert!(!access.knows_host(&HeaderMap::new()));
    }

    #[test]
    fn others_need_a_token_that_cannot_be_guessed() {
        let loopback: SocketAddr = "127.0.0.1:1".parse().expect("works");
        let open: SocketAddr = "0.0.0.0:1".parse().expect("works");
        let with = |token: Option<&str>| Access { token: token.map(str::to_owned), hosts: Vec::new() };
        assert!(with(None).check(loopback).is_ok());
        assert!(with(None).check(open).is_err());
        assert!(with(Some("short")).check(open).is_err());
        assert!(with(Some("0123456789abcdef")).check(open).is_ok());
        assert!(with(Some("kRk+7/9Zt0l4Tg2qf0bTyQ==")).check(open).is_ok());
        for unfit in ["0123456789 abcdef", "0123456789äbcdef", "0123456789abcdef\n"] {
            assert!(with(Some(unfit)).check(loopback).is_err(), "{unfit:?}");
        }
        assert!(!format!("{:?}", with(Some("0123456789abcdef"))).contains("0123"));
    }

    #[test]
    fn a_token_opens_by_header_cookie_or_once_by_address() {
        let access = Access { token: Some("0123456789abcdef".to_owned()), hosts: Vec::new() };
        assert!(!access.is_let_in(&HeaderMap::new()));
        for (name, value, open) in [
            (AUTHORIZATION, "Bearer 0123456789abcdef", true),
            (AUTHORIZATION, "Bearer 0123456789abcdeX", false),
            (AUTHORIZATION, "0123456789abcdef", false),
            (COOKIE, "streamrip-token=0123456789abcdef", false),
            (COOKIE, "streamrip-token=", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(access.is_let_in(&headers), open, "{value}");
        }
        let entered = enter(&access, &Uri::from_static("//evil.example/x?a=1&token=0123456789abcdef")).expect("works");
        assert_eq!(entered.headers()[LOCATION], "/evil.example/x?a=1");
        assert!(enter(&access, &Uri::from_static("/?token=wrong")).is_none());
    }

    #[test]
    fn any_token_that_is_allowed_opens_the_page_in_a_browser() {
        for (token, in_address) in [
            ("0123456789abcdef", "0123456789abcdef"),
            // As openssl rand -base64 makes them; the plus sign with and without its escape.
            ("kRk+7/9Zt0l4Tg2qf0bTyQ==", "kRk+7/9Zt0l4Tg2qf0bTyQ=="),
            ("kRk+7/9Zt0l4Tg2qf0bTyQ==", "kRk%2B7%2F9Zt0l4Tg2qf0bTyQ%3D%3D"),
            ("a;b,c\"d\\e!f$g'h(i)", "a;b,c%22d%5Ce!f$g'h(i)"),
        ] {
            let access = Access { token: Some(token.to_owned()), hosts: Vec::new() };
            access.check("0.0.0.0:1".parse().expect("works")).expect("allowed");
            let address: Uri = format!("/?token={in_address}").parse().expect("an address");
            let entered = enter(&access, &address).unwrap_or_else(|| panic!("{token} is let in"));
            let cookie = entered.headers()[SET_COOKIE].to_str().expect("works");
            let (value, rest) = cookie.split_once(';').expect("works");
            assert_eq!(rest, " HttpOnly; SameSite=Strict; Path=/");
            assert!(!value.contains(token), "{value}");
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_str(&format!("a=b; {value}")).expect("works"));
            assert!(access.is_let_in(&headers), "{token}");
        }
    }
}
