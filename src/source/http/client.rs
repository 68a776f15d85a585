//! One request: look the name up, connect, TLS, ask, and read the head of the answer.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, HOST, PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tower_service::Service;
use url::Url;

use super::Setup;
use super::credentials::Login;
use super::socket::{Hangup, Socket, Spoken, Wire};
use crate::domain::segment::EndReason;
use crate::domain::stream_url::is_private_ip;
use crate::source::SourceEnd;
use crate::source::net::{self, NameError};

/// Time for a TCP connection, over all addresses of a host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The most that HTTP keeps of bytes nobody has asked for yet, and the longest head of an answer. 100 ms of
/// 2 Mbit/s are 25 kB.
const BUFFER: usize = 32 * 1024;

/// How we introduce ourselves.
const AGENT: &str = concat!("streamrip/", env!("CARGO_PKG_VERSION"));

/// A connection to a server, as hyper drives it.
pub(super) type Driven = http1::Connection<TokioIo<Spoken<Wire>>, Empty<Bytes>>;

/// What all connections share.
pub(super) struct Client {
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
    proxies: Matcher,
    pub(super) netrc: Option<PathBuf>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Proxies may have passwords.
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// What to ask, and how.
pub(super) struct HttpRequest<'a> {
    pub(super) url: &'a Url,
    pub(super) login: Option<&'a Login>,
    /// Of the user, for this server.
    pub(super) headers: &'a HeaderMap,
    /// Names that lead to a private network are not followed there.
    pub(super) public_only: bool,
    /// To be told when the server has closed.
    pub(super) hangup: Arc<Hangup>,
}

/// An answer whose body has not been read.
pub(super) struct HttpResponse {
    pub(super) status: http::StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Incoming,
    pub(super) connection: Pin<Box<Driven>>,
    pub(super) hangup: Arc<Hangup>,
    /// The server is known to be in a private network.
    pub(super) is_private: bool,
}

impl Client {
    pub(super) fn new(setup: &Setup) -> Self {
        let tls = OnceLock::new();
        if let Some(known) = &setup.tls {
            let _ = tls.set(Ok(known.clone()));
        }
        Self { tls, proxies: setup.proxies(), netrc: setup.netrc.clone() }
    }

    /// Asks, and waits for the head of the answer.
    pub(super) async fn send(&self, ask: HttpRequest<'_>) -> Result<HttpResponse, SourceEnd> {
        let host = ask.url.host_str().unwrap_or_default();
        let port = ask.url.port_or_known_default().unwrap_or(80);
        let is_tls = ask.url.scheme() == "https";
        let authority = if ask.url.port().is_some() { format!("{host}:{port}") } else { host.to_owned() };
        let server: Uri = format!("{}://{host}:{port}", ask.url.scheme()).parse().map_err(|e| unusable(&e))?;
        let proxy = self.proxies.intercept(&server);
        let mut direct = HttpConnector::new_with_resolver(Names { public_only: ask.public_only && proxy.is_none() });
        direct.enforce_http(false);
        direct.set_nodelay(true);
        direct.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let tcp = match &proxy {
            None => direct.call(server).await.map_err(|e| connecting(&e))?,
            Some(proxy) if proxy.uri().scheme_str() != Some("http") => {
                let detail = "the proxy of the environment is no http:// one".to_owned();
                return Err(SourceEnd { reason: Some(EndReason::SourceFailed), detail: Some(detail) });
            }
            Some(proxy) if is_tls => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), direct);
                if let Some(auth) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                tunnel.call(server).await.map_err(|e| through_proxy(connecting(&e)))?
            }
            Some(proxy) => direct.call(proxy.uri().clone()).await.map_err(|e| through_proxy(connecting(&e)))?,
        };
        let tcp: TcpStream = tcp.into_inner();
        // Where a proxy stands says nothing of the server.
        let is_private = proxy.is_none() && tcp.peer_addr().is_ok_and(|peer| is_private_ip(peer.ip()));
        let socket = Socket::new(tcp, ask.hangup.clone());
        let wire = if is_tls { Wire::Tls(self.secured(host, socket).await?) } else { Wire::Plain(socket) };

        let target = &ask.url[url::Position::BeforePath..url::Position::AfterQuery];
        let absolute = proxy.is_some() && !is_tls;
        let target = if absolute { format!("http://{authority}{target}") } else { target.to_owned() };
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = target.parse().map_err(|e| unusable(&e))?;
        *request.headers_mut() = head(&ask, &authority)?;
        if let Some(auth) = proxy.as_ref().filter(|_| absolute).and_then(|p| p.basic_auth()) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, auth.clone());
        }
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .ignore_invalid_headers_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .handshake(TokioIo::new(Spoken::new(wire)))
            .await
            .map_err(|e| transfer(&e))?;
        let mut connection = Box::pin(connection);
        let mut response = Box::pin(sender.send_request(request));
        let mut alive = true;
        let response = std::future::poll_fn(|cx| {
            if alive && connection.as_mut().poll(cx).is_ready() {
                alive = false;
            }
            response.as_mut().poll(cx)
        });
        let (head, body) = response.await.map_err(|e| transfer(&e))?.into_parts();
        Ok(HttpResponse {
            status: head.status,
            headers: head.headers,
            body,
            connection,
            hangup: ask.hangup,
            is_private,
        })
    }

    async fn secured(
        &self,
        host: &str,
        socket: Socket,
    ) -> Result<Box<tokio_rustls::client::TlsStream<Socket>>, SourceEnd> {
        let tls = |why: String| SourceEnd { reason: Some(EndReason::Tls), detail: Some(why) };
        let config = self.tls.get_or_init(trusted).clone().map_err(tls)?;
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|e| tls(e.to_string()))?;
        match TlsConnector::from(config).connect(name, socket).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(e) => Err(connecting(&e)),
        }
    }
}

