//! What every use case needs. Uses no other room of `app`, and knows nothing of talks or schedules.

pub mod blocking;
pub mod clock;
pub mod contents;
pub mod dir_watch;
pub mod env;
pub mod failure;
pub mod free_space;
pub mod humanize;
pub mod lock;
pub mod symlink_guard;
pub mod tail_reader;
pub mod walk;
