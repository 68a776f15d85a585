//! The connection below HTTP: a TCP socket whose end is seen without reading it, TLS around it where that is
//! wanted, and the answer line of old Shoutcast servers made right.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// Tells that the other side has closed; of several connections on the way to a stream, only for the last.
#[derive(Debug)]
pub(super) struct Hangup {
    closed: AtomicBool,
    wanted: AtomicBool,
    over: CancellationToken,
}

impl Hangup {
    /// `over` is cancelled if it is ever wanted.
    pub(super) fn new(over: CancellationToken) -> Arc<Self> {
        Arc::new(Self { closed: AtomicBool::new(false), wanted: AtomicBool::new(false), over })
    }

    /// This is the connection that counts.
    pub(super) fn want(&self) {
        self.wanted.store(true, Ordering::SeqCst);
        self.tell();
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.tell();
    }

    fn tell(&self) {
        if self.closed.load(Ordering::SeqCst) && self.wanted.load(Ordering::SeqCst) {
            self.over.cancel();
        }
    }
}

/// A TCP socket. Between two turns of its reader nobody waits for its bytes, which is what makes hundreds of
/// streams cheap; a task of its own hears when the other side has closed.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: Arc<TcpStream>,
    watcher: AbortHandle,
    hangup: Arc<Hangup>,
}

impl Socket {
    /// `hangup` is told when the other side closes or resets it.
    pub(super) fn new(tcp: TcpStream, hangup: Arc<Hangup>) -> Self {
        let tcp = Arc::new(tcp);
        let (watched, told) = (tcp.clone(), hangup.clone());
        let watcher = tokio::spawn(async move {
            // Priority data never comes; waiting for it is to be woken by the end and by nothing else.
            while let Ok(ready) = watched.ready(Interest::PRIORITY).await {
                if ready.is_read_closed() {
                    break;
                }
                let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                let _ = watched.try_io(Interest::PRIORITY, nothing);
            }
            told.close();
        });
        Self { tcp, watcher: watcher.abort_handle(), hangup }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.watcher.abort();
        // The end may have been read together with the last bytes, before the watcher saw it.
        self.hangup.close();
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.tcp.poll_read_ready(cx))?;
            match self.tcp.try_read_buf(buf) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.tcp.poll_write_ready(cx))?;
            match self.tcp.try_write(bytes) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Only one request is ever sent, and it is whole. Many a server takes a half-closed client for gone.
        Poll::Ready(Ok(()))
    }
}

/// With or without TLS.
#[derive(Debug)]
pub(super) enum Wire {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            // A goodbye of TLS would be sent on the socket, which stays open as above.
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }
}

/// How old Shoutcast servers begin their answer, and how it should begin.
const ICY: (&[u8], &[u8]) = (b"ICY ", b"HTTP/1.0 ");

/// Makes `HTTP/1.0 200 OK` of a leading `ICY 200 OK`; all else passes as it is.
#[derive(Debug)]
pub(super) struct Spoken<T> {
    inner: T,
    /// The first bytes, until it is known what they are; then what of them is still to be given.
    start: Vec<u8>,
    decided: bool,
}

impl<T> Spoken<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, start: Vec::new(), decided: false }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Spoken<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while !this.decided {
            let mut few = [0; ICY.0.len()];
            let mut few = ReadBuf::new(&mut few[this.start.len()..]);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut few))?;
            let ended = few.filled().is_empty();
            this.start.extend_from_slice(few.filled());
            if this.start == ICY.0 {
                this.start = ICY.1.to_vec();
                this.decided = true;
            } else if ended || !ICY.0.starts_with(&this.start) {
                this.decided = true;
            }
        }
        if this.start.is_empty() {
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        let n = this.start.len().min(buf.remaining());
        buf.put_slice(&this.start[..n]);
        this.start.drain(..n);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Spoken<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn spoken(bytes: &[u8], piece: usize) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            let (mut there, here) = tokio::io::duplex(piece);
            let bytes = bytes.to_vec();
            let sent = tokio::spawn(async move { there.write_all(&bytes).await });
            let mut got = Vec::new();
            Spoken::new(here).read_to_end(&mut got).await.expect("read");
            sent.await.expect("sent").expect("written");
            got
        })
    }

    #[test]
    fn only_a_leading_icy_is_made_right() {
        for piece in [1, 3, 64] {
            for (said, want) in [
                ("ICY 200 OK\r\nicy-br:128\r\n\r\nxICY ", "HTTP/1.0 200 OK\r\nicy-br:128\r\n\r\nxICY "),
                ("HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n"),
                ("ICE 200", "ICE 200"),
                ("ICY", "ICY"),
                ("", ""),
            ] {
                assert_eq!(String::from_utf8_lossy(&spoken(said.as_bytes(), piece)), want, "{piece}");
            }
        }
    }

    proptest! {
        #[test]
        fn all_else_passes_as_it_is(bytes in prop::collection::vec(any::<u8>(), 0..40), piece in 1_usize..9) {
            prop_assume!(!bytes.starts_with(ICY.0));
            prop_assert_eq!(spoken(&bytes, piece), bytes);
        }
    }
}
