//! Connections and segments: writing what tapes tell, reading what was taped.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, named_params};
use uuid::Uuid;

use super::{CatalogError, Result, assembly_queue, marks};
use crate::domain::ids::{ConnectionId, HallId, SegmentId, StreamId};
use crate::domain::interval::Interval;
use crate::domain::media::{MediaSpan, TrackKind, TrackStretch};
use crate::domain::presence::on_wall;
use crate::domain::segment::{ConnectionRecord, Container, EndReason, Mark, Segment, Verdict};
use crate::domain::time::Ms;

/// A connection is being opened.
#[derive(Clone, Debug)]
pub struct NewConnection {
    /// Named by the tape.
    pub uuid: Uuid,
    /// Hall that is recorded.
    pub hall: HallId,
    /// To which stream.
    pub stream: StreamId,
    /// Under which daemon.
    pub daemon_run: Option<i64>,
    /// Name of the source.
    pub source: &'static str,
    /// Process id and start time of the child.
    pub process: Option<(u32, u64)>,
    /// Time of opening (wall clock).
    pub at: Ms,
}

/// Writes a new connection; one that is known stays as it is, so that a retried write does no harm.
///
/// # Errors
/// When SQLite cannot write.
pub fn open_connection(db: &Connection, new: &NewConnection) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO connection (uuid, hall_id, stream_id, daemon_run_id, source, pid, pid_start, opened_ms)
         VALUES (?1, ?2, (SELECT id FROM stream WHERE id = ?3), ?4, ?5, ?6, ?7, ?8) ON CONFLICT (uuid) DO NOTHING",
    )?
    .execute((
        new.uuid.to_string(),
        new.hall.0,
        new.stream.0,
        new.daemon_run,
        new.source,
        new.process.map(|p| p.0),
        new.process.map(|p| p.1.cast_signed()),
        new.at.0,
    ))?;
    lived(db, new.uuid, new.at)
}

/// Who opens connections and receives bytes is alive: on a busy machine the heartbeat comes late, and a gap from then
/// would be put down to a daemon that did not run.
fn lived(db: &Connection, connection: Uuid, at: Ms) -> Result<()> {
    db.prepare_cached(
        "UPDATE daemon_run SET heartbeat_ms = max(heartbeat_ms, ?2)
         WHERE id = (SELECT daemon_run_id FROM connection WHERE uuid = ?1)",
    )?
    .execute((connection.to_string(), at.0))?;
    Ok(())
}

/// Notes a connection's first byte.
///
/// # Errors
/// When SQLite cannot write.
pub fn first_byte(db: &Connection, connection: Uuid, at: Ms) -> Result<()> {
    db.prepare_cached("UPDATE connection SET first_byte_ms = ?2 WHERE uuid = ?1")?
        .execute((connection.to_string(), at.0))?;
    lived(db, connection, at)
}

/// Notes a connection's end.
///
/// # Errors
/// When SQLite cannot write.
pub fn close_connection(
    db: &Connection,
    connection: Uuid,
    bytes: u64,
    reason: EndReason,
    detail: Option<&str>,
    at: Ms,
) -> Result<()> {
    db.prepare_cached(
        "UPDATE connection SET bytes = ?2, end_reason = ?3, detail = ?4, closed_ms = ?5 WHERE uuid = ?1",
    )?
    .execute((connection.to_string(), bytes.cast_signed(), reason.to_string(), detail, at.0))?;
    Ok(())
}

