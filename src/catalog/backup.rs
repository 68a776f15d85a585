//! Copies of the catalog, made while it is in use: `backups/` in the data directory, mode 0600.
//!
//! A copy is written under another name, checked, synced, and only then gets its own: what is called a
//! backup is one.

use std::cmp::Reverse;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::NaiveDateTime;
use rusqlite::backup::StepResult;
use rusqlite::{Connection, OpenFlags};

use super::{CatalogError, FILE_NAME, Result};
use crate::domain::time::{HOUR, Ms};

/// The folder of the backups in the data directory.
pub const FOLDER: &str = "backups";

/// So many hourly backups are kept.
pub const KEEP_HOURLY: usize = 24;

/// So many backups of migrations are kept.
pub const KEEP_MIGRATIONS: usize = 3;

/// How long a copy waits for a lock on the catalog.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Ends the name of a copy that is being made.
const TEMP_SUFFIX: &str = ".part";

/// Time in a file's name: UTC.
const TIME: &str = "%Y-%m-%d_%H-%M-%S%.3f";

/// Why a backup was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// An hour had passed.
    Hourly,
    /// The catalog was about to be migrated to this version.
    Migration(i64),
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hourly => f.write_str("hourly"),
            Self::Migration(to) => write!(f, "before-{to}"),
        }
    }
}

/// One backup file of the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Path of the backup file.
    pub path: PathBuf,
    /// When it was made.
    pub at: Ms,
    /// What the backup was made for.
    pub occasion: Occasion,
    /// Size of the file in bytes.
    pub bytes: u64,
}

/// Copies the catalog that `db` has open; `db` is only read, and others may write meanwhile.
///
/// # Errors
/// When the copy cannot be written, or the catalog is damaged: a damaged copy must not push out sound ones.
pub fn make(db: &Connection, data_dir: &Path, occasion: Occasion, at: Ms) -> Result<PathBuf> {
    let folder = data_dir.join(FOLDER);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|e| io_error(&folder, e))?;
    let path = folder.join(format!("catalog_{}Z_{occasion}.db", at.to_utc().format(TIME)));
    let temp = folder.join(format!(".{}{TEMP_SUFFIX}", uuid::Uuid::new_v4()));
    copy(db, &temp).and_then(|()| named(&temp, &path)).inspect_err(|_| drop(fs::remove_file(&temp)))?;
    Ok(path)
}

/// Copies a database into a new file of mode 0600, checks the copy and syncs it. `to` is only a backup
/// once it is renamed.
pub(super) fn copy(from: &Connection, to: &Path) -> Result<()> {
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(to).map_err(|e| io_error(to, e))?;
    let mut target = Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    {
        let copy = rusqlite::backup::Backup::new(from, &mut target)?;
        let until = Instant::now() + LOCK_TIMEOUT;
        // All pages in one step: under the write-ahead log a long read stops no writer, while a copy in
        // pieces would begin anew with every write of the daemon.
        loop {
            match copy.step(-1)? {
                StepResult::Done => break,
                _ if Instant::now() > until => return Err(CatalogError::Locked),
                // Another program holds it: SQLite tells nobody when it lets go.
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
    // One file, without companions, wherever it is carried.
    target.pragma_update(None, "journal_mode", "delete")?;
    check(&target, to)?;
    drop(target);
    File::open(to).and_then(|file| file.sync_all()).map_err(|e| io_error(to, e))
}

/// What [`put_back`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredCatalog {
    /// The catalog that was replaced, if there was one.
    pub aside: Option<PathBuf>,
}

/// Puts a copy of a backup in the catalog's place, and keeps what was there as
/// `catalog.replaced-<time>.db`. At every instant there is a whole catalog, the old or the new one.
///
/// # Errors
/// When the backup is damaged, no catalog or from a newer streamrip (then nothing was changed), or a file
/// cannot be written.
pub fn put_back(data_dir: &Path, from: &Path, at: Ms) -> Result<RestoredCatalog> {
    let path = data_dir.join(FILE_NAME);
    let companion = |of: &Path, what: &str| {
        let mut name = of.as_os_str().to_owned();
        name.push(what);
        PathBuf::from(name)
    };
    let temp = data_dir.join(format!("{FILE_NAME}{TEMP_SUFFIX}"));
    match fs::remove_file(&temp) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error(&temp, e)),
        _ => {}
    }
    if !from.is_file() {
        return Err(io_error(from, io::ErrorKind::NotFound.into()));
    }
    let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let of_source = |e: rusqlite::Error| CatalogError::Corrupt { path: from.to_owned(), source: e };
    check(&source, from).map_err(|e| match e {
        CatalogError::Sqlite(e) => of_source(e),
        e => e,
    })?;
    super::schema_version::check_version(&source, from)?;
    copy(&source, &temp).inspect_err(|_| drop(fs::remove_file(&temp)))?;
    drop(source);
    let aside = if path.exists() {
        // What is still in the write-ahead log goes into the file, where the file is sound enough for it:
        // then a crash between the next steps loses nothing.
        if let Ok(old) = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE) {
            let _ = old.pragma_query(None, "wal_checkpoint(TRUNCATE)", |_| Ok(()));
        }
        let aside = data_dir.join(format!("catalog.replaced-{}Z.db", at.to_utc().format(TIME)));
        for what in ["-wal", ""] {
            match fs::hard_link(companion(&path, what), companion(&aside, what)) {
                Err(e) if what.is_empty() || e.kind() != io::ErrorKind::NotFound => return Err(io_error(&aside, e)),
                _ => {}
            }
        }
        Some(aside)
    } else {
        None
    };
    // A log of the old catalog beside the new one would be taken for the new one's.
    for what in ["-wal", "-shm"] {
        match fs::remove_file(companion(&path, what)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error(&path, e)),
            _ => {}
        }
    }
    named(&temp, &path)?;
    Ok(RestoredCatalog { aside })
}

