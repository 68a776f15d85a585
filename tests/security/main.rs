//! What strangers write is data: it never becomes an option, a local file, a path outside the data directory,
//! or a password on a screen.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

mod children;
mod passwords;
mod paths;
mod playlists;
mod server;
mod urls;
