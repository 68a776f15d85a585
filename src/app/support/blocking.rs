//! Work that blocks (reading the catalog, media work), run off the async threads.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use crate::app::support::failure::{Failure, Kind, Result};
use crate::media::{CancellationToken, MediaError};

/// A reading connection that tasks share.
pub(crate) type Reader = Arc<Mutex<Connection>>;

/// Runs media work on a blocking thread; dropping the future stops it, with its children. A panic in it is an
/// error of that piece of work.
pub(crate) async fn media<T: Send + 'static>(
    job: impl FnOnce(&CancellationToken) -> crate::media::Result<T> + Send + 'static,
) -> crate::media::Result<T> {
    let cancel = CancellationToken::new();
    let _stop = cancel.clone().drop_guard();
    match tokio::task::spawn_blocking(move || job(&cancel)).await {
        Ok(done) => done,
        Err(e) if e.is_panic() => Err(MediaError::Panicked(e.to_string())),
        // The runtime is ending.
        Err(_) => Err(MediaError::Cancelled),
    }
}

/// Runs a job that reads the catalog on a blocking thread, while it holds the shared connection.
///
/// # Errors
/// Those of `job`; `Failed` when the thread panicked or the runtime is ending.
pub(crate) async fn read<T: Send + 'static>(
    reader: &Reader,
    job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
) -> Result<T> {
    let reader = Arc::clone(reader);
    tokio::task::spawn_blocking(move || job(&reader.lock().unwrap_or_else(PoisonError::into_inner)))
        .await
        .unwrap_or_else(|e| Err(Failure::new(Kind::Failed, "a reader of the catalog ended").because(e)))
}

/// The failure that the user sees for an error of media work, with a hint where there is one.
pub(crate) fn media_failure(e: &MediaError) -> Failure {
    let failure = Failure::new(Kind::Failed, e.to_string());
    match e {
        MediaError::ProgramMissing(_) => failure.hint("install it with: apt-get install ffmpeg"),
        MediaError::Stale { .. } => {
            failure.hint("the file was changed after it was recorded; streamrip assemble --force indexes it anew")
        }
        _ => failure,
    }
}
