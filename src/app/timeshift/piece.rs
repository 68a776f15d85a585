//! The bytes of one chunk, read as they are wanted.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use crate::media::mpegts::{Packets, Piece, Scan};

/// Bytes read at once. Each client that reads slowly makes so many wait in memory, whatever a chunk's length.
const BLOCK: usize = 64 << 10;

/// A chunk: the tables of its programme, then its packets.
pub struct PieceBytes {
    file: File,
    piece: Piece,
    packets: Packets,
    /// What comes before the first packet, until it was given.
    tables: Vec<u8>,
    over: bool,
}

impl fmt::Debug for PieceBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PieceBytes").field("over", &self.over).finish_non_exhaustive()
    }
}

impl PieceBytes {
    /// Opens the piece between two bytes of a scanned file.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(super) fn open(path: &Path, scan: &Scan, from: u64, to: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        let (piece, packets) = (Piece::new(scan, from, to), Packets::from_byte(from));
        Ok(Self { file, piece, packets, tables: scan.tables(), over: false })
    }

    /// The next bytes, never empty; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn block(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut out = std::mem::take(&mut self.tables);
        let mut buffer = vec![0; BLOCK];
        while out.len() < BLOCK / 2 && !self.over {
            let read = self.file.read(&mut buffer)?;
            let Self { piece, packets, over, .. } = self;
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
        Ok(Some(out).filter(|out| !out.is_empty()))
    }
}
