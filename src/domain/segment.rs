//! What taping leaves behind: connections, segments, marks, and why they ended.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use uuid::Uuid;

use super::ids::{ConnectionId, HallId, SegmentId, StreamId};
use super::interval::{Interval, IntervalSet};
use super::media::MediaSpan;
use super::presence::TrackSpan;
use super::time::Ms;

/// Why a connection (and with it its segment) ended. The words are stored in the catalog, printed by
/// `list` and `show` and used as gap causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The server ended the stream, or the source ended without saying why.
    Eof,
    /// No bytes for `stall_timeout`.
    Stalled,
    /// No first byte within `first_byte_timeout`.
    NoFirstByte,
    /// Connection refused.
    Refused,
    /// The server answered with this HTTP status.
    Http(u16),
    /// The host's name could not be looked up.
    Dns,
    /// The schedule's address leads to this machine or into a private network, and was not opened.
    PrivateAddress,
    /// The network said no: unreachable, reset and the like.
    Network,
    /// No secure connection: a certificate that does not fit, another TLS failure.
    Tls,
    /// What came was not media: a web page, a playlist, a redirect file.
    NotMedia,
    /// The source program could not be started.
    SourceMissing,
    /// The source program failed or was killed by a signal.
    SourceFailed,
    /// The file could not be written.
    DiskFull,
    /// Another connection took over: at a talk boundary, or since its stream is not the hall's any more.
    Handover,
    /// A handover's new connection that did not become good in time; the old one went on.
    HandoverFailed,
    /// Opened beside a connection that was silent, and not needed: that one went on.
    HedgeLost,
    /// The union of windows ended.
    WindowEnd,
    /// The user stopped the daemon.
    Shutdown,
    /// The talk was opted out of recording, or the hall is no longer wanted.
    Unwanted,
    /// The daemon died; recovery closed it.
    Crash,
}

impl EndReason {
    /// Every end reason but [`Self::Http`], which has a variant for each status code.
    pub const PLAIN: [Self; 19] = [
        Self::Eof,
        Self::Stalled,
        Self::NoFirstByte,
        Self::Refused,
        Self::Dns,
        Self::PrivateAddress,
        Self::Network,
        Self::Tls,
        Self::NotMedia,
        Self::SourceMissing,
        Self::SourceFailed,
        Self::DiskFull,
        Self::Handover,
        Self::HandoverFailed,
        Self::HedgeLost,
        Self::WindowEnd,
        Self::Shutdown,
        Self::Unwanted,
        Self::Crash,
    ];

    /// True where the end was our wish: no failure, no backoff, no cause of a gap.
    #[must_use]
    pub fn is_wanted(self) -> bool {
        matches!(
            self,
            Self::Handover | Self::HandoverFailed | Self::HedgeLost | Self::WindowEnd | Self::Shutdown | Self::Unwanted
        )
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eof => "eof",
            Self::Stalled => "stalled",
            Self::NoFirstByte => "no-first-byte",
            Self::Refused => "refused",
            Self::Http(status) => return write!(f, "http-{status}"),
            Self::Dns => "dns",
            Self::PrivateAddress => "private-address",
            Self::Network => "network",
            Self::Tls => "tls",
            Self::NotMedia => "not-media",
            Self::SourceMissing => "source-missing",
            Self::SourceFailed => "source-failed",
            Self::DiskFull => "disk-full",
            Self::Handover => "handover",
            Self::HandoverFailed => "handover-failed",
            Self::HedgeLost => "hedge-lost",
            Self::WindowEnd => "window-end",
            Self::Shutdown => "shutdown",
            Self::Unwanted => "unwanted",
            Self::Crash => "crash",
        })
    }
}

impl FromStr for EndReason {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        if let Some(status) = word.strip_prefix("http-").and_then(|s| s.parse().ok()) {
            return Ok(Self::Http(status));
        }
        Self::PLAIN.into_iter().find(|r| r.to_string() == word).ok_or_else(|| format!("unknown end reason {word:?}"))
    }
}

