//! A segment that this program takes apart itself, read again as it was indexed.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::domain::media::{MediaIndex, Packet};
use crate::media::mpegts::{TsPacket, TsTrack};
use crate::media::native::{BEGIN, Native};
use crate::media::{MediaError, Result};

/// A file that is being read.
#[derive(Debug)]
pub(super) struct NativeFile {
    file: io::Take<File>,
    /// `None`: nothing was read yet.
    native: Option<Native>,
    /// What it is read behind: what begins in that is none of its packets.
    prefix: Vec<u8>,
    /// For each of the reader's tracks, which one it is in the index.
    numbers: Vec<Option<u32>>,
}

impl NativeFile {
    /// Opens a file of which this is the index.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn open(path: &Path, index: &MediaIndex) -> Result<Self> {
        let file = File::open(path).map_err(|source| MediaError::File { path: path.to_owned(), source })?;
        let bytes = index.clock_ranges.last().and_then(|range| range.to_byte).unwrap_or(u64::MAX);
        let mut numbers = Vec::new();
        for track in &index.tracks {
            let at = track.stream as usize;
            if numbers.len() <= at {
                numbers.resize(at + 1, None);
            }
            numbers[at] = Some(track.number);
        }
        Ok(Self { file: file.take(bytes), native: None, prefix: index.prefix.clone(), numbers })
    }

    /// Reads on, and hands over the packets that are whole now, with their payloads. False: it was read to its end.
    ///
    /// # Errors
    /// When it cannot be read, or is another file than the one that was indexed.
    pub(super) fn read_some(&mut self, path: &Path, mut give: impl FnMut(Packet, Vec<u8>)) -> Result<bool> {
        let Self { file, native, prefix, numbers } = self;
        let mut block = Vec::with_capacity(BEGIN);
        let read = file.by_ref().take(BEGIN as u64).read_to_end(&mut block);
        read.map_err(|source| MediaError::File { path: path.to_owned(), source })?;
        let mut take = |_: &[TsTrack], packet: TsPacket| {
            let Some(track) = numbers.get(packet.track).copied().flatten() else { return };
            if packet.byte < prefix.len() as u64 {
                return;
            }
            let TsPacket { pts_ms, duration_ms, key, payload, .. } = packet;
            let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
            give(Packet { track, pts_ms, duration_ms, key, size, hash: xxh3_64(&payload) }, payload);
        };
        if native.is_none() {
            *native = Native::of(&block);
            if let Some(native) = native {
                native.feed(prefix, &mut take);
            }
        }
        let Some(native) = native else {
            let detail = "it is not of the container that it was of".to_owned();
            return Err(MediaError::Stale { path: path.to_owned(), detail });
        };
        if block.is_empty() {
            native.finish(take);
            return Ok(false);
        }
        native.feed(&block, take);
        Ok(true)
    }
}
