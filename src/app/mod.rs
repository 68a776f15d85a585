//! Use cases: one file each. They join the adapters and follow the plans; they print nothing.

pub mod clock;
pub mod env;
pub mod failure;
pub mod halls;
pub mod import;
pub mod journal;
pub mod lock;
pub mod refresh;
pub mod report;
