//! Where FLV and Matroska begin anew inside a file, and what a reader that starts there must be given first.
//!
//! A relay keeps its listeners when the publisher comes back, and a server that falls back to another stream goes on inside
//! one response: the clock of what follows is another one, or starts from 0, sometimes behind a new header and sometimes
//! behind none. A demuxer that is sent to such a place by its byte sees no header; with that of the file before it, it reads
//! on. Layouts: Adobe's FLV specification 10.1, annex E; RFC 9559.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Time stamps that fall back by more than this are a clock that started anew, milliseconds.
const RESET_MS: i64 = 1000;

/// Headers are not longer than this, bytes.
const MOST_HEADER: u64 = 4 << 20;

const FLV_HEAD: &[u8] = b"FLV\x01";
const EBML: [u8; 4] = [0x1a, 0x45, 0xdf, 0xa3];
const CLUSTER: [u8; 4] = [0x1f, 0x43, 0xb6, 0x75];

/// True for containers that are looked at here, by ffmpeg's name.
#[must_use]
pub fn is_known(format: &str) -> bool {
    matches!(format, "flv" | "live_flv" | "matroska,webm")
}

/// Bytes at which the stream begins anew, in order, the start of the file not among them.
///
/// # Errors
/// When the file cannot be read.
pub fn restarts(path: &Path, format: &str) -> io::Result<Vec<u64>> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let bytes = file.get_ref().metadata()?.len();
    match format {
        "flv" | "live_flv" => flv(&mut file, bytes),
        "matroska,webm" => matroska(&mut file, bytes),
        _ => Ok(Vec::new()),
    }
}

/// What a reader that begins at a restart must be given before the bytes there: the header of the file, unless another
/// one stands there.
///
/// # Errors
/// When the file cannot be read.
pub fn header_for(path: &Path, format: &str, byte: u64) -> io::Result<Vec<u8>> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut begin = [0; 4];
    file.seek(SeekFrom::Start(byte))?;
    let read = file.read(&mut begin)?;
    if read < 4 || begin == EBML || begin == *FLV_HEAD {
        return Ok(Vec::new());
    }
    match format {
        "flv" | "live_flv" => flv_header(&mut file, byte),
        "matroska,webm" => {
            let mut head = Vec::new();
            file.seek(SeekFrom::Start(0))?;
            file.take(MOST_HEADER.min(byte)).read_to_end(&mut head)?;
            let end = head.windows(4).position(|w| w == CLUSTER).unwrap_or_default();
            head.truncate(end);
            Ok(head)
        }
        _ => Ok(Vec::new()),
    }
}

/// Goes to a byte, within what was read ahead where that suffices.
fn go_to(file: &mut BufReader<File>, byte: u64) -> io::Result<()> {
    let at = file.stream_position()?;
    file.seek_relative(byte.cast_signed() - at.cast_signed())
}

/// A tag of FLV: kind, length of its content, time stamp.
struct Tag {
    kind: u8,
    length: u64,
    at_ms: i64,
}

fn tag<R: Read>(from: &mut R) -> io::Result<Option<Tag>> {
    let mut head = [0; 11];
    if let Err(e) = from.read_exact(&mut head) {
        return if e.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(e) };
    }
    let length = u64::from(u32::from_be_bytes([0, head[1], head[2], head[3]]));
    let at_ms = i64::from(u32::from_be_bytes([head[7], head[4], head[5], head[6]]));
    Ok(Some(Tag { kind: head[0] & 0x1f, length, at_ms }))
}

/// True for content that says how to decode what follows: of H.264 and AAC.
fn is_sequence_header(kind: u8, content: [u8; 2]) -> bool {
    match kind {
        9 => content[0] & 15 == 7 && content[1] == 0,
        8 => content[0] >> 4 == 10 && content[1] == 0,
        _ => false,
    }
}

