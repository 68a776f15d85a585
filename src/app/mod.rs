//! The use cases: they join the adapters and follow the plans; they print nothing.
//!
//! Rooms, each of which uses only those above it:
//!
//! - `support`: what all of them need: settings and clock, failures, locks, free space, blocking work, walking folders.
//! - `library`: what is recorded: reports, indexing, assembly, merging, pruning, opt-outs, backups, recovery.
//! - `schedule`: what is to be recorded: import and refresh of schedules, halls, changes by hand.
//! - `playback`: watching a talk while it is recorded, in the terminal and on the page.
//! - `daemon`: the process that runs all day, and what it says of itself.
//! - `check`: is everything ready for the next congress day?
//!
//! `schedule` and `playback` do not know each other. `tests/architecture.rs` holds the code against this.

pub mod check;
pub mod daemon;
pub mod library;
pub mod playback;
pub mod schedule;
pub mod support;
