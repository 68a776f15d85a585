//! Reading a file to its end: size, SHA-256, modification time, first bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::domain::sniff;
use crate::domain::time::Ms;
use crate::media::CancellationToken;

/// Size, hash and first bytes of a file.
pub(in crate::app) struct Content {
    /// Size of the file.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Modification time, where the file system tells it.
    pub modified: Option<Ms>,
    /// First bytes, as many as are needed to recognise the container.
    pub head: Vec<u8>,
}

/// Reads a file whole whose size and sum are about to be written down, and makes sure of it first: whoever
/// wrote it was killed, and what is read may still be in memory only. A power cut would make the row untrue.
/// `cancel` ends it.
pub(in crate::app) fn read_for_good(path: &Path, cancel: &CancellationToken) -> std::io::Result<Content> {
    crate::durable::sync_file(path)?;
    read_until(path, cancel)
}

/// Reads a file to its end.
pub(in crate::app) fn read_all(path: &Path) -> std::io::Result<Content> {
    read_until(path, &CancellationToken::new())
}

fn read_until(path: &Path, cancel: &CancellationToken) -> std::io::Result<Content> {
    let mut file = File::open(path)?;
    let modified = file.metadata()?.modified().ok().and_then(|t| {
        let since = t.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok().map(Ms)
    });
    let (mut hash, mut bytes, mut head) = (Sha256::new(), 0_u64, Vec::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        if cancel.is_cancelled() {
            return Err(std::io::Error::other("stopped"));
        }
        let n = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hash.update(&buffer[..n]);
        if head.len() < sniff::MAX {
            head.extend_from_slice(&buffer[..n.min(sniff::MAX - head.len())]);
        }
        bytes += n as u64;
    }
    Ok(Content { bytes, sha256: hash.finalize().into(), modified, head })
}
