//! Watching a talk while it is recorded: what of it can be played already, and the bytes of each piece.

mod joined;
mod keyframe_cache;
mod slice_bytes;
mod timeline;
mod transmux;

use std::collections::HashSet;
use std::fs::File;

use rusqlite::Connection as Db;

use crate::app::library::report::{self, TalkView};
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::catalog::marks;
use crate::catalog::schedule::{TalkFilter, talks};
use crate::catalog::segments::segments_of_hall;
use crate::domain::ids::SegmentId;
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::segment::{Container, Segment, Verdict};
use crate::domain::time::{HOUR, MINUTE, Ms, SECOND};
use crate::media::mpegts::TsStream;
use crate::plan::timeshift::{PlaylistEntry, SegmentTimeline, is_over, playlist_entries};
use crate::plan::wanted::forbidden_slots;

pub use crate::media::transmux::TargetFormat;
pub use keyframe_cache::KeyframeCache;
pub use slice_bytes::SliceBytes;
use timeline::{ScanProgress, begin};
use transmux::Playable;

/// Media lies no further than this from when it came.
const ARRIVAL_REACH_MS: i64 = 5 * MINUTE;

/// What a segment holds is usually known so long after it was opened.
const SCAN_DELAY_MS: i64 = 10 * SECOND;

/// What of a talk can be watched.
#[derive(Clone, Debug)]
pub struct TalkPlaylist {
    /// The talk and what the catalog knows of it.
    pub view: TalkView,
    /// Its pieces so far.
    pub entries: Vec<PlaylistEntry>,
    /// Nothing more will come.
    pub ended: bool,
    /// What its segments carry, in MPEG-TS.
    pub streams: Vec<TsStream>,
    /// What its pieces are; `None` while that is not known. All are of one form: a segment in another is a gap.
    pub form: Option<TargetFormat>,
    /// Of pieces of WebM: what each of these segments is, as a browser is told.
    pub types: Vec<(SegmentId, String)>,
    /// More was recorded than is listed, and is being made ready: a moment later it is.
    pub catching_up: bool,
    /// Why nothing can be watched, where that will not change.
    pub obstacle: Option<String>,
    /// Where its pieces are.
    segments: Vec<Segment>,
}

impl TalkPlaylist {
    fn nothing(view: TalkView) -> Self {
        Self {
            view,
            entries: Vec::new(),
            ended: false,
            streams: Vec::new(),
            form: None,
            types: Vec::new(),
            catching_up: false,
            obstacle: None,
            segments: Vec::new(),
        }
    }
}

/// What of a talk can be watched now: of its file where the talk is over and has one, else of its segments.
///
/// # Errors
/// When the catalog cannot be read, or there is no such talk.
pub fn talk_playlist(db: &Db, env: &Env, scans: &KeyframeCache, id: i64) -> Result<TalkPlaylist> {
    let view = report::by_id(db, env, id)?;
    if view.talk.opted_out {
        return Err(hidden());
    }
    match shift_of_file(db, env, scans, &view)? {
        Some(shift) => Ok(shift),
        None => shift_of_segments(db, env, scans, view),
    }
}

/// What of a talk's file can be watched; `None` where there is none, or no browser plays it.
fn shift_of_file(db: &Db, env: &Env, scans: &KeyframeCache, view: &TalkView) -> Result<Option<TalkPlaylist>> {
    let Some(file) = joined::of(db, env, view)? else { return Ok(None) };
    let Some(transmuxes) = &scans.transmuxes else { return Ok(None) };
    let mut shift = TalkPlaylist { segments: vec![file.segment.clone()], ..TalkPlaylist::nothing(view.clone()) };
    match transmuxes.look(env, &file.segment) {
        Playable::As { form, mut timeline, is_ready } => {
            file.place(&mut timeline);
            if let TargetFormat::WebM(kind) = &form {
                shift.types.push((file.segment.id, kind.clone()));
            }
            let all = Interval::new(Ms(0), Ms(i64::MAX / 2));
            shift.entries = playlist_entries(&[timeline], all, &IntervalSet::new(), env.clock.now());
            (shift.form, shift.catching_up, shift.ended) = (Some(form), !is_ready, is_ready);
        }
        Playable::Unknown => shift.catching_up = true,
        Playable::Obstacle(_) | Playable::Nothing => return Ok(None),
    }
    Ok(Some(shift))
}

