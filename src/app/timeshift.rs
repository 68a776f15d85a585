//! Watching a talk while it is recorded: what of it can be played already, and the bytes of each piece.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection as Db;

use super::env::Env;
use super::failure::{Failure, Kind, Result};
use super::report::{self, TalkView};
use crate::catalog::schedule::{TalkFilter, talks};
use crate::domain::ids::SegmentId;
use crate::domain::interval::IntervalSet;
use crate::domain::segment::{Container, Segment, Verdict};
use crate::domain::time::{HOUR, Ms};
use crate::media::mpegts::{PACKET, Piece, Scan, Stream, TICKS};
use crate::plan::timeshift::{Chunk, KeyPoint, Strip, chunks, is_over};
use crate::plan::wanted::forbidden_slots;

/// Segments whose cuts are remembered.
const REMEMBERED: usize = 256;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// A chunk of more bytes is refused: no stream has so many in some seconds.
const MAX_CHUNK: u64 = 256 << 20;

/// What of a talk can be watched.
#[derive(Clone, Debug)]
pub struct Shift {
    /// The talk.
    pub view: TalkView,
    /// Its pieces so far.
    pub chunks: Vec<Chunk>,
    /// Nothing more will come.
    pub ended: bool,
    /// What its segments carry.
    pub streams: Vec<Stream>,
    /// Why nothing can be watched, where that will not change.
    pub obstacle: Option<String>,
}

/// What was found in segments so far: each byte is looked at once.
#[derive(Debug, Default)]
pub struct Scans(Mutex<HashMap<SegmentId, Arc<Mutex<Scan>>>>);

impl Scans {
    fn of(&self, segment: SegmentId) -> Arc<Mutex<Scan>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED && !all.contains_key(&segment) {
            all.clear();
        }
        Arc::clone(all.entry(segment).or_default())
    }

    /// The cuts of a segment, as far as it has been written.
    fn scan(&self, data_dir: &Path, segment: &Segment) -> Option<Scan> {
        let scan = self.of(segment.id);
        let mut scan = scan.lock().unwrap_or_else(PoisonError::into_inner);
        let grown = (|| -> std::io::Result<()> {
            let mut file = File::open(data_dir.join(&segment.path))?;
            file.seek(SeekFrom::Start(scan.taken()))?;
            let mut buffer = vec![0; READ_BYTES];
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(()),
                    n => scan.feed(&buffer[..n]),
                }
            }
        })();
        // A file that is gone shows nothing; the gap and its cause are told elsewhere.
        grown.ok().map(|()| scan.clone())
    }
}

/// What of a talk can be watched now.
///
/// # Errors
/// When the catalog cannot be read, or there is no such talk.
pub fn shift(db: &Db, env: &Env, scans: &Scans, id: i64) -> Result<Shift> {
    let view = report::by_id(db, env, id)?;
    let now = env.clock.now();
    let mut shift = Shift { view, chunks: Vec::new(), ended: false, streams: Vec::new(), obstacle: None };
    let view = &shift.view;
    if view.talk.opted_out {
        return Err(hidden());
    }
    let shown: Vec<&Segment> = view.segments.iter().filter(|s| is_shown(s)).collect();
    let other = shown.iter().find(|s| s.container != Container::MpegTs && s.container != Container::Unknown);
    if let Some(other) = other {
        shift.obstacle =
            Some(format!("{} is not cut into pieces without being written anew", other.container.as_str()));
        return Ok(shift);
    }
    let mut strips = Vec::new();
    for segment in shown {
        let Some(scan) = scans.scan(&env.data_dir, segment) else { continue };
        if shift.streams.is_empty() {
            shift.streams = scan.streams().to_vec();
        }
        strips.push(strip(segment, &scan));
    }
    strips.sort_by_key(|s| s.opened);
    let within = Some(view.window.padded(HOUR, HOUR));
    let forbidden: IntervalSet =
        forbidden_slots(&talks(db, TalkFilter { hall: Some(view.hall.id), within, event: None })?);
    shift.chunks = chunks(&strips, view.window, &forbidden, now);
    shift.ended = is_over(&strips, view.window, now);
    Ok(shift)
}

