//! Names, addresses and errors of the network: what all that asks servers here agrees about.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use thiserror::Error;

use crate::domain::segment::EndReason;
use crate::domain::stream_url::{is_private_ip, redact_text};
use crate::domain::text::one_line;

/// Why a name leads nowhere.
#[derive(Debug, Error)]
pub(super) enum NameError {
    /// No name server knows it, or none answers.
    #[error("the name cannot be looked up: {0}")]
    Unknown(io::Error),
    /// Nothing but addresses of this machine or of a private network, which were not asked for.
    #[error(
        "it leads to this machine or into a private network, where neither a schedule nor a public server may send us: it is not followed"
    )]
    Private,
}

/// The addresses of a name, with that port. `public_only`: those at which no public server can be are left out.
pub(super) async fn look_up(name: &str, port: u16, public_only: bool) -> Result<Vec<SocketAddr>, NameError> {
    let mut found: Vec<_> = tokio::net::lookup_host((name, port)).await.map_err(NameError::Unknown)?.collect();
    let all = found.len();
    found.retain(|at| !public_only || !is_private_ip(at.ip()));
    if found.is_empty() && all > 0 { Err(NameError::Private) } else { Ok(found) }
}

/// What an error of asking a server means for a connection, however deep its cause is.
pub(super) fn meaning(error: &(dyn Error + 'static)) -> EndReason {
    if let Some(name) = causes(error).find_map(|e| e.downcast_ref::<NameError>()) {
        return match name {
            NameError::Unknown(_) => EndReason::Dns,
            NameError::Private => EndReason::PrivateAddress,
        };
    }
    let refused = |e: &io::Error| e.kind() == io::ErrorKind::ConnectionRefused;
    if is_tls(error) {
        EndReason::Tls
    } else if causes(error).filter_map(|e| e.downcast_ref()).any(refused) {
        EndReason::Refused
    } else {
        EndReason::Network
    }
}

/// True where TLS failed, and not the connection below it.
pub(super) fn is_tls(error: &(dyn Error + 'static)) -> bool {
    // As an error of a socket it is one of wrong data, which a socket itself never has.
    let wrong_data = |e: &io::Error| e.kind() == io::ErrorKind::InvalidData;
    causes(error).any(|e| e.is::<rustls::Error>() || e.downcast_ref().is_some_and(wrong_data))
}

/// All causes of an error in one line, without passwords or control characters.
pub(super) fn words(error: &(dyn Error + 'static)) -> String {
    let mut out = String::new();
    for cause in causes(error) {
        // Wrappers repeat what they wrap.
        let next = cause.to_string();
        if !out.contains(&next) {
            out = if out.is_empty() { next } else { format!("{out}: {next}") };
        }
    }
    one_line(&redact_text(&out))
}

/// The error and its causes, outermost first.
pub(super) fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&e| {
        // What an io::Error wraps is not its source, but stands for it.
        let inside = e.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inside.map(|inside| inside as &(dyn Error + 'static)).or_else(|| e.source())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_found_for_the_user_only() {
        let found = look_up("localhost", 80, false).await.expect("known");
        assert!(!found.is_empty() && found.iter().all(|at| is_private_ip(at.ip()) && at.port() == 80));
        assert!(matches!(look_up("localhost", 80, true).await, Err(NameError::Private)));
        assert!(matches!(look_up("no.such.host.invalid", 80, true).await, Err(NameError::Unknown(_))));
    }

    #[test]
    fn errors_mean_what_is_at_their_bottom() {
        let io = |kind, inside: Box<dyn Error + Send + Sync>| io::Error::other(io::Error::new(kind, inside));
        let unknown = NameError::Unknown(io::Error::other("nobody"));
        for (error, want) in [
            (io(io::ErrorKind::Other, unknown.into()), EndReason::Dns),
            (io(io::ErrorKind::Other, NameError::Private.into()), EndReason::PrivateAddress),
            (io(io::ErrorKind::Other, rustls::Error::EncryptError.into()), EndReason::Tls),
            (io(io::ErrorKind::InvalidData, "bad".into()), EndReason::Tls),
            (io(io::ErrorKind::ConnectionRefused, "no".into()), EndReason::Refused),
            (io(io::ErrorKind::ConnectionReset, "http://me:s3cret@h/ is away".into()), EndReason::Network),
        ] {
            assert_eq!(meaning(&error), want, "{error:?}");
            assert!(!words(&error).contains("s3cret"), "{}", words(&error));
        }
    }
}
