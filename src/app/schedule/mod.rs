//! What is to be recorded: schedules, halls and changes by hand. Uses `support` and `library`; touches no file of a
//! recording.

mod formats;
pub mod halls;
pub mod halls_import;
pub mod import;
pub mod manual;
mod opt_outs;
pub mod refresh;
