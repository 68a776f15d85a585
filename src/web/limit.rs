//! A listener that takes so many connections at once and no more, and takes a place back from who does nothing with it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Accepts while there is room; the others wait in the kernel's queue.
pub(super) struct Limited {
    listener: TcpListener,
    room: Arc<Semaphore>,
    idle: Duration,
}

impl Limited {
    /// At most `connections` at once. One on which no byte moves for `idle`, in either direction, is ended: a phone that
    /// left the network says no good-bye.
    pub(super) fn new(listener: TcpListener, connections: usize, idle: Duration) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(connections)), idle }
    }
}

impl Listener for Limited {
    type Io = Counted;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Counted, SocketAddr) {
        // The semaphore is never closed; without a permit a connection is merely not counted.
        let permit = Arc::clone(&self.room).acquire_owned().await.ok();
        let (stream, from) = Listener::accept(&mut self.listener).await;
        if let Err(e) = end_with_its_peer(&stream, self.idle) {
            tracing::debug!("a connection to the page is not watched by the kernel: {e}");
        }
        let idle = Idle { limit: self.idle, moved: Instant::now(), look: Box::pin(sleep(self.idle)) };
        (Counted { stream, idle, _permit: permit }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Has the kernel end a connection whose peer answers nothing for so long: what is sent to it fits into the kernel's
/// buffers for hours, and so looks as if it moved.
fn end_with_its_peer(stream: &TcpStream, idle: Duration) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, idle)?;
    sockopt::set_tcp_user_timeout(stream, u32::try_from(idle.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

/// How long nothing has moved.
struct Idle {
    limit: Duration,
    moved: Instant,
    look: Pin<Box<Sleep>>,
}

impl Idle {
    /// Passes on what a connection answered; an error instead where it keeps waiting for too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, answer: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if answer.is_ready() {
            self.moved = Instant::now();
            return answer;
        }
        while self.look.as_mut().poll(cx).is_ready() {
            let end = self.moved + self.limit;
            if end <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.look.as_mut().reset(end);
        }
        Poll::Pending
    }
}

/// A connection that gives its place back when it is dropped.
pub(super) struct Counted {
    stream: TcpStream,
    idle: Idle,
    _permit: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let answer = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.idle.watch(cx, answer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let answer = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.idle.watch(cx, answer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let answer = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.idle.watch(cx, answer)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    async fn one_place() -> (Limited, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        (Limited::new(listener, 1, IDLE), address)
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_loses_the_place_to_the_next() {
        let (mut limited, address) = one_place().await;
        let _silent = TcpStream::connect(address).await.expect("connected");
        let (mut first, _) = limited.accept().await;
        let _next = TcpStream::connect(address).await.expect("connected");
        assert!(timeout(IDLE * 10, limited.accept()).await.is_err(), "there is one place");
        let ended = first.read(&mut [0]).await.expect_err("ended");
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        drop(first);
        timeout(IDLE, limited.accept()).await.expect("its turn");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_told_something_now_and_then_stays_and_who_takes_nothing_goes() {
        let (mut limited, address) = one_place().await;
        let mut _reads_nothing = TcpStream::connect(address).await.expect("connected");
        let (mut served, _) = limited.accept().await;
        for _ in 0..5 {
            assert!(timeout(IDLE * 2 / 3, served.read(&mut [0])).await.is_err(), "it was told something just now");
            served.write_all(b"alive").await.expect("told");
        }
        // More than the kernel keeps for it.
        let much = vec![0; 64 << 20];
        let ended = served.write_all(&much).await.expect_err("ended");
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn the_kernel_ends_a_connection_whose_peer_is_gone() {
        let (mut limited, address) = one_place().await;
        let _peer = TcpStream::connect(address).await.expect("connected");
        let (served, _) = limited.accept().await;
        assert!(sockopt::socket_keepalive(&served.stream).expect("asked"));
        assert_eq!(sockopt::tcp_keepidle(&served.stream).expect("asked"), IDLE);
        assert_eq!(sockopt::tcp_user_timeout(&served.stream).expect("asked"), 60_000);
    }
}
