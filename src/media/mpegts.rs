//! MPEG-TS as bytes: where it may be cut so that a piece plays by itself, without taking it apart.
//!
//! Nothing is decoded and nothing is written anew: a cut lies at the packet with which a keyframe begins
//! (or, where there are no video frames, a frame of audio), and a piece has whole video frames and frames of every
//! stream, since each stream is cut where its own next one begins. Layout and numbers are those of
//! ISO/IEC 13818-1.

mod audio_frames;
mod bits;
mod demux;
mod elementary;
mod h264;
mod hevc;
mod mpeg2;
mod parameter_sets;
mod pes;
mod picture;
mod picture_splitter;
mod psi;
mod resync;
mod tail;
mod timestamps;

use std::collections::BTreeSet;
use std::fmt;

use xxhash_rust::xxh3::Xxh3Default;

pub use audio_frames::{AudioFrame, AudioSplitter, FrameHead};
pub use demux::{TsDemux, TsPacket, TsTrack};
pub use parameter_sets::{BEFORE_TICKS, ParameterSets, lacks_keyframe};
pub use psi::Codec;
pub use resync::PacketSync;
pub use tail::{CompleteTail, complete_tail};
pub use timestamps::Stretch;

use crate::domain::pts::{PTS_HZ, PTS_WRAP, nearest};
use crate::plan::anchor::CLOCK_JUMP_MS;

/// Length of a packet.
pub const PACKET: usize = 188;

/// Ticks of the clock in a second.
pub const TICKS: i64 = PTS_HZ;

/// The clock has 33 bits.
const WRAP: i64 = PTS_WRAP;

/// A step of the clock that is larger than this is another clock. Ticks.
const JUMP: i64 = CLOCK_JUMP_MS * TICKS / 1000;

/// A stream that began nothing in so many bytes after a cut is not waited for.
const SLACK: u64 = 4 << 20;

/// True where these first bytes of a file are those of MPEG-TS in packets of 188 bytes. It may begin in the middle of one.
#[must_use]
pub fn is_transport_stream(bytes: &[u8]) -> bool {
    /// So many packets in a row are no coincidence.
    const SURE: usize = 5;
    let packets = |at: usize| (at..bytes.len()).step_by(PACKET).take(SURE);
    let in_step = |at: usize| packets(at).all(|at| bytes[at] == 0x47);
    (0..bytes.len().min(16 * PACKET))
        .any(|at| in_step(at) && packets(at).count() >= SURE.min(bytes.len() / PACKET).max(2))
}

/// What a stream of a programme carries: the stream type of its map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TsStream {
    /// Number of its packets.
    pub pid: u16,
    /// Stream type, as the programme map says: 0x1b is H.264, 0x0f is AAC.
    pub kind: u8,
}

impl TsStream {
    /// True for video frames.
    #[must_use]
    pub fn is_video(self) -> bool {
        matches!(self.kind, 0x01 | 0x02 | 0x10 | 0x1b | 0x24)
    }

    /// Name of the codec, for people.
    #[must_use]
    pub fn codec(self) -> &'static str {
        match self.kind {
            0x01 => "MPEG-1 video",
            0x02 => "MPEG-2 video",
            0x03 | 0x04 => "MPEG audio",
            0x0f => "AAC",
            0x10 => "MPEG-4 part 2 video",
            0x11 => "AAC in LATM",
            0x1b => "H.264",
            0x24 => "HEVC",
            0x81 => "AC-3",
            _ => "an unknown codec",
        }
    }
}

/// A place where a piece may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// First byte of its packet in the file.
    pub byte: u64,
    /// Presentation time there, in ticks; the wrap after 26.5 hours is taken out.
    pub ticks: i64,
    /// The clock was set between the cut before it and this one: where the media ended by the clock before, ticks.
    pub jump: Option<i64>,
    /// Hash of the video frame (or frame): the same time in two files may be another video frame's, where an encoder
    /// began anew.
    pub hash: u64,
}

/// Reads a file from its start, as it grows.
#[derive(Clone, Default)]
pub struct Scan {
    /// Bytes taken so far.
    taken: u64,
    packets: PacketSync,
    pat: Option<Vec<u8>>,
    pmt: Option<Vec<u8>>,
    map_pid: Option<u16>,
    streams: Vec<TsStream>,
    cuts: Vec<Cut>,
    /// A cut, and the streams that began nothing after it yet.
    pending: Option<(Cut, BTreeSet<u16>)>,
    /// Of the video frame that a pending cut begins with, as far as it has come.
    hash: Xxh3Default,
    /// Presentation time last seen in the stream that is cut.
    last: Option<i64>,
    /// Between the two last ones.
    step: i64,
    /// The clock was set since the last cut: where the media ended by the one before.
    jumped: Option<i64>,
    /// The latest since the clock was last set.
    end: i64,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("taken", &self.taken).field("cuts", &self.cuts.len()).finish_non_exhaustive()
    }
}