/// Writes a new segment, before its file is made.
///
/// # Errors
/// When SQLite cannot write.
pub fn open_segment(
    db: &Connection,
    segment: Uuid,
    connection: Option<Uuid>,
    hall: HallId,
    path: &Path,
    container: Container,
    at: Ms,
) -> Result<()> {
    // After a clock was set back, a file may have the name of one that was deleted. Its row keeps all but the name.
    db.prepare_cached("UPDATE segment SET path = path || '~' || id WHERE path = ?1 AND verdict IN ('pruned', 'lost')")?
        .execute([path.to_string_lossy()])?;
    db.prepare_cached(
        "INSERT INTO segment (uuid, hall_id, connection_id, path, container, start_ms, end_ms, opened_ms, verdict)
         VALUES (?1, ?2, (SELECT id FROM connection WHERE uuid = ?3), ?4, ?5, ?6, ?6, ?6, 'open')
         ON CONFLICT (uuid) DO NOTHING",
    )?
    .execute((
        segment.to_string(),
        hall.0,
        connection.map(|c| c.to_string()),
        path.to_string_lossy(),
        container.as_str(),
        at.0,
    ))?;
    Ok(())
}

/// Notes how far an open segment has come.
///
/// # Errors
/// When SQLite cannot write.
pub fn progress(db: &Connection, segment: Uuid, new_marks: &[Mark], bytes: u64) -> Result<()> {
    let id: Option<i64> = db
        .prepare_cached("SELECT id FROM segment WHERE uuid = ?1")?
        .query_row([segment.to_string()], |row| row.get(0))
        .optional()?;
    let Some(id) = id else { return Err(CatalogError::Value(format!("no segment {segment}"))) };
    marks::append(db, SegmentId(id), new_marks)?;
    // The last one may say when media was made, which is before it came.
    let last = new_marks.iter().map(|m| m.at.0).max();
    db.prepare_cached("UPDATE segment SET bytes = ?2, end_ms = max(start_ms, coalesce(?3, end_ms)) WHERE id = ?1 AND verdict = 'open'")?
        .execute((id, bytes.cast_signed(), last))?;
    Ok(())
}

/// How a segment ended.
#[derive(Clone, Debug)]
pub struct ClosedSegment {
    /// Marks since the last progress.
    pub marks: Vec<Mark>,
    /// Bytes in the file.
    pub bytes: u64,
    /// Bytes that could not be written.
    pub lost_bytes: u64,
    /// Of the file.
    pub sha256: [u8; 32],
    /// What it holds.
    pub container: Container,
    /// What was it worth at first sight: `Unchecked` or `NotMedia`.
    pub verdict: Verdict,
    /// Why it ended.
    pub reason: EndReason,
    /// Time of closing (wall clock).
    pub at: Ms,
}

/// Notes a segment's end.
///
/// # Errors
/// When SQLite cannot write.
pub fn close_segment(db: &Connection, segment: Uuid, closed: &ClosedSegment) -> Result<()> {
    progress(db, segment, &closed.marks, closed.bytes)?;
    let why = (closed.verdict == Verdict::NotMedia).then_some("the content is no media");
    db.prepare_cached(
        "UPDATE segment SET bytes = ?2, lost_bytes = ?3, sha256 = ?4, container = ?5, verdict = ?6, end_reason = ?7,
           closed_ms = ?8, verdict_reason = ?9, verdict_ms = ?8
         WHERE uuid = ?1 AND verdict IN ('open', 'unchecked')",
    )?
    .execute((
        segment.to_string(),
        closed.bytes.cast_signed(),
        closed.lost_bytes.cast_signed(),
        closed.sha256,
        closed.container.as_str(),
        closed.verdict.as_str(),
        closed.reason.to_string(),
        closed.at.0,
        why,
    ))?;
    let id = db
        .prepare_cached("SELECT id FROM segment WHERE uuid = ?1")?
        .query_row([segment.to_string()], |row| row.get(0))?;
    assembly_queue::segment_changed(db, SegmentId(id))
}

const COLUMNS: &str =
    "segment.id, segment.uuid, segment.hall_id, segment.connection_id, connection.stream_id, path, container, start_ms,
     end_ms, segment.opened_ms, segment.closed_ms, segment.bytes, lost_bytes, sha256, media_ms, verdict, verdict_reason,
     segment.end_reason";

