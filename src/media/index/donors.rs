//! Parameter sets for a file that has none.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::media::mpegts::{ParameterSets, lacks_keyframe};
use crate::media::{CancellationToken, MediaError, Result};

/// Looked at of the file that borrows: its tables and its first video frame are there.
const HEAD_BYTES: u64 = 4 << 20;

/// Looked at of the end of a file that may lend: keyframes are some seconds apart.
const TAIL_BYTES: u64 = 16 << 20;

/// What to read a file of MPEG-TS behind so that its video frames are known, from the first of `donors` that has it.
/// Empty where none has, or the file has no video frames. A lender that cannot be read has none.
///
/// # Errors
/// When the file itself cannot be read, or when cancelled.
pub(super) fn borrow(path: &Path, donors: &[PathBuf], cancel: &CancellationToken) -> Result<Vec<u8>> {
    if donors.is_empty() {
        return Ok(Vec::new());
    }
    let begin = read(path, |_| 0, HEAD_BYTES).map_err(|source| MediaError::File { path: path.to_owned(), source })?;
    if lacks_keyframe(&begin) {
        return Ok(Vec::new());
    }
    for donor in donors {
        if cancel.is_cancelled() {
            return Err(MediaError::Cancelled);
        }
        let Ok(end) = read(donor, |bytes| bytes.saturating_sub(TAIL_BYTES), TAIL_BYTES) else { continue };
        // One of other parameters ends the search: what is before it is older still.
        if let Some(params) = ParameterSets::last(&end) {
            return Ok(params.prefix_for(&begin).unwrap_or_default());
        }
    }
    Ok(Vec::new())
}

/// At most so many bytes of a file, from where `from` says, which is told its size.
fn read(path: &Path, from: impl Fn(u64) -> u64, most: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let from = from(file.metadata()?.len());
    file.seek(SeekFrom::Start(from))?;
    let mut out = Vec::new();
    file.take(most).read_to_end(&mut out)?;
    Ok(out)
}
