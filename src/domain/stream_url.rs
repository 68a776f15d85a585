//! Addresses of streams: what is allowed, what is printed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use thiserror::Error;
use url::{Host, Url};

use super::stream_request::StreamRequest;

/// Schemes a stream may have. Everything else (`file:`, `concat:`, `dvd:`, ...) would let a schedule
/// read this machine's files or devices through mplayer and ffmpeg.
pub const ALLOWED_SCHEMES: [&str; 8] = ["http", "https", "mms", "mmsh", "mmst", "rtsp", "rtmp", "rtmps"];

/// How the paths of playlists end: lists of addresses, one of which is the stream.
const PLAYLIST_ENDINGS: [&str; 5] = [".m3u", ".pls", ".asx", ".wax", ".wvx"];

/// An address of a stream that passed [`StreamUrl::parse`]. It prints without its password; the
/// whole of it leaves only through [`StreamUrl::secret`].
/// Who named it, and what is to be said when asking for it, count too: the same address named by another or asked
/// for in another way is another stream.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StreamUrl {
    url: Url,
    /// A stranger named it: it must not lead into a private network, whatever its name is looked up as.
    public_only: bool,
    request: Arc<StreamRequest>,
}

/// Why an address is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum StreamUrlError {
    /// Not an absolute URL with a host.
    #[error("{0:?} is not a stream address: it needs a scheme and a host, as in http://host/path")]
    NotAUrl(String),
    /// Its authority can be read in more than one way.
    #[error(
        "{0:?} can be read in more than one way: write it as scheme://user:password@host:port/path, with other characters percent-encoded"
    )]
    Ambiguous(String),
    /// A scheme that is not in [`ALLOWED_SCHEMES`].
    #[error("scheme {0:?} is not allowed for a stream (allowed: {allowed})", allowed = ALLOWED_SCHEMES.join(", "))]
    Scheme(String),
    /// A loopback, private or link-local host in an address that came from a schedule.
    #[error(
        "{0} is on this machine or in a private network; a schedule may not name such an address (put it into the halls file to allow it)"
    )]
    Private(String),
}

