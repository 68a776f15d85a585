//! Assemblies: the one file made for each talk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row};

use super::Result;
use crate::domain::ids::{AssemblyId, SegmentId, TalkId};
use crate::domain::interval::Interval;
use crate::domain::media::TrackKind;
use crate::domain::time::Ms;
use crate::plan::presented::PresentedSpan;
use crate::plan::prune::JoinOutcome;

/// The file made for a talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembly {
    /// Primary key of the row.
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
    let mut query =
        db.prepare_cached(&format!("{SELECT} WHERE talk_id = ?1 AND gone_ms IS NULL ORDER BY id DESC LIMIT 1"))?;
    let mut rows = query.query([talk.0])?;
    Ok(rows.next()?.map(read).transpose()?.map(|(_, assembly)| assembly))
}

const SELECT: &str = "SELECT id, path, bytes, sha256, duration_ms, made_ms, inputs, talk_id FROM assembly";

fn read(row: &Row<'_>) -> Result<(TalkId, Assembly)> {
    let assembly = Assembly {
        id: AssemblyId(row.get(0)?),
        path: super::relative_path(row.get(1)?)?,
        bytes: row.get::<_, i64>(2)?.cast_unsigned(),
        sha256: row.get(3)?,
        duration_ms: row.get(4)?,
        made: Ms(row.get(5)?),
        inputs: row.get(6)?,
    };
    Ok((TalkId(row.get(7)?), assembly))
}

/// The assemblies that are there, and whose they are.
///
/// # Errors
/// When SQLite cannot answer.
pub fn all(db: &Connection) -> Result<Vec<(TalkId, Assembly)>> {
    list(db, "gone_ms IS NULL")
}

/// Assemblies that were pruned and whose path no other one has taken since.
///
/// # Errors
/// When SQLite cannot answer.
pub fn all_pruned(db: &Connection) -> Result<Vec<(TalkId, Assembly)>> {
    list(db, "gone_reason LIKE 'pruned: %' AND path NOT IN (SELECT path FROM assembly WHERE gone_ms IS NULL)")
}

fn list(db: &Connection, condition: &str) -> Result<Vec<(TalkId, Assembly)>> {
    let mut query = db.prepare_cached(&format!("{SELECT} WHERE {condition} ORDER BY id"))?;
    let mut rows = query.query([])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.push(read(row)?);
    }
    Ok(out)
}

/// The file of an assembly is deleted on purpose, for this reason: it is not to be made again.
///
/// # Errors
/// When SQLite cannot write.
pub fn prune(db: &Connection, assembly: AssemblyId, reason: &str, now: Ms) -> Result<()> {
    db.execute(
        "UPDATE assembly SET gone_ms = ?2, gone_reason = 'pruned: ' || ?3 WHERE id = ?1 AND gone_ms IS NULL",
        (assembly.0, now.0, reason),
    )?;
    Ok(())
}

/// The end of a talk's file that was deleted on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrunedAssembly {
    /// Time of deletion (wall clock).
    pub at: Ms,
    /// Why, for people.
    pub reason: String,
}

/// Why a file stays that another one took the place of, where the talk has another place or time now.
pub const STAYS_MOVED: &str = "the talk was moved; the file stays";

/// Why a file stays that another one took the place of, where it holds what was pruned since.
pub const STAYS_ONLY_COPY: &str = "replaced; the file stays, for it has what was pruned since";

/// A file of a talk that stayed when another one took its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierFile {
    /// As it was made.
    pub file: Assembly,
    /// Since when it is not the talk's file any more.
    pub replaced: Ms,
    /// Why it stayed, for people.
    pub reason: String,
}

/// The files of one talk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The talk's file; `None`: it has none.
    pub current: Option<Assembly>,
    /// When and why the last file was deleted on purpose; `None`: there is one, there was none, or it went otherwise.
    pub pruned: Option<PrunedAssembly>,
    /// Files that stayed beside it, oldest first.
    pub earlier: Vec<EarlierFile>,
}

