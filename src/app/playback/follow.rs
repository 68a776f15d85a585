//! `streamrip watch`: which talk is meant, and its bytes one after the other while they are recorded.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection as Db;

use super::start_at::{StartAt, instant, newest_folder};
use super::timeshift::{self, KeyframeCache, SliceBytes, TalkPlaylist};
use crate::app::library::report::{self, TalkView};
use crate::app::support::dir_watch::DirWatch;
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::catalog::assemblies::{self, Part};
use crate::catalog::{open_reader, schedule};
use crate::domain::talk::Talk;
use crate::domain::time::Ms;
use crate::plan::timeshift::PlaylistEntry;
use crate::plan::wanted::window_of;

/// Live is so many chunks behind the newest.
const LIVE_ENTRIES: usize = 2;

/// A change that nobody tells of (a network file system) is noticed after this time.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The talk that is meant: by id, UID or title; or the one that is on, or was last, in a hall of this name.
///
/// # Errors
/// `NotFound` when neither a talk nor a hall fits, or the talk is opted out of recording.
pub fn find(db: &Db, env: &Env, text: &str) -> Result<TalkView> {
    let talk = match report::find_talk(db, text) {
        Ok(talk) => talk,
        Err(no_talk) if no_talk.kind == Kind::NotFound => of_hall(db, env, text)?.ok_or(no_talk)?,
        Err(e) => return Err(e),
    };
    let view = report::by_id(db, env, talk.id.0)?;
    if view.talk.opted_out {
        return Err(Failure::new(Kind::NotFound, "this talk must not be shown: it is opted out of recording"));
    }
    if view.window.start > env.clock.now() {
        let at = view.window.start.in_zone(view.event.zone).format("%Y-%m-%d %H:%M");
        return Err(Failure::new(Kind::NotFound, format!("this talk is still to come: its recording begins at {at}")));
    }
    Ok(view)
}

fn of_hall(db: &Db, env: &Env, name: &str) -> Result<Option<Talk>> {
    let (events, halls) = (schedule::events(db)?, schedule::halls(db)?);
    let Ok(halls) = report::find_halls(&halls, &events, None, name) else { return Ok(None) };
    let now = env.clock.now();
    let begun = |t: &Talk| {
        let event = events.iter().find(|e| e.id == t.event);
        window_of(t, event, &env.settings.record).start <= now
    };
    let all = schedule::talks(db, schedule::TalkFilter::default())?;
    let of_hall = all.into_iter().filter(|t| halls.contains(&t.hall) && t.is_on() && begun(t));
    // In two windows at once it is the talk whose slot has begun.
    Ok(of_hall.max_by_key(|t| (t.slot.start <= now, t.slot.start)))
}

/// The file of a talk that is over and joined.
#[must_use]
pub fn joined(view: &TalkView, env: &Env) -> Option<PathBuf> {
    let over = view.window.end <= env.clock.now();
    view.assembly.as_ref().filter(|_| over).map(|a| env.data_dir.join(&a.path))
}

/// Where an instant lies in a talk's joined file, seconds from its start: what was recorded before it, without the gaps,
/// which the file has not.
///
/// # Errors
/// When the catalog cannot be read.
pub fn place_in_file(db: &Db, view: &TalkView, at: Ms) -> Result<f64> {
    let parts = view.assembly.as_ref().map(|a| assemblies::parts(db, a.id)).transpose()?;
    Ok(place(&parts.unwrap_or_default(), at) as f64 / 1000.0)
}

fn place(parts: &[Part], at: Ms) -> i64 {
    let mut stretches: Vec<_> = parts.iter().filter_map(|p| p.place.zip(p.wall)).collect();
    stretches.sort_unstable_by_key(|(place, _)| *place);
    let end = stretches.last().map_or(0, |((_, to), _)| *to);
    // In the gap before a stretch, or before all, it is the stretch's start.
    let here = stretches.into_iter().find(|(_, wall)| at < wall.end);
    here.map_or(end, |((from, to), wall)| to.min(from + at.since(wall.start).max(0)))
}

/// What comes next.
#[derive(Debug)]
pub enum ReadStep {
    /// Bytes that play after those before them.
    Piece(SliceBytes),
    /// Nothing yet.
    Wait,
    /// The talk is over.
    End,
}

