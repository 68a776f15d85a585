//! Beginning with a catalog that is damaged or gone. A recorder that refuses to record because its notes are lost would
//! lose the talks too: the newest backup that is sound takes the catalog's place, the damaged one is kept, and recovery
//! then adopts what was recorded since.

use std::path::PathBuf;

use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::catalog::{self, CatalogError, backup, salvage};

/// What was done about a catalog that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescue {
    /// What was wrong with it.
    pub why: String,
    /// Where it is kept; `None`: there was no file.
    pub aside: Option<PathBuf>,
    /// The backup that is the catalog now; `None`: there was none that could be used.
    pub from: Option<PathBuf>,
    /// Rows of halls, streams and talks that could still be read from the damaged one, where there was no backup.
    pub salvaged: usize,
}

impl Rescue {
    /// For people, in one line.
    #[must_use]
    pub fn describe(&self) -> String {
        let kept = self.aside.as_ref().map(|aside| format!("; the damaged one is kept as {}", aside.display()));
        let now = match &self.from {
            Some(from) => {
                format!("the backup {} takes its place; import the schedule again if it changed since", from.display())
            }
            None => format!(
                "there is no sound backup: a new one begins with {} row(s) that could still be read; import the schedule again",
                self.salvaged
            ),
        };
        format!("{}: {now}{}", self.why, kept.unwrap_or_default())
    }
}

/// True where the data directory had a catalog and has none now: it is not there, or empty, and there are backups.
#[must_use]
pub fn is_gone(env: &Env) -> bool {
    let length = std::fs::metadata(env.data_dir.join(catalog::FILE_NAME)).map_or(0, |file| file.len());
    length == 0 && backup::list(&env.data_dir).is_ok_and(|all| !all.is_empty())
}

/// Opens the catalog for writing. One that is damaged or gone is replaced first. Blocking; to be called with the daemon's
/// lock held.
///
/// # Errors
/// As [`catalog::open_writer`], but for damage: only where the disk takes no file.
pub fn open(env: &Env) -> Result<(rusqlite::Connection, Option<Rescue>)> {
    if is_gone(env) {
        return replace(env, format!("the catalog {} is gone", env.data_dir.join(catalog::FILE_NAME).display()));
    }
    let checked = |mut db| catalog::open::check_soon(&mut db, &env.data_dir).map(|()| db);
    match catalog::open_writer(&env.data_dir).and_then(checked) {
        Ok(db) => Ok((db, None)),
        Err(e) if e.is_damage() => replace(env, e.to_string()),
        Err(e) => Err(e.into()),
    }
}

/// Puts the newest sound backup in the catalog's place, or a new catalog with what can still be read of the old one.
///
/// # Errors
/// When a file cannot be written.
pub fn replace(env: &Env, why: String) -> Result<(rusqlite::Connection, Option<Rescue>)> {
    let now = env.clock.now();
    for candidate in backup::list(&env.data_dir)? {
        match backup::put_back(&env.data_dir, &candidate.path, now) {
            Ok(done) => {
                let db = catalog::open_writer(&env.data_dir)?;
                let rescue = Rescue { why, aside: done.aside, from: Some(candidate.path), salvaged: 0 };
                return Ok((db, Some(rescue)));
            }
            Err(e @ (CatalogError::Corrupt { .. } | CatalogError::Newer { .. })) => {
                tracing::warn!("the backup {} cannot be used: {e}", candidate.path.display());
            }
            Err(e) => return Err(e.into()),
        }
    }
    let aside = backup::set_aside(&env.data_dir, now)?;
    let db = catalog::open_writer(&env.data_dir)?;
    let salvaged = aside.as_ref().map_or(0, |aside| salvage::schedule(aside, &db));
    Ok((db, Some(Rescue { why, aside, from: None, salvaged })))
}

#[cfg(test)]
#[path = "rescue_tests.rs"]
mod tests;
