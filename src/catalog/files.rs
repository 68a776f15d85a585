//! What the catalog says of files, for `verify`: which should be there, and what is in them.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, Row};

use super::assemblies::{STAYS_MOVED, STAYS_ONLY_COPY};
use super::{CatalogError, Result};
use crate::domain::ids::{AssemblyId, SegmentId, TalkId};
use crate::domain::segment::Verdict;
use crate::domain::time::Ms;
use crate::plan::verify::{Claim, Expected};

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A recorded segment.
    Segment(SegmentId),
    /// The assembly of a talk.
    Assembly(AssemblyId, TalkId),
    /// A file of a talk that stayed when a newer one took its place.
    Earlier(AssemblyId, TalkId),
}

/// One file that the catalog names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRow {
    /// Segment or assembly that the file belongs to.
    pub owner: Owner,
    /// Relative to the data directory.
    pub path: PathBuf,
    /// What is said of it.
    pub claim: Claim,
}

const SEGMENT: &str = "SELECT id, path, bytes, sha256, verdict FROM segment";
const ASSEMBLY: &str = "SELECT id, path, bytes, sha256, talk_id FROM assembly";

fn segment_row(row: &Row<'_>) -> Result<FileRow> {
    let verdict: Verdict = row.get_ref(4)?.as_str().unwrap_or_default().parse().map_err(CatalogError::Value)?;
    Ok(FileRow {
        owner: Owner::Segment(SegmentId(row.get(0)?)),
        path: PathBuf::from(row.get::<_, String>(1)?),
        claim: Claim {
            expected: match verdict {
                Verdict::Open => Expected::Open,
                Verdict::Lost => Expected::Lost,
                Verdict::Pruned => Expected::Deleted,
                Verdict::Unchecked | Verdict::Media | Verdict::NotMedia | Verdict::Quarantined => Expected::There,
            },
            bytes: row.get::<_, i64>(2)?.cast_unsigned(),
            sha256: row.get(3)?,
        },
    })
}

fn assembly_row(row: &Row<'_>) -> Result<FileRow> {
    Ok(FileRow {
        owner: Owner::Assembly(AssemblyId(row.get(0)?), TalkId(row.get(4)?)),
        path: PathBuf::from(row.get::<_, String>(1)?),
        claim: Claim { expected: Expected::There, bytes: row.get::<_, i64>(2)?.cast_unsigned(), sha256: row.get(3)? },
    })
}

fn all(
    db: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    read: fn(&Row<'_>) -> Result<FileRow>,
) -> Result<Vec<FileRow>> {
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query(parameters)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.push(read(row)?);
    }
    Ok(out)
}

/// Every segment, also the open, lost and pruned ones, oldest first.
///
/// # Errors
/// When SQLite cannot answer, or a stored word is not known.
pub fn segments(db: &Connection) -> Result<Vec<FileRow>> {
    all(db, &format!("{SEGMENT} ORDER BY id"), [], segment_row)
}

/// Every assembly that is there by the catalog's word, oldest first.
///
/// # Errors
/// As [`segments`].
pub fn assemblies(db: &Connection) -> Result<Vec<FileRow>> {
    all(db, &format!("{ASSEMBLY} WHERE gone_ms IS NULL ORDER BY id"), [], assembly_row)
}

/// Every file that stayed when a talk's newer one took its place, oldest first.
///
/// # Errors
/// As [`segments`].
pub fn earlier(db: &Connection) -> Result<Vec<FileRow>> {
    let sql = format!("{ASSEMBLY} WHERE {EARLIER} ORDER BY id");
    let mut rows = all(db, &sql, [STAYS_MOVED, STAYS_ONLY_COPY], assembly_row)?;
    for row in &mut rows {
        if let Owner::Assembly(id, talk) = row.owner {
            row.owner = Owner::Earlier(id, talk);
        }
    }
    Ok(rows)
}

/// The rows of [`earlier`]; its parameters are the reasons why a file stays. One whose name a later file has is not there.
const EARLIER: &str = "gone_reason IN (?1, ?2) AND gone_ms IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM assembly AS newer WHERE newer.path = assembly.path AND newer.id > assembly.id)";