impl Scan {
    /// How much of the file it has taken: go on from there.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The streams of the programme, once its map was seen.
    #[must_use]
    pub fn streams(&self) -> &[TsStream] {
        &self.streams
    }

    /// Where pieces may begin, in order: only cuts whose video frame is there as a whole, and after which every stream
    /// has begun something anew.
    #[must_use]
    pub fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// Where the media ends for now, in the clock of the last cut, ticks.
    #[must_use]
    pub fn end_ticks(&self) -> i64 {
        // A clock that no cut has yet is not the last one's.
        let pending = self.pending.as_ref().and_then(|(cut, _)| cut.jump);
        pending.or(self.jumped).unwrap_or(self.end)
    }

    /// The tables that a piece must begin with; empty until they were seen.
    #[must_use]
    pub fn tables(&self) -> Vec<u8> {
        self.pat.iter().chain(&self.pmt).flatten().copied().collect()
    }

    /// The stream that is cut: the video frames, or the audio where there are none.
    #[must_use]
    pub fn lead(&self) -> Option<u16> {
        self.streams.iter().find(|s| s.is_video()).or(self.streams.first()).map(|s| s.pid)
    }

    /// Takes the bytes that follow.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.taken += bytes.len() as u64;
        let mut packets = std::mem::take(&mut self.packets);
        packets.feed(bytes, |at, packet| self.packet(at, packet));
        self.packets = packets;
    }

    fn packet(&mut self, at: u64, packet: &[u8]) {
        let head = PacketHeader::of(packet);
        if head.pid == 0 && head.starts {
            if let Some(map_pid) = map_pid(head.payload(packet)) {
                self.map_pid = Some(map_pid);
                self.pat = Some(packet.to_vec());
            }
            return;
        }
        if Some(head.pid) == self.map_pid {
            if head.starts
                && let Some(streams) = streams(head.payload(packet))
            {
                self.streams = streams;
                self.pmt = Some(packet.to_vec());
            }
            return;
        }
        if !head.starts {
            if let Some((_, waiting)) = &self.pending
                && Some(head.pid) == self.lead()
                && waiting.contains(&head.pid)
            {
                self.hash.update(head.payload(packet));
            }
            return;
        }
        if !self.streams.iter().any(|s| s.pid == head.pid) {
            return;
        }
        if let Some((cut, waiting)) = &mut self.pending
            && waiting.remove(&head.pid)
            && Some(head.pid) == self.streams.iter().find(|s| s.is_video()).or(self.streams.first()).map(|s| s.pid)
        {
            cut.hash = self.hash.digest();
        }
        self.settle(at);
        let Some(lead) = self.streams.iter().find(|s| Some(s.pid) == self.lead()).copied() else { return };
        if head.pid != lead.pid {
            return;
        }
        let payload = head.payload(packet);
        let Some(raw) = pts(payload) else { return };
        let ticks = self.unwrapped(raw);
        if !lead.is_video() || head.random_access || begins_key_picture(lead.kind, payload) {
            // Two cuts without the other streams beginning anything between them: the first was none.
            let mut cut = Cut { byte: at, ticks, jump: self.jumped.take(), hash: 0 };
            if let Some((before, _)) = self.pending.take() {
                cut.jump = before.jump.or(cut.jump);
            }
            self.hash.reset();
            self.hash.update(payload);
            self.pending = Some((cut, self.streams.iter().map(|s| s.pid).collect()));
        }
    }

    /// A cut after which every stream has begun something is one.
    fn settle(&mut self, at: u64) {
        if let Some((cut, waiting)) = &self.pending
            && (waiting.is_empty() || at > cut.byte + SLACK)
        {
            self.cuts.push(*cut);
            self.pending = None;
        }
    }

    fn unwrapped(&mut self, raw: i64) -> i64 {
        let Some(last) = self.last else {
            self.last = Some(raw);
            self.end = raw;
            return raw;
        };
        let ticks = nearest(raw, last);
        let step = ticks - last;
        self.last = Some(ticks);
        if step.abs() > JUMP {
            self.jumped = self.jumped.or(Some(self.end));
            self.end = ticks;
        } else {
            // Video frames that are shown out of order step back and forth: the smallest step is a video frame's.
            if step > 0 && (self.step == 0 || step < self.step) {
                self.step = step;
            }
            self.end = self.end.max(ticks + self.step);
        }
        ticks
    }
}

/// What of a file belongs to the piece from one cut to another.
#[derive(Clone, Debug)]
pub struct TsSlice {
    from: u64,
    to: u64,
    lead: Option<u16>,
    begun: BTreeSet<u16>,
    over: BTreeSet<u16>,
    streams: Vec<u16>,
}

impl TsSlice {
    /// The piece between two cuts of `scan`'s file; `to` may be the file's end.
    #[must_use]
    pub fn new(scan: &Scan, from: u64, to: u64) -> Self {
        let streams = scan.streams.iter().map(|s| s.pid).collect();
        Self { from, to, lead: scan.lead(), begun: BTreeSet::new(), over: BTreeSet::new(), streams }
    }

