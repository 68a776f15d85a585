//! Files that people write: settings and halls.

pub mod halls_file;
pub mod suggest;
