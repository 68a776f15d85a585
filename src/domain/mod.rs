//! Plain types and arithmetic: no I/O, no tasks, no clocks.
//!
//! The words are those of README.md, "Words".

pub mod cause_help;
pub mod clock;
pub mod event;
pub mod file_name;
pub mod gap;
pub mod hall;
pub mod halls_file;
pub mod hls;
pub mod ids;
pub mod interval;
pub mod media;
pub mod media_clock;
pub mod message;
pub mod name;
pub mod offer;
pub mod presence;
pub mod programme;
pub mod pts;
pub mod redirect_policy;
pub mod schedule;
pub mod segment;
pub mod settings;
pub mod sniff;
pub mod stream_request;
pub mod stream_url;
pub mod talk;
pub mod text;
pub mod time;
pub mod timeline;
