//! Errors as the user meets them: a kind (which is the exit code), what is wrong, and what to do.

use std::fmt;

use crate::catalog::CatalogError;

/// Sorts of failure, by what a script can do about them. The numbers are the exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something that should work did not: I/O, network, a program.
    Failed = 1,
    /// The command line or a settings file is wrong (also clap's code).
    Usage = 2,
    /// The input is not what it should be: no calendar, an unreadable halls file. Nothing was changed.
    BadInput = 3,
    /// The work was done and something is missing: talks partial or missed, a check that found problems.
    Incomplete = 4,
    /// Not now: another daemon runs, the catalog is locked.
    Busy = 5,
    /// There is no such talk, hall or event, or more than one fits.
    NotFound = 6,
    /// The catalog is damaged or from a newer streamrip.
    Catalog = 7,
}

impl Kind {
    /// Every kind, in the order of its exit code.
    pub const ALL: [Self; 7] =
        [Self::Failed, Self::Usage, Self::BadInput, Self::Incomplete, Self::Busy, Self::NotFound, Self::Catalog];

    /// What the exit code means, for the documentation.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Failed => "Something that should work did not: I/O, network, a program.",
            Self::Usage => "The command line or a settings file is wrong.",
            Self::BadInput => {
                "The input is not what it should be: no calendar, an unreadable halls file. Nothing was changed."
            }
            Self::Incomplete => {
                "The work is done and something is missing: talks partial or missed, `check` found problems, no daemon runs."
            }
            Self::Busy => "Not now: another daemon runs, or the catalog is locked. Try again later.",
            Self::NotFound => "No such talk, hall or event, or more than one matches.",
            Self::Catalog => "The catalog is damaged or was written by a newer streamrip.",
        }
    }
}

/// A failure with its cause and a hint.
#[derive(Debug)]
pub struct Failure {
    /// Kind of failure; decides the exit code.
    pub kind: Kind,
    /// What is wrong, and where.
    pub message: String,
    /// Why, where another error says so.
    pub cause: Option<String>,
    /// What the user can do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without cause and hint.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), cause: None, hint: None }
    }

    /// Appends the cause to the message, after a colon.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<CatalogError> for Failure {
    fn from(e: CatalogError) -> Self {
        let message = e.to_string();
        match e {
            CatalogError::Locked => Self::new(Kind::Busy, message).hint("try again; if it stays locked, find the program with: fuser -v catalog.db"),
            CatalogError::Newer { .. } => Self::new(Kind::Catalog, message).hint("install the newer streamrip that wrote it"),
            CatalogError::Older { .. } => Self::new(Kind::Catalog, message)
                .hint("bring it up to date with this streamrip: streamrip list --data-dir THAT_DIRECTORY"),
            CatalogError::LogUnread(_) => Self::new(Kind::Failed, message)
                .hint("mount the disk so that it can be written to, or copy catalog.db, catalog.db-wal and the folders to one that can"),
            CatalogError::Corrupt { .. } => Self::new(Kind::Catalog, message)
                .hint("move the file aside and keep it; the recordings in segments/ and talks/ are untouched, and a new catalog adopts them"),
            CatalogError::Missing(_) => Self::new(Kind::NotFound, message).hint("begin with: streamrip import SCHEDULE.ics"),
            CatalogError::Io { .. } => Self::new(Kind::Failed, message).hint("check the data directory's owner and free space, or name another with --data-dir"),
            _ => Self::new(Kind::Failed, message),
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(e: rusqlite::Error) -> Self {
        CatalogError::from(e).into()
    }
}

/// Result of a use case.
pub type Result<T> = std::result::Result<T, Failure>;
