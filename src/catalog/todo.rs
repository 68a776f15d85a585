//! Talks whose assembly may be missing or out of date. Triggers fill the list.

use rusqlite::Connection;

use super::Result;
use super::schedule::{TalkFilter, talk};
use crate::domain::ids::TalkId;
use crate::domain::talk::Talk;
use crate::domain::time::{MINUTE, Ms, SECOND};

/// Talks on the list that may be tried at `now`, by end: those whose slot is not over come last and are
/// for the caller to leave.
///
/// # Errors
/// When SQLite cannot answer.
pub fn due(db: &Connection, now: Ms) -> Result<Vec<Talk>> {
    let mut query = db.prepare_cached(
        "SELECT talk.id FROM assembly_todo JOIN talk ON talk.id = talk_id
         WHERE not_before_ms <= ?1 AND start_ms <= ?1 ORDER BY end_ms + extended_ms, talk.id",
    )?;
    let ids = query.query_map([now.0], |row| Ok(TalkId(row.get(0)?)))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut out = Vec::with_capacity(ids.len());
    for id in ids {
        out.extend(talk(db, id)?);
    }
    Ok(out)
}

/// How many talks that have begun are on the list, but for those that failed `give_up` times.
///
/// # Errors
/// When SQLite cannot answer.
pub fn count(db: &Connection, filter: TalkFilter, give_up: u32, now: Ms) -> Result<i64> {
    Ok(db.query_row(
        "SELECT count(*) FROM assembly_todo JOIN talk ON talk.id = talk_id
         WHERE (?1 IS NULL OR event_id = ?1) AND tries < ?2 AND start_ms <= ?3",
        (filter.event.map(|e| e.0), give_up, now.0),
        |row| row.get(0),
    )?)
}

/// Takes a talk off the list: its assembly is as it should be, or there is nothing to make one of.
///
/// # Errors
/// When SQLite cannot write.
pub fn done(db: &Connection, talk: TalkId) -> Result<()> {
    db.prepare_cached("DELETE FROM assembly_todo WHERE talk_id = ?1")?.execute([talk.0])?;
    Ok(())
}

/// Notes a failed attempt: the next one comes after 5 s, then twice as long each time, 10 minutes at most.
///
/// # Errors
/// When SQLite cannot write.
pub fn failed(db: &Connection, talk: TalkId, problem: &str, now: Ms) -> Result<()> {
    let tries: u32 =
        db.query_row("SELECT coalesce(max(tries), 0) FROM assembly_todo WHERE talk_id = ?1", [talk.0], |row| {
            row.get(0)
        })?;
    let wait = ((5 * SECOND) << tries.min(10)).min(10 * MINUTE);
    db.execute(
        "UPDATE assembly_todo SET tries = tries + 1, not_before_ms = ?2, problem = ?3 WHERE talk_id = ?1",
        (talk.0, now.plus(wait).0, problem),
    )?;
    Ok(())
}
