//! Assemblies: the one file made for each talk.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension};

use super::Result;
use crate::domain::ids::{AssemblyId, SegmentId, TalkId};
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

/// A segment that an assembly was made of, or that was looked at and left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssemblyPart {
    /// Which.
    pub segment: SegmentId,
    /// Where it stands in the assembly, milliseconds from its start; `None`: left out.
    pub out_ms: Option<(i64, i64)>,
    /// Left out for good: its media stands in others, or it has none.
    pub redundant: bool,
    /// The cut, or why it was left out.
    pub note: String,
}

/// A file that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAssembly {
    /// Relative to the data directory.
    pub path: PathBuf,
    /// Size of the file.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Length of its media, milliseconds.
    pub duration_ms: i64,
    /// Digest of the plan.
    pub inputs: [u8; 32],
    /// In order; what was left out comes last.
    pub parts: Vec<AssemblyPart>,
}

/// Writes the assembly of a talk; the one before it is replaced.
///
/// # Errors
/// When SQLite cannot write.
pub fn store(db: &Connection, talk: TalkId, new: &NewAssembly, now: Ms) -> Result<AssemblyId> {
    db.prepare_cached(
        "UPDATE assembly SET gone_ms = ?2, gone_reason = 'replaced' WHERE talk_id = ?1 AND gone_ms IS NULL",
    )?
    .execute((talk.0, now.0))?;
    db.prepare_cached(
        "INSERT INTO assembly (talk_id, path, bytes, sha256, duration_ms, made_ms, inputs)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        talk.0,
        new.path.to_string_lossy(),
        new.bytes.cast_signed(),
        new.sha256,
        new.duration_ms,
        now.0,
        new.inputs,
    ))?;
    let id = db.last_insert_rowid();
    let mut insert = db.prepare_cached(
        "INSERT INTO assembly_part (assembly_id, seq, segment_id, used, redundant, out_start_ms, out_end_ms, note)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for (seq, part) in (0_i64..).zip(&new.parts) {
        let (start, end) = part.out_ms.unzip();
        insert.execute((id, seq, part.segment.0, part.out_ms.is_some(), part.redundant, start, end, &part.note))?;
    }
    Ok(AssemblyId(id))
}

/// What an assembly was made of, in order.
///
/// # Errors
/// When SQLite cannot answer.
pub fn parts(db: &Connection, assembly: AssemblyId) -> Result<Vec<AssemblyPart>> {
    let mut query = db.prepare_cached(
        "SELECT segment_id, out_start_ms, out_end_ms, redundant, coalesce(note, '') FROM assembly_part
         WHERE assembly_id = ?1 ORDER BY seq",
    )?;
    let rows = query.query_map([assembly.0], |row| {
        Ok(AssemblyPart {
            segment: SegmentId(row.get(0)?),
            out_ms: row.get::<_, Option<i64>>(1)?.zip(row.get(2)?),
            redundant: row.get(3)?,
            note: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The file got another name.
///
/// # Errors
/// When SQLite cannot write, or another assembly has that name.
pub fn rename(db: &Connection, assembly: AssemblyId, path: &std::path::Path) -> Result<()> {
    db.execute("UPDATE assembly SET path = ?2 WHERE id = ?1", (assembly.0, path.to_string_lossy()))?;
    Ok(())
}

/// The file is no longer there.
///
/// # Errors
/// When SQLite cannot write.
pub fn set_gone(db: &Connection, assembly: AssemblyId, reason: &str, now: Ms) -> Result<()> {
    db.execute(
        "UPDATE assembly SET gone_ms = ?2, gone_reason = ?3 WHERE id = ?1 AND gone_ms IS NULL",
        (assembly.0, now.0, reason),
    )?;
    Ok(())
}

/// True where the assembly of another talk has this name.
///
/// # Errors
/// When SQLite cannot answer.
pub fn is_taken(db: &Connection, path: &std::path::Path, talk: TalkId) -> Result<bool> {
    Ok(db
        .prepare_cached("SELECT 1 FROM assembly WHERE path = ?1 AND gone_ms IS NULL AND talk_id <> ?2")?
        .exists((path.to_string_lossy(), talk.0))?)
}
