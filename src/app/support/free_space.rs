//! Free space.

use std::path::Path;

/// Bytes that a user may still write on the disk of `path`, `None` where that cannot be told.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

/// Less than this is nothing: no file can grow by a piece of media. Bytes.
const NOTHING: u64 = 64 << 10;

/// True where nothing can be written any more.
#[must_use]
pub fn is_full(path: &Path) -> bool {
    free_bytes(path).is_some_and(|free| free < NOTHING)
}