/// What a file holds, read from its first bytes, never from its name or a server's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    /// MPEG transport stream.
    MpegTs,
    /// Matroska (EBML DocType `matroska`).
    Matroska,
    /// WebM (EBML DocType `webm`).
    WebM,
    /// Ogg (RFC 3533).
    Ogg,
    /// Windows Media.
    Asf,
    /// MPEG audio (MP3, MP2) without a container.
    Mp3,
    /// AAC in ADTS frames.
    Adts,
    /// Flash video.
    Flv,
    /// MP4, also fragmented.
    Mp4,
    /// MPEG program stream.
    MpegPs,
    /// FLAC without a container.
    Flac,
    /// RIFF WAVE audio.
    Wav,
    /// None of the above.
    Unknown,
}

impl Container {
    const ALL: [Self; 13] = [
        Self::MpegTs,
        Self::Matroska,
        Self::WebM,
        Self::Ogg,
        Self::Asf,
        Self::Mp3,
        Self::Adts,
        Self::Flv,
        Self::Mp4,
        Self::MpegPs,
        Self::Flac,
        Self::Wav,
        Self::Unknown,
    ];

    /// The word in the catalog and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MpegTs => "mpegts",
            Self::Matroska => "matroska",
            Self::WebM => "webm",
            Self::Ogg => "ogg",
            Self::Asf => "asf",
            Self::Mp3 => "mp3",
            Self::Adts => "adts",
            Self::Flv => "flv",
            Self::Mp4 => "mp4",
            Self::MpegPs => "mpegps",
            Self::Flac => "flac",
            Self::Wav => "wav",
            Self::Unknown => "unknown",
        }
    }

    /// The file name extension, without dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::MpegTs => "ts",
            Self::Matroska => "mkv",
            Self::MpegPs => "mpg",
            Self::Adts => "aac",
            Self::Unknown => "bin",
            other => other.as_str(),
        }
    }
}

impl FromStr for Container {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|c| c.as_str() == word).ok_or_else(|| format!("unknown container {word:?}"))
    }
}

/// What a segment is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Still being written.
    Open,
    /// Closed, its media not looked at yet.
    Unchecked,
    /// Recognised media.
    Media,
    /// Closed, and not media.
    NotMedia,
    /// The row is there and the file is not.
    Lost,
    /// Deleted on purpose; the row stays with sha256, size and reason.
    Pruned,
    /// Of an opted-out talk: kept aside, never assembled or shown.
    Quarantined,
}

impl Verdict {
    const ALL: [Self; 7] =
        [Self::Open, Self::Unchecked, Self::Media, Self::NotMedia, Self::Lost, Self::Pruned, Self::Quarantined];

    /// The word in the catalog and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Unchecked => "unchecked",
            Self::Media => "media",
            Self::NotMedia => "not-media",
            Self::Lost => "lost",
            Self::Pruned => "pruned",
            Self::Quarantined => "quarantined",
        }
    }
}

impl FromStr for Verdict {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|v| v.as_str() == word).ok_or_else(|| format!("unknown verdict {word:?}"))
    }
}

/// "By this wall time, this many bytes of the segment had arrived."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Arrival of the byte before `offset`, wall clock.
    pub at: Ms,
    /// Bytes from the start of the segment.
    pub offset: u64,
}

