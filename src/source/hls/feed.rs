//! From the task that fetches to the tape that reads: bytes, and what becomes true when they were read.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;

use super::resume_state::ResumeState;
use crate::domain::segment::Mark;
use crate::domain::time::Ms;
use crate::plan::hls::SegmentHistory;
use crate::source::Hints;

/// One thing on the way.
#[derive(Debug)]
pub enum Item {
    /// Bytes of a media segment or a map.
    Bytes(Bytes),
    /// All of a segment's bytes are before this: what was passed with it, and when its last video was made, where that
    /// is known.
    Whole(Box<SegmentHistory>, Option<Ms>),
}

/// The tape's end.
#[derive(Debug)]
pub struct Feed {
    items: mpsc::Receiver<Item>,
    current: Bytes,
    given: u64,
    hints: Hints,
    resume_state: ResumeState,
    variant: Arc<Mutex<String>>,
    /// Where these bytes are put together with others: how much of that was given.
    muxed: Option<Arc<AtomicU64>>,
    /// When what was read last was made, not told yet.
    due: Option<Ms>,
}

impl Feed {
    /// Reads what comes through `items`. `variant` names the playlist that they are of, as far as it is known.
    #[must_use]
    pub fn new(
        items: mpsc::Receiver<Item>,
        hints: Hints,
        resume_state: ResumeState,
        variant: Arc<Mutex<String>>,
    ) -> Self {
        Self { items, current: Bytes::new(), given: 0, hints, resume_state, variant, muxed: None, due: None }
    }

    /// Feed of a rendition that ffmpeg multiplexes with another one. `given` counts the multiplexed bytes that the tape
    /// has received; hints use that count, since this feed's own bytes are not the recorded ones.
    #[must_use]
    pub fn muxed(self, given: &Arc<AtomicU64>) -> Self {
        Self { muxed: Some(given.clone()), ..self }
    }

    fn bytes(&mut self, bytes: Bytes) {
        self.current = bytes;
        if let (Some(at), Some(given)) = (self.due.take(), &self.muxed) {
            self.hints.push(Mark { at, offset: given.load(Ordering::Relaxed) });
        }
    }

    fn whole(&mut self, history: SegmentHistory, end_date_time: Option<Ms>) {
        if self.muxed.is_some() {
            // Of what is on its way now nobody knows how many bytes it will be. Before the next media segment is read,
            // nothing later can have been given, and mostly all of it was.
            self.due = end_date_time.or(self.due);
        } else if let Some(at) = end_date_time {
            self.hints.push(Mark { at, offset: self.given });
        }
        self.resume_state.set(&self.variant.lock().unwrap_or_else(PoisonError::into_inner), history);
    }
}

impl AsyncRead for Feed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        // As much as there is: the tape reads ten times a second, whatever the pieces of the network.
        loop {
            let n = this.current.len().min(buf.remaining());
            buf.put_slice(&this.current[..n]);
            this.current.advance(n);
            this.given += n as u64;
            if buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            match this.items.poll_recv(cx) {
                Poll::Ready(Some(Item::Bytes(bytes))) => this.bytes(bytes),
                Poll::Ready(Some(Item::Whole(history, end_date_time))) => this.whole(*history, end_date_time),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending if buf.filled().len() > before => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
