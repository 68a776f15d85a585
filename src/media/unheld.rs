//! Which packets of a segment stand in none of some finished files: what would be lost if the segment were deleted.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::demux::Demux;
use super::inspect::inspect;
use super::{CancellationToken, MediaError, Result};
use crate::domain::media::{MediaIndex, Packet, TrackKind};
use crate::plan::seam::last_may_be_torn;

/// What a segment has and no file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unheld {
    /// The packets, in the order of the file; times are in the segment's own clock.
    pub packets: Vec<Packet>,
    /// The SHA-256 of each file, as it was read for this.
    pub files: Vec<[u8; 32]>,
}

/// Compares a segment with files that this program joined, packet by packet. Left out of account is what no decoder can
/// use: video before the segment's first keyframe, and a last packet that the end of the connection may have torn.
///
/// # Errors
/// When a file is unsound or cannot be read, when the segment is not the one that was indexed, or on cancellation.
pub fn unheld(path: &Path, index: &MediaIndex, files: &[PathBuf], cancel: &CancellationToken) -> Result<Unheld> {
    let mut held: HashSet<u64> = HashSet::new();
    let mut out = Unheld::default();
    for file in files {
        let mut note = |_, payload: &[u8]| {
            held.insert(xxh3_64(payload));
        };
        let found = inspect(file, &mut note, cancel)?;
        out.files.push(found.sha256);
    }
    let mut demux = Demux::reopen(path, index, cancel)?;
    let mut seen = vec![0_u64; index.tracks.len()];
    let mut begun = vec![false; index.tracks.len()];
    while let Some(next) = demux.next_packet()? {
        let n = next.packet.track as usize - 1;
        let Some(track) = index.tracks.get(n) else { continue };
        seen[n] += 1;
        begun[n] |= next.packet.key || track.kind != TrackKind::Video;
        let torn = seen[n] == track.packets && last_may_be_torn(index, track);
        if begun[n] && !torn && !held.contains(&next.packet.hash) {
            out.packets.push(next.packet);
        }
    }
    let expected: Vec<u64> = index.tracks.iter().map(|t| t.packets).collect();
    if seen != expected {
        let detail = format!("it has {seen:?} packets instead of {expected:?}");
        return Err(MediaError::Stale { path: path.to_owned(), detail });
    }
    Ok(out)
}
