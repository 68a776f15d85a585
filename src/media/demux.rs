//! Packets with their payloads, out of any container: ffmpeg takes it apart and writes Matroska into a
//! pipe, which is read here.

mod lace;
mod native_file;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout};

use xxhash_rust::xxh3::xxh3_64;

use self::lace::lace;
use self::native_file::NativeFile;
use super::adts::FrameSplitter;
use super::child::{self, Child};
use super::ebml::{self, Element, Reader, id};
use super::keyframe::KeyframeProbe;
use super::mpegts::{BEFORE_TICKS, TICKS};
use super::restarts;
use super::track::TrackEntry;
use super::{CancellationToken, MediaError, Result};
use crate::domain::media::{ClockRange, MediaIndex, Packet, TrackKind};

/// A stream to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackSelection {
    /// Index of the stream in the file, as ffprobe counts.
    pub stream: u32,
    /// AAC with ADTS heads: see [`super::adts`].
    pub adts: bool,
}

/// One demultiplexed packet with its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demuxed {
    /// What plans know of it. `track` counts the picks from 1; times are in the segment's own clock.
    pub packet: Packet,
    /// How many packets of its track came before it.
    pub ordinal: u64,
    /// Samples to drop at its end, nanoseconds (Opus).
    pub discard_padding_ns: Option<i64>,
    /// Payload of the packet.
    pub payload: Vec<u8>,
}

/// So much of a file of bare ADTS frames is read at once, bytes.
const CHUNK: u64 = 64 << 10;

/// At most so many packets are read ahead in search of the heads of tracks that come with their
/// packets only.
const LOOK_AHEAD: usize = 2000;

/// Reads packets of one file, in file order.
#[derive(Debug)]
pub struct Demux {
    path: PathBuf,
    selection: Vec<TrackSelection>,
    /// What the file is read behind; empty: nothing.
    prefix: Vec<u8>,
    /// Video frames shown before this are of that, milliseconds; `None`: none has come yet.
    own_from_ms: Option<i64>,
    /// The container has no clock for ADTS frames.
    raw_adts: bool,
    parts: VecDeque<ClockRange>,
    live: Option<Input>,
    tracks: Vec<TrackState>,
    /// Numbers that ffmpeg gives the tracks of the current part, and which of `tracks` each is.
    numbers: Vec<(u64, usize)>,
    /// ffprobe's name of the container.
    format: String,
    queue: VecDeque<Demuxed>,
    cancel: CancellationToken,
    trouble: Option<String>,
}

/// What is being read.
#[derive(Debug)]
enum Input {
    /// A part, taken apart by ffmpeg.
    Ffmpeg(Box<Pipe>),
    /// Bare ADTS frames, which need no ffmpeg (and it would not take them, see the module `adts`).
    Adts(io::Take<File>),
    /// What this program takes apart itself.
    Native(Box<NativeFile>),
}

/// ffmpeg's output.
#[derive(Debug)]
struct Pipe {
    child: Child,
    reader: Reader<BufReader<ChildStdout>>,
    shift_ms: i64,
    /// Nanoseconds of one tick.
    scale: u64,
    cluster: i64,
}

#[derive(Debug)]
struct TrackState {
    entry: TrackEntry,
    splitter: Option<FrameSplitter>,
    head: Option<KeyframeProbe>,
    ordinal: u64,
    /// Which of the picks it is of.
    selected: usize,
}

impl Demux {
    /// Opens a file and reads as far as its tracks' heads. `format` is ffprobe's name of the container; `prefix` is what it
    /// must be read behind, see [`MediaIndex::prefix`](crate::domain::media::MediaIndex::lent).
    ///
    /// # Errors
    /// When ffmpeg is missing, dies, or makes nothing of the file, or on cancellation.
    pub fn open(
        path: &Path,
        format: &str,
        selection: &[TrackSelection],
        parts: &[ClockRange],
        prefix: &[u8],
        cancel: &CancellationToken,
    ) -> Result<Self> {
        let mut demux = Self {
            path: path.to_owned(),
            selection: selection.to_vec(),
            prefix: prefix.to_vec(),
            own_from_ms: None,
            raw_adts: format == "aac",
            parts: parts.iter().copied().collect(),
            live: None,
            tracks: Vec::new(),
            numbers: Vec::new(),
            format: format.to_owned(),
            queue: VecDeque::new(),
            cancel: cancel.clone(),
            trouble: None,
        };
        while demux.tracks.is_empty()
            || demux.tracks.iter().any(|t| t.splitter.as_ref().is_some_and(|s| s.head().is_none()))
        {
            if demux.queue.len() >= LOOK_AHEAD || !demux.read_some()? {
                break;
            }
        }
        if demux.tracks.is_empty() {
            let detail = demux.trouble.take().unwrap_or_else(|| "ffmpeg found no media".to_owned());
            return Err(MediaError::Content { path: demux.path.clone(), detail });
        }
        for track in &mut demux.tracks {
            if let Some(head) = track.splitter.as_ref().and_then(FrameSplitter::head) {
                track.entry.become_aac(head);
            }
        }
        Ok(demux)
    }

