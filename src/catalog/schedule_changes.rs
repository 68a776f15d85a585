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
    /// What it is.
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
