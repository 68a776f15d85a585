//! What imports changed of talks.

use rusqlite::Connection;

use super::Result;
use crate::domain::ids::TalkId;
use crate::domain::time::Ms;

/// One change of one talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeRow {
    /// When it was imported.
    pub at: Ms,
    /// added, moved, hall, ...
    pub kind: String,
    /// What it was.
    pub before: Option<String>,
    /// New value; `None` where the talk was removed.
    pub after: Option<String>,
}

impl ChangeRow {
    /// In one line.
    #[must_use]
    pub fn describe(&self) -> String {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => format!("{}: {before} -> {after}", self.kind),
            (None, Some(text)) | (Some(text), None) => format!("{}: {text}", self.kind),
            (None, None) => self.kind.clone(),
        }
    }
}

/// A change, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewChange {
    /// Its number: later ones are larger.
    pub id: i64,
    /// Name of the event.
    pub event: String,
    /// The talk's title.
    pub title: String,
    /// It must not be recorded: its title is nobody's business.
    pub opted_out: bool,
    /// What changed.
    pub change: ChangeRow,
}

/// The number of the newest change; 0 where there is none.
///
/// # Errors
/// When SQLite cannot answer.
pub fn newest(db: &Connection) -> Result<i64> {
    Ok(db.query_row("SELECT coalesce(max(id), 0) FROM talk_change", [], |row| row.get(0))?)
}

/// The changes after the one with number `after`, oldest first; `most` at most.
///
/// # Errors
/// When SQLite cannot answer.
pub fn after(db: &Connection, after: i64, most: usize) -> Result<Vec<NewChange>> {
    let mut query = db.prepare_cached(
        "SELECT import.at_ms, talk_change.kind, before, after, event.name, talk.title, talk.opted_out, talk_change.id
         FROM talk_change JOIN import ON import.id = import_id JOIN talk ON talk.id = talk_id
         JOIN event ON event.id = import.event_id
         WHERE talk_change.id > ?1 ORDER BY talk_change.id LIMIT ?2",
    )?;
    let rows = query.query_map((after, i64::try_from(most).unwrap_or(i64::MAX)), |row| {
        let change = ChangeRow { at: Ms(row.get(0)?), kind: row.get(1)?, before: row.get(2)?, after: row.get(3)? };
        Ok(NewChange { id: row.get(7)?, event: row.get(4)?, title: row.get(5)?, opted_out: row.get(6)?, change })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The changes of one talk, oldest first.
///
/// # Errors
/// When SQLite cannot answer.
pub fn of_talk(db: &Connection, talk: TalkId) -> Result<Vec<ChangeRow>> {
    let mut query = db.prepare_cached(
        "SELECT at_ms, kind, before, after FROM talk_change JOIN import ON import.id = import_id
         WHERE talk_id = ?1 ORDER BY talk_change.id",
    )?;
    let rows = query.query_map([talk.0], |row| {
        Ok(ChangeRow { at: Ms(row.get(0)?), kind: row.get(1)?, before: row.get(2)?, after: row.get(3)? })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::open_in_memory;

    #[test]
    fn each_change_is_read_once_though_more_come_between() {
        let db = open_in_memory().expect("catalog");
        db.execute_batch(
            "INSERT INTO event (id, name, slug, time_zone) VALUES (1, '27c3', '27c3', 'Europe/Berlin');
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');
             INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, known_since_ms)
               VALUES (1, 1, 1, 'k', 'A talk', 0, 1, 0);
             INSERT INTO import (id, event_id, at_ms, digest) VALUES (1, 1, 5, zeroblob(32));",
        )
        .expect("rows");
        let changed = |kind: &str| {
            let add = "INSERT INTO talk_change (import_id, talk_id, kind) VALUES (1, 1, ?1)";
            assert_eq!(db.execute(add, [kind]).expect("added"), 1);
        };
        let (mut last, mut told) = (newest(&db).expect("none"), Vec::new());
        let mut tell = |most| {
            let changes = after(&db, last, most).expect("read");
            last = changes.last().map_or(last, |c| c.id);
            told.extend(changes.into_iter().map(|c| c.change.kind));
        };
        changed("added");
        changed("moved");
        changed("hall");
        tell(2);
        changed("retitled");
        tell(2);
        tell(2);
        assert_eq!(told, ["added", "moved", "hall", "retitled"]);
    }
}