/// The files of all talks, or of one. A talk that never had a file has no entry.
///
/// # Errors
/// When SQLite cannot answer, or a path leads out of the data directory.
pub fn files(db: &Connection, talk: Option<TalkId>) -> Result<HashMap<TalkId, Files>> {
    // Two statements rather than one with an optional condition, so that the one for a talk uses its index.
    let condition = if talk.is_some() { "talk_id = ?1" } else { "?1 IS NULL" };
    let sql = format!(
        "SELECT id, path, bytes, sha256, duration_ms, made_ms, inputs, talk_id, gone_ms, coalesce(gone_reason, '')
         FROM assembly WHERE {condition} ORDER BY id"
    );
    let mut query = db.prepare_cached(&sql)?;
    let mut rows = query.query([talk.map(|t| t.0)])?;
    let mut out: HashMap<TalkId, Files> = HashMap::new();
    while let Some(row) = rows.next()? {
        let (talk, file) = read(row)?;
        let files = out.entry(talk).or_default();
        let (gone, reason) = (row.get::<_, Option<i64>>(8)?.map(Ms), row.get::<_, String>(9)?);
        let Some(replaced) = gone else {
            files.current = Some(file);
            continue;
        };
        // Rows come by id: what the newest of them says counts.
        let pruned = reason.strip_prefix("pruned: ").map(str::to_owned);
        files.pruned = pruned.map(|reason| PrunedAssembly { at: replaced, reason });
        if reason == STAYS_MOVED || reason == STAYS_ONLY_COPY {
            files.earlier.push(EarlierFile { file, replaced, reason });
        }
    }
    for files in out.values_mut() {
        if files.current.is_some() {
            files.pruned = None;
        }
        // A talk that was moved away and back has its first name again, with another file.
        let names: Vec<_> = files.earlier.iter().map(|e| (e.file.id, e.file.path.clone())).collect();
        let current = files.current.as_ref().map(|c| c.path.clone());
        files.earlier.retain(|e| {
            current.as_ref() != Some(&e.file.path)
                && !names.iter().any(|(id, path)| *id > e.file.id && *path == e.file.path)
        });
    }
    Ok(out)
}

/// A new assembly and what it was made of.
#[derive(Clone, Debug)]
pub struct NewAssembly {
    /// Talk whose recording the file is.
    pub talk: TalkId,
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
    /// What was looked at: used, then left out.
    pub parts: Vec<Part>,
    /// Nobody waits to be told of it: no hook is set, or it is no news.
    pub told: bool,
    /// What the finished file presents, by track and time.
    pub presented: Vec<PresentedSpan>,
    /// The finished file was read to its end, and all of it that was decoded gave something.
    pub checked: bool,
}

/// One segment that an assembly used or left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Segment that was considered for the file.
    pub segment: SegmentId,
    /// Place in the assembly, milliseconds from its start; `None`: left out.
    pub place: Option<(i64, i64)>,
    /// The wall time that it holds there; `None`: left out, or not known.
    pub wall: Option<Interval>,
    /// Nothing of it would be missed if it were deleted: it is in the assembly, or has nothing to give.
    pub redundant: bool,
    /// Explanation in words: which packets were used, or why none were.
    pub note: String,
}

