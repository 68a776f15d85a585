//! Takes MPEG-TS apart: packets of each track with their times, whatever happens to the programme's map, its PIDs, its
//! formats and its clock on the way. Each packet has a time; each format has a track of its own.

use std::collections::{BTreeMap, VecDeque};

use super::audio_frames::AudioFrame;
use super::elementary::{Elementary, Output};
use super::picture::CodedPicture;
use super::psi::{Codec, SectionReader, StreamInfo, programmes, streams};
use super::timestamps::{Clock, StreamTime, Stretch};
use super::{PacketHeader, PacketSync, TICKS};
use crate::domain::media::TrackKind;
use crate::media::track::{TrackEntry, TrackLabel};

/// So much is held back at most while the format of a stream is not known, bytes.
const MAX_HELD: usize = 32 << 20;

/// So many packets are kept at most while no map has come: 8 MB.
const MOST_EARLY: usize = 44_000;

/// More tracks than this are not made: what looks like as many formats is damage.
const MOST_TRACKS: usize = 64;

/// A track: all packets of one format that belong together, on whatever PIDs they came.
#[derive(Clone, Debug)]
pub struct TsTrack {
    /// Its head in Matroska.
    pub entry: TrackEntry,
    /// Hash of its format.
    pub hash: u64,
    /// The PID on which it was sent first.
    pub pid: u16,
    /// Language of ISO 639-2; empty: none is named.
    pub language: String,
    /// Its last packet is known to be whole.
    pub whole_end: bool,
    /// The PID on which it is being sent.
    live: Option<u16>,
}

impl TsTrack {
    /// A track that came on no PID.
    #[must_use]
    pub fn new(entry: TrackEntry, hash: u64) -> Self {
        Self { entry, hash, pid: 0, language: String::new(), whole_end: true, live: None }
    }
}

/// A packet of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TsPacket {
    /// Place of its track among [`TsDemux::tracks`].
    pub track: usize,
    /// Byte of the file at which the unit begins that it came in.
    pub byte: u64,
    /// Presentation time in the segment's own clock, milliseconds.
    pub pts_ms: i64,
    /// Length, milliseconds; 0: it is not said.
    pub duration_ms: i64,
    /// Decoding may begin here.
    pub key: bool,
    /// The coded frame.
    pub payload: Vec<u8>,
}

/// A packet that waits until its turn comes.
#[derive(Debug)]
struct Held {
    stream: u64,
    /// Its track; `None`: it is that of the stream's first format, which is not known yet.
    track: Option<usize>,
    packet: TsPacket,
}

/// Reads a file from its start.
#[derive(Debug, Default)]
pub struct TsDemux {
    packets: PacketSync,
    pat: SectionReader,
    pmt: SectionReader,
    programmes: Vec<(u16, u16)>,
    map_pid: Option<u16>,
    map: Vec<StreamInfo>,
    streams: BTreeMap<u16, (u64, Elementary)>,
    /// Number of the next stream, and which track each is: a stream is of one track after another, where its format
    /// changes.
    next_stream: u64,
    stream_tracks: BTreeMap<u64, usize>,
    /// The first track of each stream: what came before its format was known is of that.
    first_tracks: BTreeMap<u64, usize>,
    /// Packets that came before the first map: which byte each begins at.
    early: Vec<(u64, Vec<u8>)>,
    clock: Clock,
    tracks: Vec<TsTrack>,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// What is in the programme and not read, by PID.
    left_out: BTreeMap<u16, String>,
    unsupported: Option<&'static str>,
    scrambled: u64,
    clear: u64,
}

impl TsDemux {
    /// The tracks so far, in the order in which they began. More may come.
    #[must_use]
    pub fn tracks(&self) -> &[TsTrack] {
        &self.tracks
    }

    /// Stretches of bytes of one clock.
    #[must_use]
    pub fn stretches(&self) -> &[Stretch] {
        self.clock.stretches()
    }

    /// What the file carries besides the tracks, for people: data streams, other programmes.
    #[must_use]
    pub fn left_out(&self) -> Vec<String> {
        let mut out: Vec<String> = self.left_out.values().cloned().collect();
        out.dedup();
        let others = self.programmes.len().saturating_sub(1);
        if others > 0 {
            let numbers: Vec<String> = self.programmes.iter().skip(1).map(|(number, _)| number.to_string()).collect();
            out.push(format!(
                "{others} other programme{} (number {})",
                if others == 1 { "" } else { "s" },
                numbers.join(", ")
            ));
        }
        out
    }

