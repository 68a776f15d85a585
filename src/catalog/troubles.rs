//! What happened to the recorder itself.

use rusqlite::Connection;

use super::Result;
use crate::domain::clock::ClockStep;
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

/// The wall clock was set. The row's two instants are where it stood before and after: `until_ms` lies
/// before `from_ms` where it was set back.
///
/// # Errors
/// When SQLite cannot write.
pub fn clock_step(db: &Connection, daemon_run: Option<i64>, step: ClockStep) -> Result<()> {
    let by = step.by_ms();
    let message =
        format!("the clock was set {} by {:.1} s", if by < 0 { "back" } else { "forward" }, by.abs() as f64 / 1000.0);
    db.execute(
        "INSERT INTO trouble (daemon_run_id, kind, from_ms, until_ms, message) VALUES (?1, 'clock-step', ?2, ?3, ?4)",
        (daemon_run, step.from.0, step.to.0, message),
    )?;
    Ok(())
}

/// Steps of the wall clock that touch `within`, in the order they came.
///
/// # Errors
/// When SQLite cannot answer.
pub fn clock_steps(db: &Connection, within: Interval) -> Result<Vec<ClockStep>> {
    let mut query = db.prepare_cached(
        "SELECT from_ms, until_ms FROM trouble
         WHERE kind = 'clock-step' AND min(from_ms, until_ms) < ?2 AND max(from_ms, until_ms) >= ?1 ORDER BY id",
    )?;
    let rows = query.query_map([within.start.0, within.end.0], |row| {
        Ok(ClockStep { from: Ms(row.get(0)?), to: Ms(row.get(1)?) })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The machine was suspended.
///
/// # Errors
/// When SQLite cannot write.
pub fn host_asleep(db: &Connection, daemon_run: Option<i64>, at: Interval) -> Result<()> {
    let message = format!("the machine was suspended for {:.1} s", at.len_ms() as f64 / 1000.0);
    db.execute(
        "INSERT INTO trouble (daemon_run_id, kind, from_ms, until_ms, message) VALUES (?1, 'host-asleep', ?2, ?3, ?4)",
        (daemon_run, at.start.0, at.end.0, message),
    )?;
    Ok(())
}

/// When the machine was suspended under a daemon.
///
/// # Errors
/// When SQLite cannot answer.
pub fn host_asleep_times(db: &Connection, within: Interval) -> Result<IntervalSet> {
    let mut query = db.prepare_cached(
        "SELECT from_ms, until_ms FROM trouble WHERE kind = 'host-asleep' AND from_ms < ?2 AND until_ms >= ?1",
    )?;
    let rows =
        query.query_map([within.start.0, within.end.0], |row| Ok(Interval::new(Ms(row.get(0)?), Ms(row.get(1)?))))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