/// Writes an assembly; the one before it, if there was one, is gone for this reason.
///
/// # Errors
/// When SQLite cannot write.
pub fn replace(db: &Connection, new: &NewAssembly, old_is: &str, now: Ms) -> Result<()> {
    gone(db, new.talk, old_is, now)?;
    db.execute(
        "INSERT INTO assembly (talk_id, path, bytes, sha256, duration_ms, made_ms, inputs, told_ms, checked_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        (
            new.talk.0,
            new.path.to_string_lossy(),
            new.bytes.cast_signed(),
            new.sha256,
            new.duration_ms,
            now.0,
            new.inputs,
            new.told.then_some(now.0),
            new.checked.then_some(now.0),
        ),
    )?;
    let id = db.last_insert_rowid();
    present(db, AssemblyId(id), &new.presented)?;
    let mut insert = db.prepare_cached(
        "INSERT INTO assembly_part
           (assembly_id, seq, segment_id, used, redundant, out_start_ms, out_end_ms, note, wall_start_ms, wall_end_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for (seq, part) in (0_i64..).zip(&new.parts) {
        let (from, to) = part.place.unzip();
        let (start, end) = part.wall.map(|w| (w.start.0, w.end.0)).unzip();
        let used = part.place.is_some();
        insert.execute((id, seq, part.segment.0, used, part.redundant, from, to, &part.note, start, end))?;
    }
    Ok(())
}

/// Writes what a finished file presents, in place of what was known of it.
///
/// # Errors
/// When SQLite cannot write.
pub fn present(db: &Connection, assembly: AssemblyId, presented: &[PresentedSpan]) -> Result<()> {
    db.prepare_cached("DELETE FROM presented WHERE assembly_id = ?1")?.execute([assembly.0])?;
    let mut insert = db.prepare_cached(
        "INSERT INTO presented (assembly_id, seq, track, kind, out_start_ms, out_end_ms, wall_start_ms, wall_end_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for (seq, s) in (0_i64..).zip(presented.iter().filter(|s| s.kind != TrackKind::Other)) {
        let kind = if s.kind == TrackKind::Video { "video" } else { "audio" };
        let wall = (s.wall.start.0, s.wall.end.0);
        insert.execute((assembly.0, seq, s.track, kind, s.out_start_ms, s.out_end_ms, wall.0, wall.1))?;
    }
    Ok(())
}

/// What a finished file presents, by track and time. Empty where it was made by a version that did not look.
///
/// # Errors
/// When SQLite cannot answer.
pub fn presented(db: &Connection, assembly: AssemblyId) -> Result<Vec<PresentedSpan>> {
    let mut query = db.prepare_cached(
        "SELECT track, kind, out_start_ms, out_end_ms, wall_start_ms, wall_end_ms FROM presented
         WHERE assembly_id = ?1 ORDER BY seq",
    )?;
    let rows = query.query_map([assembly.0], |row| {
        let kind: String = row.get(1)?;
        Ok(PresentedSpan {
            track: row.get(0)?,
            kind: if kind == "video" { TrackKind::Video } else { TrackKind::Audio },
            out_start_ms: row.get(2)?,
            out_end_ms: row.get(3)?,
            wall: Interval::new(Ms(row.get(4)?), Ms(row.get(5)?)),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The newest assembly of a talk, also where its file was deleted on purpose: what it presented was recorded.
///
/// # Errors
/// When SQLite cannot answer.
pub fn newest_or_pruned(db: &Connection, talk: TalkId) -> Result<Option<AssemblyId>> {
    let mut query = db.prepare_cached(
        "SELECT id FROM assembly WHERE talk_id = ?1 AND (gone_ms IS NULL OR gone_reason LIKE 'pruned: %')
         ORDER BY gone_ms IS NULL DESC, id DESC LIMIT 1",
    )?;
    Ok(query.query_row([talk.0], |row| row.get(0)).optional()?.map(AssemblyId))
}

/// True where a finished file was looked into and something was wrong with it: it stands in for nothing.
///
/// # Errors
/// When SQLite cannot answer.
pub fn is_doubtful(db: &Connection, assembly: AssemblyId) -> Result<bool> {
    let mut query = db.prepare_cached(
        "SELECT checked_ms IS NULL AND EXISTS (SELECT 1 FROM presented WHERE assembly_id = id) FROM assembly WHERE id = ?1",
    )?;
    Ok(query.query_row([assembly.0], |row| row.get(0)).optional()?.unwrap_or(true))
}

/// The assembly of a talk, if there is one, is no longer the talk's.
///
/// # Errors
/// When SQLite cannot write.
pub fn gone(db: &Connection, talk: TalkId, reason: &str, now: Ms) -> Result<()> {
    db.execute(
        "UPDATE assembly SET gone_ms = ?2, gone_reason = ?3 WHERE talk_id = ?1 AND gone_ms IS NULL",
        (talk.0, now.0, reason),
    )?;
    Ok(())
}

/// Every path that an assembly of a talk has or had: also files that stayed when another one took their place.
/// Those of files that are the current ones of other talks are left out.
///
/// # Errors
/// When SQLite cannot answer, or a path leads out of the data directory.
pub fn paths(db: &Connection, talk: TalkId) -> Result<Vec<PathBuf>> {
    let mut query = db.prepare_cached(
        "SELECT path FROM assembly WHERE talk_id = ?1
           AND path NOT IN (SELECT path FROM assembly WHERE talk_id <> ?1 AND gone_ms IS NULL)
         GROUP BY path ORDER BY min(id)",
    )?;
    let rows = query.query_map([talk.0], |row| row.get::<_, String>(0))?;
    rows.map(|path| super::relative_path(path?)).collect()
}

/// A file of a talk's assemblies has another name.
///
/// # Errors
/// When SQLite cannot write, or the name is another assembly's.
pub fn moved(db: &Connection, talk: TalkId, from: &Path, to: &Path) -> Result<()> {
    db.execute(
        "UPDATE assembly SET path = ?3 WHERE talk_id = ?1 AND path = ?2",
        (talk.0, from.to_string_lossy(), to.to_string_lossy()),
    )?;
    Ok(())
}

/// The user's hook has taken an assembly.
///
/// # Errors
/// When SQLite cannot write.
pub fn told(db: &Connection, assembly: AssemblyId, now: Ms) -> Result<()> {
    db.execute("UPDATE assembly SET told_ms = ?2 WHERE id = ?1 AND told_ms IS NULL", (assembly.0, now.0))?;
    Ok(())
}

/// Assemblies that are there and that the user's hook has not taken, oldest first.
///
/// # Errors
/// When SQLite cannot answer.
pub fn untold(db: &Connection) -> Result<Vec<(TalkId, AssemblyId)>> {
    let mut query =
        db.prepare_cached("SELECT talk_id, id FROM assembly WHERE told_ms IS NULL AND gone_ms IS NULL ORDER BY id")?;
    let rows = query.query_map([], |row| Ok((TalkId(row.get(0)?), AssemblyId(row.get(1)?))))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The assembly stays as it is though the plan is another one by now; perhaps under another name.
///
/// # Errors
/// When SQLite cannot write.
pub fn keep(db: &Connection, assembly: AssemblyId, path: &Path, inputs: [u8; 32]) -> Result<()> {
    db.execute(
        "UPDATE assembly SET path = ?2, inputs = ?3 WHERE id = ?1",
        (assembly.0, path.to_string_lossy(), inputs),
    )?;
    Ok(())
}

/// True where another talk's assembly has this path.
///
/// # Errors
/// When SQLite cannot answer.
pub fn is_path_of_another(db: &Connection, path: &Path, talk: TalkId) -> Result<bool> {
    Ok(db
        .query_row(
            "SELECT 1 FROM assembly WHERE path = ?1 AND talk_id <> ?2 AND gone_ms IS NULL",
            (path.to_string_lossy(), talk.0),
            |_| Ok(()),
        )
        .optional()?
        .is_some())
}

/// What an assembly was made of, and what was left out.
///
/// # Errors
/// When SQLite cannot answer.
pub fn parts(db: &Connection, assembly: AssemblyId) -> Result<Vec<Part>> {
    let mut query = db.prepare_cached(
        "SELECT segment_id, out_start_ms, out_end_ms, redundant, coalesce(note, ''), wall_start_ms, wall_end_ms
         FROM assembly_part
         WHERE assembly_id = ?1 ORDER BY seq",
    )?;
    let rows = query.query_map([assembly.0], |row| {
        Ok(Part {
            segment: SegmentId(row.get(0)?),
            place: row.get::<_, Option<i64>>(1)?.zip(row.get(2)?),
            wall: row.get::<_, Option<i64>>(5)?.zip(row.get(6)?).map(|(a, b)| Interval::new(Ms(a), Ms(b))),
            redundant: row.get(3)?,
            note: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What a talk's assembly did with a segment; `None`: there is none, or it did not see it.
///
/// # Errors
/// When SQLite cannot answer.
pub fn seen(db: &Connection, talk: TalkId, segment: SegmentId) -> Result<Option<JoinOutcome>> {
    Ok(db
        .prepare_cached(
            "SELECT used, redundant FROM assembly JOIN assembly_part ON assembly_id = assembly.id
             WHERE talk_id = ?1 AND segment_id = ?2 AND gone_ms IS NULL",
        )?
        .query_row([talk.0, segment.0], |row| Ok(JoinOutcome { used: row.get(0)?, redundant: row.get(1)? }))
        .optional()?)
}
