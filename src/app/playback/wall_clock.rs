//! When the packets of a segment were made, and what of them is shown.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection as Db;

use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::catalog::{marks, segments};
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::segment::{Mark, Segment};
use crate::domain::time::{Ms, SECOND};
use crate::media::CancellationToken;
use crate::media::demux::Demux;
use crate::plan::anchor::{BACKLOG_LIMIT_MS, DECIDE_MS, PacketSteps, first_packet};

/// A beginning may be so much earlier than asked for, milliseconds: it is a keyframe's.
const KEYFRAME_SLACK_MS: i64 = 3 * SECOND;

/// When media was made is known no better, while its segment is not looked into: a server sends the last seconds at once.
/// What must not be shown is not shown so long before and after.
const UNINDEXED_MARGIN_MS: i64 = 60 * SECOND;

/// Wall time of a segment's packets.
pub(super) struct PtsClock {
    steps: PacketSteps,
    /// Wall time of the last packet.
    wall: Ms,
}

impl PtsClock {
    /// `begins`: of its first packet.
    pub fn new(begins: Ms) -> Self {
        Self { steps: PacketSteps::default(), wall: begins }
    }

    /// Of its next packet, which was made before `now`, since it was read.
    pub fn wall(&mut self, pts_ms: i64, now: Ms) -> Ms {
        self.wall = self.wall.plus(self.steps.step(pts_ms)).min(now);
        self.wall
    }
}

/// Estimates when the first packet of a segment was broadcast. Servers send a backlog on connect (seconds, or a whole talk
/// after a restart of the recorder), so arrival time is too late by the backlog's length. That length is measured as the
/// media duration received by `BURST_DECISION_MS`. Blocks until the estimate is possible. `exact`: waits longer, for a
/// server that sends its backlog slowly.
///
/// # Errors
/// When the catalog cannot be read, or ffmpeg cannot be started.
pub(super) fn estimate_start(env: &Env, db: &Db, segment: &Segment, exact: bool) -> Result<Ms> {
    let path = env.data_dir.join(&segment.path);
    let (mut begins, mut after) = (segment.opened, DECIDE_MS);
    loop {
        if segments::segment(db, segment.id)?.is_none_or(|s| s.closed.is_none()) {
            // What is waited for is the time itself: what has come by then says how much was held. At most so long, also where
            // the clock was set back.
            let rest = after - env.clock.now().since(segment.opened);
            std::thread::sleep(Duration::from_millis(rest.clamp(0, after).unsigned_abs()));
        }
        let Some(now) = segments::segment(db, segment.id)? else { return Ok(begins) };
        if let Some(span) = now.spans.first() {
            return Ok(span.wall().start);
        }
        let marks = marks::of_segment(db, segment.id)?;
        let Ok(file) = path.metadata() else { return Ok(begins) };
        // The catalog is told of what has come every few seconds only.
        let last = Mark { at: now.closed.unwrap_or_else(|| env.clock.now()), offset: file.len() };
        let nth = marks.iter().position(|m| m.at.since(segment.opened) >= after);
        let by = nth.map_or(last, |nth| marks[nth]);
        // The source may know when it was made. Else, where nothing came for a while, what came before that tells more.
        let made = marks.iter().rfind(|m| m.offset <= by.offset && m.at < segment.opened);
        let earlier = marks[..nth.unwrap_or(marks.len())].last().filter(|m| by.at.since(m.at) > 2 * SECOND);
        let before = begins;
        for mark in made.map_or_else(|| earlier.into_iter().chain([&by]).copied().collect(), |made| vec![*made]) {
            begins = first_packet(begins, [(mark.at, media_ms(&path, mark.offset)?)]);
        }
        // More has come at once since the last look, and more may follow.
        let goes_on = before.since(begins) > SECOND && by.offset < file.len();
        after *= 2;
        let is_there = now.closed.is_some() || env.clock.now().since(segment.opened) > after;
        if !goes_on || after > BACKLOG_LIMIT_MS || !(exact || is_there) {
            return Ok(begins);
        }
    }
}

