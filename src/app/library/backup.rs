//! The daemon's backups of its catalog, and bringing one back.

use std::path::{Path, PathBuf};

use crate::app::library::adopt::adopt_assemblies;
use crate::app::library::recover::{self, Recovery};
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::app::support::free_space::free_bytes;
use crate::app::support::lock;
use crate::catalog::backup::{self, Backup, Occasion};
use crate::catalog::{self, CatalogError, incidents};
use crate::media::CancellationToken;

/// How often the daemon looks whether a backup is due: a cron expression, UTC. It may be missed and
/// repeated, so it asks how old the newest one is.
pub const CRON: &str = "30 */5 * * * *";

/// A backup is not made where less than this would be left on the disk, whatever the reserve: a tape is
/// the last thing to give up. Bytes.
const LEAVE_FREE: u64 = 100 << 20;

/// Makes an hourly backup where the newest is an hour old; gives back its path. Blocking, beside a daemon
/// that writes.
///
/// # Errors
/// When it cannot be made: of no consequence for taping.
pub fn hourly(env: &Env) -> Result<Option<PathBuf>> {
    let now = env.clock.now();
    if !backup::is_due(&backup::list(&env.data_dir)?, now) {
        return Ok(None);
    }
    let size = std::fs::metadata(env.data_dir.join(catalog::FILE_NAME)).map_or(0, |m| m.len());
    if free_bytes(&env.data_dir).is_some_and(|free| free < size.saturating_mul(2) + LEAVE_FREE) {
        return Err(Failure::new(Kind::Failed, "too little space is free for a backup of the catalog"));
    }
    let db = catalog::open_reader(&env.data_dir)?;
    let path = backup::make(&db, &env.data_dir, Occasion::Hourly, now)?;
    backup::thin(&env.data_dir, now)?;
    Ok(Some(path))
}

/// The backups there are, the newest first.
///
/// # Errors
/// When their folder cannot be read.
pub fn list(env: &Env) -> Result<Vec<Backup>> {
    Ok(backup::list(&env.data_dir)?)
}

/// What a restore did.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The backup that is the catalog now.
    pub from: PathBuf,
    /// The catalog that was replaced, if there was one.
    pub aside: Option<PathBuf>,
    /// Newer backups that could not be used, and why.
    pub skipped: Vec<(PathBuf, String)>,
    /// What was done to make the catalog true about the files.
    pub recovery: Recovery,
    /// Joined talks that are newer than the backup.
    pub joined: usize,
}

/// Brings back a backup: `file`, or the newest one that is sound. What was taped since is taken in from
/// its files. Blocking.
///
/// # Errors
/// `Busy` while a daemon runs; when there is no backup that can be used: then nothing was changed.
pub fn restore(env: &Env, file: Option<&Path>) -> Result<Restored> {
    let _lock = lock::take(&env.data_dir).map_err(|e| Failure {
        hint: Some("stop the daemon first, then restore, then start it again".to_owned()),
        ..e
    })?;
    let candidates = match file {
        Some(file) => vec![find(env, file)],
        None => list(env)?.into_iter().map(|b| b.path).collect(),
    };
    let now = env.clock.now();
    let mut skipped = Vec::new();
    for from in candidates {
        let done = match backup::put_back(&env.data_dir, &from, now) {
            Ok(done) => done,
            Err(e) if file.is_some() => return Err(refused(&from, &e)),
            Err(e @ (CatalogError::Corrupt { .. } | CatalogError::Newer { .. })) => {
                skipped.push((from, e.to_string()));
                continue;
            }
            Err(e) => return Err(e.into()),
        };
        let mut db = catalog::open_writer(&env.data_dir)?;
        let never = CancellationToken::new();
        let recovery = recover::recover(env, &mut db, &never)?;
        let joined = adopt_assemblies(&mut db, env, &never)?;
        incidents::note(&db, None, "restored", &format!("the catalog was restored from {}", from.display()), now)?;
        return Ok(Restored { from, aside: done.aside, skipped, recovery, joined });
    }
    let failure = Failure::new(Kind::NotFound, "there is no backup of the catalog that can be used");
    Err(match skipped.first() {
        Some((path, why)) => failure.because(format!("{}: {why}", path.display())),
        None => failure.hint("a daemon makes one each hour; without any, move catalog.db aside, import the schedule again, and streamrip run adopts the recordings"),
    })
}

/// A file as the user names it: its path, or its name in the folder of the backups.
fn find(env: &Env, file: &Path) -> PathBuf {
    let named = env.data_dir.join(backup::FOLDER).join(file);
    if !file.exists() && named.exists() { named } else { file.to_owned() }
}

fn refused(from: &Path, e: &CatalogError) -> Failure {
    Failure::new(Kind::BadInput, format!("{} cannot be restored; nothing was changed", from.display()))
        .because(e)
        .hint("streamrip restore --list shows the backups")
}

#[cfg(test)]
#[path = "backup_tests.rs"]
mod tests;