/// What of a talk's segments can be watched.
fn shift_of_segments(db: &Db, env: &Env, scans: &KeyframeCache, view: TalkView) -> Result<TalkPlaylist> {
    let now = env.clock.now();
    let mut shift = TalkPlaylist::nothing(view);
    let view = &shift.view;
    let segments = near(db, view)?;
    let (mut timelines, mut ready, mut obstacle) = (Vec::new(), true, None);
    for segment in &segments {
        let (form, timeline) = match look(db, env, scans, segment, &mut shift.streams)? {
            Playable::As { form, timeline, is_ready } => {
                ready &= is_ready;
                shift.catching_up |= !is_ready;
                (form, timeline)
            }
            Playable::Unknown => {
                ready = false;
                // It waits for the first marks.
                shift.catching_up |= segment.closed.is_some() || now.since(segment.opened) > SCAN_DELAY_MS;
                timelines.push(SegmentTimeline {
                    closed: None,
                    ..timeline::of_segment(segment, ScanProgress::default(), None)
                });
                // Which form it is to be is decided by the first.
                if shift.form.is_none() {
                    break;
                }
                continue;
            }
            Playable::Obstacle(why) => {
                obstacle = obstacle.or(Some(why));
                continue;
            }
            Playable::Nothing => continue,
        };
        if let TargetFormat::WebM(kind) = &form {
            shift.types.push((segment.id, kind.clone()));
        }
        let decided = shift.form.get_or_insert_with(|| form.clone());
        // Another form between them is a gap here.
        if std::mem::discriminant(decided) == std::mem::discriminant(&form) {
            timelines.push(timeline);
        }
    }
    if shift.form.is_none() && timelines.is_empty() && obstacle.is_some() {
        shift.obstacle = obstacle;
        return Ok(shift);
    }
    let forbidden = forbidden(db, view)?;
    shift.entries = playlist_entries(&timelines, view.window, &forbidden, now);
    shift.ended = is_over(&timelines, view.window, now) && ready;
    shift.segments = segments;
    Ok(shift)
}

/// How far a segment can be cut into pieces.
fn look(db: &Db, env: &Env, scans: &KeyframeCache, segment: &Segment, streams: &mut Vec<TsStream>) -> Result<Playable> {
    if segment.container != Container::MpegTs {
        return Ok(match &scans.transmuxes {
            Some(transmuxes) => transmuxes.look(env, segment),
            None => Playable::Obstacle(format!("{} is not cut into pieces", segment.container.as_str())),
        });
    }
    let looked = scans.look(&env.data_dir, segment, |looked| -> Result<_> {
        if looked.begin.is_none() && !looked.scan.cuts().is_empty() {
            looked.begin = begin(segment, looked.scan.cuts(), &marks::of_segment(db, segment.id)?);
        }
        if streams.is_empty() {
            *streams = looked.scan.streams().to_vec();
        }
        Ok(timeline::of_segment(segment, (&looked.scan).into(), looked.begin))
    });
    Ok(looked.transpose()?.map_or(Playable::Nothing, |timeline| Playable::As {
        form: TargetFormat::MpegTs,
        timeline,
        is_ready: true,
    }))
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
    let mut all = segments_of_hall(db, view.hall.id, window.padded(ARRIVAL_REACH_MS, ARRIVAL_REACH_MS))?;
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
/// shown), or its file is not there; `Busy` when it may be listed in a moment.
pub fn entry_bytes(
    db: &Db,
    env: &Env,
    scans: &KeyframeCache,
    id: i64,
    segment: SegmentId,
    bytes: std::ops::Range<u64>,
) -> Result<SliceBytes> {
    let view = report::by_id(db, env, id)?;
    if view.talk.opted_out {
        return Err(hidden());
    }
    // A player that began while the talk was recorded goes on with the segments.
    let shift = if joined::is_one(segment) {
        shift_of_file(db, env, scans, &view)?.ok_or_else(no_piece)?
    } else {
        shift_of_segments(db, env, scans, view)?
    };
    match shift.entries.iter().find(|c| (c.segment, c.from, c.to) == (segment, bytes.start, bytes.end)) {
        Some(listed) => open(env, scans, &shift, listed),
        None if shift.catching_up => {
            Err(Failure::new(Kind::Busy, "this media segment is not ready yet; retry in a moment"))
        }
        None => Err(no_piece()),
    }
}

/// The bytes of a chunk that `shift` lists.
///
/// # Errors
/// `NotFound` when its file is gone, `Failed` when it cannot be opened.
pub fn open(env: &Env, scans: &KeyframeCache, shift: &TalkPlaylist, chunk: &PlaylistEntry) -> Result<SliceBytes> {
    let segment = shift.segments.iter().find(|s| s.id == chunk.segment).ok_or_else(no_piece)?;
    let unreadable = |e| Failure::new(Kind::Failed, "a segment cannot be read").because(e);
    if segment.container != Container::MpegTs {
        let transmuxes = scans.transmuxes.as_ref().ok_or_else(no_piece)?;
        return transmuxes.open(env, segment, chunk.from, chunk.to).map_err(unreadable)?.ok_or_else(no_piece);
    }
    let opened = scans.look(&env.data_dir, segment, |looked| {
        let file = File::open(env.data_dir.join(&segment.path))?;
        Ok(SliceBytes::of_mpegts(file, &looked.scan, chunk.from, chunk.to))
    });
    opened.ok_or_else(no_piece)?.map_err(unreadable)
}

fn no_piece() -> Failure {
    Failure::new(Kind::NotFound, "this talk has no such media segment")
}

/// Where a gap of the slot lies in what is played, which has none: seconds from the first chunk's start.
#[must_use]
pub fn place_of(chunks: &[PlaylistEntry], at: Ms) -> f64 {
    let before: i64 = chunks.iter().filter(|c| c.wall < at).map(|c| c.length_us.min(at.since(c.wall) * 1000)).sum();
    before as f64 / 1e6
}

#[cfg(test)]
mod tests;
