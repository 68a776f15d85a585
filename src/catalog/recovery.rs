//! What a start of the daemon finds and writes to make the rows agree with the files: connections and segments that a
//! crash left open, segments whose file is gone or has come back, files that no row names.

use std::path::Path;

use rusqlite::Connection as Db;
use uuid::Uuid;

use super::{Result, assembly_queue, marks};
use crate::domain::ids::{HallId, SegmentId};
use crate::domain::segment::{Container, EndReason, Mark, Verdict};
use crate::domain::time::Ms;

/// Why a quarantined file that is gone is lost. Such a file must not come back as one to be shown: the reason tells it
/// from others.
const LOST_IN_QUARANTINE: &str = "its file is gone; it was of an opted-out talk";

/// Process ids and start times (in clock ticks since boot) of the sources of connections that are open.
///
/// # Errors
/// When SQLite cannot answer.
pub fn open_processes(db: &Db) -> Result<Vec<(u32, u64)>> {
    let mut query = db.prepare("SELECT pid, pid_start FROM connection WHERE closed_ms IS NULL AND pid IS NOT NULL")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Ends connections that a crash left open: at the end of their newest segment, or at the daemon's last heartbeat, the
/// best guesses at when they ended. Troubles that were under way end `now`.
///
/// # Errors
/// When SQLite cannot write.
pub fn close_after_crash(db: &Db, now: Ms) -> Result<()> {
    db.execute(
        "UPDATE connection SET end_reason = 'crash', closed_ms = max(opened_ms, coalesce(
             (SELECT max(segment.end_ms) FROM segment WHERE segment.connection_id = connection.id),
             (SELECT heartbeat_ms FROM daemon_run WHERE daemon_run.id = daemon_run_id),
             opened_ms))
         WHERE closed_ms IS NULL",
        [],
    )?;
    db.execute("UPDATE trouble SET until_ms = max(from_ms, ?1) WHERE until_ms IS NULL", [now.0])?;
    Ok(())
}

/// A segment whose row says that it is being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSegment {
    /// Primary key of the segment.
    pub id: SegmentId,
    /// Path as it is stored: not checked yet.
    pub path: String,
    /// When its first byte came.
    pub start: Ms,
    /// When its last byte came, as far as the catalog knows.
    pub end: Ms,
}

