//! What is recorded, on disk and in the catalog. Uses `support`; knows nothing of daemon, page or playback.

pub mod adopt;
pub mod assemble;
pub mod backup;
pub mod index;
pub mod json;
pub mod last_facts;
pub mod merge;
pub mod optout;
pub mod prune;
pub mod recover;
pub mod report;
pub mod rescue;
pub mod retention;
mod sidecar;
mod talk_files;
#[cfg(test)]
mod truth_tests;
mod unheld;
pub mod verify;