    /// True where the packet at this byte belongs to it. Packets are asked for in order, from `from` on.
    pub fn has(&mut self, at: u64, packet: &[u8]) -> bool {
        let head = PacketHeader::of(packet);
        if Some(head.pid) == self.lead || !self.streams.contains(&head.pid) {
            return (self.from..self.to).contains(&at);
        }
        if head.starts && at >= self.from {
            self.begun.insert(head.pid);
        }
        if head.starts && at >= self.to {
            self.over.insert(head.pid);
        }
        self.begun.contains(&head.pid) && !self.over.contains(&head.pid)
    }

    /// True where nothing from this byte on belongs to it.
    #[must_use]
    pub fn is_over(&self, at: u64) -> bool {
        let others = self.streams.iter().filter(|pid| Some(**pid) != self.lead);
        at >= self.to && (others.into_iter().all(|pid| self.over.contains(pid)) || at > self.to + SLACK)
    }
}

/// What the head of a packet says.
struct PacketHeader {
    pid: u16,
    /// Something begins in it: a table, a video frame, a frame.
    starts: bool,
    random_access: bool,
    payload_at: usize,
}

impl PacketHeader {
    fn of(packet: &[u8]) -> Self {
        let byte = |at: usize| packet.get(at).copied().unwrap_or_default();
        let control = byte(3) >> 4 & 3;
        let adapted = control & 2 != 0;
        let length = if adapted { 1 + usize::from(byte(4)) } else { 0 };
        Self {
            pid: u16::from(byte(1) & 0x1f) << 8 | u16::from(byte(2)),
            starts: byte(1) & 0x40 != 0,
            random_access: adapted && byte(4) > 0 && byte(5) & 0x40 != 0,
            payload_at: if control & 1 != 0 { 4 + length } else { PACKET },
        }
    }

    fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet.get(self.payload_at..).unwrap_or_default()
    }
}

/// A section of a table, without its pointer field and its checksum.
fn section(payload: &[u8], table: u8) -> Option<&[u8]> {
    let start = 1 + usize::from(*payload.first()?);
    let section = payload.get(start..)?;
    if *section.first()? != table {
        return None;
    }
    let length = usize::from(section.get(1)? & 0x0f) << 8 | usize::from(*section.get(2)?);
    section.get(..(3 + length).checked_sub(4)?)
}

/// The packets that carry the map of the first programme.
fn map_pid(payload: &[u8]) -> Option<u16> {
    let section = section(payload, 0)?;
    let entries = section.get(8..)?.chunks_exact(4);
    entries.filter(|e| e[0] != 0 || e[1] != 0).map(|e| u16::from(e[2] & 0x1f) << 8 | u16::from(e[3])).next()
}

fn streams(payload: &[u8]) -> Option<Vec<TsStream>> {
    let section = section(payload, 2)?;
    let about = usize::from(section.get(10)? & 0x0f) << 8 | usize::from(*section.get(11)?);
    let mut entries = section.get(12 + about..)?;
    let mut found = Vec::new();
    while let [kind, high, low, length_high, length_low, rest @ ..] = entries {
        let stream = TsStream { pid: u16::from(high & 0x1f) << 8 | u16::from(*low), kind: *kind };
        // Video frames and audio; data and subtitles are not waited for.
        if matches!(kind, 0x01..=0x04 | 0x0f | 0x10 | 0x11 | 0x1b | 0x24 | 0x81) {
            found.push(stream);
        }
        let about = usize::from(length_high & 0x0f) << 8 | usize::from(*length_low);
        entries = rest.get(about..)?;
    }
    Some(found)
}

/// Presentation time of what begins here.
fn pts(payload: &[u8]) -> Option<i64> {
    let head = payload.get(..14)?;
    if head[..3] != [0, 0, 1] || head[7] & 0x80 == 0 {
        return None;
    }
    let b = |at: usize| i64::from(head[at]);
    Some((b(9) >> 1 & 7) << 30 | b(10) << 22 | (b(11) >> 1) << 15 | b(12) << 7 | b(13) >> 1)
}

/// Whether a keyframe begins in the first packet of its stream's unit. Encoders that do not mark random
/// access put parameter sets before it.
fn begins_key_picture(kind: u8, payload: &[u8]) -> bool {
    let body = payload.get(8).and_then(|length| payload.get(9 + usize::from(*length)..)).unwrap_or_default();
    body.windows(4).filter(|w| w[..3] == [0, 0, 1]).any(|w| match kind {
        0x1b => matches!(w[3] & 0x1f, 5 | 7),
        0x24 => matches!(w[3] >> 1 & 0x3f, 16..=21 | 32..=34),
        // A sequence header.
        0x01 | 0x02 => w[3] == 0xb3,
        _ => false,
    })
}

#[cfg(test)]
mod tests;
