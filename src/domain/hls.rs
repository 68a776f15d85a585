//! What HLS playlists say. Its media segments are not to be confused with [`super::segment::Segment`], a recorded file.

use std::fmt;
use std::str::FromStr;

use url::Url;

use super::pts::{PTS_HZ, PTS_WRAP};
use super::time::Ms;

/// Which rendition of a stream is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Quality {
    /// The largest video, then the highest rate.
    #[default]
    Best,
    /// The smallest video.
    Worst,
    /// The largest video of at most so many lines; the smallest there is where all have more.
    Lines(u32),
    /// Audio only, where the stream offers it by itself; else as `Worst`.
    Audio,
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Best => f.write_str("best"),
            Self::Worst => f.write_str("worst"),
            Self::Lines(lines) => write!(f, "{lines}p"),
            Self::Audio => f.write_str("audio"),
        }
    }
}

impl FromStr for Quality {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let lines = word.strip_suffix('p').and_then(|n| n.parse().ok()).filter(|n| (1..=10_000).contains(n));
        match (word, lines) {
            ("best", _) => Ok(Self::Best),
            ("worst", _) => Ok(Self::Worst),
            ("audio", _) => Ok(Self::Audio),
            (_, Some(lines)) => Ok(Self::Lines(lines)),
            _ => Err(format!("unknown quality {word:?}: use best, worst, audio, or a height such as 1080p")),
        }
    }
}

/// One of the two kinds of playlist.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyPlaylist {
    /// Lists variants.
    Master(MasterPlaylist),
    /// Lists media segments.
    Media(MediaPlaylist),
}

/// A master playlist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MasterPlaylist {
    /// In the order of the file.
    pub variants: Vec<Variant>,
    /// Renditions of audio that have a playlist of their own, or are said to be inside their variants.
    pub audio_renditions: Vec<AudioRendition>,
}

/// One variant: the same programme at one quality.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its media playlist.
    pub url: Url,
    /// Bits per second at most.
    pub bandwidth: u64,
    /// Lines of the video, where told.
    pub lines: Option<u32>,
    /// Codecs, where told.
    pub codecs: Option<String>,
    /// The group of its audio, where that is told apart.
    pub audio_group: Option<String>,
}

/// One rendition of audio.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioRendition {
    /// GROUP-ID attribute.
    pub group: String,
    /// Its playlist; `None`: it is inside the variant.
    pub url: Option<Url>,
    /// To be taken where nobody chooses.
    pub default: bool,
}

/// A media playlist: the window of media segments that the server holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MediaPlaylist {
    /// No media segment is longer than this, milliseconds; 0 where the playlist does not say.
    pub target_ms: i64,
    /// Oldest first.
    pub segments: Vec<MediaSegment>,
    /// No media segment will follow.
    pub ended: bool,
}

impl MediaPlaylist {
    /// Length of all it holds, milliseconds.
    #[must_use]
    pub fn held_ms(&self) -> i64 {
        self.segments.iter().fold(0, |sum: i64, segment| sum.saturating_add(segment.duration_ms))
    }
}

/// A media segment of HLS: some seconds of the stream under an address of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct MediaSegment {
    /// Media sequence number.
    pub sequence: u64,
    /// Where its bytes are.
    pub url: Url,
    /// Which of them; `None`: all.
    pub range: Option<ByteRange>,
    /// Milliseconds.
    pub duration_ms: i64,
    /// When its first frame was made, as the encoder's clock has it (EXT-X-PROGRAM-DATE-TIME).
    pub program_date_time: Option<Ms>,
    /// Timestamps or formats change before it.
    pub discontinuity: bool,
    /// The server says that it has not got it.
    pub gap: bool,
    /// What must stand before it (EXT-X-MAP), the start of an MP4.
    pub map: Option<InitSection>,
    /// How it is encrypted.
    pub key: Option<Key>,
}

impl MediaSegment {
    /// Its name on the server: the last part of its path, since hosts and the parts before change with
    /// load balancers and signatures, and where it begins if it is a part of a file.
    #[must_use]
    pub fn name(&self) -> String {
        let last = last_part(&self.url);
        self.range.map_or_else(|| last.to_owned(), |range| format!("{last}@{}", range.offset))
    }

