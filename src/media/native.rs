//! What this program takes apart itself, without a child process: MPEG-TS, and audio without a container.

use super::mpegts::{TsDemux, TsPacket, TsTrack, is_transport_stream};
use super::raw_audio::RawAudio;

/// So much of a file should be there to say what it is, bytes.
pub const BEGIN: usize = 256 << 10;

/// A file that is being read.
#[derive(Debug)]
pub enum Native {
    /// MPEG-TS in packets of 188 bytes.
    Ts(Box<TsDemux>),
    /// Audio without a container.
    Audio(RawAudio),
}

impl Native {
    /// A reader for a file that begins with these bytes; `None`: it is for ffmpeg.
    #[must_use]
    pub fn of(begin: &[u8]) -> Option<Self> {
        if is_transport_stream(begin) {
            return Some(Self::Ts(Box::default()));
        }
        RawAudio::of(begin).map(Self::Audio)
    }

    /// Name of the container, as ffmpeg has it.
    #[must_use]
    pub fn format(&self) -> &'static str {
        match self {
            Self::Ts(_) => "mpegts",
            Self::Audio(audio) => audio.format(),
        }
    }

    /// The tracks so far.
    #[must_use]
    pub fn tracks(&self) -> &[TsTrack] {
        match self {
            Self::Ts(ts) => ts.tracks(),
            Self::Audio(audio) => audio.tracks(),
        }
    }

    /// Takes the bytes that follow. `take` is handed the packets, in the order of the file.
    pub fn feed(&mut self, bytes: &[u8], take: impl FnMut(&[TsTrack], TsPacket)) {
        match self {
            Self::Ts(ts) => ts.feed(bytes, take),
            Self::Audio(audio) => audio.feed(bytes, take),
        }
    }

    /// Nothing follows: what is left.
    pub fn finish(&mut self, take: impl FnMut(&[TsTrack], TsPacket)) {
        match self {
            Self::Ts(ts) => ts.finish(take),
            Self::Audio(audio) => audio.finish(take),
        }
    }
}
