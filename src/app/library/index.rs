//! Looking at what a closed segment holds.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;

use crate::app::support::blocking::{Reader, media, media_failure, read};
use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::catalog::writer::Writer;
use crate::catalog::{incidents, marks, media_index, segments};
use crate::domain::clock::ClockStep;
use crate::domain::ids::SegmentId;
use crate::domain::interval::Interval;
use crate::domain::media::MediaIndex;
use crate::domain::segment::{Mark, Segment, Verdict};
use crate::domain::time::Ms;
use crate::media::MediaError;
use crate::plan::backdating::bounded;
use crate::plan::clock_watch::{stepped, unstepped};

/// Indexes one closed segment: spans, packets at its edges and verdict go into the catalog. A segment
/// that is open, or judged already, is left as it is. One whose file cannot be read, or whose look ends in a
/// crash of ffmpeg or in a bug of ours, stays unchecked: [`IndexOutcome::NotNow`].
///
/// # Errors
/// What is no matter of this segment: ffmpeg is missing or cannot be started, or the catalog cannot be used.
/// Then it stays unchecked too.
pub async fn index_segment(env: &Env, reader: &Reader, writer: &Writer, id: SegmentId) -> Result<IndexOutcome> {
    let (segment, arrivals) = read(reader, move |db| Ok((segments::segment(db, id)?, arrivals(db, id)?))).await?;
    let Some(segment) = segment.filter(|s| s.verdict == Verdict::Unchecked) else { return Ok(IndexOutcome::Done) };
    let now = env.clock.now();
    match index_file(env, &segment, arrivals).await {
        Ok(index) => writer.call(move |db| media_index::store(db, id, &index, now)).await?,
        Err(MediaError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            writer.call(move |db| segments::set_verdict(db, id, Verdict::Lost, "the file is gone", now)).await?;
        }
        Err(e @ (MediaError::ProgramMissing(_) | MediaError::Spawn { .. } | MediaError::Cancelled)) => {
            return Err(media_failure(&e));
        }
        // It may be the file, the disk below it, or a program: the other segments are no worse for it.
        Err(e) => return Ok(IndexOutcome::NotNow(e.to_string())),
    }
    Ok(IndexOutcome::Done)
}

/// What came of a look at a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexOutcome {
    /// It is judged, now or before.
    Done,
    /// It cannot be looked at, for this reason, and stays unchecked.
    NotNow(String),
}

/// What the catalog knows of when a segment's bytes came, and of what came before.
#[derive(Debug)]
pub(crate) struct Arrivals {
    marks: Vec<Mark>,
    /// Earlier files of the same stream, the last one first.
    donors: Vec<PathBuf>,
    steps: Vec<ClockStep>,
    /// It came over one connection of a server that should be live, not in pieces that are listed and dated.
    is_one_stream: bool,
}

/// Reads when a segment's bytes came, and what came before.
///
/// # Errors
/// When the catalog cannot be read.
pub(crate) fn arrivals(db: &Connection, segment: SegmentId) -> Result<Arrivals> {
    // All of them: a clock is set a few times in its life, and a segment's place is only being found out.
    let always = Interval::new(Ms(i64::MIN), Ms(i64::MAX));
    let (marks, donors) = (marks::of_segment(db, segment)?, segments::before(db, segment)?);
    let is_one_stream = segments::source_of(db, segment)?.is_some_and(|source| source != "hls" && source != "ffmpeg");
    Ok(Arrivals { marks, donors, steps: incidents::clock_steps(db, always)?, is_one_stream })
}

/// The index of a segment's file, made anew.
///
/// # Errors
/// As [`crate::media::index::index`].
pub(crate) async fn index_file(
    env: &Env,
    segment: &Segment,
    arrivals: Arrivals,
) -> std::result::Result<MediaIndex, MediaError> {
    let Arrivals { mut marks, donors, steps, is_one_stream } = arrivals;
    if marks.is_empty() {
        let end = segment.closed.unwrap_or(segment.at.end).min(segment.at.end.max(segment.opened));
        marks = vec![Mark { at: segment.opened, offset: 1 }, Mark { at: end, offset: segment.bytes }];
    }
    let path = env.data_dir.join(&segment.path);
    let donors: Vec<PathBuf> = donors.into_iter().map(|donor| env.data_dir.join(donor)).collect();
    let (engine, opened) = (Arc::clone(&env.engine), segment.opened);
    media(move |cancel| {
        let (marks, passed) = unstepped(&marks, &steps);
        let mut index = engine.index(&path, &marks, &donors, cancel)?;
        if is_one_stream {
            index.spans = bounded(index.spans, opened);
        }
        index.spans = stepped(index.spans, &passed);
        Ok(index)
    })
    .await
}
