//! The schema's versions: the migrations that the program carries, and the version that a catalog has.

use std::path::Path;

use include_dir::{Dir, include_dir};
use rusqlite::{Connection, ErrorCode};

use super::{CatalogError, Result};

pub(super) static MIGRATIONS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/migrations");

/// The migrations, in order: the version each leads to, and its SQL.
///
/// # Panics
/// Never in a program that was built from a sound source tree: names are checked by a test.
pub(super) fn migrations() -> Vec<(i64, &'static str)> {
    let mut all: Vec<_> = MIGRATIONS
        .files()
        .filter_map(|file| {
            let name = file.path().file_name()?.to_str()?;
            let version = name.split_once('_')?.0.parse().ok()?;
            Some((version, file.contents_utf8()?))
        })
        .collect();
    all.sort_unstable_by_key(|(version, _)| *version);
    all
}

/// The version of an open catalog; 0 for an empty file.
pub(super) fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The version that the newest migration leads to.
pub(super) fn newest() -> i64 {
    migrations().last().map_or(0, |(version, _)| *version)
}

/// Refuses what is no catalog, or one of a newer streamrip.
pub(super) fn check_version(db: &Connection, path: &Path) -> Result<()> {
    let found = version(db).map_err(|e| named(path, e))?;
    if found > newest() {
        return Err(CatalogError::Newer { path: path.to_owned(), found, known: newest() });
    }
    db.query_row("SELECT schedule_version FROM meta", [], |_| Ok(()))
        .map_err(|source| CatalogError::Corrupt { path: path.to_owned(), source })
}

/// The error that a user sees for one of SQLite in the catalog at `path`.
pub(super) fn named(path: &Path, e: rusqlite::Error) -> CatalogError {
    match e.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            CatalogError::Corrupt { path: path.to_owned(), source: e }
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            CatalogError::Io { path: path.to_owned(), source: std::io::Error::other(e.to_string()) }
        }
        _ => e.into(),
    }
}
