//! What happened to the recorder itself.

use rusqlite::Connection;

use super::Result;
use crate::domain::clock::ClockStep;
use crate::domain::gap::{Gap, GapCause};
use crate::domain::ids::HallId;
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::time::Ms;

/// A hall's tape could not write, or can again.
///
/// # Errors
/// When SQLite cannot write.
pub fn disk_full(db: &Connection, daemon_run: Option<i64>, hall: HallId, full: bool, at: Ms) -> Result<()> {
    if full {
        db.execute(
            "INSERT INTO trouble (daemon_run_id, hall_id, kind, from_ms, message)
             SELECT ?1, ?2, 'disk-full', ?3, 'the disk is full'
             WHERE NOT EXISTS (SELECT 1 FROM trouble WHERE hall_id = ?2 AND kind = 'disk-full' AND until_ms IS NULL)",
            (daemon_run, hall.0, at.0),
        )?;
    } else {
        db.execute(
            "UPDATE trouble SET until_ms = max(from_ms, ?2) WHERE hall_id = ?1 AND kind = 'disk-full' AND until_ms IS NULL",
            [hall.0, at.0],
        )?;
    }
    Ok(())
}

/// Wall time that passed while nothing could run, or that never was: the machine slept (`host-asleep`), or
/// its clock was set (`clock-set`, from what it would have shown to what it showed: set back, `over` ends
/// before it begins).
///
/// # Errors
/// When SQLite cannot write.
pub fn skipped(db: &Connection, daemon_run: Option<i64>, cause: GapCause, over: Interval, message: &str) -> Result<()> {
    db.execute(
        "INSERT INTO trouble (daemon_run_id, kind, from_ms, until_ms, message) VALUES (?1, ?2, ?3, ?4, ?5)",
        (daemon_run, cause.to_string(), over.start.0, over.end.0, message),
    )?;
    Ok(())
}

/// What was noted by [`skipped`] and touches `within`, by start.
///
/// # Errors
/// When SQLite cannot answer.
pub fn skipped_times(db: &Connection, within: Interval) -> Result<Vec<Gap>> {
    let mut query = db.prepare_cached(
        "SELECT kind, from_ms, until_ms FROM trouble
         WHERE kind IN ('host-asleep', 'clock-set') AND from_ms < ?2 AND until_ms > ?1 AND until_ms > from_ms ORDER BY from_ms",
    )?;
    let rows = query.query_map([within.start.0, within.end.0], |row| {
        let slept = row.get::<_, String>(0)? == GapCause::HostAsleep.to_string();
        let cause = if slept { GapCause::HostAsleep } else { GapCause::ClockSet };
        Ok(Gap::of_all(Interval::new(Ms(row.get(1)?), Ms(row.get(2)?)), cause))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Steps of the wall clock that touch `within`, in the order they came.
///
/// # Errors
/// When SQLite cannot answer.
pub fn clock_steps(db: &Connection, within: Interval) -> Result<Vec<ClockStep>> {
    let mut query = db.prepare_cached(
        "SELECT from_ms, until_ms FROM trouble
         WHERE kind = 'clock-set' AND min(from_ms, until_ms) < ?2 AND max(from_ms, until_ms) >= ?1 ORDER BY id",
    )?;
    let rows = query.query_map([within.start.0, within.end.0], |row| {
        Ok(ClockStep { from: Ms(row.get(0)?), to: Ms(row.get(1)?) })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Notes something for people.
///
/// # Errors
/// When SQLite cannot write.
pub fn note(db: &Connection, daemon_run: Option<i64>, kind: &str, message: &str, at: Ms) -> Result<()> {
    db.execute(
        "INSERT INTO trouble (daemon_run_id, kind, from_ms, until_ms, message) VALUES (?1, ?2, ?3, ?3, ?4)",
        (daemon_run, kind, at.0, message),
    )?;
    Ok(())
}

/// Kind of what [`note`] tells of a file that somebody deleted, moved or cut while it was recorded.
pub const FILE_DAMAGED: &str = "file-damaged";

/// What was noted of a kind after the row `after`, oldest first: row and message.
///
/// # Errors
/// When SQLite cannot answer.
pub fn noted_after(db: &Connection, kind: &str, after: i64) -> Result<Vec<(i64, String)>> {
    let mut query =
        db.prepare_cached("SELECT id, message FROM trouble WHERE id > ?1 AND kind = ?2 ORDER BY id LIMIT 100")?;
    let rows = query.query_map((after, kind), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The newest row of all kinds; 0: there is none.
///
/// # Errors
/// When SQLite cannot answer.
pub fn newest(db: &Connection) -> Result<i64> {
    Ok(db.query_row("SELECT coalesce(max(id), 0) FROM trouble", [], |row| row.get(0))?)
}

/// When a hall's tape could not write for want of space. One that lasts is taken to last up to `now`.
///
/// # Errors
/// When SQLite cannot answer.
pub fn disk_full_times(db: &Connection, hall: HallId, within: Interval, now: Ms) -> Result<IntervalSet> {
    let mut query = db.prepare_cached(
        "SELECT from_ms, coalesce(until_ms, ?4) FROM trouble
         WHERE kind = 'disk-full' AND hall_id = ?1 AND from_ms < ?3 AND coalesce(until_ms, ?4) >= ?2",
    )?;
    let rows = query.query_map([hall.0, within.start.0, within.end.0, now.0], |row| {
        Ok(Interval::new(Ms(row.get(0)?), Ms(row.get(1)?)))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
