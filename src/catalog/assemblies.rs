//! Assemblies: the one file made for each talk.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension};

use super::Result;
use crate::domain::ids::{AssemblyId, TalkId};
use crate::domain::time::Ms;

/// The file made for a talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembly {
    /// Row id.
    pub id: AssemblyId,
    /// Relative to the data directory.
    pub path: PathBuf,
    /// Size of the file.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Length of its media, milliseconds.
    pub duration_ms: i64,
    /// When it was made.
    pub made: Ms,
    /// Digest of the plan it was made from.
    pub inputs: [u8; 32],
}

/// The assembly of a talk that is there, if there is one.
///
/// # Errors
/// When SQLite cannot answer.
pub fn current(db: &Connection, talk: TalkId) -> Result<Option<Assembly>> {
    let mut query = db.prepare_cached(
        "SELECT id, path, bytes, sha256, duration_ms, made_ms, inputs FROM assembly
         WHERE talk_id = ?1 AND gone_ms IS NULL ORDER BY id DESC LIMIT 1",
    )?;
    let row = query.query_row([talk.0], |row| {
        Ok(Assembly {
            id: AssemblyId(row.get(0)?),
            path: PathBuf::from(row.get::<_, String>(1)?),
            bytes: row.get::<_, i64>(2)?.cast_unsigned(),
            sha256: row.get(3)?,
            duration_ms: row.get(4)?,
            made: Ms(row.get(5)?),
            inputs: row.get(6)?,
        })
    });
    Ok(row.optional()?)
}
