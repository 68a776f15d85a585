//! The page: what `list`, `show` and `status` say, in a browser, and the same as JSON. It only reads.
//!
//! It runs in a thread of its own with a runtime of its own: a slow browser, a slow query or a panic here
//! never makes a tape wait. What a talk's page shows comes from the same use cases as the command line.

mod api;
mod asset;
mod auth;
mod events;
mod file;
mod limit;
mod metrics;
mod page;
mod playback;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use auth::Access;

use crate::app::daemon::status::Status;
use crate::app::playback::timeshift::KeyframeCache;
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use limit::Limited;
use state::WebState;

/// So long until the next try to listen, where the address is taken.
const LISTEN_RETRY_DELAY: Duration = Duration::from_secs(5);

/// Connections at once; more wait to be accepted. Each is a descriptor that a tape might need.
const MAX_CONNECTIONS: usize = 256;

/// A connection on which nothing moves for so long is ended: an open page is told something every two seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// What nobody watches any more is let go so often.
const CACHE_SWEEP_INTERVAL: Duration = Duration::from_secs(15);

/// Threads that read the catalog and files for the page.
const MAX_READERS: usize = 4;

/// Serves the page on `listen` in a thread of its own until `status` has no sender any more.
///
/// An address that is taken is no failure: it is logged and tried again, for taping must not depend on it.
///
/// # Errors
/// When `access` does not allow this address (`Usage`), or cannot start a thread.
pub fn start(env: Env, listen: SocketAddr, access: Access, status: watch::Receiver<Status>) -> Result<()> {
    access.check(listen)?;
    in_thread(move || async move {
        let Some(listener) = bind(listen, &mut status.clone()).await else { return };
        tracing::info!("web page: http://{}/", listener.local_addr().unwrap_or(listen));
        let site = WebState::new(env, KeyframeCache::for_browsers(), status.clone());
        serve(site, access, listener, status).await;
    })
}

/// Serves the page without a word on a listener of this machine's own address that its caller has bound already, as
/// [`start`] does.
///
/// # Errors
/// When cannot start a thread, or the listener cannot be used.
pub fn start_on(env: Env, listener: std::net::TcpListener, status: watch::Receiver<Status>) -> Result<()> {
    let access = Access::default();
    let failed = |e: std::io::Error| Failure::new(Kind::Failed, "cannot start the page").because(e);
    access.check(listener.local_addr().map_err(failed)?)?;
    listener.set_nonblocking(true).map_err(failed)?;
    in_thread(move || async move {
        match TcpListener::from_std(listener) {
            // The players that it is for get nothing made anew: what is not MPEG-TS is piped to them.
            Ok(listener) => {
                serve(WebState::new(env, KeyframeCache::default(), status.clone()), access, listener, status).await;
            }
            Err(e) => tracing::error!("the page cannot be served: {e}"),
        }
    })
}

fn in_thread<F: Future<Output = ()>>(run: impl FnOnce() -> F + Send + 'static) -> Result<()> {
    let failed = |e: std::io::Error| Failure::new(Kind::Failed, "cannot start the page").because(e);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_READERS)
        .thread_name("web")
        .build()
        .map_err(failed)?;
    let work = move || runtime.block_on(run());
    std::thread::Builder::new().name("web".to_owned()).spawn(work).map_err(failed)?;
    Ok(())
}

/// `None`: the daemon ended before the address was free.
async fn bind(listen: SocketAddr, status: &mut watch::Receiver<Status>) -> Option<TcpListener> {
    let mut said = false;
    loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => return Some(listener),
            Err(e) if !std::mem::replace(&mut said, true) => {
                tracing::error!("the page cannot listen on {listen}: {e}; trying again every few seconds");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(LISTEN_RETRY_DELAY) => {}
            () = gone(status) => return None,
        }
    }
}

async fn serve(site: WebState, access: Access, listener: TcpListener, mut status: watch::Receiver<Status>) {
    let site = Arc::new(site);
    let tidied = Arc::clone(&site);
    let served = axum::serve(Limited::new(listener, MAX_CONNECTIONS, IDLE_TIMEOUT), router(site, access));
    tokio::select! {
        ended = async { served.await } => if let Err(e) = ended {
            tracing::error!("the page has ended: {e}");
        },
        () = tidy(&tidied) => {}
        () = gone(&mut status) => {}
    }
}

/// Lets go again and again what nobody watches any more.
async fn tidy(site: &Arc<WebState>) {
    loop {
        tokio::time::sleep(CACHE_SWEEP_INTERVAL).await;
        let done = site.read(|_, site| {
            site.scans.tidy(&site.env);
            Ok(())
        });
        if let Err(failure) = done.await {
            tracing::debug!("{failure}");
        }
    }
}

/// Resolves when the daemon has ended.
async fn gone(status: &mut watch::Receiver<Status>) {
    while status.changed().await.is_ok() {}
}

fn router(site: Arc<WebState>, access: Access) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/talks/{id}", get(page::talk))
        .route("/talks/{id}/file", get(file::assembly))
        .route("/talks/{id}/play.m3u8", get(playback::playlist))
        .route("/talks/{id}/pieces", get(playback::pieces))
        .route("/talks/{id}/chunks/{name}", get(playback::chunk))
        .route("/talks/{id}/timeline", get(playback::timeline))
        .route("/live", get(events::events))
        .route("/metrics", get(metrics::metrics))
        .route("/static/{name}", get(asset::get))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/talks", get(api::talks))
        .route("/api/v1/talks/{id}", get(api::talk))
        .route("/api/v1/openapi.json", get(api::openapi))
        .fallback(page::nothing_here)
        .layer(from_fn_with_state(Arc::new(access), auth::guard))
        .layer(from_fn(auth::headers))
        .with_state(site)
}

#[cfg(test)]
mod tests;
