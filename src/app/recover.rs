//! What a daemon does before it tapes: make the catalog true about the disk.
//!
//! In order: sources that outlived their daemon are ended; connections and segments that were open are
//! closed from what is on disk; files that the catalog does not know are adopted; rows whose file is gone
//! are marked lost. Nothing that reached the disk is deleted or forgotten, and a second run does nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::NaiveDateTime;
use rusqlite::{Connection as Db, OptionalExtension, TransactionBehavior};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::env::Env;
use super::failure::Result;
use crate::catalog::{schedule, troubles};
use crate::domain::hall::Hall;
use crate::domain::ids::HallId;
use crate::domain::segment::EndReason;
use crate::domain::sniff::{self, Sniff};
use crate::domain::time::{Ms, SECOND};
use crate::source::child::start_ticks;

/// A source that was told to end has this long before it is killed.
const GRACE: Duration = Duration::from_secs(3);

/// The folder of the segments in the data directory.
const SEGMENTS: &str = "segments";

/// What recovery did, in lines for people; empty where there was nothing to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Sources that had outlived their daemon.
    pub ended: usize,
    /// Segments that were open.
    pub closed: usize,
    /// Files that the catalog did not know.
    pub adopted: usize,
    /// Rows whose file is gone.
    pub lost: usize,
    /// Rows whose file has come back.
    pub found: usize,
}

impl Recovery {
    /// In words, `None` where nothing was done.
    #[must_use]
    pub fn describe(&self) -> Option<String> {
        let parts: Vec<String> = [
            (self.ended, "left-over recording program(s) ended"),
            (self.closed, "open segment(s) closed from disk"),
            (self.adopted, "unknown file(s) adopted"),
            (self.lost, "segment(s) whose file is gone marked lost"),
            (self.found, "lost segment(s) found again"),
        ]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// Recovers the data directory of `env`. Blocking; to be called with the daemon's lock held, before any
/// tape runs.
///
/// # Errors
/// When the catalog cannot be read or written. A file that cannot be read is left for the next time.
pub fn recover(env: &Env, db: &mut Db) -> Result<Recovery> {
    let now = env.clock.now();
    let mut done = Recovery { ended: end_survivors(db)?, ..Recovery::default() };
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // The daemon's last sign of life is the best guess at when its connections ended.
    tx.execute(
        "UPDATE connection SET end_reason = 'crash', closed_ms = max(opened_ms, coalesce(
             (SELECT max(segment.end_ms) FROM segment WHERE segment.connection_id = connection.id),
             (SELECT heartbeat_ms FROM daemon_run WHERE daemon_run.id = daemon_run_id),
             opened_ms))
         WHERE closed_ms IS NULL",
        [],
    )?;
    tx.execute("UPDATE trouble SET until_ms = max(from_ms, ?1) WHERE until_ms IS NULL", [now.0])?;
    done.closed = close_open(&tx, env, now)?;
    let on_disk = files(&env.data_dir.join(SEGMENTS), &env.data_dir);
    let (lost, found) = compare(&tx, &on_disk, now)?;
    done.lost = lost;
    done.found = found;
    done.adopted = adopt(&tx, env, &on_disk)?;
    if let Some(what) = done.describe() {
        troubles::note(&tx, None, "recovered", &what, now)?;
    }
    tx.commit()?;
    Ok(done)
}

/// Ends children of a daemon that was killed, where it is certain that they are ours.
fn end_survivors(db: &Db) -> Result<usize> {
    let mut query = db.prepare("SELECT pid, pid_start FROM connection WHERE closed_ms IS NULL AND pid IS NOT NULL")?;
    let rows = query.query_map([], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)?)))?;
    let alive = |pid: u32, start: i64| start_ticks(pid) == Some(start.cast_unsigned());
    let mut survivors: Vec<_> =
        rows.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().filter(|(pid, start)| alive(*pid, *start)).collect();
    let count = survivors.len();
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::KILL] {
        for (pid, _) in &survivors {
            if let Some(group) = i32::try_from(*pid).ok().and_then(rustix::process::Pid::from_raw) {
                // It leads its own group; it may be gone by now, which is what we want.
                let _ = rustix::process::kill_process_group(group, signal);
            }
        }
        let patience = std::time::Instant::now() + GRACE;
        while !survivors.is_empty() && std::time::Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(20));
            survivors.retain(|(pid, start)| alive(*pid, *start));
        }
    }
    Ok(count)
}

