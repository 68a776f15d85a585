//! What the handlers share: where to read, what the daemon does.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection as Db;
use tokio::sync::watch;

use crate::app::daemon::status::Status;
use crate::app::playback::timeshift::KeyframeCache;
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::catalog::{FileIdentity, file_identity, open_reader};

/// Connections to the catalog that are kept for the next request.
const MAX_IDLE_CONNECTIONS: usize = 4;

/// What the handlers share.
#[derive(Debug)]
pub(super) struct WebState {
    pub env: Env,
    pub scans: KeyframeCache,
    status: watch::Receiver<Status>,
    idle: Mutex<Vec<(Option<FileIdentity>, Db)>>,
}

impl WebState {
    pub(super) fn new(env: Env, scans: KeyframeCache, status: watch::Receiver<Status>) -> Self {
        Self { env, scans, status, idle: Mutex::default() }
    }

    /// What the daemon did a second ago, or when it last said anything. It is there: the page is a part of it.
    pub(super) fn status(&self) -> Status {
        let last = self.status.borrow().clone();
        Status { alive: true, ..last.seen_at(self.env.clock.now()) }
    }

    /// Reads the catalog in a thread that may wait.
    ///
    /// # Errors
    /// Those of `job`, and when the catalog cannot be opened.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&Db, &Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let site = Arc::clone(self);
        let work = move || {
            let idle = site.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            // The catalog's file may have been written out again since: what is open then is the one that is gone.
            let file = file_identity(&site.env.data_dir);
            let db = match idle.filter(|(of, _)| *of == file) {
                Some((_, db)) => db,
                None => open_reader(&site.env.data_dir)?,
            };
            let result = job(&db, &site);
            let mut idle = site.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if result.is_ok() && idle.len() < MAX_IDLE_CONNECTIONS {
                idle.push((file, db));
            }
            result
        };
        let task = tokio::task::spawn_blocking(work).await;
        task.unwrap_or_else(|e| Err(Failure::new(Kind::Failed, "reading for the page failed").because(e)))
    }
}
