//! Addresses of streams: what is allowed, what is printed.

use std::fmt;
use std::net::IpAddr;
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
/// whole of it leaves only through [`StreamUrl::secret`]. With it goes what is to be said when asking for it: the
/// same address asked for in another way is another stream.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StreamUrl(Url, Arc<StreamRequest>);

/// Why an address is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum StreamUrlError {
    /// Not an absolute URL with a host.
    #[error("{0:?} is not a stream address: it needs a scheme and a host, as in http://host/path")]
    NotAUrl(String),
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
    /// Reads an address given by the user (halls file, command line).
    ///
    /// # Errors
    /// When it is no absolute URL with a host, begins with `-`, or its scheme is not allowed.
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
        Ok(Self(url, Arc::default()))
    }

    /// Reads an address that came from a schedule, which is data of strangers.
    ///
    /// # Errors
    /// As [`StreamUrl::parse`], and where the host is this machine or in a private network.
    pub fn parse_from_schedule(text: &str) -> Result<Self, StreamUrlError> {
        let url = Self::parse(text)?;
        if url.is_private() {
            return Err(StreamUrlError::Private(url.to_string()));
        }
        Ok(url)
    }

    /// To be asked for in this way.
    #[must_use]
    pub fn asked_with(self, request: StreamRequest) -> Self {
        Self(self.0, Arc::new(request))
    }

    /// What to say when asking for it.
    #[must_use]
    pub fn request(&self) -> &StreamRequest {
        &self.1
    }

    /// The whole address with its password, for the program that opens it. Never print it.
    #[must_use]
    pub fn secret(&self) -> &str {
        self.0.as_str()
    }

    /// Host name, as written.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The path, without query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// True for RTSP.
    #[must_use]
    pub fn is_rtsp(&self) -> bool {
        self.0.scheme() == "rtsp"
    }

    /// True where the path ends in `.m3u8`.
    #[must_use]
    pub fn is_hls(&self) -> bool {
        matches!(self.0.scheme(), "http" | "https") && self.path().to_ascii_lowercase().ends_with(".m3u8")
    }

    /// True for http and https.
    #[must_use]
    pub fn is_web(&self) -> bool {
        matches!(self.0.scheme(), "http" | "https")
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
        let ip = match self.0.host() {
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

/// True where an address is loopback, private, link-local, unspecified or otherwise not of the public network.
#[must_use]
pub fn is_private_ip(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || a == 0
                // Shared address space of carriers, RFC 6598.
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => {
            v6.to_ipv4().is_some_and(|v4| is_private_ip(IpAddr::V4(v4)))
                || v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
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

/// Removes passwords from every `scheme://user:password@host` inside a text, for instance in the
/// lines a source printed.
#[must_use]
pub fn redact_text(text: &str) -> String {
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
        f.write_str(&redact_text(self.0.as_str()))
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