impl StreamUrl {
    /// Reads an address given by the user (halls file, command line) and rebuilds it from its parts: scheme, user
    /// information, host, port, a path that begins with `/`, query. The programs that open it (mplayer, ffmpeg, librtmp)
    /// parse it again by rules of their own; what is rebuilt has one reading only. The fragment is dropped.
    ///
    /// # Errors
    /// When it is no absolute URL with a host, begins with `-`, its scheme is not allowed, or its authority holds
    /// characters that parsers disagree about.
    pub fn parse(text: &str) -> Result<Self, StreamUrlError> {
        let text = text.trim();
        let not_a_url = || StreamUrlError::NotAUrl(printable(text));
        if text.starts_with('-') || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(not_a_url());
        }
        let url = Url::parse(text).map_err(|_| not_a_url())?;
        if !ALLOWED_SCHEMES.contains(&url.scheme()) {
            return Err(StreamUrlError::Scheme(printable(url.scheme())));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(not_a_url());
        }
        let url = rebuilt(text, &url).ok_or_else(|| StreamUrlError::Ambiguous(printable(text)))?;
        Ok(Self { url, public_only: false, request: Arc::default() })
    }

    /// Reads an address that came from a schedule, which is data of strangers.
    ///
    /// # Errors
    /// As [`StreamUrl::parse`], and where the host is this machine or in a private network.
    pub fn parse_from_schedule(text: &str) -> Result<Self, StreamUrlError> {
        let url = Self { public_only: true, ..Self::parse(text)? };
        if url.is_private() {
            return Err(StreamUrlError::Private(url.to_string()));
        }
        Ok(url)
    }

    /// To be asked for in this way.
    #[must_use]
    pub fn asked_with(self, request: StreamRequest) -> Self {
        Self { request: Arc::new(request), ..self }
    }

    /// What to say when asking for it.
    #[must_use]
    pub fn request(&self) -> &StreamRequest {
        &self.request
    }

    /// True where a schedule named it: wherever it leads in the end (its name looked up, a redirect, a
    /// playlist), [`StreamUrl::may_reach`] must be asked.
    #[must_use]
    pub fn is_public_only(&self) -> bool {
        self.public_only
    }

    /// True where a connection for this stream may go to `ip`.
    #[must_use]
    pub fn may_reach(&self, ip: IpAddr) -> bool {
        !self.public_only || !is_private_ip(ip)
    }

    /// The whole address with its password, for the program that opens it. Never print it.
    #[must_use]
    pub fn secret(&self) -> &str {
        self.url.as_str()
    }

    /// Host name, as written.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The path, without query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// The port that it names, or that its scheme means: what a name is looked up with.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(match self.url.scheme() {
            "rtsp" => 554,
            "rtmp" | "rtmps" => 1935,
            _ => 1755,
        })
    }

    /// True for RTSP.
    #[must_use]
    pub fn is_rtsp(&self) -> bool {
        self.url.scheme() == "rtsp"
    }

    /// True where the path ends in `.m3u8`.
    #[must_use]
    pub fn is_hls(&self) -> bool {
        matches!(self.url.scheme(), "http" | "https") && self.path().to_ascii_lowercase().ends_with(".m3u8")
    }

    /// True for http and https.
    #[must_use]
    pub fn is_web(&self) -> bool {
        matches!(self.url.scheme(), "http" | "https")
    }

    /// True where the path ends as playlists other than HLS do, which hold the address of the stream.
    #[must_use]
    pub fn is_playlist(&self) -> bool {
        let path = self.path().to_ascii_lowercase();
        self.is_web() && PLAYLIST_ENDINGS.iter().any(|end| path.ends_with(end))
    }

    /// True where the host is a loopback, private, link-local or unspecified address, or a name that
    /// means this machine.
    #[must_use]
    pub fn is_private(&self) -> bool {
        // For schemes the URL standard does not know (mms, rtsp ...) the host stays an opaque text.
        let ip = match self.url.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                if name == "localhost" || name.ends_with(".localhost") || name.ends_with(".local") {
                    return true;
                }
                // The forms of an IPv4 address that only the C library understands (127.1, 0x7f000001).
                Url::parse(&format!("http://{name}/")).ok().and_then(|u| match u.host() {
                    Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
                    _ => None,
                })
            }
            None => None,
        };
        ip.is_some_and(is_private_ip)
    }
}

/// The address built anew from its parsed parts; `None` where its text leaves room for another reading: a backslash
/// (browsers take it for a slash), slashes that are missing or too many, or user information and hosts with
/// characters outside of RFC 3986.
fn rebuilt(text: &str, url: &Url) -> Option<Url> {
    let (_, behind_scheme) = text.split_once(':')?;
    let authority = behind_scheme.strip_prefix("//")?;
    if text.contains('\\') || authority.starts_with('/') {
        return None;
    }
    // For schemes that the URL standard does not know (mms, rtsp ...) the parser leaves the host as it was written.
    let host = Host::parse(url.host_str()?).ok()?;
    if let Host::Domain(name) = &host
        && !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    {
        return None;
    }
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=%".contains(c));
    if !plain(url.username())
        || !url.password().is_none_or(plain)
        || !(url.path().is_empty() || url.path().starts_with('/'))
    {
        return None;
    }
    let password = url.password().map(|p| format!(":{p}")).unwrap_or_default();
    let user = format!("{}{password}", url.username());
    let at = if user.is_empty() { "" } else { "@" };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let path = if url.path().is_empty() { "/" } else { url.path() };
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    Url::parse(&format!("{}://{user}{at}{host}{port}{path}{query}", url.scheme())).ok()
}

