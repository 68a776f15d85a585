//! Servers that speak TLS, a client that trusts them, and a proxy that only leads there.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

/// The certificate of the servers, for 127.0.0.1.
const CERTIFICATE: &[u8] = include_bytes!("../fixtures/tls-cert.der");

fn listener() -> TcpListener {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    listener.set_nonblocking(true).expect("set");
    TcpListener::from_std(listener).expect("listens")
}

/// A server that speaks TLS and leaves the rest to `answer`.
pub fn tls_server<F: Future<Output = ()> + Send + 'static>(
    answer: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + Sync + 'static,
) -> SocketAddr {
    let key = PrivateKeyDer::Pkcs8(include_bytes!("../fixtures/tls-key.der").to_vec().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(CERTIFICATE.to_vec())], key)
        .expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = listener();
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                if let Ok(tls) = acceptor.accept(client).await {
                    answer(tls).await;
                }
            });
        }
    });
    address
}

/// Another server, behind TLS.
pub fn tls_before(server: SocketAddr) -> SocketAddr {
    tls_server(move |mut tls| async move {
        let Ok(mut plain) = TcpStream::connect(server).await else { return };
        let _ = copy_bidirectional(&mut tls, &mut plain).await;
    })
}

/// Trusts these servers.
pub fn trusting() -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CERTIFICATE.to_vec().into()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A proxy that leads to whatever it is asked for; gives its address, and what it was asked.
pub fn connect_proxy() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = listener();
    let address = listener.local_addr().expect("address");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heads = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let heads = heads.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let to = head.split(' ').nth(1).unwrap_or_default().to_owned();
                heads.lock().expect("lock").push(head);
                let mut server = TcpStream::connect(to).await?;
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (address, asked)
}