/// Segments that are open.
///
/// # Errors
/// When SQLite cannot answer.
pub fn open_segments(db: &Db) -> Result<Vec<OpenSegment>> {
    let mut query = db.prepare("SELECT id, path, start_ms, end_ms FROM segment WHERE verdict = 'open'")?;
    let rows = query.query_map([], |row| {
        Ok(OpenSegment { id: SegmentId(row.get(0)?), path: row.get(1)?, start: Ms(row.get(2)?), end: Ms(row.get(3)?) })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Closes an open segment by its file: `bytes` long, with this hash, whose last byte came at `end`.
///
/// # Errors
/// When SQLite cannot write.
pub fn close_from_disk(db: &Db, segment: SegmentId, bytes: u64, sha256: [u8; 32], end: Ms, now: Ms) -> Result<()> {
    db.execute(
        "UPDATE segment SET bytes = ?2, sha256 = ?3, verdict = 'unchecked', end_reason = 'crash',
           end_ms = max(start_ms, ?4), closed_ms = max(start_ms, ?4), verdict_ms = ?5
         WHERE id = ?1",
        (segment.0, bytes.cast_signed(), sha256, end.0, now.0),
    )?;
    marks::append(db, segment, &[Mark { at: end, offset: bytes }])?;
    assembly_queue::segment_changed(db, segment)
}

/// Closes an open segment whose file was never made: its row is written first.
///
/// # Errors
/// When SQLite cannot write.
pub fn never_made(db: &Db, segment: &OpenSegment, now: Ms) -> Result<()> {
    db.execute(
        "UPDATE segment SET verdict = 'lost', verdict_reason = 'its file was never made', end_reason = 'crash',
           closed_ms = ?2, verdict_ms = ?3 WHERE id = ?1",
        (segment.id.0, segment.start.0, now.0),
    )?;
    assembly_queue::segment_changed(db, segment.id)
}

/// Closes an open segment whose file cannot be read now, without a hash.
///
/// # Errors
/// When SQLite cannot write.
pub fn close_unread(db: &Db, segment: SegmentId, now: Ms) -> Result<()> {
    db.execute(
        "UPDATE segment SET verdict = 'unchecked', end_reason = 'crash', closed_ms = max(start_ms, end_ms),
           verdict_ms = ?2 WHERE id = ?1",
        (segment.0, now.0),
    )?;
    assembly_queue::segment_changed(db, segment)
}

/// Row id, path as it is stored, and verdict of every segment.
///
/// # Errors
/// When SQLite cannot answer, or a stored word is not known.
pub fn all_segments(db: &Db) -> Result<Vec<(SegmentId, String, Verdict)>> {
    let mut query = db.prepare("SELECT id, path, verdict FROM segment")?;
    let mut rows = query.query([])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let verdict: Verdict = row.get::<_, String>(2)?.parse().map_err(super::CatalogError::Value)?;
        out.push((SegmentId(row.get(0)?), row.get(1)?, verdict));
    }
    Ok(out)
}

/// Marks a segment as lost, since its file is gone. `before`: its verdict until now.
///
/// # Errors
/// When SQLite cannot write.
pub fn lose(db: &Db, segment: SegmentId, before: Verdict, now: Ms) -> Result<()> {
    let reason = if before == Verdict::Quarantined { LOST_IN_QUARANTINE } else { "its file is gone" };
    db.execute(
        "UPDATE segment SET verdict = 'lost', verdict_reason = ?3, verdict_ms = ?2 WHERE id = ?1",
        (segment.0, now.0, reason),
    )?;
    assembly_queue::segment_changed(db, segment)
}

/// Marks a lost segment as found: to be indexed again, or quarantined where it was when it was lost.
///
/// # Errors
/// When SQLite cannot write.
pub fn find_again(db: &Db, segment: SegmentId, now: Ms) -> Result<()> {
    db.execute(
        "UPDATE segment SET verdict = iif(verdict_reason = ?3, 'quarantined', 'unchecked'), verdict_reason = NULL,
           verdict_ms = ?2 WHERE id = ?1",
        (segment.0, now.0, LOST_IN_QUARANTINE),
    )?;
    assembly_queue::segment_changed(db, segment)
}

/// A segment file that no row names.
#[derive(Clone, Debug)]
pub struct AdoptedSegment<'a> {
    /// Its hall, by its folder.
    pub hall: HallId,
    /// Where it lies, relative to the data directory.
    pub path: &'a Path,
    /// What it holds.
    pub container: Container,
    /// When its first bytes came, by its name.
    pub start: Ms,
    /// When its last bytes came, where its modification time says so.
    pub end: Option<Ms>,
    /// Size of the file.
    pub bytes: u64,
    /// Hash of the file.
    pub sha256: [u8; 32],
    /// When its bytes came, oldest first.
    pub marks: &'a [Mark],
}

/// Writes the row of a segment file that no row names, as one that is still to be indexed.
///
/// # Errors
/// When SQLite cannot write.
pub fn adopt(db: &Db, new: &AdoptedSegment<'_>) -> Result<SegmentId> {
    db.execute(
        "INSERT INTO segment (uuid, hall_id, path, container, start_ms, end_ms, opened_ms, closed_ms, bytes, sha256, verdict,
           end_reason, verdict_reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5, ?6, ?7, ?8, 'unchecked', ?9, 'adopted from disk')",
        (
            Uuid::now_v7().to_string(),
            new.hall.0,
            new.path.to_string_lossy(),
            new.container.as_str(),
            new.start.0,
            new.end.unwrap_or(new.start).0,
            new.bytes.cast_signed(),
            new.sha256,
            EndReason::Crash.to_string(),
        ),
    )?;
    let id = SegmentId(db.last_insert_rowid());
    marks::append(db, id, new.marks)?;
    assembly_queue::segment_changed(db, id)?;
    Ok(id)
}