/// True for an address at which no public server can be: loopback, private, link-local, multicast, unspecified or
/// reserved (the special-purpose registries of RFC 6890), also where an IPv6 form wraps an IPv4 address.
#[must_use]
pub fn is_private_ip(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || a == 0
                // Shared address space of carriers, RFC 6598.
                || (a == 100 && (64..128).contains(&b))
                // Protocol assignments (RFC 6890), benchmarking (RFC 2544), reserved for future use (RFC 1112).
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (18..20).contains(&b))
                || a >= 240
        }
        IpAddr::V6(v6) => {
            let s = v6.segments();
            let v4 = |high: u16, low: u16| {
                let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                Some(Ipv4Addr::new(a, b, c, d))
            };
            let wrapped = match s {
                // NAT64, RFC 6052, and 6to4, RFC 3056.
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => v4(high, low),
                // IPv4-translated addresses, RFC 7915.
                [0, 0, 0, 0, 0xffff, 0, high, low] => v4(high, low),
                _ => v6.to_ipv4(),
            };
            wrapped.is_some_and(|v4| is_private_ip(IpAddr::V4(v4)))
                || v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                // Site-local, given up by RFC 3879 and still routed in some places.
                || (s[0] & 0xffc0) == 0xfec0
                || v6.is_multicast()
                // Local-use NAT64 (RFC 8215), discard-only (RFC 6666), Teredo (RFC 4380): each leads to an IPv4
                // address that only the translator knows.
                || (s[0] == 0x64 && s[1] == 0xff9b && s[2] == 1)
                || (s[0] == 0x100 && s[1..4] == [0, 0, 0])
                || (s[0] == 0x2001 && s[1] == 0)
        }
    }
}

/// Text of strangers, made fit for a message: no control characters, at most 80 characters.
fn printable(text: &str) -> String {
    let text = redact_text(text);
    let mut out: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(80).collect();
    if text.chars().count() > 80 {
        out.push('…');
    }
    out
}

/// Removes secrets from every address inside a text, for instance in the lines a source printed: the password of
/// `scheme://user:password@host`, and the values of query parameters that grant access (`?token=...`, signatures).
#[must_use]
pub fn redact_text(text: &str) -> String {
    redact_query(&redact_userinfo(text))
}

/// True for the name of a query parameter whose value grants access: tokens, keys and signatures as CDNs, object stores
/// and streaming servers name them (Akamai `hdnts`, CloudFront `Policy`, nginx secure_link `md5`, Wowza `wmsAuthSign`).
fn grants_access(name: &str) -> bool {
    const PARTS: [&str; 7] = ["token", "sign", "secret", "passw", "auth", "credential", "session"];
    const NAMES: [&str; 16] = [
        "sig",
        "key",
        "apikey",
        "api_key",
        "api-key",
        "pass",
        "pwd",
        "pw",
        "policy",
        "key-pair-id",
        "hdnts",
        "hdnea",
        "hdntl",
        "md5",
        "jwt",
        "st",
    ];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part)) || NAMES.contains(&name.as_str())
}

/// Replaces the values of query parameters that grant access by `***`.
fn redact_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['?', '&']) {
        let (before, after) = rest.split_at(at + 1);
        out.push_str(before);
        rest = after;
        let name_end = after.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.%~".contains(c))).unwrap_or(after.len());
        if after[name_end..].starts_with('=') && grants_access(&after[..name_end]) {
            let value = &after[name_end + 1..];
            let end = value.find(|c: char| c.is_whitespace() || "&#\"'<>".contains(c)).unwrap_or(value.len());
            out.push_str(&after[..=name_end]);
            out.push_str("***");
            rest = &value[end..];
        }
    }
    out.push_str(rest);
    out
}

