//! Opening, and bringing an older catalog up to date.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::schema_version::{migrations, named, newest, version};
use super::{CatalogError, FILE_NAME, Result, backup};
use crate::domain::time::Ms;
use crate::durable::sync_folder;

/// File name of SQLite's write-ahead log beside the catalog.
const WAL_NAME: &str = "catalog.db-wal";

/// A migration that takes longer than this says again and again that it is at work.
const TELL_PROGRESS: Duration = Duration::from_secs(3);

/// How long a writer or reader waits for a lock before it says `Locked`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the catalog in `data_dir` for writing; makes the directory, the file and its tables where they
/// are missing, and brings an older one up to date.
///
/// # Errors
/// When it cannot be opened, is damaged, is locked for longer than 10 s, or is from a newer streamrip.
pub fn open_writer(data_dir: &Path) -> Result<Connection> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let path = data_dir.join(FILE_NAME);
    let io = |source| CatalogError::Io { path: path.clone(), source };
    let is_new = !data_dir.exists();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(io)?;
    if is_new {
        // So that the folder survives a power cut as what is in it does.
        sync_folder(data_dir.parent().unwrap_or(data_dir)).map_err(io)?;
    }
    // SQLite would make it with the umask's mode; the URLs in it may hold passwords.
    match std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path) {
        Ok(_) => sync_folder(data_dir).map_err(io)?,
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(io(e)),
    }
    let mut db =
        Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(|e| named(&path, e))?;
    configure(&db).map_err(|e| named(&path, e))?;
    // Written once, it stays; asking for it needs no lock where it is so already.
    db.pragma_update(None, "journal_mode", "wal").map_err(|e| named(&path, e))?;
    db.pragma_update(None, "synchronous", "full").map_err(|e| named(&path, e))?;
    migrate_to(&mut db, &path, newest(), Some(data_dir))?;
    Ok(db)
}

/// How long a catalog is looked at before it is used. Most are read whole in that time; a larger one is taken for sound
/// if nothing was found until then.
const CHECK: Duration = Duration::from_secs(2);

/// Looks for [`CHECK`] whether the pages of an open catalog are sound.
///
/// # Errors
/// When they are not.
pub fn check_soon(db: &mut Connection, data_dir: &Path) -> Result<()> {
    let until = std::time::Instant::now() + CHECK;
    let _ = db.progress_handler(10_000, Some(move || std::time::Instant::now() > until));
    let checked = backup::check(db, &data_dir.join(FILE_NAME));
    let _ = db.progress_handler(0, None::<fn() -> bool>);
    match checked {
        Err(CatalogError::Sqlite(e)) if e.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(()),
        other => other,
    }
}

/// Opens the catalog in `data_dir` for reading only: never blocks the daemon, never changes anything.
///
/// # Errors
/// When there is none, or as [`open_writer`]. An older catalog is brought up to date first.
pub fn open_reader(data_dir: &Path) -> Result<Connection> {
    let path = data_dir.join(FILE_NAME);
    if !path.exists() {
        return Err(CatalogError::Missing(data_dir.to_owned()));
    }
    let open = || -> Result<Connection> {
        let db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(|e| named(&path, e))?;
        configure(&db).map_err(|e| named(&path, e))?;
        Ok(db)
    };
    let db = open()?;
    let found = version(&db).map_err(|e| named(&path, e))?;
    let known = newest();
    if found > known {
        return Err(CatalogError::Newer { path, found, known });
    }
    if found < known {
        drop(db);
        drop(open_writer(data_dir)?);
        return open();
    }
    Ok(db)
}

