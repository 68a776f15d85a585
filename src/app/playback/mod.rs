//! Watching a talk while it is recorded. Uses `support` and `library`; reads segments and the catalog, and writes to
//! neither.

pub mod follow;
pub mod remux;
pub mod start_at;
pub mod timeshift;
mod wall_clock;
