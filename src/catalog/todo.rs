//! Talks whose assembly may be missing or out of date. Triggers fill the list.

use rusqlite::{Connection, OptionalExtension};

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

/// Which change put a talk on the list; `None`: it is not there. To be asked before its facts are read.
///
/// # Errors
/// When SQLite cannot answer.
pub fn stamp(db: &Connection, talk: TalkId) -> Result<Option<i64>> {
    let mut query = db.prepare_cached("SELECT stamp FROM assembly_todo WHERE talk_id = ?1")?;
    Ok(query.query_row([talk.0], |row| row.get(0)).optional()?)
}

/// Whether a talk is on the list, and then why the last attempt failed, if one did.
///
/// # Errors
/// When SQLite cannot answer.
pub fn of(db: &Connection, talk: TalkId) -> Result<Option<Option<String>>> {
    let mut query = db.prepare_cached("SELECT problem FROM assembly_todo WHERE talk_id = ?1")?;
    Ok(query.query_row([talk.0], |row| row.get(0)).optional()?)
}

/// Takes a talk off the list: its assembly is as it should be, or there is nothing to make one of. A talk
/// that changed since `stamp` was asked for stays.
///
/// # Errors
/// When SQLite cannot write.
pub fn done(db: &Connection, talk: TalkId, stamp: Option<i64>) -> Result<()> {
    db.prepare_cached("DELETE FROM assembly_todo WHERE talk_id = ?1 AND stamp IS ?2")?.execute((talk.0, stamp))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::open_in_memory;

    #[test]
    fn a_talk_that_changes_while_it_is_joined_stays_on_the_list() {
        let db = open_in_memory().expect("db");
        db.execute_batch(
            "INSERT INTO event (id, name, slug, time_zone) VALUES (1, '27c3', '27c3', 'Europe/Berlin');
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');
             INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, known_since_ms)
               VALUES (1, 1, 1, 'k', 'Keynote', 0, 1000, 0);",
        )
        .expect("a talk");
        let begun = stamp(&db, TalkId(1)).expect("read");
        assert!(begun.is_some(), "a new talk is on the list");
        db.execute("UPDATE talk SET title = 'Keynote, moved' WHERE id = 1", []).expect("changed");
        done(&db, TalkId(1), begun).expect("written");
        let again = stamp(&db, TalkId(1)).expect("read");
        assert!(again.is_some() && again != begun);
        done(&db, TalkId(1), again).expect("written");
        assert_eq!(stamp(&db, TalkId(1)).expect("read"), None);
    }
}
