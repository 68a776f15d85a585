//! How much memory all that waits for the disk may take together.

use std::sync::atomic::{AtomicUsize, Ordering};

/// All connections together may hold so much: 16 of them as much as one may, and a quarter of what the example of a
/// service allows. Bytes.
pub const MEMORY_BYTES: usize = 512 << 20;

/// A number of bytes that many take from and give back to.
#[derive(Debug)]
pub struct Budget {
    free: AtomicUsize,
}

impl Budget {
    /// So many bytes in all.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        Self { free: AtomicUsize::new(bytes) }
    }

    /// Takes so many bytes; false, and takes nothing, where that is more than is left.
    pub(super) fn reserve(&self, bytes: usize) -> bool {
        let less = |free: usize| free.checked_sub(bytes);
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Gives back what was taken.
    pub(super) fn release(&self, bytes: usize) {
        self.free.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that are left.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.free.load(Ordering::Relaxed)
    }
}
