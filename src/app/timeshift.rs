//! Watching a talk while it is recorded: what of it can be played already, and the bytes of each piece.

mod piece;
mod scans;
mod strip;

use std::collections::HashSet;

use rusqlite::Connection as Db;

use super::env::Env;
use super::failure::{Failure, Kind, Result};
use super::report::{self, TalkView};
use crate::catalog::marks;
use crate::catalog::schedule::{TalkFilter, talks};
use crate::catalog::segments::segments_of_hall;
use crate::domain::ids::SegmentId;
use crate::domain::interval::IntervalSet;
use crate::domain::segment::{Container, Segment, Verdict};
use crate::domain::time::{HOUR, MINUTE, Ms};
use crate::media::mpegts::Stream;
use crate::plan::timeshift::{Chunk, chunks, is_over};
use crate::plan::wanted::forbidden_slots;

pub use piece::PieceBytes;
pub use scans::Scans;
use strip::begin;

/// Media lies no further than this from when it came.
const REACH_MS: i64 = 5 * MINUTE;

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
    /// Where its pieces are.
    segments: Vec<Segment>,
}

/// What of a talk can be watched now.
///
/// # Errors
/// When the catalog cannot be read, or there is no such talk.
pub fn shift(db: &Db, env: &Env, scans: &Scans, id: i64) -> Result<Shift> {
    let view = report::by_id(db, env, id)?;
    let now = env.clock.now();
    let mut shift =
        Shift { view, chunks: Vec::new(), ended: false, streams: Vec::new(), obstacle: None, segments: Vec::new() };
    let view = &shift.view;
    if view.talk.opted_out {
        return Err(hidden());
    }
    let segments = near(db, view)?;
    let is_cut = |s: &Segment| s.container == Container::MpegTs;
    if let (false, Some(other)) = (segments.iter().any(is_cut), segments.first()) {
        shift.obstacle = Some(format!("{} is not cut into pieces", other.container.as_str()));
        return Ok(shift);
    }
    let mut strips = Vec::new();
    // Another container between them is a gap here.
    for segment in segments.iter().filter(|s| is_cut(s)) {
        let looked = scans.look(&env.data_dir, segment, |looked| -> Result<_> {
            if looked.begin.is_none() && !looked.scan.cuts().is_empty() {
                looked.begin = begin(segment, looked.scan.cuts(), &marks::of_segment(db, segment.id)?);
            }
            Ok((strip::strip(segment, &looked.scan, looked.begin), looked.scan.streams().to_vec()))
        });
        let Some((strip, streams)) = looked.transpose()? else { continue };
        if shift.streams.is_empty() {
            shift.streams = streams;
        }
        strips.push(strip);
    }
    let forbidden = forbidden(db, view)?;
    shift.chunks = chunks(&strips, view.window, &forbidden, now);
    shift.ended = is_over(&strips, view.window, now);
    shift.segments = segments;
    Ok(shift)
}

/// Slots around a talk of which nothing may be shown.
pub(super) fn forbidden(db: &Db, view: &TalkView) -> Result<IntervalSet> {
    let within = Some(view.window.padded(HOUR, HOUR));
    Ok(forbidden_slots(&talks(db, TalkFilter { hall: Some(view.hall.id), within, event: None })?))
}

/// The segments that are shown, in the order in which they were opened: those that touch the window by when their bytes
/// came or by when their media was made. By the second alone one that reaches back would go when it was looked into.
pub(super) fn near(db: &Db, view: &TalkView) -> Result<Vec<Segment>> {
    let window = view.window;
    let mut all = segments_of_hall(db, view.hall.id, window.padded(REACH_MS, REACH_MS))?;
    let by_media: HashSet<SegmentId> = view.segments.iter().map(|s| s.id).collect();
    all.retain(|s| {
        let by_arrival = s.opened < window.end && s.closed.is_none_or(|closed| closed > window.start);
        is_shown(s) && (by_arrival || by_media.contains(&s.id))
    });
    all.sort_by_key(|s| (s.opened, s.id));
    Ok(all)
}

fn hidden() -> Failure {
    Failure::new(Kind::NotFound, "this talk must not be shown")
}

fn is_shown(segment: &Segment) -> bool {
    matches!(segment.verdict, Verdict::Open | Verdict::Unchecked | Verdict::Media)
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
    let segment = shift.segments.iter().find(|s| s.id == chunk.segment).ok_or_else(no_piece)?;
    let path = env.data_dir.join(&segment.path);
    let opened =
        scans.look(&env.data_dir, segment, |looked| PieceBytes::open(&path, &looked.scan, chunk.from, chunk.to));
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
