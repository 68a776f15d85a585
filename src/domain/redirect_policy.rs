//! Where a server may send us, by a redirect or a playlist.

use std::net::IpAddr;

use thiserror::Error;
use url::Url;

use super::segment::EndReason;
use super::stream_url::{StreamUrl, is_private_ip};

/// Why an address that a server named is not followed. The words hold no password.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RedirectRefusal {
    /// No address at all, or none of http.
    #[error("the server names {0}, which is not followed: only http and https are; give that address instead")]
    NoWeb(String),
    /// A private one.
    #[error("the server names {0}, on this machine or in a private network: it is not followed")]
    Private(String),
}

impl RedirectRefusal {
    /// What it means for a connection.
    #[must_use]
    pub fn reason(&self) -> EndReason {
        match self {
            Self::NoWeb(_) => EndReason::SourceFailed,
            Self::Private(_) => EndReason::PrivateAddress,
        }
    }
}

/// Whether an address that a server named may be asked. `found`: what its name was looked up as, empty where that
/// comes later; one private address among public ones is enough. `private`: the server is in a private network
/// itself, and may name its neighbours.
///
/// # Errors
/// Why it may not.
pub fn may_follow(to: &Url, found: &[IpAddr], private: bool) -> Result<(), RedirectRefusal> {
    let stream = match StreamUrl::parse(to.as_str()) {
        Ok(stream) if stream.is_web() => stream,
        Ok(other) => return Err(RedirectRefusal::NoWeb(other.to_string())),
        Err(_) => return Err(RedirectRefusal::NoWeb(format!("an address of {:?}", to.scheme()))),
    };
    if !private && (stream.is_private() || found.iter().copied().any(is_private_ip)) {
        return Err(RedirectRefusal::Private(stream.to_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_server_names_public_ones_and_a_private_one_its_neighbours() {
        let url = |text: &str| Url::parse(text).expect(text);
        for named in
            ["http://127.0.0.1/", "http://[::1]:8000/x", "https://10.0.0.1/x", "http://localhost/", "https://x.local/"]
        {
            assert!(matches!(may_follow(&url(named), &[], false), Err(RedirectRefusal::Private(_))), "{named}");
            assert_eq!(may_follow(&url(named), &[], true), Ok(()), "{named}");
        }
        for named in ["file:///etc/passwd", "gopher://h/", "rtsp://h/x", "javascript:1", "data:text/plain,x"] {
            assert!(matches!(may_follow(&url(named), &[], true), Err(RedirectRefusal::NoWeb(_))), "{named}");
        }
        assert_eq!(may_follow(&url("https://cdn.example/x"), &[], false), Ok(()));
        let words = may_follow(&url("mms://me:s3cret@h/x"), &[], true).expect_err("mms").to_string();
        assert!(words.contains("mms://me:***@h/x"), "{words}");
    }

    #[test]
    fn a_name_with_one_private_address_is_private() {
        let to = Url::parse("https://cdn.example/x").expect("an address");
        let found = ["93.184.216.34", "10.0.0.7"].map(|ip| ip.parse().expect("an address"));
        assert_eq!(may_follow(&to, &found[..1], false), Ok(()));
        assert!(matches!(may_follow(&to, &found, false), Err(RedirectRefusal::Private(_))));
        assert_eq!(may_follow(&to, &found, true), Ok(()));
    }
}