fn flv(file: &mut BufReader<File>, bytes: u64) -> io::Result<Vec<u64>> {
    let mut out = Vec::new();
    let mut at = 13;
    // Time stamp of the last frame of each kind; and where headers stand that no frame followed yet.
    let mut last: [Option<i64>; 2] = [None; 2];
    let mut headers: Option<u64> = None;
    while at + 11 < bytes {
        go_to(file, at)?;
        let Some(tag) = tag(file)? else { break };
        // A second header, of a file behind the file.
        if tag.kind == FLV_HEAD[0] & 0x1f && tag.length == 0x4c_5601 {
            out.push(at);
            (last, headers) = ([None; 2], Some(at));
            at += 13;
            continue;
        }
        let next = at + 11 + tag.length + 4;
        let mut content = [0; 2];
        if let (8 | 9, true) = (tag.kind, tag.length >= 2) {
            if file.read_exact(&mut content).is_err() {
                break;
            }
            let kind = usize::from(tag.kind - 8);
            if is_sequence_header(tag.kind, content) {
                headers = headers.or(Some(at));
            } else {
                if last[kind].is_some_and(|last| tag.at_ms < last - RESET_MS) {
                    // The headers before it are its own; the other kind of frames begins anew with it.
                    out.push(headers.unwrap_or(at));
                    last = [None; 2];
                }
                last[kind] = Some(tag.at_ms);
                headers = None;
            }
        } else if tag.kind == 18 {
            headers = headers.or(Some(at));
        } else if !matches!(tag.kind, 8 | 9) {
            // Not in step any more.
            break;
        }
        at = next;
    }
    Ok(out)
}

/// The head of the file, and of each kind of frames the last sequence header before a byte, unless one stands behind it.
fn flv_header(file: &mut BufReader<File>, byte: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(0))?;
    let mut out = vec![0; 13];
    file.read_exact(&mut out)?;
    let mut found: [Option<Vec<u8>>; 2] = [None, None];
    let mut at = 13_u64;
    let mut behind = 0;
    loop {
        go_to(file, at)?;
        let Some(tag) = tag(file)? else { break };
        if at >= byte {
            behind += 1;
            if behind > 8 {
                break;
            }
        }
        if matches!(tag.kind, 8 | 9) && tag.length >= 2 {
            let mut content = [0; 2];
            if file.read_exact(&mut content).is_err() {
                break;
            }
            if is_sequence_header(tag.kind, content) && tag.length < MOST_HEADER {
                let kept = &mut found[usize::from(tag.kind - 8)];
                if at >= byte {
                    *kept = None;
                } else {
                    file.seek(SeekFrom::Start(at))?;
                    let mut whole = vec![0; usize::try_from(11 + tag.length + 4).unwrap_or_default()];
                    if file.read_exact(&mut whole).is_err() {
                        break;
                    }
                    *kept = Some(whole);
                }
            }
        } else if tag.kind != 18 && !matches!(tag.kind, 8 | 9) {
            break;
        }
        at += 11 + tag.length + 4;
    }
    for header in found.into_iter().flatten() {
        out.extend(header);
    }
    Ok(out)
}

fn matroska(file: &mut BufReader<File>, bytes: u64) -> io::Result<Vec<u64>> {
    let mut out = Vec::new();
    let (mut at, mut last) = (0_u64, None::<i64>);
    // Elements are passed over by their length; into those without one, and into segments and clusters, one steps.
    while at + 5 < bytes {
        go_to(file, at)?;
        let mut head = Vec::with_capacity(12);
        file.by_ref().take(12).read_to_end(&mut head)?;
        let id_length = head.first().map_or(9, |b| b.leading_zeros() as usize + 1);
        let Some((size, size_length)) =
            head.get(id_length..).and_then(crate::media::ebml::read_vint).filter(|_| id_length <= 4)
        else {
            break;
        };
        let begins = at + (id_length + size_length) as u64;
        let is_unknown = size == (1 << (7 * size_length)) - 1;
        let id = &head[..id_length];
        if id == EBML && at > 0 {
            out.push(at);
            last = None;
        }
        if id == CLUSTER {
            // Its time stamp comes first in it.
            let mut begin = Vec::with_capacity(16);
            go_to(file, begins)?;
            file.by_ref().take(16).read_to_end(&mut begin)?;
            if let Some(time) = begin.strip_prefix(&[0xe7])
                && let Some((length, one)) = crate::media::ebml::read_vint(time)
                && let Some(value) = time.get(one..one + usize::try_from(length).unwrap_or(usize::MAX).min(8))
            {
                // Ticks of a millisecond in all live streams.
                let time = i64::try_from(crate::media::ebml::read_uint(value)).unwrap_or_default();
                if last.is_some_and(|last| time < last - RESET_MS) {
                    out.push(at);
                }
                last = Some(time);
            }
        }
        let steps_in = is_unknown || id == [0x18, 0x53, 0x80, 0x67];
        at = if steps_in { begins } else { begins.saturating_add(size) };
    }
    Ok(out)
}
