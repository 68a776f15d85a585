//! What is known of the media inside a segment.

use super::interval::Interval;
use super::time::Ms;

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrackKind {
    /// Video frames.
    Video,
    /// Audio frames.
    Audio,
    /// Subtitles and the rest: not carried into assemblies.
    Other,
}

/// One track of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Number of the track, from 1, in the order of the tracks that are carried into an assembly.
    pub number: u32,
    /// Video frames or audio.
    pub kind: TrackKind,
    /// Matroska codec id, such as `V_MPEG4/ISO/AVC`.
    pub codec: String,
    /// Hash of everything that must be equal for two segments to share a track of an assembly: codec
    /// id, codec private data, and the video frame's or the audio's format.
    pub format_hash: u64,
    /// Which stream of the file it is, as ffprobe counts, from 0.
    pub stream: u32,
    /// True for AAC whose frames carry ADTS heads (MPEG-TS, Icecast): the demuxer takes them off.
    pub adts: bool,
    /// Its last packet is known to be whole, though the container is one where it may be torn.
    pub whole_end: bool,
    /// Usual length of a packet in milliseconds, 0 where unknown.
    pub packet_ms: i64,
    /// Number of its packets in the whole segment. The tail's packets are the last of them, which
    /// gives each its ordinal.
    pub packets: u64,
    /// Packet identifier on which MPEG-TS carried it first; 0 in other containers.
    pub pid: u16,
    /// Language of ISO 639-2, such as `deu`; empty where none is named.
    pub language: String,
    /// Content of its `TrackEntry` element in Matroska: what a file that has its packets must say of them.
    pub entry: Vec<u8>,
    /// Presentation times of its keyframes, milliseconds, rising, of a video track that is not the first: those of the
    /// first are [`MediaIndex::keys_ms`].
    pub keys_ms: Vec<i64>,
}

/// One packet: a coded video frame or a stretch of coded audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Number of its track.
    pub track: u32,
    /// Presentation time in the segment's own clock, milliseconds.
    pub pts_ms: i64,
    /// Duration in milliseconds, 0 where the container does not say.
    pub duration_ms: i64,
    /// Decoding may begin here.
    pub key: bool,
    /// Payload bytes.
    pub size: u32,
    /// Hash of the payload.
    pub hash: u64,
}

/// A stretch of continuous media of one segment and where it lies in wall time. A timestamp reset
/// inside a segment, or a hole in its media, begins a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaSpan {
    /// First presentation time, in the segment's own clock, milliseconds.
    pub media_start_ms: i64,
    /// End of the last packet, same clock.
    pub media_end_ms: i64,
    /// Wall time = media time + this: the smallest (arrival - media time) seen.
    pub offset_ms: i64,
}

impl MediaSpan {
    /// Where it lies in wall time.
    #[must_use]
    pub fn wall(self) -> Interval {
        Interval::new(Ms(self.media_start_ms).plus(self.offset_ms), Ms(self.media_end_ms).plus(self.offset_ms))
    }
}

/// A stretch of one track without a hole, in the segment's own clock, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackStretch {
    /// Number of the track, from 1.
    pub track: u32,
    /// What the track carries.
    pub kind: TrackKind,
    /// Presentation time of its first packet.
    pub start_ms: i64,
    /// End of its last packet.
    pub end_ms: i64,
    /// Presentation time of its first keyframe; `None` where it has none, and for audio, which needs none.
    pub keyframe_ms: Option<i64>,
}

/// What indexing a closed segment found. Kept in the catalog, so that coverage, seams and assembly
/// plans need not read the file again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaIndex {
    /// The tracks that can be carried into an assembly.
    pub tracks: Vec<Track>,
    /// Stretches of media, in the order of the file.
    pub spans: Vec<MediaSpan>,
    /// Where each track has media, by track and time. Finer than `spans`, which ask only whether any track has media.
    pub track_stretches: Vec<TrackStretch>,
    /// Packets of the first [`EDGE_MS`] of the segment, in file order.
    pub head: Vec<Packet>,
    /// Packets of the last [`EDGE_MS`], in file order. A segment shorter than that has the same
    /// packets in both.
    pub tail: Vec<Packet>,
    /// Presentation times of the first track's key packets, milliseconds, rising: where a cut may
    /// begin. Empty where the first track is no video: audio can be cut anywhere.
    pub keys_ms: Vec<i64>,
    /// ffprobe's name of the container, such as `mpegts`; empty where it knows none.
    pub format: String,
    /// Byte ranges that are read one after the other, each with a clock of its own: more than one
    /// where timestamps start anew inside the file. Empty where nothing could be read.
    pub clock_ranges: Vec<ClockRange>,
    /// The very last packet of each track may be a torn one: the container has no frames around its
    /// packets that would tell.
    pub ragged_end: bool,
    /// Why there is no media in it, or what was odd.
    pub problem: Option<String>,
    /// Packets from its middle, where another segment's end was looked for in it.
    pub packet_windows: Vec<PacketWindow>,
    /// What its file is read behind, where it has no keyframe and so does not say what its video frames are: the
    /// beginning of one of an earlier segment. Empty: nothing.
    pub prefix: Vec<u8>,
    /// What its file carries beside the tracks, for people: data streams, other programmes. It is in no joined file.
    pub left_out: Vec<String>,
    /// It is MPEG-TS that this program takes apart itself; else ffmpeg does.
    pub is_native: bool,
}

/// Packets around an instant inside a segment: what head and tail are at its ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketWindow {
    /// First instant, in the segment's own clock, milliseconds.
    pub from_ms: i64,
    /// First instant after.
    pub to_ms: i64,
    /// For each track, by number: how many of its packets lie before the first one here.
    pub before: Vec<u64>,
    /// In file order; of each track without holes.
    pub packets: Vec<Packet>,
}

/// A stretch of bytes whose timestamps belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockRange {
    /// Offset of the first byte.
    pub from_byte: u64,
    /// First byte after; `None`: the end of the file.
    pub to_byte: Option<u64>,
    /// Added to the timestamps found there to get the segment's own clock, which only rises.
    pub shift_ms: i64,
    /// Its earliest media, in the segment's own clock.
    pub start_ms: i64,
}

impl MediaIndex {
    /// Milliseconds of media, holes not counted.
    #[must_use]
    pub fn media_ms(&self) -> i64 {
        self.spans.iter().map(|s| s.media_end_ms - s.media_start_ms).sum()
    }
}

/// How much of each end of a segment is kept as packets for finding seams, in milliseconds.
pub const EDGE_MS: i64 = 60_000;