/// Closes segments that a crash left open, from what is on disk.
fn close_open(db: &Db, env: &Env, now: Ms) -> Result<usize> {
    let mut query = db.prepare("SELECT id, path, start_ms, end_ms FROM segment WHERE verdict = 'open'")?;
    let rows = query
        .query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, Ms(row.get(2)?), Ms(row.get(3)?))))?;
    let open = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    for (id, path, start, end) in &open {
        match read_all(&env.data_dir.join(path)) {
            Ok(file) => {
                // The file was written to until its last byte came; a copied file's time means nothing.
                let end = file.modified.filter(|at| *at > *end && at.since(*end) < 60 * SECOND).unwrap_or(*end);
                db.execute(
                    "UPDATE segment SET bytes = ?2, sha256 = ?3, verdict = 'unchecked', end_reason = 'crash',
                       end_ms = max(start_ms, ?4), closed_ms = max(start_ms, ?4), verdict_ms = ?5
                     WHERE id = ?1",
                    (id, file.bytes.cast_signed(), file.sha256, end.0, now.0),
                )?;
                let segment = crate::domain::ids::SegmentId(*id);
                let mark = crate::domain::segment::Mark { at: end, offset: file.bytes };
                crate::catalog::marks::append(db, segment, &[mark])?;
            }
            // The row is written first: a crash in between leaves a row without a file.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                db.execute(
                    "UPDATE segment SET verdict = 'lost', verdict_reason = 'its file was never made', end_reason = 'crash',
                       closed_ms = ?2, verdict_ms = ?3 WHERE id = ?1",
                    (id, start.0, now.0),
                )?;
            }
            Err(e) => tracing::error!("{path} cannot be read now, it is looked at again at the next start: {e}"),
        }
    }
    Ok(open.len())
}

struct Content {
    bytes: u64,
    sha256: [u8; 32],
    modified: Option<Ms>,
    head: Vec<u8>,
}

fn read_all(path: &Path) -> std::io::Result<Content> {
    let mut file = File::open(path)?;
    let modified = file.metadata()?.modified().ok().and_then(|t| {
        let since = t.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok().map(Ms)
    });
    let (mut hash, mut bytes, mut head) = (Sha256::new(), 0_u64, Vec::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hash.update(&buffer[..n]);
        if head.len() < sniff::MAX {
            head.extend_from_slice(&buffer[..n.min(sniff::MAX - head.len())]);
        }
        bytes += n as u64;
    }
    Ok(Content { bytes, sha256: hash.finalize().into(), modified, head })
}

/// All regular files below `dir`, relative to `root`. Links are not followed: they are not ours.
fn files(dir: &Path, root: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => todo.push(entry.path()),
                Ok(kind) if kind.is_file() => {
                    out.extend(entry.path().strip_prefix(root).ok().map(Path::to_owned));
                }
                _ => {}
            }
        }
    }
    out.sort();
    out
}

/// Marks rows whose file is gone, and those whose file has come back.
fn compare(db: &Db, on_disk: &[PathBuf], now: Ms) -> Result<(usize, usize)> {
    let mut query = db.prepare(
        "SELECT id, path, verdict FROM segment WHERE verdict IN ('unchecked', 'media', 'not-media', 'lost')",
    )?;
    let mut rows = query.query([])?;
    let (mut lost, mut found) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let (id, path, verdict): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let there = on_disk.binary_search(&PathBuf::from(path)).is_ok();
        match (there, verdict == "lost") {
            (false, false) => lost.push(id),
            (true, true) => found.push(id),
            _ => {}
        }
    }
    for id in &lost {
        db.execute(
            "UPDATE segment SET verdict = 'lost', verdict_reason = 'its file is gone', verdict_ms = ?2 WHERE id = ?1",
            [*id, now.0],
        )?;
    }
    for id in &found {
        db.execute(
            "UPDATE segment SET verdict = 'unchecked', verdict_reason = NULL, verdict_ms = ?2 WHERE id = ?1",
            [*id, now.0],
        )?;
    }
    Ok((lost.len(), found.len()))
}

