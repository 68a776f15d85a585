//! Lives of daemons: when someone was there to tape.

use rusqlite::Connection;
use uuid::Uuid;

use super::Result;
use crate::domain::ids::EventId;
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::time::{Ms, SECOND};

/// How often a daemon shows that it lives.
pub const HEARTBEAT_MS: i64 = 5 * SECOND;

/// A run whose last heartbeat is younger than this is taken for alive: two heartbeats and some delay.
pub const ALIVE_MS: i64 = 3 * HEARTBEAT_MS;

/// Writes that a daemon begins.
///
/// # Errors
/// When SQLite cannot write.
pub fn begin(db: &Connection, uuid: Uuid, scope: Option<EventId>, now: Ms) -> Result<i64> {
    db.execute(
        "INSERT INTO daemon_run (uuid, version, pid, scope_event_id, started_ms, heartbeat_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
        (uuid.to_string(), env!("CARGO_PKG_VERSION"), std::process::id(), scope.map(|e| e.0), now.0),
    )?;
    Ok(db.last_insert_rowid())
}

/// Writes a heartbeat.
///
/// # Errors
/// When SQLite cannot write.
pub fn beat(db: &Connection, run: i64, now: Ms) -> Result<()> {
    db.execute("UPDATE daemon_run SET heartbeat_ms = max(heartbeat_ms, ?2) WHERE id = ?1", [run, now.0])?;
    Ok(())
}

/// Writes that a daemon ends as it should.
///
/// # Errors
/// When SQLite cannot write.
pub fn end(db: &Connection, run: i64, now: Ms) -> Result<()> {
    db.execute(
        "UPDATE daemon_run SET heartbeat_ms = max(heartbeat_ms, ?2), stopped_ms = ?2 WHERE id = ?1",
        [run, now.0],
    )?;
    Ok(())
}

/// When a daemon ran that taped this event, as far as it touches `within`; one that lives is taken to
/// live up to `now`. `living`: the run that is known to live although its heartbeat is old, since the catalog
/// cannot be written.
///
/// # Errors
/// When SQLite cannot answer.
pub fn alive(db: &Connection, event: EventId, within: Interval, now: Ms, living: Option<i64>) -> Result<IntervalSet> {
    let mut query = db.prepare_cached(
        "SELECT started_ms, heartbeat_ms, stopped_ms, id FROM daemon_run
         WHERE (heartbeat_ms >= ?1 OR id = ?4) AND started_ms < ?2 AND merge_id IS NULL
           AND (scope_event_id IS NULL OR scope_event_id = ?3)",
    )?;
    // Where the newest heartbeat lies before `within`, its run may still reach into it.
    let rows = query.query_map((within.start.minus(ALIVE_MS).0, within.end.0, event.0, living), |row| {
        let (started, beat, stopped): (i64, i64, Option<i64>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let lives = stopped.is_none() && (now.since(Ms(beat)) < ALIVE_MS || Some(row.get(3)?) == living);
        Ok(Interval::new(Ms(started), if lives { now.max(Ms(beat)) } else { Ms(stopped.unwrap_or(beat)) }))
    })?;
    Ok(rows.collect::<rusqlite::Result<IntervalSet>>()?)
}

/// One life of a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaemonRun {
    /// Primary key of the row.
    pub id: i64,
    /// When it began.
    pub started: Ms,
    /// Its last sign of life.
    pub heartbeat: Ms,
    /// When it ended as it should.
    pub stopped: Option<Ms>,
    /// Process id of the daemon.
    pub pid: u32,
}

/// The newest run.
///
/// # Errors
/// When SQLite cannot answer.
pub fn newest(db: &Connection) -> Result<Option<DaemonRun>> {
    use rusqlite::OptionalExtension;
    Ok(db
        .query_row(
            "SELECT started_ms, heartbeat_ms, stopped_ms, pid, id FROM daemon_run WHERE merge_id IS NULL ORDER BY id DESC LIMIT 1",
            [],
            |row| {
                Ok(DaemonRun {
                    started: Ms(row.get(0)?),
                    heartbeat: Ms(row.get(1)?),
                    stopped: row.get::<_, Option<i64>>(2)?.map(Ms),
                    pid: row.get(3)?,
                    id: row.get(4)?,
                })
            },
        )
        .optional()?)
}
