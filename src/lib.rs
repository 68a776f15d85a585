//! streamrip records whole conferences unattended.
//!
//! # Layers
//!
//! ```text
//! main -> cli -> app -> adapters (ical, catalog, source, tape, media, config, fetch) -> plan -> domain
//! ```

pub mod app;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod domain;
pub mod fetch;
pub mod ical;
pub mod media;
pub mod plan;
pub mod schedule_xml;
pub mod source;
pub mod tape;
