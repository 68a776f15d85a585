//! The bytes of one chunk, read as they are wanted.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::media::mpegts::{PacketSync, Scan, TsSlice};

/// Bytes read at once. Each client that reads slowly makes so many wait in memory, whatever a chunk's length.
const BLOCK: usize = 64 << 10;

/// A chunk: what it must begin with (the tables of its programme, the head of its WebM), then its bytes.
pub struct SliceBytes {
    file: File,
    /// The next byte to be read.
    at: u64,
    what: What,
    /// What comes first, until it was given.
    head: Vec<u8>,
    over: bool,
}

/// What of the file belongs to it.
enum What {
    /// The packets that the piece has, in MPEG-TS.
    Packets(TsSlice, PacketSync),
    /// All bytes before this one.
    Until(u64),
}

impl fmt::Debug for SliceBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PieceBytes").field("over", &self.over).finish_non_exhaustive()
    }
}

impl SliceBytes {
    /// The piece between two bytes of a scanned file.
    pub(super) fn of_mpegts(file: File, scan: &Scan, from: u64, to: u64) -> Self {
        let what = What::Packets(TsSlice::new(scan, from, to), PacketSync::from_byte(from));
        Self { file, at: from, what, head: scan.tables(), over: false }
    }

    /// These bytes of a file behind a head.
    pub(super) fn of_bytes(file: File, head: Vec<u8>, from: u64, to: u64) -> Self {
        Self { file, at: from, what: What::Until(to), head, over: false }
    }

    /// The next bytes, never empty; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn block(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut out = std::mem::take(&mut self.head);
        let mut buffer = vec![0; BLOCK];
        while out.len() < BLOCK / 2 && !self.over {
            // Not by the file's own position, which others may share.
            let read = self.file.read_at(&mut buffer, self.at)?;
            let before = self.at;
            self.at += read as u64;
            let Self { what, over, .. } = self;
            match what {
                What::Packets(piece, packets) => {
                    let mut take = |at: u64, packet: &[u8]| {
                        *over |= piece.is_over(at);
                        if !*over && piece.has(at, packet) {
                            out.extend_from_slice(packet);
                        }
                    };
                    if read == 0 {
                        packets.finish(&mut take);
                        *over = true;
                    } else {
                        packets.feed(&buffer[..read], &mut take);
                    }
                }
                What::Until(to) => {
                    let wanted = usize::try_from(to.saturating_sub(before)).unwrap_or(usize::MAX).min(read);
                    out.extend_from_slice(&buffer[..wanted]);
                    *over = wanted < read || read == 0 || self.at >= *to;
                }
            }
        }
        Ok(Some(out).filter(|out| !out.is_empty()))
    }
}