fn hidden() -> Failure {
    Failure::new(Kind::NotFound, "this talk must not be shown")
}

fn is_shown(segment: &Segment) -> bool {
    matches!(segment.verdict, Verdict::Open | Verdict::Unchecked | Verdict::Media)
}

fn strip(segment: &Segment, scan: &Scan) -> Strip {
    let us = |ticks: i64| ticks * 1_000_000 / TICKS;
    let first = scan.cuts().first().map_or(0, |c| us(c.ticks));
    // Where the segment was looked into, the wall time of its media is known better than by arrival.
    let span = segment.spans.first();
    let begin = span.map_or(segment.opened, |s| s.wall().start);
    let keys = scan.cuts().iter().map(|cut| KeyPoint {
        byte: cut.byte,
        media_us: us(cut.ticks),
        wall: begin.plus((us(cut.ticks) - first) / 1000),
        jump: cut.jump,
        hash: cut.hash,
    });
    Strip {
        segment: segment.id,
        opened: segment.opened,
        closed: segment.closed,
        bytes: scan.taken(),
        keys: keys.collect(),
        end_us: us(scan.end_ticks()),
    }
}

/// The bytes of one chunk of a talk, which play by themselves.
///
/// # Errors
/// `NotFound` when it is none of this talk's, or its bytes are not there.
pub fn chunk(
    db: &Db,
    env: &Env,
    scans: &Scans,
    id: i64,
    segment: SegmentId,
    bytes: std::ops::Range<u64>,
) -> Result<Vec<u8>> {
    let view = report::by_id(db, env, id)?;
    if view.talk.opted_out {
        return Err(hidden());
    }
    let none = || Failure::new(Kind::NotFound, "there is no such piece of this talk");
    let segment = view.segments.iter().find(|s| s.id == segment && is_shown(s)).ok_or_else(none)?;
    if segment.container != Container::MpegTs || bytes.end <= bytes.start || bytes.end - bytes.start > MAX_CHUNK {
        return Err(none());
    }
    let scan = scans.scan(&env.data_dir, segment).ok_or_else(none)?;
    // Only what begins at a cut: anything else was never listed.
    if !scan.cuts().iter().any(|c| c.byte == bytes.start) || bytes.end > scan.taken() {
        return Err(none());
    }
    read(&env.data_dir.join(&segment.path), &scan, bytes)
        .map_err(|e| Failure::new(Kind::Failed, "a segment cannot be read").because(e))
}

fn read(path: &Path, scan: &Scan, bytes: std::ops::Range<u64>) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(bytes.start))?;
    let mut reader = std::io::BufReader::with_capacity(READ_BYTES, file);
    let mut piece = Piece::new(scan, bytes.start, bytes.end);
    let mut out = scan.tables();
    let mut at = bytes.start;
    let mut packet = [0; PACKET];
    while !piece.is_over(at) {
        match reader.read_exact(&mut packet) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(e) => return Err(e),
        }
        if packet[0] != 0x47 {
            // Out of step: what is lost is up to the next packet.
            let skip = packet.iter().skip(1).position(|b| *b == 0x47).map_or(PACKET, |n| n + 1);
            at += skip as u64;
            reader.seek_relative(skip as i64 - PACKET as i64)?;
            continue;
        }
        if piece.has(at, &packet) {
            out.extend_from_slice(&packet);
        }
        at += PACKET as u64;
    }
    Ok(out)
}

/// Where a gap of the slot lies in what is played, which has none: seconds from the first chunk's start.
#[must_use]
pub fn place_of(chunks: &[Chunk], at: Ms) -> f64 {
    let before: i64 = chunks.iter().filter(|c| c.wall < at).map(|c| c.length_us.min(at.since(c.wall) * 1000)).sum();
    before as f64 / 1e6
}
