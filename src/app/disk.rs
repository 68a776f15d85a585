//! Free space.

use std::path::Path;

/// Bytes that a user may still write on the disk of `path`, `None` where that cannot be told.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}
