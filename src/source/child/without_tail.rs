//! The end of what a stopped source says, left out where it is not to be trusted.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::CancellationToken;

/// Bytes of a source. From the moment it is told to stop they are held back until their end, and the last
/// `untrusted` of them are left out.
pub(super) struct WithoutTail<R> {
    inner: R,
    stop: CancellationToken,
    untrusted: usize,
    held: Vec<u8>,
    /// How many of `held` were given; `None` until its end was seen.
    given: Option<usize>,
}

impl<R> WithoutTail<R> {
    pub(super) fn new(inner: R, stop: CancellationToken, untrusted: usize) -> Self {
        Self { inner, stop, untrusted, held: Vec::new(), given: None }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for WithoutTail<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.untrusted == 0 || !this.stop.is_cancelled() {
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        while this.given.is_none() {
            let mut chunk = [0; 8192];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut chunk))?;
            this.held.extend_from_slice(chunk.filled());
            if chunk.filled().is_empty() {
                this.held.truncate(this.held.len().saturating_sub(this.untrusted));
                this.given = Some(0);
            }
        }
        let given = this.given.unwrap_or_default();
        let rest = &this.held[given..];
        let some = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..some]);
        this.given = Some(given + some);
        Poll::Ready(Ok(()))
    }
}
