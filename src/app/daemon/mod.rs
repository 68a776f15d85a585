//! The daemon: reconciles what runs with what the plan wants, all day.
//!
//! One tick a second asks the plan; what it wants and what runs are compared; tapes are started,
//! retargeted or stopped. Nothing is triggered once and then forgotten, so that a restart, a late import,
//! a changed schedule and a clock step all take the same road.

mod alarms;
pub mod catalog_sink;
mod core;
mod heartbeat;
mod run;
pub mod source_log;
pub mod status;
mod supervisor;
mod systemd;
pub mod ticker;
mod worker;

pub use alarms::sender;
pub use core::{Core, TapeView};
pub use heartbeat::Heartbeat;
pub use run::{Outcome, RunOptions, SOURCE_LOG, run};
pub use worker::{CurrentJob, JoinedTalk, Worker};