/// Moves a catalog that cannot be used out of the way, with its log, as `catalog.damaged-<time>.db`. Its new path; `None`:
/// there was none.
///
/// # Errors
/// When it cannot be renamed.
pub fn set_aside(data_dir: &Path, at: Ms) -> Result<Option<PathBuf>> {
    let path = data_dir.join(FILE_NAME);
    let aside = data_dir.join(format!("catalog.damaged-{}Z.db", at.to_utc().format(TIME)));
    let companion = |of: &Path, what: &str| {
        let mut name = of.as_os_str().to_owned();
        name.push(what);
        PathBuf::from(name)
    };
    let mut moved = false;
    for what in ["", "-wal"] {
        match fs::rename(companion(&path, what), companion(&aside, what)) {
            Ok(()) => moved |= what.is_empty(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io_error(&path, e)),
        }
    }
    match fs::remove_file(companion(&path, "-shm")) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error(&path, e)),
        _ => {}
    }
    Ok(moved.then_some(aside))
}

/// Gives a synced file its name.
pub(super) fn named(temp: &Path, path: &Path) -> Result<()> {
    crate::durable::rename(temp, path).map_err(|e| io_error(path, e))
}

/// Refuses a damaged database.
pub(super) fn check(db: &Connection, path: &Path) -> Result<()> {
    let word: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if word == "ok" {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(CatalogError::Corrupt { path: path.to_owned(), source: rusqlite::Error::SqliteFailure(code, Some(word)) })
}

/// The backups of a data directory, the newest first.
///
/// # Errors
/// When the folder cannot be read; one that is not there is empty.
pub fn list(data_dir: &Path) -> Result<Vec<Backup>> {
    let folder = data_dir.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_error(&folder, e)),
    };
    let mut all: Vec<Backup> = entries
        .flatten()
        .filter_map(|entry| {
            let (at, occasion) = parse(entry.file_name().to_str()?)?;
            let meta = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some(Backup { path: entry.path(), at, occasion, bytes: meta.len() })
        })
        .collect();
    all.sort_by_key(|b| Reverse((b.at, b.path.clone())));
    Ok(all)
}

/// `catalog_2010-12-27_19-04-47.132Z_hourly.db`
fn parse(name: &str) -> Option<(Ms, Occasion)> {
    let (time, occasion) = name.strip_prefix("catalog_")?.strip_suffix(".db")?.split_once("Z_")?;
    let at = NaiveDateTime::parse_from_str(time, TIME).ok()?.and_utc().into();
    let occasion = match occasion.strip_prefix("before-") {
        Some(version) => Occasion::Migration(version.parse().ok()?),
        None if occasion == "hourly" => Occasion::Hourly,
        None => return None,
    };
    Some((at, occasion))
}