    /// A stream of video or audio that this reader cannot read.
    #[must_use]
    pub fn unsupported(&self) -> Option<&'static str> {
        self.unsupported
    }

    /// True where most of it is scrambled.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.scrambled > self.clear
    }

    /// True where a stream of video was seen whose parameter sets never came.
    #[must_use]
    pub fn lacks_video_format(&self) -> bool {
        let named = self.map.iter().any(|info| info.codec.is_video());
        named && !self.tracks.iter().any(|t| t.entry.kind() == TrackKind::Video)
    }

    /// Takes the bytes that follow. `take` is handed the packets, in the order of the file.
    pub fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(&[TsTrack], TsPacket)) {
        let mut packets = std::mem::take(&mut self.packets);
        packets.feed(bytes, |at, packet| self.packet(at, packet));
        self.packets = packets;
        self.release(false, &mut take);
    }

    /// Nothing follows: what is left.
    pub fn finish(&mut self, mut take: impl FnMut(&[TsTrack], TsPacket)) {
        let mut packets = std::mem::take(&mut self.packets);
        packets.finish(|at, packet| self.packet(at, packet));
        for pid in self.streams.keys().copied().collect::<Vec<_>>() {
            let _ = self.end_stream(pid);
        }
        self.release(true, &mut take);
    }

    fn packet(&mut self, at: u64, packet: &[u8]) {
        let head = PacketHeader::of(packet);
        if head.pid == 0 {
            let mut found = None;
            self.pat.push(head.starts, head.payload(packet), |section| found = programmes(section).or(found.take()));
            if let Some(found) = found.filter(|found| !found.is_empty()) {
                self.programmes_are(found);
            }
        } else if Some(head.pid) == self.map_pid {
            let wanted = self.programmes.first().map(|(number, _)| *number);
            let mut found = None;
            self.pmt.push(head.starts, head.payload(packet), |section| {
                found = streams(section).filter(|(number, _)| Some(*number) == wanted).or(found.take());
            });
            if let Some((_, found)) = found {
                self.streams_are(found);
                // What came before the map is of these streams too.
                for (at, packet) in std::mem::take(&mut self.early) {
                    self.packet(at, &packet);
                }
            }
        } else if let Some((id, stream)) = self.streams.get_mut(&head.pid) {
            let (id, mut out) = (*id, Vec::new());
            stream.packet(&mut self.clock, at, packet, &mut out);
            self.outputs(id, head.pid, out);
        } else if self.map.is_empty() && self.early.len() < MOST_EARLY {
            self.early.push((at, packet.to_vec()));
        }
    }

    fn programmes_are(&mut self, found: Vec<(u16, u16)>) {
        let pid = found.first().map(|(_, pid)| *pid);
        if pid != self.map_pid {
            self.map_pid = pid;
            self.pmt = SectionReader::default();
        }
        self.programmes = found;
    }

    fn streams_are(&mut self, found: Vec<StreamInfo>) {
        if found == self.map {
            return;
        }
        let is_named = |pid: u16, codec: Codec| found.iter().any(|info| info.pid == pid && info.codec == codec);
        let gone: Vec<u16> =
            self.streams.iter().filter(|(pid, (_, s))| !is_named(**pid, s.info.codec)).map(|(pid, _)| *pid).collect();
        let mut ended: Vec<(Codec, StreamTime)> = gone.into_iter().filter_map(|pid| self.end_stream(pid)).collect();
        for info in &found {
            match info.codec {
                Codec::Data(what) => {
                    let language = match info.language.as_str() {
                        "" => String::new(),
                        language => format!(" ({language})"),
                    };
                    self.left_out.insert(info.pid, format!("{what}{language}"));
                }
                Codec::OtherMedia(what) => self.unsupported = Some(what),
                _ => {
                    if let Some((_, stream)) = self.streams.get_mut(&info.pid) {
                        stream.info = info.clone();
                        continue;
                    }
                    let mut stream = Elementary::new(info.clone());
                    let of_kind = |codec: &Codec| codec.is_video() == info.codec.is_video();
                    if let Some(at) = ended.iter().position(|(codec, _)| of_kind(codec)) {
                        stream = stream.after(ended.remove(at).1);
                    }
                    self.streams.insert(info.pid, (self.next_stream, stream));
                    self.next_stream += 1;
                }
            }
        }
        self.map = found;
    }

    /// Ends a stream, and says what it was and what its last time stamp was.
    fn end_stream(&mut self, pid: u16) -> Option<(Codec, StreamTime)> {
        let (id, mut stream) = self.streams.remove(&pid)?;
        let mut out = Vec::new();
        let whole_end = stream.finish(&mut self.clock, &mut out);
        let (scrambled, clear) = stream.scrambled();
        self.scrambled += scrambled;
        self.clear += clear;
        let ended = (stream.info.codec, stream.time());
        // The formats in what is left are those of this stream still.
        self.streams.insert(pid, (id, stream));
        self.outputs(id, pid, out);
        self.streams.remove(&pid);
        if let Some(track) = self.stream_tracks.get(&id).and_then(|n| self.tracks.get_mut(*n)) {
            (track.whole_end, track.live) = (whole_end, None);
        }
        Some(ended)
    }

    /// Takes what a stream gives.
    fn outputs(&mut self, id: u64, pid: u16, out: Vec<Output>) {
        for output in out {
            let packet = match output {
                Output::Picture(picture, pts) => {
                    let CodedPicture { picture, stamp, payload, format } = picture;
                    if let Some(format) = format {
                        self.format_is(id, pid, |label| TrackEntry::video(&format, label));
                    }
                    TsPacket { track: 0, byte: stamp.byte, pts_ms: ms(pts), duration_ms: 0, key: picture.key, payload }
                }
                Output::Frame(AudioFrame { byte, pts, ticks, head, payload }) => {
                    self.format_is(id, pid, |label| TrackEntry::audio(&head.format, label));
                    TsPacket { track: 0, byte, pts_ms: ms(pts), duration_ms: ms(ticks), key: true, payload }
                }
            };
            self.held_bytes += packet.payload.len();
            self.held.push_back(Held { stream: id, track: self.stream_tracks.get(&id).copied(), packet });
        }
    }

    /// A stream has this format from now on: its packets are of the track that has it, or of a new one.
    fn format_is(&mut self, id: u64, pid: u16, entry: impl FnOnce(&TrackLabel) -> TrackEntry) {
        let Some((_, stream)) = self.streams.get(&pid) else { return };
        let info = &stream.info;
        let label = TrackLabel {
            language: info.language.clone(),
            hearing_impaired: info.hearing_impaired,
            visual_impaired: info.visual_impaired,
        };
        let entry = entry(&label);
        let hash = entry.in_band_format_hash();
        let now = self.stream_tracks.get(&id).copied();
        if now.and_then(|n| self.tracks.get(n)).is_some_and(|track| track.hash == hash) {
            return;
        }
        if let Some(track) = now.and_then(|n| self.tracks.get_mut(n)) {
            // Something else began, so that its last packet is whole.
            (track.whole_end, track.live) = (true, None);
        }
        // Of the tracks of this format that nothing is sent of now: that of this PID, else of its language, else the first.
        let free = || self.tracks.iter().enumerate().filter(|(_, t)| t.live.is_none() && t.hash == hash);
        let known = free()
            .find(|(_, t)| t.pid == pid)
            .or_else(|| free().find(|(_, t)| t.language == label.language))
            .or_else(|| free().next())
            .map(|(n, _)| n);
        let n = match known {
            Some(n) => n,
            None if self.tracks.len() < MOST_TRACKS => {
                let language = label.language;
                self.tracks.push(TsTrack { entry, hash, pid, language, whole_end: false, live: None });
                self.tracks.len() - 1
            }
            None => return,
        };
        // Frames of audio say their own length.
        let track = &mut self.tracks[n];
        (track.whole_end, track.live) = (track.entry.kind() == TrackKind::Audio, Some(pid));
        self.stream_tracks.insert(id, n);
        self.first_tracks.entry(id).or_insert(n);
    }

    /// Hands over what has a track. What waits for one keeps what came after it waiting too, so that the order of the file
    /// stays, until that is too much or nothing follows.
    fn release(&mut self, at_end: bool, take: &mut impl FnMut(&[TsTrack], TsPacket)) {
        while let Some(front) = self.held.front() {
            let track = front.track.or_else(|| self.first_tracks.get(&front.stream).copied());
            let gone = !self.streams.values().any(|(id, _)| *id == front.stream);
            if track.is_none() && !at_end && !gone && self.held_bytes <= MAX_HELD {
                return;
            }
            let Some(Held { mut packet, .. }) = self.held.pop_front() else { return };
            self.held_bytes -= packet.payload.len();
            // Without a format nobody could decode it.
            if let Some(track) = track {
                packet.track = track;
                take(&self.tracks, packet);
            }
        }
    }
}

fn ms(ticks: i64) -> i64 {
    (ticks + TICKS / 2000).div_euclid(TICKS / 1000)
}