/// What the catalog says of a file now; `None`: nothing any more.
///
/// # Errors
/// As [`segments`].
pub fn again(db: &Connection, owner: Owner) -> Result<Option<FileRow>> {
    let mut rows = match owner {
        Owner::Segment(id) => all(db, &format!("{SEGMENT} WHERE id = ?1"), [id.0], segment_row)?,
        Owner::Assembly(id, _) => {
            all(db, &format!("{ASSEMBLY} WHERE id = ?1 AND gone_ms IS NULL"), [id.0], assembly_row)?
        }
        Owner::Earlier(id, _) => {
            let sql = format!("{ASSEMBLY} WHERE id = ?3 AND {EARLIER}");
            all(db, &sql, (STAYS_MOVED, STAYS_ONLY_COPY, id.0), assembly_row)?
                .into_iter()
                .map(|row| FileRow { owner, ..row })
                .collect()
        }
    };
    Ok(rows.pop())
}

/// True where a row names this path (relative to the data directory), also one that says the file is gone.
///
/// # Errors
/// When SQLite cannot answer.
pub fn is_named(db: &Connection, path: &str) -> Result<bool> {
    Ok(db
        .prepare_cached(
            "SELECT 1 FROM segment WHERE path = ?1 UNION ALL SELECT 1 FROM assembly WHERE path = ?1 LIMIT 1",
        )?
        .query_row([path], |_| Ok(()))
        .optional()?
        .is_some())
}

/// Writes the SHA-256 and size of a closed segment that has none. One that is there is never replaced: it
/// says what was recorded.
///
/// # Errors
/// When SQLite cannot write.
pub fn fill_sha256(db: &Connection, segment: SegmentId, sha256: [u8; 32], bytes: u64) -> Result<()> {
    db.execute(
        "UPDATE segment SET sha256 = ?2, bytes = ?3 WHERE id = ?1 AND sha256 IS NULL AND verdict <> 'open'",
        (segment.0, sha256, bytes.cast_signed()),
    )?;
    Ok(())
}

/// The file of an assembly is gone: it is on the list to be made anew.
///
/// # Errors
/// When SQLite cannot write.
pub fn assembly_is_gone(db: &Connection, assembly: AssemblyId, talk: TalkId, now: Ms) -> Result<()> {
    db.execute(
        "UPDATE assembly SET gone_ms = ?2, gone_reason = 'file missing' WHERE id = ?1 AND gone_ms IS NULL",
        [assembly.0, now.0],
    )?;
    super::assembly_queue::add(db, talk)
}

/// A file that stayed when a newer one took its place is gone: it is not looked for any more.
///
/// # Errors
/// When SQLite cannot write.
pub fn earlier_is_gone(db: &Connection, assembly: AssemblyId) -> Result<()> {
    db.execute("UPDATE assembly SET gone_reason = 'file missing' WHERE id = ?1 AND gone_ms IS NOT NULL", [assembly.0])?;
    Ok(())
}

/// What SQLite finds wrong with the database itself; empty where it is sound. At most 100 lines.
///
/// # Errors
/// When it cannot even look.
pub fn integrity(db: &Connection) -> Result<Vec<String>> {
    let mut query = db.prepare("PRAGMA integrity_check")?;
    let rows = query.query_map([], |row| row.get::<_, String>(0))?;
    Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().filter(|line| line != "ok").collect())
}

/// Rows that refer to rows that are not there, in words.
///
/// # Errors
/// When SQLite cannot answer.
pub fn foreign_keys(db: &Connection) -> Result<Vec<String>> {
    let mut query = db.prepare("PRAGMA foreign_key_check")?;
    let rows = query.query_map([], |row| {
        let row_id: Option<i64> = row.get(1)?;
        let (table, other): (String, String) = (row.get(0)?, row.get(2)?);
        let which = row_id.map_or_else(String::new, |id| format!(" {id}"));
        Ok(format!("{table}{which} refers to a row of {other} that is not there"))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