/// True where no hourly backup is younger than an hour; also where the clock was set back since the newest
/// one.
#[must_use]
pub fn is_due(all: &[Backup], now: Ms) -> bool {
    let newest = all.iter().filter(|b| b.occasion == Occasion::Hourly).map(|b| b.at).max();
    newest.is_none_or(|at| now.since(at).abs() >= HOUR)
}

/// Deletes backups that are no longer kept, and what was left half-made by a copy that died over an hour
/// ago. What cannot be deleted stays for the next time.
///
/// # Errors
/// When the folder cannot be read.
pub fn thin(data_dir: &Path, now: Ms) -> Result<()> {
    let all = list(data_dir)?;
    for gone in superseded(&all) {
        if let Err(e) = fs::remove_file(&gone.path) {
            tracing::warn!("{}: cannot be deleted: {e}", gone.path.display());
        }
    }
    for entry in fs::read_dir(data_dir.join(FOLDER)).into_iter().flatten().flatten() {
        let is_old = |meta: &fs::Metadata| {
            let since = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
            Some(now.since(Ms(i64::try_from(since.as_millis()).ok()?)) > HOUR)
        };
        let half_made = entry.file_name().to_string_lossy().contains(TEMP_SUFFIX);
        if half_made && entry.metadata().ok().as_ref().and_then(is_old) == Some(true) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Of a list with the newest first: those that are no longer kept.
fn superseded(all: &[Backup]) -> Vec<&Backup> {
    let (hourly, migrations): (Vec<_>, Vec<_>) = all.iter().partition(|b| b.occasion == Occasion::Hourly);
    hourly.into_iter().skip(KEEP_HOURLY).chain(migrations.into_iter().skip(KEEP_MIGRATIONS)).collect()
}

pub(super) fn io_error(path: &Path, source: io::Error) -> CatalogError {
    CatalogError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::catalog::open_writer;

    fn bump(db: &Connection) {
        db.execute("UPDATE meta SET schedule_version = schedule_version + 1", []).expect("written");
    }

    fn version(path: &Path) -> i64 {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("opened");
        db.query_row("SELECT schedule_version FROM meta", [], |row| row.get(0)).expect("read")
    }

    #[test]
    fn a_backup_is_one_private_file_with_all_that_was_committed() {
        let dir = tempfile::tempdir().expect("dir");
        let db = open_writer(dir.path()).expect("db");
        let reader = crate::catalog::open_reader(dir.path()).expect("reader");
        bump(&db);
        // A writer at work is no obstacle, and what it has not committed is not in the copy.
        db.execute_batch("BEGIN IMMEDIATE").expect("begun");
        bump(&db);
        let path = make(&reader, dir.path(), Occasion::Hourly, Ms(1_293_476_687_132)).expect("made");
        db.execute_batch("COMMIT").expect("committed");
        assert_eq!(path, dir.path().join("backups/catalog_2010-12-27_19-04-47.132Z_hourly.db"));
        assert_eq!(version(&path), 1);
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let files: Vec<_> = fs::read_dir(dir.path().join(FOLDER)).expect("read").flatten().collect();
        assert_eq!(files.len(), 1, "{files:?}");
        let listed = list(dir.path()).expect("listed");
        assert_eq!((listed.len(), listed[0].at, listed[0].occasion), (1, Ms(1_293_476_687_132), Occasion::Hourly));
    }

    #[test]
    fn a_damaged_catalog_makes_no_backup() {
        let dir = tempfile::tempdir().expect("dir");
        let db = open_writer(dir.path()).expect("db");
        for n in 0..500 {
            db.execute(
                "INSERT INTO event (name, slug, time_zone) VALUES (?1, ?1, printf('%0200d', ?1))",
                [n.to_string()],
            )
            .expect("written");
        }
        drop(db);
        let file = dir.path().join(FILE_NAME);
        let mut bytes = fs::read(&file).expect("read");
        let from = bytes.len() - 20 * 4096;
        bytes[from..from + 8192].fill(0xa5);
        fs::write(&file, bytes).expect("written");
        let db = Connection::open(&file).expect("opened");
        let refused = make(&db, dir.path(), Occasion::Hourly, Ms(0));
        assert!(matches!(refused, Err(CatalogError::Corrupt { .. })), "{refused:?}");
        assert_eq!(fs::read_dir(dir.path().join(FOLDER)).expect("read").count(), 0);
    }

    #[test]
    fn the_newest_24_hourly_ones_and_the_last_3_of_migrations_are_kept() {
        let dir = tempfile::tempdir().expect("dir");
        let folder = dir.path().join(FOLDER);
        fs::create_dir(&folder).expect("made");
        let name =
            |hour: i64, occasion: Occasion| format!("catalog_{}Z_{occasion}.db", Ms(hour * HOUR).to_utc().format(TIME));
        for hour in 0..30 {
            fs::write(folder.join(name(hour, Occasion::Hourly)), b"x").expect("written");
        }
        for version in 2..7 {
            fs::write(folder.join(name(version, Occasion::Migration(version))), b"x").expect("written");
        }
        for other in ["notes.txt", "catalog_yesterday.db", ".x.part"] {
            fs::write(folder.join(other), b"x").expect("written");
        }
        // Files of the test are written now, in a year that lies after the test's clock.
        thin(dir.path(), Ms(31 * HOUR)).expect("thinned");
        let left = list(dir.path()).expect("listed");
        let hours = |hourly: bool| -> Vec<i64> {
            left.iter().filter(|b| (b.occasion == Occasion::Hourly) == hourly).map(|b| b.at.0 / HOUR).collect()
        };
        assert_eq!(hours(true), (6..30).rev().collect::<Vec<_>>());
        assert_eq!(hours(false), [6, 5, 4]);
        assert!(folder.join("notes.txt").exists() && folder.join("catalog_yesterday.db").exists());
        assert!(folder.join(".x.part").exists(), "it may be at work");
        thin(dir.path(), Ms(i64::MAX)).expect("thinned");
        assert!(!folder.join(".x.part").exists(), "it has died");
    }

    #[test]
    fn what_was_replaced_stays_whole_and_a_bad_backup_replaces_nothing() {
        let dir = tempfile::tempdir().expect("dir");
        let db = open_writer(dir.path()).expect("db");
        bump(&db);
        let backup = make(&db, dir.path(), Occasion::Hourly, Ms(0)).expect("made");
        bump(&db);
        bump(&db);
        // Newer, damaged, not there, no catalog: refused, with everything as it was.
        let bad = dir.path().join("bad.db");
        fs::copy(&backup, &bad).expect("copied");
        Connection::open(&bad).expect("opened").pragma_update(None, "user_version", 999).expect("set");
        assert!(matches!(put_back(dir.path(), &bad, Ms(5)), Err(CatalogError::Newer { found: 999, .. })));
        fs::write(&bad, b"<html>".repeat(1000)).expect("written");
        assert!(matches!(put_back(dir.path(), &bad, Ms(5)), Err(CatalogError::Corrupt { .. })));
        fs::write(&bad, b"").expect("written");
        assert!(matches!(put_back(dir.path(), &bad, Ms(5)), Err(CatalogError::Corrupt { .. })));
        assert!(matches!(put_back(dir.path(), Path::new("/nonexistent"), Ms(5)), Err(CatalogError::Io { .. })));
        let count = || fs::read_dir(dir.path()).expect("read").flatten().filter(|e| e.path().is_file()).count();
        assert_eq!((version(&dir.path().join(FILE_NAME)), count()), (3, 4), "catalog, its two companions, bad.db");
        // The writer is still open, as after a kill: what is in its log must not be lost with the old file.
        let done = put_back(dir.path(), &backup, Ms(5)).expect("put back");
        let aside = done.aside.expect("kept");
        assert_eq!((version(&dir.path().join(FILE_NAME)), version(&aside)), (1, 3));
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&dir.path().join(FILE_NAME)), mode(&aside)), (0o600, 0o600));
        drop(db);
        assert_eq!(version(&dir.path().join(FILE_NAME)), 1, "the old writer writes into the old file");
        let opened = open_writer(dir.path()).expect("opened");
        bump(&opened);
        drop(opened);
        assert_eq!(version(&backup), 1, "the backup itself stays as it is");
    }

    #[test]
    fn an_hour_counts_in_both_directions() {
        let at = |ms| Backup { path: PathBuf::new(), at: Ms(ms), occasion: Occasion::Hourly, bytes: 0 };
        assert!(is_due(&[], Ms(0)));
        assert!(!is_due(&[at(HOUR)], Ms(HOUR + 1)));
        assert!(is_due(&[at(HOUR)], Ms(2 * HOUR)));
        assert!(is_due(&[at(9 * HOUR)], Ms(HOUR)), "the clock was set back");
        let migration = Backup { occasion: Occasion::Migration(2), ..at(HOUR) };
        assert!(is_due(&[migration], Ms(HOUR)));
    }
}
