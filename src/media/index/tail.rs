//! Which tracks of a segment surely end with a whole packet.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::domain::media::{Track, TrackKind};
use crate::media::mpegts::complete_tail;
use crate::media::{MediaError, Result};

/// So many bytes are looked at: more than any two video frames have.
const TAIL_BYTES: u64 = 4 << 20;

/// Marks the tracks of an MPEG-TS file of so many bytes. Of several tracks of a kind it is not known which stream
/// is whose, so that nothing is said of them.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn mark(tracks: &mut [Track], path: &Path, bytes: u64) -> Result<()> {
    let end = last_bytes(path, bytes).map_err(|source| MediaError::File { path: path.to_owned(), source })?;
    let ends = complete_tail(&end);
    for (kind, whole) in [(TrackKind::Video, ends.pictures), (TrackKind::Audio, ends.sound)] {
        let mut of_kind = tracks.iter_mut().filter(|t| t.kind == kind);
        if let (Some(only), None) = (of_kind.next(), of_kind.next()) {
            only.whole_end = whole;
        }
    }
    Ok(())
}

fn last_bytes(path: &Path, bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL_BYTES)))?;
    let mut out = Vec::new();
    file.take(bytes.min(TAIL_BYTES)).read_to_end(&mut out)?;
    Ok(out)
}
