//! What a live stream has sent so far.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::now_ms;

/// A live stream: bytes that grow, and when each came. Clones are the same stream. All of it is kept
/// (tests are short), so that a test can compare a recording with what was offered.
#[derive(Clone, Debug)]
pub struct Live {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Bytes so far, and whether the stream has ended: wakes the connections.
    length: watch::Sender<(u64, bool)>,
    /// Clients join at multiples of this many bytes.
    unit: u64,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// (arrival in ms since the epoch, bytes before it), one per push.
    marks: Vec<(i64, u64)>,
}

impl Live {
    /// An empty stream. Clients join at multiples of `unit` bytes from its start, as those of a server that
    /// knows its packets do: 188 for MPEG-TS, 1 where it does not matter.
    ///
    /// # Panics
    /// Where `unit` is 0.
    #[must_use]
    pub fn new(unit: u64) -> Self {
        assert!(unit > 0, "clients cannot join at multiples of 0 bytes");
        let (length, _) = watch::channel((0, false));
        Self { inner: Arc::new(Inner { state: Mutex::default(), length, unit }) }
    }

    /// Appends bytes that came now.
    pub fn push(&self, bytes: &[u8]) {
        let mut state = self.state();
        let before = state.bytes.len() as u64;
        state.marks.push((now_ms(), before));
        state.bytes.extend_from_slice(bytes);
        let length = state.bytes.len() as u64;
        drop(state);
        self.inner.length.send_replace((length, false));
    }

    /// No more bytes: clients get the rest and then the end.
    pub fn finish(&self) {
        self.inner.length.send_modify(|(_, ended)| *ended = true);
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.inner.length.borrow().0
    }

    /// True before the first byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True after [`Live::finish`].
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.inner.length.borrow().1
    }

    /// All bytes so far.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.state().bytes.clone()
    }

    /// The bytes that came at `from_ms` or later and before `to_ms`, and where they stand in the stream.
    #[must_use]
    pub fn between(&self, from_ms: i64, to_ms: i64) -> (u64, Vec<u8>) {
        let (from, to) = (self.offset_at(from_ms), self.offset_at(to_ms));
        (from, self.slice(from, to))
    }

    /// The bytes of a range, as far as they are there.
    #[must_use]
    pub fn slice(&self, from: u64, to: u64) -> Vec<u8> {
        let state = self.state();
        let clip = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(state.bytes.len());
        state.bytes[clip(from)..clip(to).max(clip(from))].to_vec()
    }

    /// How many bytes had come before `at_ms`.
    #[must_use]
    pub fn offset_at(&self, at_ms: i64) -> u64 {
        let state = self.state();
        let next = state.marks.partition_point(|(when, _)| *when < at_ms);
        state.marks.get(next).map_or(state.bytes.len() as u64, |(_, before)| *before)
    }

    /// When the byte at `offset` came; `None` where it has not.
    #[must_use]
    pub fn arrival_of(&self, offset: u64) -> Option<i64> {
        let state = self.state();
        if offset >= state.bytes.len() as u64 {
            return None;
        }
        let next = state.marks.partition_point(|(_, before)| *before <= offset);
        state.marks.get(next.checked_sub(1)?).map(|(when, _)| *when)
    }

    /// Where a client that joins now begins, if it is given the last `burst` of the stream first.
    pub(crate) fn join_at(&self, burst: Duration) -> u64 {
        let back = i64::try_from(burst.as_millis()).unwrap_or(i64::MAX);
        let at = if back == 0 { self.len() } else { self.offset_at(now_ms().saturating_sub(back)) };
        // Rounded down: the packet under way is sent whole.
        at - at % self.inner.unit
    }

    pub(crate) fn watch(&self) -> watch::Receiver<(u64, bool)> {
        self.inner.length.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