    /// Opens a segment again as it was indexed.
    ///
    /// # Errors
    /// As [`Demux::open`].
    pub fn reopen(path: &Path, index: &MediaIndex, cancel: &CancellationToken) -> Result<Self> {
        if !index.is_native {
            let mut selection: Vec<TrackSelection> = Vec::new();
            for t in &index.tracks {
                // Several tracks of one stream are its formats, one after the other.
                if !selection.iter().any(|selected| selected.stream == t.stream) {
                    selection.push(TrackSelection { stream: t.stream, adts: t.adts });
                }
            }
            return Self::open(path, &index.format, &selection, &index.clock_ranges, &index.prefix, cancel);
        }
        let tracks = index.tracks.iter().map(|t| TrackState {
            entry: TrackEntry::read(&t.entry),
            splitter: None,
            head: None,
            ordinal: 0,
            selected: 0,
        });
        Ok(Self {
            path: path.to_owned(),
            selection: Vec::new(),
            prefix: Vec::new(),
            own_from_ms: None,
            raw_adts: false,
            parts: VecDeque::new(),
            tracks: tracks.collect(),
            numbers: Vec::new(),
            format: index.format.clone(),
            live: Some(Input::Native(Box::new(NativeFile::open(path, index)?))),
            queue: VecDeque::new(),
            cancel: cancel.clone(),
            trouble: None,
        })
    }

    /// Reads what is written into the pipe that is returned, of its first pictures and its first sound: for files that
    /// are being recorded. The pipe must be written to, and closed at the end, by another thread than the one that asks
    /// for packets. Its tracks are known with the first packet.
    ///
    /// # Errors
    /// When ffmpeg is missing or cannot be started.
    pub fn fed(path: &Path, cancel: &CancellationToken) -> Result<(Self, ChildStdin)> {
        let mut args: Vec<OsString> = ["-nostdin", "-v", "error", "-copyts"].map(Into::into).into();
        args.extend(child::fed_input());
        args.extend(["-map", "0:v:0?", "-map", "0:a:0?"].map(Into::into));
        // Each cluster soon, and each through the pipe at once.
        args.extend(["-cluster_time_limit", "300", "-flush_packets", "1"].map(Into::into));
        args.extend(OUTPUT.map(Into::into));
        let (child, stdin, stdout) = child::spawn_fed("ffmpeg", &args)?;
        let reader = Reader::new(BufReader::with_capacity(1 << 16, stdout));
        let pipe = Pipe { child, reader, shift_ms: 0, scale: 1_000_000, cluster: 0 };
        let demux = Self {
            path: path.to_owned(),
            selection: vec![TrackSelection { stream: 0, adts: false }, TrackSelection { stream: 1, adts: false }],
            prefix: Vec::new(),
            own_from_ms: None,
            raw_adts: false,
            parts: VecDeque::new(),
            live: Some(Input::Ffmpeg(Box::new(pipe))),
            tracks: Vec::new(),
            numbers: Vec::new(),
            format: String::new(),
            queue: VecDeque::new(),
            cancel: cancel.clone(),
            trouble: None,
        };
        Ok((demux, stdin))
    }

    /// Heads of the tracks, in the order of the picks.
    pub fn entries(&self) -> impl Iterator<Item = &TrackEntry> {
        self.tracks.iter().map(|t| &t.entry)
    }

    /// The pick that each track is of, in the order of [`Demux::entries`].
    pub fn track_picks(&self) -> impl Iterator<Item = TrackSelection> {
        self.tracks.iter().filter_map(|t| self.selection.get(t.selected)).copied()
    }

