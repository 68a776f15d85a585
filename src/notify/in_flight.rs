//! How much is on its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is on its way. Clones count the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Count(Arc<AtomicUsize>);

impl Count {
    /// One more, until what this gives is dropped.
    pub(super) fn one_more(&self) -> InFlight {
        self.0.fetch_add(1, Ordering::SeqCst);
        InFlight(self.clone())
    }

    pub(super) fn left(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Something is on its way as long as this lives.
#[derive(Debug)]
pub struct InFlight(Count);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}