/// A segment, as the catalog knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Primary key of the segment.
    pub id: SegmentId,
    /// UUID of the segment; equal in all catalogs that it is merged into.
    pub uuid: Uuid,
    /// Hall that was recorded.
    pub hall: HallId,
    /// From which connection; `None`: adopted from disk.
    pub connection: Option<ConnectionId>,
    /// From which stream.
    pub stream: Option<StreamId>,
    /// Relative to the data directory.
    pub path: PathBuf,
    /// What it holds.
    pub container: Container,
    /// Where its media lies in wall time; arrival of its first and last byte until it is indexed.
    pub at: Interval,
    /// Arrival of the first byte.
    pub opened: Ms,
    /// When it was closed.
    pub closed: Option<Ms>,
    /// Bytes in the file.
    pub bytes: u64,
    /// Bytes that came and could not be written.
    pub lost_bytes: u64,
    /// SHA-256 of the file; `None` while open.
    pub sha256: Option<[u8; 32]>,
    /// Length of its media in milliseconds, holes not counted; `None`: not indexed.
    pub media_ms: Option<i64>,
    /// What it is worth.
    pub verdict: Verdict,
    /// Why it is lost, pruned, quarantined or no media.
    pub verdict_reason: Option<String>,
    /// Why it ended.
    pub end_reason: Option<EndReason>,
    /// Its stretches of media, in file order; empty until it is indexed.
    pub spans: Vec<MediaSpan>,
    /// Where each of its tracks has media; empty until it is indexed, and where that was done by a version that did not
    /// look at single tracks.
    pub tracks: Vec<TrackSpan>,
}

impl Segment {
    /// Where it covers wall time with media: its spans, or, while it is not indexed, where bytes came.
    /// Lost, quarantined and not-media files cover nothing. A pruned fragment still counts: its media
    /// stands in the assembly that allowed the pruning.
    #[must_use]
    pub fn covered(&self) -> IntervalSet {
        match self.verdict {
            Verdict::Media | Verdict::Pruned => {
                self.spans.iter().map(|s| s.wall().intersect(self.until_closed())).collect()
            }
            Verdict::Open | Verdict::Unchecked => self.at.into(),
            Verdict::NotMedia | Verdict::Lost | Verdict::Quarantined => IntervalSet::new(),
        }
    }

    /// Where each of its tracks has media, as [`Segment::covered`] counts it. Empty where single tracks are not known.
    pub fn track_spans(&self) -> impl Iterator<Item = TrackSpan> + '_ {
        let counts = matches!(self.verdict, Verdict::Media | Verdict::Pruned);
        let limit = self.until_closed();
        let clipped = move |t: &TrackSpan| TrackSpan { wall: t.wall.intersect(limit), ..*t };
        self.tracks.iter().filter(move |_| counts).map(clipped).filter(|t| !t.wall.is_empty())
    }

    /// Media that a file holds in advance (a server that sends a finished recording) is of no later time than its end.
    fn until_closed(&self) -> Interval {
        let end = self.closed.map_or(Ms(i64::MAX), |closed| closed.plus(CLOCK_SLACK_MS));
        Interval::new(Ms(i64::MIN), end)
    }
}

/// Media may seem to end so long after its connection, milliseconds: the length of its last packets, and dates of a
/// server whose clock is fast.
const CLOCK_SLACK_MS: i64 = 10_000;

/// One life of a source on a stream, as the catalog knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// Primary key of the connection.
    pub id: ConnectionId,
    /// Hall that was recorded.
    pub hall: HallId,
    /// On which stream.
    pub stream: Option<StreamId>,
    /// When it was asked for.
    pub opened: Ms,
    /// When its first byte came.
    pub first_byte: Option<Ms>,
    /// When it ended; `None`: it is open, or the daemon died.
    pub closed: Option<Ms>,
    /// Bytes it delivered.
    pub bytes: u64,
    /// Why it ended.
    pub end: Option<EndReason>,
    /// The source's own words.
    pub detail: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_as_what_they_were_written_from() {
        for reason in EndReason::PLAIN.into_iter().chain([EndReason::Http(404)]) {
            assert_eq!(reason.to_string().parse(), Ok(reason));
        }
        for container in Container::ALL {
            assert_eq!(container.as_str().parse(), Ok(container));
        }
        for verdict in Verdict::ALL {
            assert_eq!(verdict.as_str().parse(), Ok(verdict));
        }
        assert!("http-abc".parse::<EndReason>().is_err());
    }
}
