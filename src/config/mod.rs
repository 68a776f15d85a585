//! Files that people write: settings and halls. Errors say file, line and column, and what was meant.

pub mod halls_file;
pub mod halls_keys;
pub mod settings;
pub mod values;
