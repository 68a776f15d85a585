//! The test laboratory: everything around streamrip that a test or the demo needs, on loopback and real.
//!
//! - [`Encoder`]: an ffmpeg child that makes a live stream in real time, with a burnt-in clock.
//! - [`Live`]: what a live stream has sent so far, byte by byte with times; every client gets the same bytes.
//! - [`Feed`]: a live stream of numbered packets.
//! - [`FaultServer`]: an HTTP server that serves live streams and files and misbehaves on command.
//! - [`WebServer`]: files with ranges and trouble, for HLS.
//! - [`Icecast`], [`Nginx`]: the real ones.
//! - [`Streamrip`], [`Daemon`]: the real program on a data directory of its own.
//! - [`Browser`]: a real Chromium.
//! - [`SmallDisk`]: a file system that is soon full.
//! - [`truth`]: media whose frames carry their numbers, and a reader of what a file shows.
//! - [`schedule`]: calendars and halls files of a congress that begins in some seconds.
//!
//! Nothing here but the feed needs an async runtime; a server brings its own, so tests with tokio's paused time can
//! use it too. What is started is ended on drop. A failure panics: that is how a test hears of it.

mod browser;
pub mod child;
mod encoder;
mod fault;
mod feed;
mod get;
mod icecast;
mod live;
mod nginx;
mod program;
mod relay;
pub mod schedule;
mod serve;
mod server;
mod small_disk;
#[cfg(test)]
mod tests;
pub mod truth;
mod web;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use browser::Browser;
pub use encoder::{Encoder, Format, Recipe};
pub use fault::{Act, Answer, End, Limit, Streaming};
pub use feed::{Feed, packet};
pub use get::get;
pub use icecast::Icecast;
pub use live::Live;
pub use nginx::{Nginx, wait_for_file};
pub use program::{Daemon, Output, Streamrip};
pub use relay::Relay;
pub use server::{ConnectionLog, Excess, FaultServer, Route};
pub use small_disk::SmallDisk;
pub use web::{Request, Trouble, WebServer};

/// For [`wait_until`] where nothing better is known: generous, since test machines are slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Milliseconds since the Unix epoch, as in the catalog.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Looks every 20 ms until `condition` gives something, and returns it.
///
/// # Panics
/// With `what`, when `deadline` has passed.
pub fn wait_for<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(began.elapsed() < deadline, "waited {deadline:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Looks every 20 ms until `condition` is true.
///
/// # Panics
/// With `what`, when `deadline` has passed.
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, deadline, || condition().then_some(()));
}

/// As [`wait_until`], for tests that run in a tokio runtime whose tasks must go on meanwhile. With paused
/// time the deadline counts tokio's time.
///
/// # Panics
/// With `what`, when `deadline` has passed.
pub async fn eventually(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    let began = tokio::time::Instant::now();
    while !condition() {
        assert!(began.elapsed() < deadline, "waited {deadline:?} in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Says why a test tests nothing here: a program is missing. With `STREAMRIP_TESTS_MUST=1` it fails: where continuous
/// integration runs the programs have been installed just before, and silence would hide that one was forgotten.
///
/// # Panics
/// Where the test must run.
#[allow(clippy::print_stderr, reason = "for people who read what the tests say")]
pub fn skipped(why: &str) {
    assert!(std::env::var_os("STREAMRIP_TESTS_MUST").is_none_or(|must| must != "1"), "this test must run here: {why}");
    not_allowed(why);
}

/// Says why a test tests nothing here: this user may not do what it needs. That no installation can mend.
#[allow(clippy::print_stderr, reason = "for people who read what the tests say")]
pub fn not_allowed(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// True where `program` can be found in PATH.
#[must_use]
pub fn has_program(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}