/// Takes in files that no row knows: their folders name event and hall, their name and content the time.
fn adopt(db: &Db, env: &Env, on_disk: &[PathBuf]) -> Result<usize> {
    let (events, halls) = (schedule::events(db)?, schedule::halls(db)?);
    let places: BTreeMap<(String, String), (&Hall, chrono_tz::Tz)> = halls
        .iter()
        .filter_map(|hall| {
            let event = events.iter().find(|e| e.id == hall.event)?;
            Some(((event.slug.clone(), hall.slug.clone()), (hall, event.zone)))
        })
        .collect();
    let mut adopted = 0;
    for path in on_disk {
        let known = db
            .prepare_cached("SELECT 1 FROM segment WHERE path = ?1")?
            .query_row([path.to_string_lossy()], |_| Ok(()))
            .optional()?;
        if known.is_some() {
            continue;
        }
        let folders: Vec<_> = path.iter().map(|p| p.to_string_lossy().into_owned()).collect();
        let place = match folders.as_slice() {
            [_, event, hall, _, _] => places.get(&(event.clone(), hall.clone())),
            _ => None,
        };
        let (Some((hall, zone)), Some(at)) = (place, path.file_name().and_then(|n| time_in_name(&n.to_string_lossy())))
        else {
            tracing::warn!(
                "{} is no segment that the catalog could take in: its folder names no known hall",
                path.display()
            );
            continue;
        };
        // Where the clock went back an hour, the name may mean two instants: the file's time decides.
        let file = match read_all(&env.data_dir.join(path)) {
            Ok(file) => file,
            Err(e) => {
                tracing::warn!("{} cannot be read, it is looked at again at the next start: {e}", path.display());
                continue;
            }
        };
        let local = at.and_local_timezone(*zone);
        let candidates = [local.earliest(), local.latest()].into_iter().flatten().map(|t| Ms(t.timestamp_millis()));
        let start = candidates
            .filter(|at| file.modified.is_none_or(|m| *at <= m))
            .max()
            .unwrap_or(Ms(at.and_utc().timestamp_millis()));
        insert_adopted(db, hall.id, path, &file, start)?;
        adopted += 1;
    }
    Ok(adopted)
}

fn insert_adopted(db: &Db, hall: HallId, path: &Path, file: &Content, start: Ms) -> Result<()> {
    let container = match sniff::sniff(&file.head, true) {
        Sniff::Media(container) => container,
        _ => crate::domain::segment::Container::Unknown,
    };
    let end = file.modified.filter(|m| *m > start).unwrap_or(start);
    db.execute(
        "INSERT INTO segment (uuid, hall_id, path, container, start_ms, end_ms, opened_ms, closed_ms, bytes, sha256, verdict, end_reason, verdict_reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5, ?6, ?7, ?8, 'open', ?9, 'adopted from disk')",
        (
            Uuid::now_v7().to_string(),
            hall.0,
            path.to_string_lossy(),
            container.as_str(),
            start.0,
            end.0,
            file.bytes.cast_signed(),
            file.sha256,
            EndReason::Crash.to_string(),
        ),
    )?;
    let id = crate::domain::ids::SegmentId(db.last_insert_rowid());
    let marks = [
        crate::domain::segment::Mark { at: start, offset: 1 },
        crate::domain::segment::Mark { at: end, offset: file.bytes },
    ];
    crate::catalog::marks::append(db, id, &marks)?;
    // As an update, so that the talks it belongs to come on the list.
    db.execute("UPDATE segment SET verdict = 'unchecked' WHERE id = ?1", [id.0])?;
    Ok(())
}

/// The local time in `saal-1_2010-12-27_20-04-47.132_0001.ts`.
fn time_in_name(name: &str) -> Option<NaiveDateTime> {
    let (rest, _) = name.rsplit_once('_')?;
    let (rest, time) = rest.rsplit_once('_')?;
    let (_, day) = rest.rsplit_once('_')?;
    NaiveDateTime::parse_from_str(&format!("{day} {time}"), "%Y-%m-%d %H-%M-%S%.3f").ok()
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
