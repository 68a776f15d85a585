//! The bytes of an answer, read only when somebody asks for them.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::io::ReadBuf;

use super::client::{Driven, transfer};
use super::icy::Titles;
use crate::domain::segment::EndReason;
use crate::source::SourceEnd;

/// A body and the connection it comes from. There is no task that reads ahead: what is not asked for waits in
/// the kernel.
pub(super) struct Body {
    incoming: Incoming,
    /// `None` when it has nothing more to do.
    connection: Option<Pin<Box<Driven>>>,
    /// Came, and is still to be given.
    rest: Bytes,
    titles: Option<Titles>,
    /// How it ends, in words, where it ends well.
    good_end: &'static str,
    /// The server says by itself when it is over.
    is_announced: bool,
    ended: Option<SourceEnd>,
}

impl Body {
    /// `icy_every`: bytes between two titles, 0 for none. `is_chunked`: the server says when it is over.
    pub(super) fn new(incoming: Incoming, connection: Pin<Box<Driven>>, icy_every: usize, is_chunked: bool) -> Self {
        let is_announced = is_chunked || incoming.size_hint().exact().is_some();
        let good_end = if is_chunked {
            "the server said that this is all"
        } else if is_announced {
            "all bytes that the server announced have come"
        } else {
            "the server closed the connection"
        };
        let titles = Titles::new(icy_every);
        Self { incoming, connection: Some(connection), rest: Bytes::new(), titles, good_end, is_announced, ended: None }
    }

    /// Puts bytes before all others.
    pub(super) fn give_back(&mut self, bytes: Vec<u8>) {
        debug_assert!(self.rest.is_empty(), "bytes are given back in the order they came");
        self.rest = bytes.into();
    }

    /// The next bytes, `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// How it ended, after its last byte.
    pub(super) fn end(&self) -> SourceEnd {
        self.ended.clone().unwrap_or_default()
    }

    /// Fills `buf` with all that is there. Ready with nothing in it: it is over.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<()> {
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            match self.poll_next(cx) {
                Poll::Ready(Some(mut bytes)) => {
                    let n = bytes.len().min(buf.remaining());
                    buf.put_slice(&bytes[..n]);
                    bytes.advance(n);
                    self.rest = bytes;
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending if buf.filled().len() > before => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut self.rest)));
        }
        if self.ended.is_some() {
            return Poll::Ready(None);
        }
        loop {
            let frame = match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Pending => {
                    // The body asks, the connection reads, and then the body has it.
                    if self.connection.as_mut().is_some_and(|connection| connection.as_mut().poll(cx).is_ready()) {
                        self.connection = None;
                    }
                    match Pin::new(&mut self.incoming).poll_frame(cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(frame) => frame,
                    }
                }
                Poll::Ready(frame) => frame,
            };
            let mut bytes = match frame {
                // Trailers are of no interest.
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(e)) => {
                    self.ended = Some(self.broken(&e));
                    return Poll::Ready(None);
                }
                None => {
                    let detail = Some(self.good_end.to_owned());
                    self.ended = Some(SourceEnd { reason: Some(EndReason::Eof), detail });
                    return Poll::Ready(None);
                }
            };
            let Some(titles) = &mut self.titles else {
                if bytes.is_empty() {
                    continue;
                }
                return Poll::Ready(Some(bytes));
            };
            let mut media = BytesMut::new();
            while let Some(part) = titles.media(&mut bytes) {
                media.extend_from_slice(&part);
            }
            if !media.is_empty() {
                return Poll::Ready(Some(media.freeze()));
            }
        }
    }

    /// What it means that it broke off.
    fn broken(&self, error: &hyper::Error) -> SourceEnd {
        let end = transfer(error);
        // In the middle of a body hyper knows of no other end that it does not expect.
        if self.is_announced && (error.is_incomplete_message() || end.reason == Some(EndReason::Eof)) {
            let detail = "the server closed the connection before the end that it had announced".to_owned();
            return SourceEnd { reason: Some(EndReason::Eof), detail: Some(detail) };
        }
        end
    }
}
