//! The file of a talk that is over, played as one segment: it has what was recorded without what stands twice, also when
//! its segments are deleted.

use rusqlite::Connection as Db;

use crate::app::library::report::TalkView;
use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::catalog::assemblies;
use crate::domain::ids::SegmentId;
use crate::domain::interval::Interval;
use crate::domain::media::TrackKind;
use crate::domain::segment::{Container, Segment, Verdict};
use crate::domain::time::{MINUTE, Ms};
use crate::plan::presented::PresentedSpan;
use crate::plan::timeshift::SegmentTimeline;

/// Players name pieces by segment; joined files have numbers of their own above all of these.
const FIRST_ID: i64 = 1 << 52;

/// A player that watched while it was recorded has come to the end of its list by then, milliseconds after the window.
const LIST_ENDED_MS: i64 = MINUTE;

/// A talk's file, as if it was a segment, and what it presents.
#[derive(Clone, Debug)]
pub(super) struct JoinedFile {
    pub segment: Segment,
    presented: Vec<PresentedSpan>,
}

/// True for a segment that is a joined file.
pub(super) fn is_one(id: SegmentId) -> bool {
    id.0 >= FIRST_ID
}

/// The file of a talk that is over; `None` while it is not, and where there is no file, or nobody looked into it.
///
/// # Errors
/// When the catalog cannot be read.
pub(super) fn of(db: &Db, env: &Env, view: &TalkView) -> Result<Option<JoinedFile>> {
    let Some(assembly) = &view.assembly else { return Ok(None) };
    if env.clock.now().since(view.window.end) <= LIST_ENDED_MS || !env.data_dir.join(&assembly.path).is_file() {
        return Ok(None);
    }
    let presented = assemblies::presented(db, assembly.id)?;
    let start = presented.iter().map(|s| s.wall.start).min();
    let end = presented.iter().map(|s| s.wall.end).max();
    let Some((start, end)) = start.zip(end) else { return Ok(None) };
    let segment = Segment {
        id: SegmentId(FIRST_ID + assembly.id.0),
        uuid: uuid::Uuid::nil(),
        hall: view.hall.id,
        connection: None,
        stream: None,
        path: assembly.path.clone(),
        container: Container::Matroska,
        at: Interval::new(start, end),
        opened: start,
        closed: Some(end),
        bytes: assembly.bytes,
        lost_bytes: 0,
        sha256: Some(assembly.sha256),
        media_ms: Some(assembly.duration_ms),
        verdict: Verdict::Media,
        verdict_reason: None,
        end_reason: None,
        spans: Vec::new(),
        tracks: Vec::new(),
    };
    Ok(Some(JoinedFile { segment, presented }))
}

impl JoinedFile {
    /// Sets the wall time of each place where the file can be cut to the one that it shows there: gaps are closed in the
    /// file, so its own clock does not tell.
    pub(super) fn place(&self, timeline: &mut SegmentTimeline) {
        let has_video = self.presented.iter().any(|s| s.kind == TrackKind::Video);
        let kind = if has_video { TrackKind::Video } else { TrackKind::Audio };
        let spans: Vec<_> = self.presented.iter().filter(|s| s.kind == kind).collect();
        let (Some(first), Some(first_span)) = (timeline.keys.first().map(|k| k.media_us), spans.first()) else {
            return;
        };
        let begin_ms = first_span.out_start_ms;
        for key in &mut timeline.keys {
            let out_ms = (key.media_us - first) / 1000 + begin_ms;
            let span = spans.iter().rfind(|s| s.out_start_ms <= out_ms).unwrap_or(first_span);
            key.wall = wall_of(span, out_ms);
        }
        timeline.late_ms = 0;
    }
}

fn wall_of(span: &PresentedSpan, out_ms: i64) -> Ms {
    span.wall.start.plus((out_ms - span.out_start_ms).clamp(0, span.wall.len_ms()))
}