fn segment_of(row: &Row<'_>) -> Result<Segment> {
    let text = |i: usize| row.get::<_, String>(i);
    let reason: Option<String> = row.get(17)?;
    Ok(Segment {
        id: SegmentId(row.get(0)?),
        uuid: text(1)?.parse().map_err(|e| CatalogError::Value(format!("segment uuid: {e}")))?,
        hall: HallId(row.get(2)?),
        connection: row.get::<_, Option<i64>>(3)?.map(ConnectionId),
        stream: row.get::<_, Option<i64>>(4)?.map(StreamId),
        path: super::relative_path(text(5)?)?,
        container: text(6)?.parse().map_err(CatalogError::Value)?,
        at: Interval::new(Ms(row.get(7)?), Ms(row.get(8)?)),
        opened: Ms(row.get(9)?),
        closed: row.get::<_, Option<i64>>(10)?.map(Ms),
        bytes: row.get::<_, i64>(11)?.cast_unsigned(),
        lost_bytes: row.get::<_, i64>(12)?.cast_unsigned(),
        sha256: row.get(13)?,
        media_ms: row.get(14)?,
        verdict: text(15)?.parse().map_err(CatalogError::Value)?,
        verdict_reason: row.get(16)?,
        end_reason: reason.map(|r| r.parse()).transpose().map_err(CatalogError::Value)?,
        spans: Vec::new(),
        tracks: Vec::new(),
    })
}

/// Segments of a hall whose media touches `within`, by start.
///
/// # Errors
/// When SQLite cannot answer, or a stored word is not known.
pub fn segments_of_hall(db: &Connection, hall: HallId, within: Interval) -> Result<Vec<Segment>> {
    // The longest segment of the hall says how far before `within` one may begin that still touches it.
    let longest: i64 = db
        .prepare_cached("SELECT coalesce(max(end_ms - start_ms), 0) FROM segment WHERE hall_id = ?1")?
        .query_row([hall.0], |row| row.get(0))?;
    let sql = format!(
        "SELECT {COLUMNS} FROM segment LEFT JOIN connection ON connection.id = segment.connection_id
         WHERE segment.hall_id = :hall AND start_ms < :to AND start_ms >= :earliest AND end_ms >= :from
         ORDER BY start_ms, segment.id"
    );
    let mut query = db.prepare_cached(&sql)?;
    let mut rows = query.query(named_params! {
        ":hall": hall.0,
        ":to": within.end.0,
        ":earliest": within.start.minus(longest).0,
        ":from": within.start.0,
    })?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.push(segment_of(row)?);
    }
    with_spans(db, &mut out)?;
    Ok(out)
}

/// Segments that are no media, then those that may be fragments: prune looks closer.
///
/// # Errors
/// As [`segments_of_hall`].
pub fn prunable(db: &Connection, min_bytes: u64) -> Result<Vec<Segment>> {
    let mut found = with_verdict(db, Verdict::NotMedia)?;
    found.extend(select(db, "verdict = 'media' AND segment.bytes < ?1", [min_bytes.cast_signed()])?);
    Ok(found)
}

/// Media that was closed by `at`, oldest first.
///
/// # Errors
/// As [`segments_of_hall`].
pub fn media_closed_by(db: &Connection, at: Ms) -> Result<Vec<Segment>> {
    select(db, "verdict = 'media' AND segment.closed_ms <= ?1", [at.0])
}

/// All segments of a verdict, oldest first.
///
/// # Errors
/// As [`segments_of_hall`].
pub fn with_verdict(db: &Connection, verdict: Verdict) -> Result<Vec<Segment>> {
    select(db, "verdict = ?1", [verdict.as_str()])
}

fn select(db: &Connection, condition: &str, parameters: impl rusqlite::Params) -> Result<Vec<Segment>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM segment LEFT JOIN connection ON connection.id = segment.connection_id
         WHERE {condition} ORDER BY segment.id"
    );
    let mut query = db.prepare_cached(&sql)?;
    let mut rows = query.query(parameters)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.push(segment_of(row)?);
    }
    with_spans(db, &mut out)?;
    Ok(out)
}

