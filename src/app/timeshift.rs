//! Watching a talk while it is recorded: what of it can be played already, and the bytes of each piece.

mod piece;
mod scans;

use rusqlite::Connection as Db;

use super::env::Env;
use super::failure::{Failure, Kind, Result};
use super::report::{self, TalkView};
use crate::catalog::schedule::{TalkFilter, talks};
use crate::domain::ids::SegmentId;
use crate::domain::interval::IntervalSet;
use crate::domain::segment::{Container, Segment, Verdict};
use crate::domain::time::{HOUR, Ms};
use crate::media::mpegts::{Scan, Stream, TICKS};
use crate::plan::timeshift::{Chunk, KeyPoint, Strip, chunks, is_over};
use crate::plan::wanted::forbidden_slots;

pub use piece::PieceBytes;
pub use scans::Scans;

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
        let looked = scans.look(&env.data_dir, segment, |scan| (strip(segment, scan), scan.streams().to_vec()));
        let Some((strip, streams)) = looked else { continue };
        if shift.streams.is_empty() {
            shift.streams = streams;
        }
        strips.push(strip);
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

/// One chunk of a talk, which plays by itself; its bytes are read from the file as they are asked for.
///
/// # Errors
/// `NotFound` when it is none of those that are listed now (part of a segment may be another talk's, which must not be
/// shown), or its file is not there.
pub fn chunk(
    db: &Db,
    env: &Env,
    scans: &Scans,
    id: i64,
    segment: SegmentId,
    bytes: std::ops::Range<u64>,
) -> Result<PieceBytes> {
    let shift = shift(db, env, scans, id)?;
    let listed = shift.chunks.iter().find(|c| (c.segment, c.from, c.to) == (segment, bytes.start, bytes.end));
    open(env, scans, &shift, listed.ok_or_else(no_piece)?)
}

/// The bytes of a chunk that `shift` lists.
///
/// # Errors
/// `NotFound` when its file is gone, `Failed` when it cannot be opened.
pub fn open(env: &Env, scans: &Scans, shift: &Shift, chunk: &Chunk) -> Result<PieceBytes> {
    let segment = shift.view.segments.iter().find(|s| s.id == chunk.segment).ok_or_else(no_piece)?;
    let path = env.data_dir.join(&segment.path);
    let opened = scans.look(&env.data_dir, segment, |scan| PieceBytes::open(&path, scan, chunk.from, chunk.to));
    opened.ok_or_else(no_piece)?.map_err(|e| Failure::new(Kind::Failed, "a segment cannot be read").because(e))
}

fn no_piece() -> Failure {
    Failure::new(Kind::NotFound, "there is no such piece of this talk")
}

/// Where a gap of the slot lies in what is played, which has none: seconds from the first chunk's start.
#[must_use]
pub fn place_of(chunks: &[Chunk], at: Ms) -> f64 {
    let before: i64 = chunks.iter().filter(|c| c.wall < at).map(|c| c.length_us.min(at.since(c.wall) * 1000)).sum();
    before as f64 / 1e6
}