/// The bytes of a talk, one after the other.
#[derive(Debug)]
pub struct TalkReader {
    env: Env,
    db: Db,
    scans: KeyframeCache,
    talk: i64,
    from: StartAt,
    /// What was given last.
    last: Option<PlaylistEntry>,
    folder: Option<PathBuf>,
    wake: DirWatch,
}

impl TalkReader {
    /// Follows a talk.
    ///
    /// # Errors
    /// When the catalog cannot be opened, or the talk's container cannot be cut.
    pub fn new(env: &Env, talk: i64, from: StartAt) -> Result<Self> {
        let (db, scans) = (open_reader(&env.data_dir)?, KeyframeCache::default());
        playable(&timeshift::talk_playlist(&db, env, &scans, talk)?)?;
        let env = env.clone();
        Ok(Self { env, db, scans, talk, from, last: None, folder: None, wake: DirWatch::default() })
    }

    /// The next bytes, if there are any.
    ///
    /// # Errors
    /// When the catalog or a segment cannot be read, or nothing that was recorded can be cut.
    pub fn step(&mut self) -> Result<ReadStep> {
        let shift = timeshift::talk_playlist(&self.db, &self.env, &self.scans, self.talk)?;
        playable(&shift)?;
        self.folder = newest_folder(&self.env, &shift.view.segments);
        let next = match &self.last {
            Some(last) => after(&shift.entries, last),
            None => begin(&shift.entries, self.from, &shift.view),
        };
        let Some(chunk) = shift.entries.get(next).copied() else {
            return Ok(if shift.ended { ReadStep::End } else { ReadStep::Wait });
        };
        let piece = timeshift::open(&self.env, &self.scans, &shift, &chunk)?;
        self.last = Some(chunk);
        Ok(ReadStep::Piece(piece))
    }

    /// Waits until the tape has written something, or a moment.
    pub fn wait(&mut self) {
        self.wake.wait(self.folder.as_deref(), POLL_INTERVAL);
    }
}

fn playable(shift: &TalkPlaylist) -> Result<()> {
    let Some(obstacle) = &shift.obstacle else { return Ok(()) };
    Err(Failure::new(Kind::Failed, format!("this talk cannot be followed while it is recorded: {obstacle}"))
        .hint("it can be watched when it is joined; its segments are shown by: streamrip show"))
}

/// Where the chunk after this one stands. The list only grows; but the schedule may change, and then it is another.
fn after(chunks: &[PlaylistEntry], last: &PlaylistEntry) -> usize {
    let same = chunks.iter().position(|c| (c.segment, c.to) == (last.segment, last.to));
    let end = last.wall.plus(last.length_us / 1000);
    same.map_or_else(|| chunks.partition_point(|c| c.wall < end), |at| at + 1)
}

fn begin(chunks: &[PlaylistEntry], from: StartAt, view: &TalkView) -> usize {
    let at = match from {
        StartAt::Start => view.talk.slot.start,
        StartAt::Live => return chunks.len().saturating_sub(LIVE_ENTRIES),
        StartAt::At(time) => instant(time, view),
    };
    chunks.iter().rposition(|c| c.wall <= at).unwrap_or(0)
}

/// How a talk that is being recorded can be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaybackPath {
    /// In pieces of its segments, as [`TalkReader`] and the page give them.
    Pieces,
    /// Taken apart and put together again, as [`remux`] does.
    Remux,
}

/// Waits until something of a talk is there, and says how it can be followed.
///
/// # Errors
/// When the catalog cannot be read, or the talk must not be shown.
pub fn way(env: &Env, talk: i64) -> Result<PlaybackPath> {
    let (db, scans, mut wake) = (open_reader(&env.data_dir)?, KeyframeCache::default(), DirWatch::default());
    loop {
        let shift = timeshift::talk_playlist(&db, env, &scans, talk)?;
        if shift.obstacle.is_some() {
            return Ok(PlaybackPath::Remux);
        }
        if shift.ended || !shift.entries.is_empty() {
            return Ok(PlaybackPath::Pieces);
        }
        wake.wait(newest_folder(env, &shift.view.segments).as_deref(), POLL_INTERVAL / 4);
    }
}

#[cfg(test)]
mod tests;