/// Files of media of the same stream that were begun before a segment, the last one first: what it may borrow
/// parameter sets from. None where its stream is not known.
///
/// # Errors
/// When SQLite cannot answer.
pub fn before(db: &Connection, segment: SegmentId) -> Result<Vec<PathBuf>> {
    let mut query = db.prepare_cached(
        "SELECT other.path FROM segment AS this JOIN connection AS mine ON mine.id = this.connection_id
         JOIN segment AS other ON other.hall_id = this.hall_id AND other.start_ms <= this.start_ms
         JOIN connection AS its ON its.id = other.connection_id AND its.stream_id = mine.stream_id
         WHERE this.id = ?1 AND other.id <> this.id AND other.verdict IN ('open', 'unchecked', 'media')
         ORDER BY other.start_ms DESC, other.id DESC LIMIT 16",
    )?;
    let mut rows = query.query([segment.0])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.push(super::relative_path(row.get(0)?)?);
    }
    Ok(out)
}

/// The name of the source that a segment came from; `None`: it was adopted from disk.
///
/// # Errors
/// When SQLite cannot answer.
pub fn source_of(db: &Connection, segment: SegmentId) -> Result<Option<String>> {
    let mut query = db.prepare_cached(
        "SELECT source FROM connection JOIN segment ON connection.id = segment.connection_id WHERE segment.id = ?1",
    )?;
    Ok(query.query_row([segment.0], |row| row.get(0)).optional()?)
}

/// One segment by its id.
///
/// # Errors
/// As [`segments_of_hall`].
pub fn segment(db: &Connection, id: SegmentId) -> Result<Option<Segment>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM segment LEFT JOIN connection ON connection.id = segment.connection_id WHERE segment.id = ?1"
    );
    let mut query = db.prepare_cached(&sql)?;
    let mut rows = query.query([id.0])?;
    let mut out: Vec<_> = rows.next()?.map(segment_of).transpose()?.into_iter().collect();
    with_spans(db, &mut out)?;
    Ok(out.pop())
}

fn with_spans(db: &Connection, segments: &mut [Segment]) -> Result<()> {
    let mut query = db.prepare_cached(
        "SELECT media_start_ms, media_end_ms, offset_ms FROM span WHERE segment_id = ?1 ORDER BY seq",
    )?;
    for segment in segments.iter_mut().filter(|s| s.media_ms.is_some()) {
        let rows = query.query_map([segment.id.0], |row| {
            Ok(MediaSpan { media_start_ms: row.get(0)?, media_end_ms: row.get(1)?, offset_ms: row.get(2)? })
        })?;
        segment.spans = rows.collect::<rusqlite::Result<_>>()?;
        segment.tracks = on_wall(&track_stretches(db, segment.id)?, &segment.spans);
    }
    Ok(())
}