/// TLS with the certificates that this machine trusts, for HTTP/1.1 only. One for all streams.
fn trusted() -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(|e| format!("no certificates to trust: {e}"))?
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn head(ask: &HttpRequest<'_>, authority: &str) -> Result<HeaderMap, SourceEnd> {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_str(authority).map_err(|e| unusable(&e))?);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    // Media is compressed already, and a compressed stream would have to be taken apart to be looked at.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(HeaderName::from_static("icy-metadata"), HeaderValue::from_static("0"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if let Some(basic) = ask.login.and_then(Login::basic) {
        headers.insert(AUTHORIZATION, basic);
    }
    for (name, value) in ask.headers {
        headers.insert(name, value.clone());
    }
    Ok(headers)
}

/// Looks names up, and leaves private addresses out where the name came from a server or a schedule.
#[derive(Clone, Debug)]
struct Names {
    public_only: bool,
}

impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NameError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NameError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NameError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let public_only = self.public_only;
        Box::pin(async move { Ok(net::look_up(name.as_str(), 0, public_only).await?.into_iter()) })
    }
}

fn unusable(error: &dyn std::error::Error) -> SourceEnd {
    SourceEnd {
        reason: Some(EndReason::SourceFailed),
        detail: Some(format!("the address cannot be asked for: {error}")),
    }
}

fn through_proxy(end: SourceEnd) -> SourceEnd {
    SourceEnd { detail: end.detail.map(|detail| format!("by the proxy of the environment: {detail}")), ..end }
}

/// What an error of connecting means.
fn connecting(error: &(dyn std::error::Error + 'static)) -> SourceEnd {
    SourceEnd { reason: Some(net::meaning(error)), detail: Some(net::words(error)) }
}

/// What an error of a transfer means.
pub(super) fn transfer(error: &hyper::Error) -> SourceEnd {
    let end = |reason, detail: String| SourceEnd { reason: Some(reason), detail: Some(detail) };
    if error.is_incomplete_message() {
        return end(EndReason::Network, "the server closed the connection before its answer was whole".to_owned());
    }
    if error.is_parse() {
        return end(EndReason::NotMedia, format!("what came is no answer of a web server: {}", net::words(error)));
    }
    let ended = |e: &io::Error| e.kind() == io::ErrorKind::UnexpectedEof;
    if net::causes(error).filter_map(|e| e.downcast_ref()).any(ended) {
        return end(EndReason::Eof, "the server closed the connection without a goodbye".to_owned());
    }
    end(net::meaning(error), net::words(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_not_followed_for_a_server() {
        let name: Name = "localhost".parse().expect("a name");
        let mut found = Names { public_only: false }.call(name.clone()).await.expect("known");
        assert!(found.all(|address| is_private_ip(address.ip())));
        let refused = Names { public_only: true }.call(name).await.expect_err("private");
        assert!(matches!(refused, NameError::Private));
    }
}