    /// When its last frame ended, by the encoder's clock.
    #[must_use]
    pub fn end_date_time(&self) -> Option<Ms> {
        self.program_date_time.map(|program_date_time| program_date_time.plus(self.duration_ms))
    }
}

fn last_part(url: &Url) -> &str {
    url.path().rsplit('/').next().unwrap_or_default()
}

/// Bytes of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// The first one.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

/// The start of an MP4, which its fragments need.
#[derive(Clone, Debug, PartialEq)]
pub struct InitSection {
    /// Where it is.
    pub url: Url,
    /// Which bytes; `None`: all.
    pub range: Option<ByteRange>,
    /// How it is encrypted.
    pub key: Option<Key>,
}

impl InitSection {
    /// True where both are the same start: by name as [`MediaSegment::name`], since the rest of an address changes with
    /// load balancers and signatures, by its bytes, and by how it is encrypted.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let same_key = match (&self.key, &other.key) {
            (Some(a), Some(b)) => a.is_like(b),
            (None, None) => true,
            _ => false,
        };
        same_key && self.range == other.range && last_part(&self.url) == last_part(&other.url)
    }
}

/// An encryption.
#[derive(Clone, Debug, PartialEq)]
pub enum Key {
    /// AES-128 in CBC over the whole media segment.
    Aes128 {
        /// Where the key is.
        url: Url,
        /// Initialization vector; `None`: the media sequence number.
        iv: Option<[u8; 16]>,
    },
    /// Another one, by name: such media segments cannot be used.
    Other(String),
}

impl Key {
    /// True where both encrypt in the same way, whatever the address of the key.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Aes128 { iv: a, .. }, Self::Aes128 { iv: b, .. }) => a == b,
            (Self::Other(a), Self::Other(b)) => a == b,
            _ => false,
        }
    }
}

/// The clock of a media segment of packed audio (RFC 8216, 3.4): its ID3 tag holds an MPEG-2 timestamp of 33 bits. In
/// seconds; the last minute before the clock begins anew counts from below 0, as ffmpeg has it. `None`: it has no
/// such tag, and so mostly a clock of its own inside.
#[must_use]
pub fn packed_audio_timestamp(segment: &[u8]) -> Option<f64> {
    const OWNER: &[u8] = b"com.apple.streaming.transportStreamTimestamp\0";
    if !segment.starts_with(b"ID3") {
        return None;
    }
    let at = segment.windows(OWNER.len()).position(|bytes| bytes == OWNER)? + OWNER.len();
    let ticks = u64::from_be_bytes(segment.get(at..at + 8)?.try_into().ok()?).cast_signed().rem_euclid(PTS_WRAP);
    let ticks = if ticks >= PTS_WRAP - 60 * PTS_HZ { ticks - PTS_WRAP } else { ticks };
    Some(ticks as f64 / PTS_HZ as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualities_read_back_as_they_were_written() {
        for quality in [Quality::Best, Quality::Worst, Quality::Audio, Quality::Lines(720)] {
            assert_eq!(quality.to_string().parse(), Ok(quality));
        }
        for bad in ["", "p", "0p", "-1p", "1080", "Best", "99999p"] {
            assert!(bad.parse::<Quality>().expect_err(bad).contains("1080p"));
        }
    }

    #[test]
    fn packed_audio_has_its_clock_in_a_tag() {
        let tagged = |ticks: u64| {
            let owner = b"PRIV\0\0\0\x35\0\0com.apple.streaming.transportStreamTimestamp\0".as_slice();
            [b"ID3\x04\0\0\0\0\0\x3f".as_slice(), owner, &ticks.to_be_bytes(), b"\xff\xf1"].concat()
        };
        assert_eq!(packed_audio_timestamp(&tagged(135_000)), Some(1.5));
        assert_eq!(packed_audio_timestamp(&tagged((1 << 33) - 90_000)), Some(-1.0), "about to begin anew");
        let torn = tagged(1).len() - 3;
        for other in [&tagged(1)[..torn], b"ID3\x04", b"\x47\x40\0\x10", b""] {
            assert_eq!(packed_audio_timestamp(other), None);
        }
    }
}
