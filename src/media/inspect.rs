//! Reads a finished Matroska file to its end: what is really in it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::ebml::{self, Reader, id};
use super::track::TrackEntry;
use super::{CancellationToken, MediaError, Result};
use crate::domain::media::TrackKind;

/// What is in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// Size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of it.
    pub sha256: [u8; 32],
    /// The length that its head states, milliseconds.
    pub duration_ms: i64,
    /// Its tracks, in the order of its head.
    pub tracks: Vec<InspectedTrack>,
}

/// One track of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectedTrack {
    /// Number of the track.
    pub number: u64,
    /// What the track carries.
    pub kind: TrackKind,
    /// How many packets it has.
    pub packets: u64,
    /// Earliest presentation time, milliseconds; 0 where it has no packet.
    pub first_ms: i64,
    /// Latest presentation time, milliseconds.
    pub last_ms: i64,
}

/// Reads a Matroska file that this program wrote. `packet` is given the number of the track and the payload of each
/// packet. One pass: the SHA-256 is taken of the bytes as they come.
///
/// # Errors
/// `Unsound` where the file does not parse to its end; when it cannot be read; on cancellation.
pub fn inspect(path: &Path, packet: &mut dyn FnMut(u64, &[u8]), cancel: &CancellationToken) -> Result<Inspected> {
    let at = |source| MediaError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(at)?;
    let mut hashing = Hashing { file, hash: Sha256::new(), bytes: 0 };
    let mut found = Inspected::default();
    parse(BufReader::with_capacity(1 << 18, &mut hashing), &mut found, packet, cancel).map_err(|e| match e.kind() {
        io::ErrorKind::Interrupted => MediaError::Cancelled,
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            MediaError::Unsound { path: path.to_owned(), detail: format!("it does not parse to its end ({e})") }
        }
        _ => at(e),
    })?;
    found.bytes = hashing.bytes;
    found.sha256 = hashing.hash.finalize().into();
    Ok(found)
}

/// Takes the SHA-256 of what passes.
struct Hashing {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.hash.update(&buffer[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
}

fn parse(
    from: impl Read,
    found: &mut Inspected,
    packet: &mut dyn FnMut(u64, &[u8]),
    cancel: &CancellationToken,
) -> io::Result<()> {
    let mut reader = Reader::new(from);
    let (mut cluster_ms, mut scale) = (0, 1_000_000);
    while let Some(element) = reader.next_element()? {
        match element.id {
            id::SEGMENT => {}
            id::CLUSTER if cancel.is_cancelled() => return Err(io::ErrorKind::Interrupted.into()),
            id::CLUSTER => {}
            id::INFO => {
                let info = ebml::children(&reader.content(element)?);
                let value = |wanted| info.iter().find(|(id, _)| *id == wanted).map(|(_, content)| content.as_slice());
                scale = value(id::TIMESTAMP_SCALE).map_or(scale, ebml::read_uint);
                let ticks = value(id::DURATION).map_or(0.0, ebml::read_float);
                found.duration_ms = (ticks * scale as f64 / 1_000_000.0) as i64;
            }
            id::TRACKS => {
                let entries = ebml::children(&reader.content(element)?);
                let entries = entries.iter().filter(|(id, _)| *id == id::TRACK_ENTRY);
                found.tracks = entries.map(|(_, content)| InspectedTrack::of(&TrackEntry::read(content))).collect();
            }
            id::TIMESTAMP => {
                let ticks = ebml::read_uint(&reader.content(element)?);
                cluster_ms = i64::try_from(u128::from(ticks) * u128::from(scale) / 1_000_000).unwrap_or(i64::MAX);
            }
            id::SIMPLE_BLOCK => block(&reader.content(element)?, cluster_ms, scale, found, packet)?,
            id::BLOCK_GROUP => {
                let group = ebml::children(&reader.content(element)?);
                for (_, content) in group.iter().filter(|(id, _)| *id == id::BLOCK) {
                    block(content, cluster_ms, scale, found, packet)?;
                }
            }
            _ => reader.skip(element)?,
        }
    }
    Ok(())
}

fn block(
    content: &[u8],
    cluster_ms: i64,
    scale: u64,
    found: &mut Inspected,
    packet: &mut dyn FnMut(u64, &[u8]),
) -> io::Result<()> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "a block without a head");
    let (number, length) = ebml::read_vint(content).ok_or_else(invalid)?;
    let head = content.get(length..length + 3).ok_or_else(invalid)?;
    let ticks = i64::from(i16::from_be_bytes([head[0], head[1]]));
    let relative = i128::from(ticks) * i128::from(scale) / 1_000_000;
    let at = cluster_ms.saturating_add(i64::try_from(relative).unwrap_or_default());
    let track = found.tracks.iter_mut().find(|t| t.number == number);
    let track = track.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a block of an unknown track"))?;
    if track.packets == 0 {
        (track.first_ms, track.last_ms) = (at, at);
    }
    track.packets += 1;
    track.first_ms = track.first_ms.min(at);
    track.last_ms = track.last_ms.max(at);
    packet(number, &content[length + 3..]);
    Ok(())
}

impl InspectedTrack {
    fn of(entry: &TrackEntry) -> Self {
        Self { number: entry.number(), kind: entry.kind(), packets: 0, first_ms: 0, last_ms: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::mux::{Block, FileInfo, Mux};

    fn file(packets: i64) -> Vec<u8> {
        let mut out = io::Cursor::new(Vec::new());
        let mut mux = Mux::new(&mut out, FileInfo::default(), vec![(1, TrackEntry::bare_aac())]).expect("memory");
        for n in 0..packets {
            let payload = n.to_be_bytes().to_vec();
            mux.write(Block {
                track: 1,
                pts_ms: n * 100,
                duration_ms: 100,
                key: true,
                discard_padding_ns: None,
                payload,
            })
            .expect("memory");
        }
        mux.finish().expect("memory");
        out.into_inner()
    }

    fn look(bytes: &[u8]) -> (Result<Inspected>, Vec<i64>) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.mkv");
        std::fs::write(&path, bytes).expect("written");
        let mut payloads = Vec::new();
        let mut packet = |_, payload: &[u8]| payloads.push(i64::from_be_bytes(payload.try_into().expect("8 bytes")));
        let found = inspect(&path, &mut packet, &CancellationToken::new());
        (found, payloads)
    }

    #[test]
    fn all_of_a_file_is_seen() {
        let bytes = file(200);
        let (found, payloads) = look(&bytes);
        let found = found.expect("sound");
        assert_eq!(payloads, (0..200).collect::<Vec<_>>());
        let track = InspectedTrack { number: 1, kind: TrackKind::Audio, packets: 200, first_ms: 0, last_ms: 19_900 };
        assert_eq!((found.tracks, found.duration_ms), (vec![track], 20_000));
        assert_eq!((found.bytes, found.sha256), (bytes.len() as u64, Sha256::digest(&bytes).into()));
    }

    #[test]
    fn a_file_that_ends_in_its_middle_or_holds_something_else_is_unsound() {
        let bytes = file(200);
        for wrong in [&bytes[..bytes.len() - 3], &bytes[..bytes.len() / 2], b"no media at all, but long enough"] {
            assert!(matches!(look(wrong).0, Err(MediaError::Unsound { .. })), "{}", wrong.len());
        }
        let (empty, _) = look(&file(0));
        assert_eq!(empty.expect("parses").tracks[0].packets, 0);
    }
}
