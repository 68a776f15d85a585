//! The catalog's file may be deleted, moved or replaced under a daemon that has it open. SQLite goes on with what it has
//! open, and everything would be lost with the process: so the file is written out again from there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::watch;

use super::{FILE_NAME, Result, backup, open_writer};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Which file a path names: device and inode.
pub type Identity = (u64, u64);

/// Which file the catalog of a data directory is now; `None`: there is none.
#[must_use]
pub fn identity_of(data_dir: &Path) -> Option<Identity> {
    identity(&data_dir.join(FILE_NAME))
}

/// How the catalog's file is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why it cannot be written, where that does not pass by itself.
    pub damage: Option<String>,
    /// How often it was written out again because its file was gone.
    pub written_out: u64,
    /// What was found and done then, for people.
    pub what: String,
}

/// Looks after the file of an open catalog.
#[derive(Debug)]
pub(super) struct FileGuard {
    data_dir: PathBuf,
    opened: Option<Identity>,
    looked: Instant,
    /// Why it could not be written out, said already.
    failed: Option<String>,
}

impl FileGuard {
    /// To be made right after the catalog was opened.
    pub(super) fn new(data_dir: PathBuf) -> Self {
        let opened = identity(&data_dir.join(FILE_NAME));
        Self { data_dir, opened, looked: Instant::now(), failed: None }
    }

    /// Looks, where it is time: gives back `db`, or one that has the file open that was written out again, and tells
    /// `health` of that.
    pub(super) fn look(&mut self, db: Connection, health: &watch::Sender<Health>) -> Connection {
        if self.looked.elapsed() < LOOK {
            return db;
        }
        self.looked = Instant::now();
        self.look_now(db, health)
    }

    fn look_now(&mut self, db: Connection, health: &watch::Sender<Health>) -> Connection {
        let path = self.data_dir.join(FILE_NAME);
        let found = identity(&path);
        if found == self.opened {
            return db;
        }
        let was = if found.is_none() { "was deleted or moved away" } else { "was replaced by another file" };
        match write_out(&db, &self.data_dir, found.is_some()) {
            Ok((fresh, aside)) => {
                self.opened = identity(&path);
                self.failed = None;
                // Closing it would delete its log by its name, which is the name of the new file's log. It stays open until
                // the process ends: a few descriptors, once.
                std::mem::forget(db);
                let kept =
                    aside.map(|a| format!("; what was in its place is kept as {}", a.display())).unwrap_or_default();
                let what =
                    format!("the catalog {} {was} while it was in use; it was written out again{kept}", path.display());
                tracing::error!("catalog-damaged: {what}");
                health.send_modify(|health| {
                    health.written_out += 1;
                    health.what = what;
                });
                fresh
            }
            Err(e) => {
                let text = format!("the catalog {} {was}, and cannot be written out again: {e}", path.display());
                if self.failed.as_ref() != Some(&text) {
                    tracing::error!("catalog-damaged: {text}; trying again");
                }
                self.failed = Some(text);
                db
            }
        }
    }
}

fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Copies the open catalog to where its file should be, and opens that. `in_place`: another file is there, which is kept;
/// its new path.
fn write_out(db: &Connection, data_dir: &Path, in_place: bool) -> Result<(Connection, Option<PathBuf>)> {
    let path = data_dir.join(FILE_NAME);
    let temp = data_dir.join(format!("{FILE_NAME}.{}.part", uuid::Uuid::new_v4()));
    backup::copy(db, &temp).inspect_err(|_| drop(fs::remove_file(&temp)))?;
    let aside = in_place.then(|| data_dir.join(format!("catalog.found-{}.db", uuid::Uuid::new_v4())));
    if let Some(aside) = &aside {
        fs::rename(&path, aside).map_err(|e| backup::io_error(&path, e))?;
    }
    // The log of the file that is gone, or of the stranger: it would be taken for the new one's. What the open catalog
    // needs of its own log is in the copy.
    for companion in ["-wal", "-shm"] {
        let path = data_dir.join(format!("{FILE_NAME}{companion}"));
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(backup::io_error(&path, e)),
            _ => {}
        }
    }
    backup::named(&temp, &path)?;
    Ok((open_writer(data_dir)?, aside))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::open_reader;

    fn version(db: &Connection) -> i64 {
        db.query_row("SELECT schedule_version FROM meta", [], |r| r.get(0)).expect("read")
    }

    #[test]
    fn a_file_that_is_gone_is_written_out_again_with_all_rows() {
        let delete = |path: &Path| fs::remove_file(path).expect("deleted");
        let rename = |path: &Path| fs::rename(path, path.with_extension("elsewhere")).expect("moved");
        let replace = |path: &Path| {
            fs::remove_file(path).expect("deleted");
            fs::write(path, "something else").expect("written");
        };
        let with_log = |path: &Path| {
            for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
                let _ = fs::remove_file(path.with_file_name(name));
            }
        };
        type Way<'a> = (&'a str, &'a dyn Fn(&Path));
        let ways: [Way<'_>; 4] =
            [("deleted", &delete), ("moved", &rename), ("replaced", &replace), ("deleted with its log", &with_log)];
        for (how, harm) in ways {
            let dir = tempfile::tempdir().expect("dir");
            let db = open_writer(dir.path()).expect("catalog");
            let mut guard = FileGuard::new(dir.path().to_owned());
            let (tell, health) = watch::channel(Health::default());
            let db = guard.look_now(db, &tell);
            assert_eq!(health.borrow().written_out, 0, "{how}");
            // One row is in the log only.
            db.execute("UPDATE meta SET schedule_version = 41", []).expect("set");
            let path = dir.path().join(FILE_NAME);
            harm(&path);
            db.execute("UPDATE meta SET schedule_version = 42", []).expect("set");
            let db = guard.look_now(db, &tell);
            assert_eq!((health.borrow().written_out, version(&db)), (1, 42), "{how}");
            assert_eq!(version(&open_reader(dir.path()).expect("opened")), 42, "{how}");
            // What is written from now on is in the new file.
            db.execute("UPDATE meta SET schedule_version = 43", []).expect("set");
            assert_eq!(version(&open_reader(dir.path()).expect("opened")), 43, "{how}");
            let db = guard.look_now(db, &tell);
            assert_eq!((health.borrow().written_out, version(&db)), (1, 43), "{how}");
        }
    }
}
