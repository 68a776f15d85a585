//! Tapes: the continuous recording of one hall.

pub mod budget;
mod connection;
pub mod disk;
pub mod events;
mod handle;
mod lanes;
mod narrate;
mod segment_file;
mod session;
mod turn;
mod why;

pub use handle::{TapeDeps, TapeHandle, TapeOrder, TapeState, TapeStatus};
pub use lanes::Lanes;
pub use session::start;
