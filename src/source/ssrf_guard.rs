//! Where an address leads, before a program opens it: a name that a schedule gave must not be looked up as
//! an address of this machine or of a private network.
//!
//! mplayer and ffmpeg look the name up again by themselves, and follow redirects and playlists: a name
//! server that answers differently a moment later, or a server that sends them on, is not seen here.

use std::net::IpAddr;
use std::time::Duration;

use super::{SourceEnd, net};
use crate::domain::segment::EndReason;
use crate::domain::stream_url::StreamUrl;

/// A name server that says nothing for so long counts as a failed look-up; the next try asks again.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Refuses an address that a schedule named and whose host is private by any of its addresses. What the user
/// named is not looked up at all.
///
/// # Errors
/// With the end that such a connection has: `private-address`, or `dns` where the name cannot be looked up.
pub async fn check(url: &StreamUrl) -> Result<(), SourceEnd> {
    if !url.is_public_only() {
        return Ok(());
    }
    let failed =
        |why: String| SourceEnd { reason: Some(EndReason::Dns), detail: Some(format!("{}: {why}", url.host())) };
    // An IPv6 address stands in brackets in an address.
    let host = url.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    match tokio::time::timeout(LOOKUP_TIMEOUT, net::look_up(&host, url.port(), false)).await {
        Ok(Ok(found)) => judge(url, found.into_iter().map(|at| at.ip())),
        Ok(Err(e)) => Err(failed(e.to_string())),
        Err(_) => Err(failed("the name cannot be looked up: no answer in time".to_owned())),
    }
}

/// One private address among public ones is enough: the program takes whichever it likes.
fn judge(url: &StreamUrl, found: impl Iterator<Item = IpAddr>) -> Result<(), SourceEnd> {
    match found.into_iter().find(|ip| !url.may_reach(*ip)) {
        None => Ok(()),
        Some(ip) => Err(SourceEnd {
            reason: Some(EndReason::PrivateAddress),
            detail: Some(format!(
                "{} is {ip}, on this machine or in a private network; a schedule may not lead there (put the address \
                 into the halls file to allow it)",
                url.host()
            )),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(url: &StreamUrl, ips: &[&str]) -> Option<EndReason> {
        judge(url, ips.iter().map(|ip| ip.parse().expect("an address"))).err().and_then(|end| end.reason)
    }

    #[test]
    fn one_private_address_of_a_name_is_enough() {
        let schedule = StreamUrl::parse_from_schedule("http://streams.example.org/saal1").expect("valid");
        let user = StreamUrl::parse("http://streams.example.org/saal1").expect("valid");
        for (ips, want) in [
            (&["93.184.216.34"][..], None),
            (&["93.184.216.34", "2606:2800:220:1::1"], None),
            (&["10.0.0.7"], Some(EndReason::PrivateAddress)),
            (&["93.184.216.34", "::1"], Some(EndReason::PrivateAddress)),
            (&["::ffff:192.168.1.1", "93.184.216.34"], Some(EndReason::PrivateAddress)),
        ] {
            assert_eq!(verdict(&schedule, ips), want, "{ips:?}");
            assert_eq!(verdict(&user, ips), None, "{ips:?}");
        }
    }

    #[tokio::test]
    async fn addresses_need_no_name_server_and_a_name_that_is_none_is_a_failed_look_up() {
        for public in ["http://93.184.216.34/x", "rtsp://[2606:2800:220:1::1]/x", "mms://93.184.216.34/x"] {
            assert_eq!(check(&StreamUrl::parse_from_schedule(public).expect("valid")).await, Ok(()), "{public}");
        }
        let nobody = StreamUrl::parse_from_schedule("http://me:s3cret@no.such.host.invalid/x").expect("valid");
        let end = check(&nobody).await.expect_err("no such host");
        assert_eq!(end.reason, Some(EndReason::Dns));
        assert!(end.detail.is_some_and(|d| d.contains("no.such.host.invalid") && !d.contains("s3cret")));
        assert_eq!(check(&StreamUrl::parse("http://no.such.host.invalid/x").expect("valid")).await, Ok(()));
    }
}