/// Replaces the passwords of `scheme://user:password@host` by `***`.
fn redact_userinfo(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // Also where the scheme was forgotten.
    while let Some(at) = rest.find("//") {
        let (before, after) = rest.split_at(at + 2);
        out.push_str(before);
        let word =
            after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>')).unwrap_or(after.len());
        let mut end = after[..word].find(['/', '?', '#']).unwrap_or(word);
        // A password with a slash that was not escaped: what looks like a port is none.
        let port = after[..end].rsplit_once(':').map(|(_, port)| port);
        if !after[..end].contains('@') && port.is_some_and(|p| p.contains(|c: char| c.is_ascii_alphabetic())) {
            end = after[..word].rfind('@').map_or(end, |at| at + 1);
        }
        // The last @ of the authority ends the userinfo, as browsers read it.
        match after[..end].rfind('@') {
            Some(host) => {
                let user = after[..host].split(':').next().unwrap_or_default();
                out.push_str(user);
                if after[..host].contains(':') {
                    out.push_str(":***");
                }
                out.push_str(&after[host..end]);
            }
            None => out.push_str(&after[..end]),
        }
        rest = &after[end..];
    }
    out.push_str(rest);
    out
}

impl fmt::Display for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact_text(self.url.as_str()))
    }
}

impl fmt::Debug for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two parsers must not read one address as two hosts: the URL standard's and those of mplayer, ffmpeg and librtmp.
    #[test]
    fn what_can_be_read_in_two_ways_is_refused_or_rebuilt() {
        for bad in [
            "http:host/x",
            "http:/host/x",
            "http:///host/x",
            "mms://a.example\\b.example/x",
            "http://a.example\\@b.example/x",
            "mms://a.example%2fb/x",
            "rtsp://a b/x",
        ] {
            assert!(StreamUrl::parse(bad).is_err(), "{bad:?} passed");
        }
        for (text, handed_over) in [
            ("mms://a.example", "mms://a.example/"),
            ("mms://a.example?x=1@2", "mms://a.example/?x=1@2"),
            ("rtsp://a.example#@b.example/x", "rtsp://a.example/"),
            ("mmsh://A.Example:8080/x?y#z", "mmsh://a.example:8080/x?y"),
            ("rtmp://me:pw@a.example/app/x", "rtmp://me:pw@a.example/app/x"),
            ("mms://0x5db8d822/x", "mms://93.184.216.34/x"),
            ("rtsp://[2606:2800:220:1::1]:554/x", "rtsp://[2606:2800:220:1::1]:554/x"),
            ("mms://us<er@a.example/x", "mms://us%3Cer@a.example/x"),
        ] {
            assert_eq!(StreamUrl::parse(text).expect(text).secret(), handed_over);
        }
        assert!(StreamUrl::parse_from_schedule("mms://0x7f000001/x").is_err());
    }

    #[test]
    fn addresses_without_a_public_server_are_known() {
        for private in [
            "198.18.0.1",
            "198.19.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "192.0.0.8",
            "64:ff9b:1::1",
            "100::1",
            "::ffff:0:10.0.0.1",
            "::ffff:10.0.0.1",
            "2001:0:1::1",
            "64:ff9b::10.0.0.1",
            "2002:a00:1::1",
            "fec0::1",
        ] {
            assert!(is_private_ip(private.parse().expect(private)), "{private}");
        }
        for public in [
            "198.17.0.1",
            "198.20.0.1",
            "192.0.1.1",
            "93.184.216.34",
            "2001:470::1",
            "2606:2800:220:1::1",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(!is_private_ip(public.parse().expect(public)), "{public}");
        }
    }

    #[test]
    fn values_that_grant_access_are_not_printed() {
        for (text, printed) in [
            ("http://h/x?token=s3cret", "http://h/x?token=***"),
            ("got http://h/x?a=1&X-Amz-Signature=s3cret&b=2, gone", "got http://h/x?a=1&X-Amz-Signature=***&b=2, gone"),
            ("http://u:s3cret@h/x?Policy=s3cret&Key-Pair-Id=s3cret#f", "http://u:***@h/x?Policy=***&Key-Pair-Id=***#f"),
            ("http://h/x?wmsAuthSign=s3cret", "http://h/x?wmsAuthSign=***"),
            ("http://h/x?quality=hd&t=5", "http://h/x?quality=hd&t=5"),
            ("who is it? token=none", "who is it? token=none"),
        ] {
            assert_eq!(redact_text(text), printed);
        }
        assert_eq!(
            StreamUrl::parse("https://h/a.m3u8?key=s3cret").expect("good").to_string(),
            "https://h/a.m3u8?key=***"
        );
    }

    #[test]
    fn schemes_options_and_files_are_refused() {
        for bad in [
            "file:///etc/passwd",
            "concat:a|b",
            "ffmpeg://x/y",
            "dvd://1",
            "-dumpfile",
            " -vo",
            "saal1",
            "",
            "http://",
            "http://a b/",
            "http://h/\nx",
            "data:text/plain,x",
            "pipe:1",
        ] {
            assert!(StreamUrl::parse(bad).is_err(), "{bad:?} passed");
        }
        for good in
            ["http://wmv.27c3.fem-net.de/saal1", "mmsh://h/x", "rtsp://h:554/x", "rtmp://h/app/x", "https://h/a.m3u8"]
        {
            assert!(StreamUrl::parse(good).is_ok(), "{good:?} refused");
        }
    }

    #[test]
    fn private_addresses_of_a_schedule_are_refused() {
        for bad in [
            "http://127.0.0.1/x",
            "http://127.1/x",
            "http://0x7f000001/x",
            "mms://2130706433/x",
            "http://localhost:8000/",
            "http://x.localhost/",
            "http://10.0.0.1/",
            "http://192.168.1.1/",
            "http://172.16.0.1/",
            "http://169.254.169.254/latest",
            "http://[::1]/",
            "http://[fe80::1]/",
            "http://[fd00::1]/",
            "http://[::ffff:127.0.0.1]/",
            "rtsp://[::1]/x",
            "http://0.0.0.0/",
            "http://100.64.0.1/",
        ] {
            assert!(matches!(StreamUrl::parse_from_schedule(bad), Err(StreamUrlError::Private(_))), "{bad} passed");
            assert!(StreamUrl::parse(bad).is_ok(), "{bad}: the user may name it");
        }
        let named = "http://h.example/x";
        let (schedule, user) =
            (StreamUrl::parse_from_schedule(named).expect("valid"), StreamUrl::parse(named).expect("valid"));
        for (ip, public) in [
            ("93.184.216.34", true),
            ("2606:2800:220:1::1", true),
            ("64:ff9b::5db8:d822", true),
            ("127.0.0.1", false),
            ("10.0.0.1", false),
            ("169.254.169.254", false),
            ("::1", false),
            ("::ffff:10.0.0.1", false),
            ("64:ff9b::a00:1", false),
            ("2002:7f00:1::1", false),
            ("fec0::1", false),
            ("fe80::1", false),
        ] {
            let ip = ip.parse().expect("an address");
            assert_eq!(schedule.may_reach(ip), public, "{ip}");
            assert!(user.may_reach(ip), "{ip}: the user's own");
        }
        assert!(StreamUrl::parse_from_schedule("http://93.184.216.34/x").is_ok());
    }

    #[test]
    fn passwords_are_never_printed() {
        let url = StreamUrl::parse("http://me:s3cret@host/x?y").expect("valid");
        assert_eq!(url.to_string(), "http://me:***@host/x?y");
        assert!(!format!("{url:?}").contains("s3cret"));
        assert!(url.secret().contains("s3cret"));
        assert_eq!(
            redact_text("Playing rtsp://a:b@c@h/x, then http://h/y."),
            "Playing rtsp://a:***@h/x, then http://h/y."
        );
        assert_eq!(
            redact_text("//a:b@h/, http://a:b/c@h/ http://[::1]:80/x@y"),
            "//a:***@h/, http://a:***@h/ http://[::1]:80/x@y"
        );
        let refused = StreamUrl::parse("gopher://me:s3cret@host/").expect_err("scheme");
        assert!(!refused.to_string().contains("s3cret"));
        let refused = StreamUrl::parse("http://me:s3cret@ host/").expect_err("space");
        assert!(!refused.to_string().contains("s3cret"), "{refused}");
    }
}