/// Where the tracks of a segment have media, in its own clock.
///
/// # Errors
/// When SQLite cannot answer.
pub fn track_stretches(db: &Connection, segment: SegmentId) -> Result<Vec<TrackStretch>> {
    let mut query = db.prepare_cached(
        "SELECT track, kind, start_ms, end_ms, keyframe_ms FROM track_stretch WHERE segment_id = ?1 ORDER BY seq",
    )?;
    let rows = query.query_map([segment.0], |row| {
        let kind: String = row.get(1)?;
        Ok(TrackStretch {
            track: row.get(0)?,
            kind: if kind == "video" { TrackKind::Video } else { TrackKind::Audio },
            start_ms: row.get(2)?,
            end_ms: row.get(3)?,
            keyframe_ms: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Changes what a segment is worth, with the reason. A segment that is being written is left alone.
///
/// # Errors
/// When SQLite cannot write.
pub fn set_verdict(db: &Connection, segment: SegmentId, verdict: Verdict, reason: &str, at: Ms) -> Result<()> {
    db.prepare_cached(
        "UPDATE segment SET verdict = ?2, verdict_reason = ?3, verdict_ms = ?4 WHERE id = ?1 AND verdict <> 'open'",
    )?
    .execute((segment.0, verdict.as_str(), reason, at.0))?;
    assembly_queue::segment_changed(db, segment)
}

/// Segments that are open or closed but not indexed, oldest first.
///
/// # Errors
/// When SQLite cannot answer.
pub fn unfinished(db: &Connection, verdict: Verdict) -> Result<Vec<SegmentId>> {
    let mut query = db.prepare_cached("SELECT id FROM segment WHERE verdict = ?1 ORDER BY id")?;
    let rows = query.query_map([verdict.as_str()], |row| Ok(SegmentId(row.get(0)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Our connections of a hall that were open, or being opened, at some time in `within`, and the last one
/// before it, by opening. Another recorder's say nothing of why we have a gap.
///
/// # Errors
/// When SQLite cannot answer, or a stored word is not known.
pub fn connections_of_hall(db: &Connection, hall: HallId, within: Interval) -> Result<Vec<ConnectionRecord>> {
    // A connection that was open long before may still be: the newest one that began before `within`
    // bounds how far back that can be, for of two connections the earlier is closed first but for a
    // handover's short overlap, which the one before it covers, and two mirrors may be taped at once.
    let first: i64 = db
        .prepare_cached(
            "SELECT coalesce(min(opened_ms), ?2) FROM
               (SELECT opened_ms FROM connection WHERE hall_id = ?1 AND opened_ms < ?2 ORDER BY opened_ms DESC LIMIT 8)",
        )?
        .query_row([hall.0, within.start.0], |row| row.get(0))?;
    let mut query = db.prepare_cached(
        "SELECT id, stream_id, opened_ms, first_byte_ms, closed_ms, bytes, end_reason, detail
         FROM connection WHERE hall_id = ?1 AND opened_ms >= ?2 AND opened_ms < ?3
           AND NOT EXISTS (SELECT 1 FROM segment JOIN merged_segment ON segment_id = segment.id
                           WHERE segment.connection_id = connection.id)
         ORDER BY opened_ms, id",
    )?;
    let mut rows = query.query([hall.0, first, within.end.0])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let end: Option<String> = row.get(6)?;
        out.push(ConnectionRecord {
            id: ConnectionId(row.get(0)?),
            hall,
            stream: row.get::<_, Option<i64>>(1)?.map(StreamId),
            opened: Ms(row.get(2)?),
            first_byte: row.get::<_, Option<i64>>(3)?.map(Ms),
            closed: row.get::<_, Option<i64>>(4)?.map(Ms),
            bytes: row.get::<_, i64>(5)?.cast_unsigned(),
            end: end.map(|e| e.parse()).transpose().map_err(CatalogError::Value)?,
            detail: row.get(7)?,
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{daemon_runs, open_in_memory};
    use crate::domain::ids::EventId;

    #[test]
    fn a_daemon_that_receives_is_alive_though_its_heartbeat_is_late() {
        let db = open_in_memory().expect("a catalog");
        db.execute_batch(
            "INSERT INTO event (id, name, slug, time_zone) VALUES (1, '27c3', '27c3', 'Europe/Berlin');
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');",
        )
        .expect("a hall");
        let run = daemon_runs::begin(&db, Uuid::now_v7(), None, Ms(1_000)).expect("begun");
        let uuid = Uuid::now_v7();
        let (hall, stream) = (HallId(1), StreamId(1));
        let at = Ms(5_000);
        let new = NewConnection { uuid, hall, stream, daemon_run: Some(run), source: "mplayer", process: None, at };
        let alive_to = || {
            let all = Interval::new(Ms(0), Ms(i64::MAX));
            let alive = daemon_runs::alive(&db, EventId(1), all, Ms(9_000_000), None).expect("read");
            alive.iter().next().map(|i| i.end)
        };
        open_connection(&db, &new).expect("opened");
        assert_eq!(alive_to(), Some(Ms(5_000)));
        first_byte(&db, uuid, Ms(6_000)).expect("noted");
        assert_eq!(alive_to(), Some(Ms(6_000)));
        first_byte(&db, uuid, Ms(2_000)).expect("noted");
        assert_eq!(alive_to(), Some(Ms(6_000)), "a sign of life is never taken back");
    }
}
