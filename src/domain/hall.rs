//! Halls and how to reach them.

use std::fmt;
use std::str::FromStr;

use super::hls::Quality;
use super::ids::{EventId, HallId, StreamId};
use super::stream_url::StreamUrl;

/// A room with streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hall {
    /// Primary key of the hall.
    pub id: HallId,
    /// The conference it belongs to.
    pub event: EventId,
    /// As the schedule's LOCATION names it.
    pub name: String,
    /// Name of its folder, unique in its event.
    pub slug: String,
    /// Other names of it.
    pub aliases: Vec<String>,
    /// Mirrors, the preferred one first.
    pub streams: Vec<Stream>,
    /// What turns its streams into bytes; `None`: the setting decides.
    pub recorder: Option<Recorder>,
    /// Which rendition of its streams; `None`: the setting decides.
    pub quality: Option<Quality>,
    /// How many connections its server allows us at once; 1 means no handover overlap.
    pub max_connections: u32,
    /// How many of its mirrors are taped at the same time; `None`: the setting.
    pub redundancy: Option<u32>,
}

/// One URL of a hall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Primary key of the stream.
    pub id: StreamId,
    /// Where it is.
    pub url: StreamUrl,
}

/// So many mirrors of a hall can be taped at once.
pub const MAX_REDUNDANCY: u32 = 2;

/// Which source tapes a hall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Recorder {
    /// ffmpeg for RTSP, the built-in clients for HLS, for playlists and where mplayer is not installed, mplayer
    /// otherwise.
    #[default]
    Auto,
    /// `mplayer -dumpstream`.
    Mplayer,
    /// `ffmpeg -c copy`.
    Ffmpeg,
    /// The built-in HTTP client.
    Http,
    /// The built-in HLS client.
    Hls,
}

impl Recorder {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Auto, Self::Mplayer, Self::Ffmpeg, Self::Http, Self::Hls];

    /// The word used in settings, halls files and the catalog.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Mplayer => "mplayer",
            Self::Ffmpeg => "ffmpeg",
            Self::Http => "http",
            Self::Hls => "hls",
        }
    }

    /// The source for one stream, never `Auto`. mplayer dumps nothing from RTSP and saves the
    /// playlist of an HLS stream (both measured with 1.5). ffmpeg takes HLS apart and begins anew after each
    /// trouble, where the built-in client goes on where it was. Of other playlists mplayer says that parsing
    /// them is disabled; the built-in client follows them.
    #[must_use]
    pub fn for_url(self, url: &StreamUrl) -> Self {
        match self {
            Self::Auto if url.is_rtsp() => Self::Ffmpeg,
            Self::Auto if url.is_hls() => Self::Hls,
            // The programs are not told the user's headers.
            Self::Auto if url.is_playlist() || (url.is_web() && !url.request().is_empty()) => Self::Http,
            // A stranger named it: the built-in client checks where each redirect and each name leads, a program does not.
            Self::Auto if url.is_web() && url.is_public_only() => Self::Http,
            Self::Auto => Self::Mplayer,
            chosen => chosen,
        }
    }
}

impl fmt::Display for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Recorder {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::Auto, Self::Mplayer, Self::Ffmpeg, Self::Http, Self::Hls]
            .into_iter()
            .find(|r| r.as_str() == word)
            .ok_or_else(|| format!("unknown recorder {word:?}: use auto, mplayer, ffmpeg, http or hls"))
    }
}

/// A hall's name folded for comparison: case, spacing and compatibility forms do not matter, so
/// `Saal 1`, `saal1` and ` SAAL  1` are one hall.
#[must_use]
pub fn fold_name(name: &str) -> String {
    use unicode_normalization::UnicodeNormalization;
    name.nfkc().filter(|c| !c.is_whitespace() && !c.is_control()).flat_map(char::to_lowercase).collect()
}
/// Another name of a hall, and how it was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HallRename {
    /// The hall that has another name now.
    pub hall: HallId,
    /// Its new name, as the schedule has it.
    pub name: String,
    /// What showed that both names mean one hall.
    pub by: RenamedBy,
}

/// How a renamed hall was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenamedBy {
    /// The room has the `guid` that the hall's room had.
    RoomGuid,
    /// All talks of the hall have the new name, and only those had another hall before.
    AllTalks,
}
