//! Tapes: the continuous recording of one hall.

pub mod budget;
mod connection;
pub mod disk;
mod end_reason;
pub mod events;
mod handle;
mod lanes;
mod log_dedup;
mod read_pacing;
mod segment_file;
mod session;
mod sniff_buffer;

pub use handle::{TapeDeps, TapeHandle, TapeOrder, TapeState, TapeStatus};
pub use lanes::Lanes;
pub use session::start;
