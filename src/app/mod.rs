//! Use cases: one file each. They join the adapters and follow the plans; they print nothing.

mod adopt;
pub mod assemble;
pub mod backup;
pub mod check;
pub mod clock;
pub mod daemon;
pub mod disk;
pub mod env;
pub mod failure;
pub mod folders;
pub mod halls;
pub mod import;
pub mod index;
pub mod journal;
pub mod json;
pub mod lock;
pub mod manual;
pub mod optout;
pub mod prune;
pub mod recover;
pub mod refresh;
pub mod report;
pub mod source_log;
mod tree;
pub mod verify;
pub mod words;
