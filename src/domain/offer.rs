//! Streams as a congress' own list offers them.

use std::fmt;
use std::str::FromStr;

use super::stream_url::StreamUrl;

/// How a stream is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tech {
    /// A playlist of MPEG-TS or MP4.
    Hls,
    /// WebM without end.
    Webm,
    /// Opus in Ogg without end.
    Opus,
    /// MP3 without end.
    Mp3,
}

impl Tech {
    /// The word in the list, and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hls => "hls",
            Self::Webm => "webm",
            Self::Opus => "opus",
            Self::Mp3 => "mp3",
        }
    }
}

impl fmt::Display for Tech {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Tech {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let all = [Self::Hls, Self::Webm, Self::Opus, Self::Mp3];
        all.into_iter().find(|t| t.as_str() == word).ok_or_else(|| format!("{word:?} is none of hls, webm, opus, mp3"))
    }
}

/// One stream that is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// How it is sent.
    pub tech: Tech,
    /// Lines of its picture; `None`: sound only.
    pub lines: Option<u32>,
    /// Address of the stream.
    pub url: StreamUrl,
}

/// A room, and what is offered of it in the language that is spoken there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// What it may be called: as in the schedule first.
    pub names: Vec<String>,
    /// In the order of the list.
    pub offers: Vec<Offer>,
}