    /// What went wrong after packets had come: torn files end early, and that is no error.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// The next packet, `None` at the end.
    ///
    /// # Errors
    /// When ffmpeg dies or cannot be started for a further part, or on cancellation.
    pub fn next_packet(&mut self) -> Result<Option<Demuxed>> {
        loop {
            if let Some(packet) = self.queue.pop_front() {
                return Ok(Some(packet));
            }
            if !self.read_some()? {
                return Ok(None);
            }
        }
    }

    /// Reads one element of the current part, or opens the next part; false at the end of the last.
    fn read_some(&mut self) -> Result<bool> {
        if self.cancel.is_cancelled() {
            return Err(MediaError::Cancelled);
        }
        let Some(live) = &mut self.live else {
            let Some(part) = self.parts.pop_front() else { return Ok(false) };
            self.live = Some(self.start(part)?);
            return Ok(true);
        };
        let pipe = match live {
            Input::Ffmpeg(pipe) => pipe,
            Input::Native(file) => {
                let (queue, tracks) = (&mut self.queue, &mut self.tracks);
                let more = file.read_some(&self.path, |packet, payload| {
                    let Some(track) = tracks.get_mut(packet.track as usize - 1) else { return };
                    queue.push_back(Demuxed { packet, ordinal: track.ordinal, discard_padding_ns: None, payload });
                    track.ordinal += 1;
                })?;
                if !more {
                    self.live = None;
                }
                return Ok(true);
            }
            Input::Adts(file) => {
                let mut block = Vec::with_capacity(CHUNK as usize);
                match file.by_ref().take(CHUNK).read_to_end(&mut block) {
                    Ok(0) => self.live = None,
                    Ok(_) => self.adts_block(&block),
                    Err(source) => return Err(MediaError::File { path: self.path.clone(), source }),
                }
                return Ok(true);
            }
        };
        match pipe.reader.next_element() {
            Ok(Some(element)) => {
                if let Err(e) = self.element(element) {
                    self.end_part(Some(&e))?;
                }
            }
            Ok(None) => self.end_part(None)?,
            Err(e) => self.end_part(Some(&e))?,
        }
        Ok(true)
    }

    fn end_part(&mut self, error: Option<&io::Error>) -> Result<()> {
        let Some(Input::Ffmpeg(pipe)) = self.live.take() else { return Ok(()) };
        let Pipe { child, reader, .. } = *pipe;
        drop(reader);
        let (status, words) = child.wait();
        child::died("ffmpeg", status)?;
        if error.is_some() || !status.is_some_and(|s| s.success()) {
            let text = match (words.is_empty(), error) {
                (false, _) => words,
                (true, Some(e)) => format!("ffmpeg's output broke off: {e}"),
                (true, None) => "ffmpeg failed".to_owned(),
            };
            self.trouble = Some(text);
        }
        // A frame does not go on across a reset of the clock.
        for track in &mut self.tracks {
            if let Some(splitter) = &mut track.splitter {
                splitter.restart();
            }
        }
        Ok(())
    }

    fn element(&mut self, element: Element) -> io::Result<()> {
        let Some(Input::Ffmpeg(live)) = &mut self.live else { return Ok(()) };
        match element.id {
            // Going on steps into them.
            id::SEGMENT | id::CLUSTER => Ok(()),
            id::INFO => {
                let info = live.reader.content(element)?;
                let scale = ebml::children(&info).into_iter().find(|(child, _)| *child == id::TIMESTAMP_SCALE);
                live.scale = scale.map_or(1_000_000, |(_, content)| ebml::read_uint(&content)).max(1);
                Ok(())
            }
            id::TRACKS => {
                let content = live.reader.content(element)?;
                let entries = ebml::children(&content).into_iter().filter(|(child, _)| *child == id::TRACK_ENTRY);
                self.tracks_are(&entries.map(|(_, content)| TrackEntry::read(&content)).collect::<Vec<_>>());
                Ok(())
            }
            id::TIMESTAMP => {
                let content = live.reader.content(element)?;
                live.cluster = ebml::read_uint(&content).cast_signed();
                Ok(())
            }
            id::SIMPLE_BLOCK => {
                let content = live.reader.content(element)?;
                self.block(content, BlockInfo::default());
                Ok(())
            }
            id::BLOCK_GROUP => {
                let content = live.reader.content(element)?;
                let mut extra = BlockInfo { key: Some(true), ..BlockInfo::default() };
                let mut block = None;
                for (child, content) in ebml::children(&content) {
                    match child {
                        id::BLOCK => block = Some(content),
                        id::BLOCK_DURATION => extra.duration = Some(ebml::read_uint(&content)),
                        id::REFERENCE_BLOCK => extra.key = Some(false),
                        id::DISCARD_PADDING => extra.padding_ns = Some(ebml::read_int(&content)),
                        _ => {}
                    }
                }
                if let Some(block) = block {
                    self.block(block, extra);
                }
                Ok(())
            }
            _ => live.reader.skip(element),
        }
    }

