//! The catalog: what is known of schedules, connections, segments, seams and assemblies, in one SQLite
//! file (`catalog.db`, mode 0600). The schema documents itself: `migrations/`.
//!
//! Functions of the submodules take a plain [`rusqlite::Connection`], so that a test uses an in-memory
//! catalog and the daemon the one [`writer::Writer`]. Every writer begins `IMMEDIATE`; readers keep
//! their transactions short, since an open one lets the write-ahead log grow.

pub mod assemblies;
pub mod assembly_queue;
pub mod backup;
pub mod daemon_runs;
mod file_guard;
pub mod files;
pub mod halls;
pub mod import;
pub mod incidents;
pub mod manual;
pub mod marks;
pub mod media_index;
pub mod merge_origins;
pub mod open;
pub mod recovery;
pub mod salvage;
pub mod schedule;
pub mod schedule_changes;
mod schema_version;
pub mod seams;
pub mod segments;
pub mod talk_details;
pub mod writer;

use std::path::{Component, Path, PathBuf};

use thiserror::Error;

pub use file_guard::{Identity as FileIdentity, identity_of as file_identity};
pub use open::{open_foreign, open_in_memory, open_reader, open_writer};

/// File name of the catalog in the data directory.
pub const FILE_NAME: &str = "catalog.db";

/// What can go wrong with the catalog.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// The directory or file cannot be made or read.
    #[error("cannot open the catalog {path}: {source}")]
    Io {
        /// Path of the catalog file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// Written by a newer streamrip.
    #[error("the catalog {path} has version {found}; this streamrip knows versions up to {known}")]
    Newer {
        /// Path of the catalog file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// Another recorder's, of an older streamrip: it is not ours to bring up to date.
    #[error("the catalog {path} has version {found}, an older one than ours")]
    Older {
        /// Path of the catalog file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// Not a database, or a damaged one.
    #[error("the catalog {path} is damaged or is not a catalog: {source}")]
    Corrupt {
        /// Path of the catalog file.
        path: PathBuf,
        /// SQLite's word.
        source: rusqlite::Error,
    },
    /// There is none, and reading must not make one.
    #[error("there is no catalog in {0} yet")]
    Missing(PathBuf),
    /// Someone else holds the lock for longer than we wait.
    #[error("the catalog is locked by another program")]
    Locked,
    /// On a disk that cannot be written to, beside a log that holds its newest rows and cannot be read there.
    #[error("the newest rows of the catalog {0} are in its log, which cannot be read on a disk that is read-only")]
    LogUnread(PathBuf),
    /// A stored word that this program does not know.
    #[error("the catalog holds a value that this streamrip does not understand: {0}")]
    Value(String),
    /// Any other fault of SQLite.
    #[error("catalog: {0}")]
    Sqlite(rusqlite::Error),
    /// A bug of ours in one job of the writer; what it had written is rolled back.
    #[error("catalog: internal error: {0}")]
    Panicked(String),
    /// The writer thread has ended.
    #[error("the catalog's writer has stopped")]
    WriterGone,
}

impl CatalogError {
    /// True where the catalog's file is not what it should be: trying again does not help.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode as Code;
        match self {
            Self::Corrupt { .. } => true,
            Self::Sqlite(e) => matches!(e.sqlite_error_code(), Some(Code::DatabaseCorrupt | Code::NotADatabase)),
            _ => false,
        }
    }

    /// True where trying again later may help: a lock, a full disk, an I/O fault.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use rusqlite::ErrorCode as Code;
        match self {
            Self::Locked => true,
            Self::Sqlite(e) => matches!(
                e.sqlite_error_code(),
                Some(
                    Code::DatabaseBusy
                        | Code::DatabaseLocked
                        | Code::DiskFull
                        | Code::SystemIoFailure
                        | Code::OutOfMemory
                )
            ),
            _ => false,
        }
    }
}

impl From<rusqlite::Error> for CatalogError {
    fn from(e: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        match e.sqlite_error_code() {
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Locked,
            _ => Self::Sqlite(e),
        }
    }
}

/// Result of the catalog.
pub type Result<T> = std::result::Result<T, CatalogError>;

/// A stored path as one relative to the data directory. A catalog may come from elsewhere: what it names is
/// read, moved and deleted, so it must not lead out.
///
/// # Errors
/// When it leads out of the data directory.
pub fn relative_path(text: String) -> Result<PathBuf> {
    let inside = !text.is_empty() && Path::new(&text).components().all(|c| matches!(c, Component::Normal(_)));
    if inside {
        Ok(text.into())
    } else {
        Err(CatalogError::Value(format!("{text:?} is no path in the data directory")))
    }
}