/// Opens another recorder's catalog for reading: whatever it is, it is left as it is.
///
/// # Errors
/// When there is none, it is damaged, it is of another version, or not all of it can be read from a disk that cannot be
/// written to.
pub fn open_foreign(data_dir: &Path) -> Result<Connection> {
    let path = data_dir.join(FILE_NAME);
    if !path.exists() {
        return Err(CatalogError::Missing(data_dir.to_owned()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let look = |db: Connection| -> rusqlite::Result<(Connection, i64)> {
        configure(&db)?;
        db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let found = version(&db)?;
        Ok((db, found))
    };
    let opened = Connection::open_with_flags(&path, flags).and_then(look);
    let (db, found) = match opened {
        Ok(opened) => opened,
        // On a disk that cannot be written to, SQLite has no place for the index of its log: then nobody else
        // writes there either.
        Err(e) if matches!(e.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)) => {
            // What is in the log, the newest rows, is passed over so: where the recorder was killed, or still runs on
            // a machine that shares the disk.
            if std::fs::metadata(path.with_file_name(WAL_NAME)).is_ok_and(|log| log.len() > 0) {
                return Err(CatalogError::LogUnread(path));
            }
            let text = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            let uri = format!("file:{text}?immutable=1");
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(uri, flags).and_then(look).map_err(|e| named(&path, e))?
        }
        Err(e) => return Err(named(&path, e)),
    };
    match found.cmp(&newest()) {
        std::cmp::Ordering::Less => Err(CatalogError::Older { path, found }),
        std::cmp::Ordering::Equal => Ok(db),
        std::cmp::Ordering::Greater => Err(CatalogError::Newer { path, found, known: newest() }),
    }
}

/// A fresh catalog in memory, for tests and dry runs.
///
/// # Errors
/// When SQLite cannot make it.
pub fn open_in_memory() -> Result<Connection> {
    let mut db = Connection::open_in_memory()?;
    configure(&db)?;
    migrate_to(&mut db, Path::new(":memory:"), newest(), None)?;
    Ok(db)
}

fn configure(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Brings a catalog up to version `known`. One that holds something already is copied to the backups of
/// `data_dir` first: without that copy nothing is migrated.
fn migrate_to(db: &mut Connection, path: &Path, known: i64, data_dir: Option<&Path>) -> Result<()> {
    let named = |e| named(path, e);
    let found = version(db).map_err(named)?;
    if found > known {
        return Err(CatalogError::Newer { path: path.to_owned(), found, known });
    }
    if found == known {
        return Ok(());
    }
    if let Some(data_dir) = data_dir.filter(|_| found > 0) {
        // Opening a catalog has no clock; SQLite's will do for the name of a file.
        let now = db.query_row("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)", [], |row| Ok(Ms(row.get(0)?)));
        let now = now.map_err(named)?;
        backup::make(db, data_dir, backup::Occasion::Migration(known), now)?;
        backup::thin(data_dir, now)?;
    }
    if found > 0 {
        tracing::info!("bringing the catalog from version {found} to {known}; a kill meanwhile leaves it as it was");
    }
    // Told from within SQLite, which works on one statement for minutes where a table is large.
    let began = std::time::Instant::now();
    let mut told = began;
    let tell = move || {
        if told.elapsed() >= TELL_PROGRESS {
            told = std::time::Instant::now();
            tracing::info!("still bringing the catalog to version {known}, for {} s", began.elapsed().as_secs());
        }
        false
    };
    let _ = db.progress_handler(100_000, Some(tell));
    let done = migrate_in_one(db, known);
    let _ = db.progress_handler(0, None::<fn() -> bool>);
    done.map_err(named)?;
    if found > 0 {
        tracing::info!("the catalog has version {known} now, after {:.1} s", began.elapsed().as_secs_f64());
    }
    Ok(())
}

/// All migrations up to version `known` in one transaction: whoever is killed in it leaves the old catalog.
fn migrate_in_one(db: &mut Connection, known: i64) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Again under the lock: another process may have been faster.
    let found = version(&tx)?;
    for (to, sql) in migrations().into_iter().filter(|(to, _)| found < *to && *to <= known) {
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "user_version", to)?;
    }
    tx.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::schema_version::MIGRATIONS;

    #[test]
    fn migrations_are_numbered_without_holes() {
        let versions: Vec<_> = migrations().into_iter().map(|(v, _)| v).collect();
        assert_eq!(versions.len(), MIGRATIONS.files().count());
        assert_eq!(versions, (1..=versions.len() as i64).collect::<Vec<_>>());
    }

    /// What the schema is, in words that do not depend on the order in which it was written.
    fn schema(db: &Connection) -> Vec<(String, String, String)> {
        let mut query =
            db.prepare("SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY 1, 2").expect("query");
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("rows");
        rows.collect::<rusqlite::Result<_>>().expect("read")
    }

    /// Columns of all tables. They are compared instead of the stored SQL text, because `ALTER TABLE` keeps the wording
    /// of the original statement.
    fn columns(db: &Connection) -> Vec<(String, String, String, bool, Option<String>)> {
        let mut query = db
            .prepare(
                "SELECT s.name, c.name, c.type, c.\"notnull\" <> 0, c.dflt_value
                 FROM sqlite_schema s JOIN pragma_table_info(s.name) c WHERE s.type = 'table' ORDER BY 1, 2",
            )
            .expect("query");
        let rows = query
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
            .expect("rows");
        rows.collect::<rusqlite::Result<_>>().expect("read")
    }

    #[test]
    fn an_upgraded_catalog_is_equal_to_a_fresh_one() {
        let fresh = open_in_memory().expect("fresh");
        // From each version that ever was, in one step and in single ones, with the program closed in between.
        for first in 1..=newest() {
            let dir = tempfile::tempdir().expect("dir");
            let path = dir.path().join(FILE_NAME);
            let versions: Vec<i64> = if first == newest() { (1..=first).collect() } else { vec![first, newest()] };
            for version in versions {
                let mut db = Connection::open(&path).expect("opened");
                configure(&db).expect("configured");
                migrate_to(&mut db, &path, version, Some(dir.path())).expect("migrated");
            }
            let db = open_writer(dir.path()).expect("opened");
            assert_eq!(schema(&db), schema(&fresh), "from version {first}");
            assert_eq!(columns(&db), columns(&fresh), "from version {first}");
            assert_eq!(version(&db).expect("version"), newest());
            let left: i64 =
                db.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |r| r.get(0)).expect("asked");
            assert_eq!(left, 0);
        }
    }

    #[test]
    fn a_catalog_is_copied_before_it_is_migrated_and_not_migrated_without_a_copy() {
        let dir = tempfile::tempdir().expect("dir");
        let mut db = open_writer(dir.path()).expect("made");
        assert_eq!(backup::list(dir.path()).expect("listed"), [], "a new one has nothing to lose");
        let path = dir.path().join(FILE_NAME);
        db.execute("UPDATE meta SET schedule_version = 42", []).expect("set");
        let next = newest() + 1;
        migrate_to(&mut db, &path, next, Some(dir.path())).expect("migrated");
        let backups = backup::list(dir.path()).expect("listed");
        assert_eq!(backups.len(), 1);
        assert_eq!(backups[0].occasion, backup::Occasion::Migration(next));
        let copy = Connection::open(&backups[0].path).expect("opened");
        let kept: i64 = copy.query_row("SELECT schedule_version FROM meta", [], |r| r.get(0)).expect("read");
        assert_eq!((kept, version(&copy).expect("version")), (42, newest()));
        // Where the copy cannot be made.
        std::fs::remove_dir_all(dir.path().join(backup::FOLDER)).expect("removed");
        std::fs::write(dir.path().join(backup::FOLDER), b"in the way").expect("written");
        let refused = migrate_to(&mut db, &path, next, Some(dir.path()));
        assert!(matches!(refused, Err(CatalogError::Io { .. })), "{refused:?}");
    }

    #[test]
    fn every_column_has_a_comment_that_says_what_it_means() {
        for (version, sql) in migrations() {
            let mut inside = false;
            for line in sql.lines() {
                inside |= line.starts_with("CREATE TABLE");
                let column =
                    inside && line.starts_with("  ") && line.trim_start().starts_with(|c: char| c.is_ascii_lowercase());
                assert!(!column || line.contains("--"), "migration {version}: no comment at {line:?}");
                inside &= !line.starts_with(')');
            }
        }
    }

    #[test]
    fn the_catalog_is_private_and_its_second_opening_changes_nothing() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("dir");
        let data = dir.path().join("a/b");
        drop(open_writer(&data).expect("made"));
        let mode = std::fs::metadata(data.join(FILE_NAME)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let db = open_reader(&data).expect("opened");
        assert_eq!(version(&db).expect("version"), newest());
        assert!(db.execute("DELETE FROM meta", []).is_err(), "a reader can write");
    }

    #[test]
    fn another_recorders_catalog_is_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("dir");
        let db = open_writer(dir.path()).expect("made");
        db.pragma_update(None, "wal_autocheckpoint", 0).expect("set");
        db.execute("UPDATE meta SET schedule_version = 42", []).expect("set");
        let version = |db: &Connection| -> i64 {
            db.query_row("SELECT schedule_version FROM meta", [], |r| r.get(0)).expect("read")
        };
        assert_eq!(version(&open_foreign(dir.path()).expect("opened")), 42);
        // As on a disk that is mounted read-only, after a kill: the log is there, and no index of it can be made.
        let copy = tempfile::tempdir().expect("dir");
        for name in [FILE_NAME, WAL_NAME] {
            std::fs::copy(dir.path().join(name), copy.path().join(name)).expect("copied");
        }
        std::os::unix::fs::symlink("/nonexistent/shm", copy.path().join("catalog.db-shm")).expect("in the way");
        let refused = open_foreign(copy.path());
        assert!(matches!(refused, Err(CatalogError::LogUnread(_))), "{refused:?}");
        // After an orderly end the log is empty, or not there.
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("checkpoint");
        for name in [FILE_NAME, WAL_NAME] {
            std::fs::copy(dir.path().join(name), copy.path().join(name)).expect("copied");
        }
        assert_eq!(version(&open_foreign(copy.path()).expect("opened")), 42);
        std::fs::remove_file(copy.path().join(WAL_NAME)).expect("removed");
        assert_eq!(version(&open_foreign(copy.path()).expect("opened")), 42);
    }

    #[test]
    fn newer_damaged_and_missing_catalogs_are_named() {
        let dir = tempfile::tempdir().expect("dir");
        assert!(matches!(open_reader(dir.path()), Err(CatalogError::Missing(_))));
        let db = open_writer(dir.path()).expect("made");
        db.pragma_update(None, "user_version", 999).expect("set");
        drop(db);
        for opened in [open_reader(dir.path()), open_writer(dir.path())] {
            assert!(matches!(opened, Err(CatalogError::Newer { found: 999, .. })));
        }
        let path = dir.path().join(FILE_NAME);
        std::fs::remove_file(path.with_file_name("catalog.db-wal")).ok();
        std::fs::write(&path, "<html>not a database, and long enough to be taken for one</html>".repeat(20))
            .expect("written");
        for opened in [open_reader(dir.path()), open_writer(dir.path())] {
            assert!(matches!(opened, Err(CatalogError::Corrupt { .. })), "{opened:?}");
        }
    }
}