    /// A part has these tracks. They are those of the parts before it where their format is the same; else they are new.
    fn tracks_are(&mut self, entries: &[TrackEntry]) {
        self.numbers.clear();
        let is_first = self.tracks.is_empty();
        let mut taken: Vec<usize> = Vec::new();
        for (n, entry) in entries.iter().enumerate() {
            // Of a later part that lacks a stream, tracks are told by their kind.
            let kind_of = |selected: usize| self.tracks.iter().find(|t| t.selected == selected).map(|t| t.entry.kind());
            let is_free = |selected: &usize| !taken.contains(selected) && kind_of(*selected) == Some(entry.kind());
            let selected = if is_first { Some(n) } else { (0..self.selection.len()).find(is_free) };
            let Some(selected) = selected.filter(|selected| *selected < self.selection.len()) else { continue };
            taken.push(selected);
            let adts = self.selection[selected].adts;
            let same =
                |t: &TrackState| t.selected == selected && (adts || t.entry.format_hash() == entry.format_hash());
            let at = match self.tracks.iter().position(same).filter(|_| !is_first) {
                Some(at) => at,
                None => {
                    let head = KeyframeProbe::of(entry.private()).filter(|_| entry.codec() == "V_MS/VFW/FOURCC");
                    let splitter = adts.then(|| FrameSplitter::new(!self.raw_adts));
                    self.tracks.push(TrackState { entry: entry.clone(), splitter, head, ordinal: 0, selected });
                    self.tracks.len() - 1
                }
            };
            self.numbers.push((entry.number(), at));
        }
    }

    fn start(&mut self, part: ClockRange) -> Result<Input> {
        if !self.raw_adts {
            let header = if part.from_byte > 0 && restarts::is_known(&self.format) {
                let header = restarts::header_for(&self.path, &self.format, part.from_byte);
                header.map_err(|source| MediaError::File { path: self.path.clone(), source })?
            } else {
                self.prefix.clone()
            };
            return Ok(Input::Ffmpeg(Box::new(start(&self.path, &self.selection, part, &header)?)));
        }
        let file = File::open(&self.path).map_err(|source| MediaError::File { path: self.path.clone(), source })?;
        let state = TrackState {
            entry: TrackEntry::bare_aac(),
            splitter: Some(FrameSplitter::new(false)),
            head: None,
            ordinal: 0,
            selected: 0,
        };
        self.tracks = vec![state];
        Ok(Input::Adts(file.take(part.to_byte.unwrap_or(u64::MAX))))
    }

    /// Takes the next bytes of a file of bare ADTS frames.
    fn adts_block(&mut self, block: &[u8]) {
        let Some(TrackState { splitter: Some(splitter), ordinal, .. }) = self.tracks.first_mut() else { return };
        let packet = Packet { track: 1, pts_ms: 0, duration_ms: 0, key: true, size: 0, hash: 0 };
        splitter.push(packet, block, |mut packet, payload| {
            packet.size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
            packet.hash = xxh3_64(&payload);
            self.queue.push_back(Demuxed { packet, ordinal: *ordinal, discard_padding_ns: None, payload });
            *ordinal += 1;
        });
    }

