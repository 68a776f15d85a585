//! Media: what is inside recorded files, and how several become one.
//!
//! [`native`] takes MPEG-TS and audio without a container apart; ffprobe and ffmpeg do so with other containers, in child
//! processes of low priority, which isolates us from demuxers that crash. Nothing is ever re-encoded. [`probe`] lists packets with their byte positions,
//! [`demux`] reads packets with their payloads out of a Matroska pipe, [`index`](mod@index) keeps what
//! plans need of a segment, [`join`] writes the packets of a plan into one Matroska file.
//!
//! All of it blocks and belongs on a blocking thread; a [`CancellationToken`] ends it between packets.

pub mod adts;
pub mod black_silence;
pub mod child;
pub mod decode_check;
pub mod demux;
pub mod ebml;
pub mod engine;
pub mod index;
pub mod inspect;
pub mod join;
pub mod keyframe;
pub mod live_mux;
pub mod mpegts;
pub mod mux;
pub mod native;
pub mod probe;
pub mod raw_audio;
pub mod restarts;
pub mod track;
pub mod transmux;
pub mod unheld;

use std::io;
use std::path::PathBuf;

use thiserror::Error;
pub use tokio_util::sync::CancellationToken;

/// What can go wrong with media, apart from a segment that holds none: that is a finding, not an error.
#[derive(Debug, Error)]
pub enum MediaError {
    /// ffmpeg or ffprobe is not installed.
    #[error("{0} is not installed (Debian: apt-get install ffmpeg)")]
    ProgramMissing(&'static str),
    /// It is there and could not be started.
    #[error("cannot start {program}: {source}")]
    Spawn {
        /// Name of the program.
        program: &'static str,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// ffmpeg could not make packets of the content.
    #[error("{path}: {detail}")]
    Content {
        /// Of which file.
        path: PathBuf,
        /// ffmpeg's last words.
        detail: String,
    },
    /// ffmpeg or ffprobe was killed, or crashed: that says nothing about the content. Try again later.
    #[error("{program} died ({how})")]
    Died {
        /// Name of the program.
        program: &'static str,
        /// Signal or exit status that ended it.
        how: String,
    },
    /// The file is not the one that was indexed: index it again.
    #[error("{path} does not match its index: {detail}")]
    Stale {
        /// Path of the file.
        path: PathBuf,
        /// What differs.
        detail: String,
    },
    /// A finished file is not what was written into it: it cannot be relied on.
    #[error("{path} is unsound: {detail}")]
    Unsound {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Stopped on request.
    #[error("stopped")]
    Cancelled,
    /// A bug of ours, met while this file was looked at: it says nothing about the next one.
    #[error("internal error: {0}")]
    Panicked(String),
}

/// Result of media work.
pub type Result<T> = std::result::Result<T, MediaError>;