/// Length of what is in a file's first bytes, milliseconds.
fn media_ms(path: &Path, bytes: u64) -> Result<i64> {
    let cannot = |e| Failure::new(Kind::Failed, "ffmpeg cannot demultiplex a segment").because(e);
    let (mut demux, mut pipe) = Demux::fed(path, &CancellationToken::new()).map_err(cannot)?;
    let failed = |e: io::Error| Failure::new(Kind::Failed, "a segment cannot be read").because(e);
    let mut file = File::open(path).map_err(failed)?.take(bytes);
    // A pipe that is closed: ffmpeg has ended.
    let feeder = std::thread::Builder::new().name("feeder".to_owned()).spawn(move || io::copy(&mut file, &mut pipe));
    let feeder = feeder.map_err(|e| Failure::new(Kind::Failed, "cannot start a thread").because(e))?;
    let mut given = PtsClock::new(Ms(0));
    let mut end = Ms(0);
    // What can be seen of a torn or odd file has been seen.
    while let Ok(Some(packet)) = demux.next_packet() {
        end = end.max(given.wall(packet.packet.pts_ms, Ms(i64::MAX)).plus(packet.packet.duration_ms));
    }
    drop(demux);
    let _ = feeder.join();
    Ok(end.0)
}

/// What of a segment is shown.
pub(super) struct Visibility {
    pub begins: Ms,
    pub ends: Ms,
    pub forbidden: IntervalSet,
    /// When that was asked for.
    pub looked: Ms,
    /// By so many milliseconds its media lies later than the times that are asked for, where that is known.
    pub late_ms: Option<i64>,
}

/// Whether something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VisibilityVerdict {
    Early,
    Shown,
    Forbidden,
    Late,
}

impl Visibility {
    pub fn judge(&self, wall: Ms) -> VisibilityVerdict {
        let here = match self.late_ms {
            Some(late) => Interval::new(wall.plus(late.min(0)), wall.plus(late.max(0) + 1)),
            None => Interval::new(wall.minus(UNINDEXED_MARGIN_MS), wall.plus(1)),
        };
        if self.forbidden.iter().any(|slot| slot.overlaps(here)) {
            VisibilityVerdict::Forbidden
        } else if wall >= self.ends {
            VisibilityVerdict::Late
        } else if wall < self.begins.minus(KEYFRAME_SLACK_MS) {
            VisibilityVerdict::Early
        } else {
            VisibilityVerdict::Shown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_held_was_made_before_it_came() {
        let at = |second: i64| Ms(1_000_000_000).plus(second * SECOND);
        // A minute comes at once, then each second.
        let walls = |begins: i64| -> Vec<Ms> {
            let mut given = PtsClock::new(at(begins));
            (0..63).map(|second| given.wall(second * SECOND, at((second - 60).max(0)))).collect()
        };
        assert_eq!(walls(-60), (-60..3).map(at).collect::<Vec<_>>());
        // Where that is not known it was made before it was read, and what follows is right.
        assert_eq!(walls(0)[60..], [at(0), at(1), at(2)]);
    }

    #[test]
    fn what_must_not_be_shown_is_not_shown_also_where_its_time_is_unsure() {
        let at = |second: i64| Ms(1_000_000_000).plus(second * SECOND);
        let when = |late_ms| Visibility {
            begins: at(0),
            ends: at(1000),
            forbidden: Interval::new(at(100), at(200)).into(),
            looked: at(0),
            late_ms,
        };
        let shown = |when: Visibility| -> Vec<i64> {
            (0..300).filter(|s| when.judge(at(*s)) == VisibilityVerdict::Shown).collect()
        };
        assert_eq!(shown(when(None)), (0..100).chain(260..300).collect::<Vec<_>>());
        assert_eq!(shown(when(Some(-10 * SECOND))), (0..100).chain(210..300).collect::<Vec<_>>());
        assert_eq!(when(None).judge(at(1000)), VisibilityVerdict::Late);
        assert_eq!(when(None).judge(at(-10)), VisibilityVerdict::Early);
    }
}