    /// Takes a block apart. One that makes no sense is passed over.
    fn block(&mut self, mut content: Vec<u8>, extra: BlockInfo) {
        let Some(Input::Ffmpeg(live)) = &self.live else { return };
        let Some((number, length)) = ebml::read_vint(&content) else { return };
        let Some([high, low, flags]) = content.get(length..length + 3).and_then(|b| <[u8; 3]>::try_from(b).ok()) else {
            return;
        };
        let Some(at) = self.numbers.iter().find(|(known, _)| *known == number).map(|(_, at)| *at) else { return };
        let track = &mut self.tracks[at];
        let ns_to_ms = |ns: i128| i64::try_from((ns + 500_000).div_euclid(1_000_000)).unwrap_or(i64::MAX);
        let scale = i128::from(live.scale);
        let ticks = i128::from(live.cluster) + i128::from(i16::from_be_bytes([high, low]));
        // ffmpeg has taken the codec's delay off its times, and the head says that players shall do it: once is enough.
        let delay = i128::from(track.entry.codec_delay_ns());
        let start_ms = ns_to_ms(ticks * scale + delay).saturating_add(live.shift_ms);
        let default_ns = track.entry.default_duration_ns();
        let Some(frames) = lace(&content, length + 3, flags >> 1 & 3) else { return };
        let whole_ns = extra.duration.map(|ticks| i128::from(ticks) * scale);
        let each_ns = whole_ns.map(|ns| ns / frames.len().max(1) as i128).or(default_ns.map(i128::from)).unwrap_or(0);
        let video = track.entry.kind() == TrackKind::Video;
        if video && !self.prefix.is_empty() {
            // The first that comes is lent; those that follow it lie this far behind.
            let own_from_ms = *self.own_from_ms.get_or_insert(start_ms.saturating_add(BEFORE_TICKS * 1000 / TICKS / 2));
            if start_ms < own_from_ms {
                return;
            }
        }
        let last = frames.len().saturating_sub(1);
        for (n, range) in frames.into_iter().enumerate() {
            let payload = if n == last && range.end == content.len() {
                content.split_off(range.start)
            } else {
                content[range].to_vec()
            };
            let key = match track.head {
                Some(head) => head.is_key(&payload),
                None => !video || extra.key.unwrap_or(flags & 0x80 != 0),
            };
            let packet = Packet {
                track: u32::try_from(at + 1).unwrap_or(u32::MAX),
                pts_ms: start_ms.saturating_add(ns_to_ms(each_ns * n as i128)),
                duration_ms: ns_to_ms(each_ns),
                key,
                size: 0,
                hash: 0,
            };
            let queue = &mut self.queue;
            let ordinal = &mut track.ordinal;
            let mut give = |mut packet: Packet, payload: Vec<u8>| {
                packet.size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                packet.hash = xxh3_64(&payload);
                let padding = extra.padding_ns.filter(|ns| *ns != 0 && n == last);
                queue.push_back(Demuxed { packet, ordinal: *ordinal, discard_padding_ns: padding, payload });
                *ordinal += 1;
            };
            match &mut track.splitter {
                Some(splitter) => splitter.push(packet, &payload, give),
                None => give(packet, payload),
            }
        }
    }
}

/// What stands beside a block in a group.
#[derive(Clone, Copy, Debug, Default)]
struct BlockInfo {
    key: Option<bool>,
    /// Duration from BlockDuration, in ticks of the file's TimestampScale.
    duration: Option<u64>,
    padding_ns: Option<i64>,
}

/// Every packet, as it is, into a pipe: also video frames before the first keyframe, and times below zero.
const OUTPUT: [&str; 14] = [
    "-c",
    "copy",
    "-copyinkf",
    "-map_metadata",
    "-1",
    "-map_chapters",
    "-1",
    "-avoid_negative_ts",
    "disabled",
    "-write_crc32",
    "0",
    "-f",
    "matroska",
    "pipe:1",
];

fn start(path: &Path, selection: &[TrackSelection], part: ClockRange, prefix: &[u8]) -> Result<Pipe> {
    let mut args: Vec<OsString> = ["-nostdin", "-v", "error", "-copyts"].map(Into::into).into();
    for selected in selection.iter().filter(|p| p.adts) {
        // Opaque bytes instead of AAC, see the module `adts`.
        args.push(format!("-c:{}", selected.stream).into());
        args.push("pcm_s16le".into());
    }
    args.extend(child::input(path, part, prefix));
    for selected in selection {
        args.push("-map".into());
        // What is not in a later part costs nothing there.
        args.push(format!("0:{}?", selected.stream).into());
    }
    args.extend(["-flush_packets", "0"].map(Into::into));
    args.extend(OUTPUT.map(Into::into));
    let (child, stdout) = child::spawn_on("ffmpeg", &args, path, part, prefix)?;
    let reader = Reader::new(BufReader::with_capacity(1 << 18, stdout));
    Ok(Pipe { child, reader, shift_ms: part.shift_ms, scale: 1_000_000, cluster: 0 })
}
