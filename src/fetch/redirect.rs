//! Following redirects, one step at a time: an address of the public network must not send us into the
//! private one that this machine stands in.

use std::net::{IpAddr, SocketAddr};

use reqwest::header::LOCATION;
use reqwest::{ClientBuilder, Response};
use url::{Host, Url};

use crate::domain::redirect_policy::{RedirectRefusal, may_follow};
use crate::domain::stream_url::{is_private_ip, redact_text};
use crate::domain::text::{one_line, shortened};

/// One address on the way.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    /// Where to ask.
    pub url: Url,
    /// What its name was looked up as when it was judged: nothing else is asked. Empty: the user named it, and
    /// it is looked up as always.
    at: Vec<SocketAddr>,
    /// The one that the user named, who may name private ones.
    first: Url,
}

/// Where an answer sends us; `None`: it is no redirect.
///
/// The error is in words: no place, or none that http can reach.
pub(super) fn target(from: &Url, answer: &Response) -> Option<Result<Url, String>> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let place = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    Some(match place.map(|text| (text, from.join(text))) {
        Some((_, Ok(url))) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Some((text, _)) => Err(format!("it is sent on to {:?}", shown(text))),
        None => Err("it is sent on to nowhere".to_owned()),
    })
}

impl Hop {
    /// The address that the user named.
    pub fn first(url: &Url) -> Self {
        Self { url: url.clone(), at: Vec::new(), first: url.clone() }
    }

    /// Makes a client connect to the addresses that were judged, so that a name server that answers
    /// differently a moment later changes nothing.
    pub fn pin(&self, builder: ClientBuilder) -> ClientBuilder {
        match self.url.domain() {
            Some(name) if !self.at.is_empty() => builder.resolve_to_addrs(name, &self.at),
            _ => builder,
        }
    }

    /// The step to `to`, unless it leads into the private network and the user's own address did not.
    ///
    /// The error is in words.
    pub async fn follow(&self, mut to: Url) -> Result<Self, String> {
        let origin =
            |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
        if origin(&to) == origin(&self.url) && to.username().is_empty() {
            // The password is for this server, and is meant for all of its pages.
            let _ = to.set_username(self.url.username());
            let _ = to.set_password(self.url.password());
        }
        let at = look_up(&to).await?;
        let ips: Vec<IpAddr> = at.iter().map(SocketAddr::ip).collect();
        if let Err(RedirectRefusal::Private(_)) = may_follow(&to, &ips, false) {
            // What the user named may be private, and may then send us around in there.
            let private = look_up(&self.first).await?.iter().any(|at| is_private_ip(at.ip()));
            may_follow(&to, &ips, private).map_err(|refusal| refusal.to_string())?;
        }
        Ok(Self { url: to, at, first: self.first.clone() })
    }
}

async fn look_up(url: &Url) -> Result<Vec<SocketAddr>, String> {
    let port = url.port_or_known_default().unwrap_or(80);
    match url.host() {
        Some(Host::Ipv4(ip)) => Ok(vec![(ip, port).into()]),
        Some(Host::Ipv6(ip)) => Ok(vec![(ip, port).into()]),
        Some(Host::Domain(name)) => {
            let found = tokio::net::lookup_host((name, port)).await;
            found.map(Iterator::collect).map_err(|e| format!("{name} cannot be looked up: {e}"))
        }
        None => Err("it is sent on to nowhere".to_owned()),
    }
}

fn shown(text: &str) -> String {
    shortened(&one_line(&redact_text(text)), 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect(text)
    }

    #[tokio::test]
    async fn nobody_is_sent_from_the_public_network_into_the_private_one() {
        let public = Hop::first(&url("http://93.184.216.34/x.ics"));
        for private in [
            "http://127.0.0.1/",
            "http://localhost/",
            "http://10.0.0.1:8080/admin",
            "http://169.254.169.254/latest",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://0x7f000001/",
        ] {
            let refused = public.follow(url(private)).await.expect_err(private);
            assert!(refused.contains("not followed"), "{refused}");
        }
        let other = public.follow(url("https://93.184.216.35/y.ics")).await.expect("public");
        // Also at the second step.
        assert!(other.follow(url("http://127.0.0.1/")).await.is_err());
        // Whoever has the schedule at home may be sent around at home.
        let home = Hop::first(&url("http://127.0.0.1/x.ics"));
        assert!(home.follow(url("http://10.0.0.1/y.ics")).await.is_ok());
        let refused = public.follow(url("http://me:s3cret@127.0.0.1/")).await.expect_err("private");
        assert!(!refused.contains("s3cret"), "{refused}");
    }

    #[tokio::test]
    async fn a_password_stays_with_its_server() {
        let first = Hop::first(&url("http://me:s3cret@127.0.0.1/x.ics"));
        let same = first.follow(url("http://127.0.0.1/y.ics")).await.expect("followed");
        assert_eq!(same.url.password(), Some("s3cret"));
        for elsewhere in ["http://127.0.0.2/y.ics", "https://127.0.0.1/y.ics", "http://127.0.0.1:81/"] {
            let other = first.follow(url(elsewhere)).await.expect("followed");
            assert_eq!((other.url.username(), other.url.password()), ("", None), "{elsewhere}");
        }
    }
}
