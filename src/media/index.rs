//! Indexing a closed segment: what is in it, where it lies in wall time, and the packets at its edges.
//!
//! Two passes, both by children of low priority: [`super::probe`] for byte positions (when which media
//! arrived), [`super::demux`] for the packets exactly as an assembly will see them.

mod donors;
mod packet_windows;
mod tail;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::demux::{Demux, Demuxed, TrackSelection};
use super::probe::{PacketPlace, Probe, ProbedStream, probe};
use super::{CancellationToken, MediaError, Result};
use crate::domain::media::{ClockRange, EDGE_MS, MediaIndex, MediaSpan, Packet, Track, TrackKind};
use crate::domain::segment::Mark;
use crate::plan::anchor::Anchor;
use crate::plan::stretches::TrackStretches;

pub use packet_windows::windows;

/// Media that pauses for longer than this (beyond the duration of the packet before) begins a new span.
/// Below it lie the jitter of encoders, the skew between audio and video frames in a multiplex (0.7 s in
/// ffmpeg's MPEG-TS) and slow slide shows.
pub const HOLE_MS: i64 = 1000;

/// Decoding times that fall back by more than this are a clock that started anew.
const RESET_MS: i64 = 1000;

/// Two spans of one clock whose anchors differ by less than this lie on one timeline, and share the
/// smaller one.
const SAME_TIMELINE_MS: i64 = 2000;

/// At most so many packets are kept of each end, should a file have more in [`EDGE_MS`].
const MAX_EDGE_PACKETS: usize = 20_000;

/// Indexes a closed segment. `marks` say when its bytes arrived, oldest first; with none, wall times are
/// unknown and spans begin at the epoch. Whatever the file holds gives an index: no media is one
/// without spans, with `problem` set. `donors`: earlier files of the same stream, the last one first; where the file
/// has no keyframe, one of them says what its video frames are.
///
/// # Errors
/// Only what says nothing about the content: a missing program, a file that cannot be read,
/// cancellation. Then try again later.
pub fn index(path: &Path, marks: &[Mark], donors: &[PathBuf], cancel: &CancellationToken) -> Result<MediaIndex> {
    let bytes = size(path)?;
    let (found, prefix) = look(path, donors, cancel)?;
    let nothing =
        |problem: String| MediaIndex { format: found.format.clone(), problem: Some(problem), ..MediaIndex::default() };
    let wanted: Vec<&ProbedStream> = wanted(&found);
    if wanted.is_empty() {
        return Ok(nothing(found.complaint.clone().unwrap_or_else(|| "no pictures and no sound in it".to_owned())));
    }
    let mut clock_ranges = clock_ranges(path, &found, &wanted);
    // A file that is being written has grown since: what follows, and later the join, shall see the same
    // bytes.
    if size(path)? != bytes
        && let Some(last) = clock_ranges.last_mut()
    {
        last.to_byte = Some(bytes);
    }
    // One stream that Matroska does not take must not cost the others.
    let of_kind = |kind| wanted.iter().copied().filter(|s| s.kind == kind).collect::<Vec<_>>();
    let mut problem = None;
    for streams in [wanted.clone(), of_kind(TrackKind::Video), of_kind(TrackKind::Audio)] {
        let selection = selection(&streams);
        if selection.is_empty() {
            continue;
        }
        match Demux::open(path, &found.format, &selection, &clock_ranges, &prefix, cancel) {
            Ok(demux) => {
                let mut index = read(demux, &found, &selection, clock_ranges, marks, bytes, problem)?;
                index.prefix = prefix;
                if found.format == "mpegts" {
                    tail::mark(&mut index.tracks, path, bytes)?;
                }
                return Ok(index);
            }
            Err(MediaError::Content { detail, .. }) => problem = Some(detail),
            Err(e) => return Err(e),
        }
    }
    Ok(nothing(problem.unwrap_or_default()))
}

/// What a file holds, and what it must be read behind for that.
fn look(path: &Path, donors: &[PathBuf], cancel: &CancellationToken) -> Result<(Probe, Vec<u8>)> {
    let has_pictures = |found: &Probe| found.streams.iter().any(|s| s.kind == TrackKind::Video && s.has_format);
    let found = probe(path, &[], cancel)?;
    if found.format != "mpegts" || has_pictures(&found) {
        return Ok((found, Vec::new()));
    }
    let prefix = donors::borrow(path, donors, cancel)?;
    if !prefix.is_empty() {
        let with = probe(path, &prefix, cancel)?;
        // Where the clock was set, what is lent would have to be set for each part: an encoder that begins anew begins
        // with a keyframe, and then nothing is missing.
        if has_pictures(&with) && clock_ranges(path, &with, &wanted(&with)).len() == 1 {
            return Ok((with, prefix));
        }
    }
    Ok((found, Vec::new()))
}

/// Size of a file that can be read.
fn size(path: &Path) -> Result<u64> {
    let size = std::fs::File::open(path).and_then(|file| file.metadata()).map(|meta| meta.len());
    size.map_err(|source| MediaError::File { path: path.to_owned(), source })
}

/// How to open a segment again as it was indexed.
#[must_use]
pub fn selection_of(index: &MediaIndex) -> Vec<TrackSelection> {
    index.tracks.iter().map(|t| TrackSelection { stream: t.stream, adts: t.adts }).collect()
}

/// Streams that can go into an assembly, video frames first, so that tracks have the same order in every
/// segment.
fn wanted(found: &Probe) -> Vec<&ProbedStream> {
    let usable = |s: &&ProbedStream| {
        !s.codec.is_empty() && s.has_format && !s.cover && found.places.iter().any(|p| p.stream == s.index)
    };
    let of = |kind| found.streams.iter().filter(move |s| s.kind == kind).filter(usable);
    of(TrackKind::Video).chain(of(TrackKind::Audio)).collect()
}

fn selection(streams: &[&ProbedStream]) -> Vec<TrackSelection> {
    streams.iter().map(|s| TrackSelection { stream: s.index, adts: s.codec == "aac" && !s.has_extradata }).collect()
}

/// Containers whose last packet ends where the file ends, torn or not.
fn is_ragged(format: &str) -> bool {
    !["matroska,webm", "ogg", "asf", "wav", ""].contains(&format)
}

fn read(
    mut demux: Demux,
    found: &Probe,
    selection: &[TrackSelection],
    clock_ranges: Vec<ClockRange>,
    marks: &[Mark],
    bytes: u64,
    problem: Option<String>,
) -> Result<MediaIndex> {
    let mut edges = EdgePackets::default();
    let mut tracks: Vec<TrackStats> = selection.iter().map(|_| TrackStats::default()).collect();
    let mut keys_ms = Vec::new();
    let video_first = demux.entries().next().is_some_and(|e| e.kind() == TrackKind::Video);
    while let Some(Demuxed { packet, .. }) = demux.next_packet()? {
        let Some(track) = tracks.get_mut(packet.track as usize - 1) else { continue };
        track.take(packet);
        track.fine.add(packet);
        edges.take(packet);
        if packet.track == 1 && video_first && packet.key {
            keys_ms.push(packet.pts_ms);
        }
    }
    let problem = problem.or_else(|| demux.trouble().map(str::to_owned));
    keys_ms.sort_unstable();
    let tracks_out: Vec<Track> = demux
        .entries()
        .zip(selection)
        .zip(&tracks)
        .zip(1..)
        .map(|(((entry, selected), so_far), number)| Track {
            number,
            kind: entry.kind(),
            codec: entry.codec(),
            format_hash: entry.format_hash(),
            stream: selected.stream,
            adts: selected.adts,
            whole_end: false,
            packet_ms: so_far.packet_ms(),
            packets: so_far.packets,
        })
        .collect();
    let track_stretches = tracks
        .iter()
        .zip(&tracks_out)
        .flat_map(|(so_far, track)| so_far.fine.finish(track.number, track.kind))
        .collect();
    let (head, tail) = edges.finish(&tracks_out);
    let mut spans = spans(&tracks, &tracks_out);
    if spans.is_empty() {
        let problem = problem.unwrap_or_else(|| "no packets in it".to_owned());
        return Ok(MediaIndex { format: found.format.clone(), problem: Some(problem), ..MediaIndex::default() });
    }
    let drift = tracks
        .iter()
        .zip(selection)
        .find_map(|(t, selected)| {
            let first = found.places.iter().find(|p| p.stream == selected.stream && time_of(p).is_some())?;
            Some(t.first_ms? - time_of(first)?)
        })
        .unwrap_or_default();
    anchor(&mut spans, &arrivals(found, selection, &clock_ranges, drift, bytes), &clock_ranges, marks, bytes);
    Ok(MediaIndex {
        ragged_end: is_ragged(&found.format),
        tracks: tracks_out,
        spans,
        track_stretches,
        head,
        tail,
        keys_ms,
        format: found.format.clone(),
        clock_ranges,
        problem,
        packet_windows: Vec::new(),
        prefix: Vec::new(),
    })
}

/// What is gathered of a track while its packets pass.
#[derive(Debug, Default)]
struct TrackStats {
    packets: u64,
    first_ms: Option<i64>,
    /// Stretches without holes, `[start, end]`.
    stretches: Vec<(i64, i64)>,
    /// Times of its first packets.
    times: Vec<i64>,
    stated_ms: i64,
    /// Where it has media, hole by hole.
    fine: TrackStretches,
}

impl TrackStats {
    fn take(&mut self, p: Packet) {
        self.packets += 1;
        self.first_ms = self.first_ms.or(Some(p.pts_ms));
        self.stated_ms = self.stated_ms.max(p.duration_ms.min(HOLE_MS));
        if self.times.len() < 500 {
            self.times.push(p.pts_ms);
        }
        let end = p.pts_ms.saturating_add(p.duration_ms.max(0));
        match self.stretches.last_mut() {
            Some(last) if p.pts_ms <= last.1.saturating_add(HOLE_MS) => {
                // A video frame may be shown before one that was decoded earlier; anything further back is
                // a damaged time.
                if p.pts_ms > last.0.saturating_sub(HOLE_MS) {
                    last.0 = last.0.min(p.pts_ms);
                }
                last.1 = last.1.max(end);
            }
            _ => self.stretches.push((p.pts_ms, end)),
        }
    }

    /// Usual distance between packets.
    fn packet_ms(&self) -> i64 {
        let mut times = self.times.clone();
        times.sort_unstable();
        let mut steps: Vec<i64> = times.windows(2).map(|w| w[1] - w[0]).filter(|step| *step > 0).collect();
        steps.sort_unstable();
        steps.get(steps.len() / 2).copied().map_or(self.stated_ms, |step| step.min(HOLE_MS))
    }
}

/// The packets of the first and last minute.
#[derive(Debug, Default)]
struct EdgePackets {
    start_ms: Option<i64>,
    max_ms: i64,
    head: Vec<Packet>,
    /// Tracks that have left the head: it must hold the first packets of each without holes.
    left: Vec<u32>,
    tail: VecDeque<Packet>,
}

impl EdgePackets {
    fn take(&mut self, p: Packet) {
        let start = *self.start_ms.get_or_insert(p.pts_ms);
        if !self.left.contains(&p.track) {
            if p.pts_ms < start.saturating_add(EDGE_MS) && self.head.len() < MAX_EDGE_PACKETS {
                self.head.push(p);
            } else {
                self.left.push(p.track);
            }
        }
        self.max_ms = if self.tail.is_empty() { p.pts_ms } else { self.max_ms.max(p.pts_ms) };
        self.tail.push_back(p);
        let edge = self.max_ms.saturating_sub(EDGE_MS);
        while self.tail.len() > MAX_EDGE_PACKETS || self.tail.front().is_some_and(|first| first.pts_ms < edge) {
            self.tail.pop_front();
        }
    }

    fn finish(mut self, tracks: &[Track]) -> (Vec<Packet>, Vec<Packet>) {
        for p in self.head.iter_mut().chain(&mut self.tail) {
            if p.duration_ms == 0 {
                p.duration_ms = tracks.get(p.track as usize - 1).map_or(0, |t| t.packet_ms);
            }
        }
        (self.head, self.tail.into())
    }
}

/// Where any track has media, with holes of more than [`HOLE_MS`] between.
fn spans(tracks: &[TrackStats], out: &[Track]) -> Vec<MediaSpan> {
    let mut all: Vec<(i64, i64)> = Vec::new();
    for (track, known) in tracks.iter().zip(out) {
        // Where packets say nothing of their length, the last one lasts as long as usual.
        let more = if track.stated_ms == 0 { known.packet_ms } else { 0 };
        all.extend(track.stretches.iter().map(|(start, end)| (*start, end.saturating_add(more))));
    }
    all.sort_unstable();
    let mut spans: Vec<MediaSpan> = Vec::new();
    for (start, end) in all {
        match spans.last_mut() {
            Some(last) if start <= last.media_end_ms.saturating_add(HOLE_MS) => {
                last.media_end_ms = last.media_end_ms.max(end);
            }
            _ => spans.push(MediaSpan { media_start_ms: start, media_end_ms: end, offset_ms: 0 }),
        }
    }
    spans
}

fn time_of(p: &PacketPlace) -> Option<i64> {
    p.pts_ms.or(p.dts_ms)
}

/// The byte ranges between resets of the clock, with shifts that make the whole rise. A reset shows in
/// each stream by itself; the first stream that shows it says where.
fn clock_ranges(path: &Path, found: &Probe, wanted: &[&ProbedStream]) -> Vec<ClockRange> {
    // Per stream: last decoding time, resets so far.
    let mut seen: Vec<(u32, Option<i64>, usize, u64)> = wanted.iter().map(|s| (s.index, None, 0, 0)).collect();
    let mut starts: Vec<u64> = vec![0];
    for place in &found.places {
        let Some((_, last, resets, pos)) = seen.iter_mut().find(|(stream, ..)| *stream == place.stream) else {
            continue;
        };
        *pos = place.pos.unwrap_or(*pos);
        let Some(at) = place.dts_ms.or(place.pts_ms) else { continue };
        if last.is_some_and(|last| at < last - RESET_MS) {
            *resets += 1;
            match starts.get_mut(*resets) {
                Some(start) => *start = (*start).min(*pos),
                None => starts.push(*pos),
            }
        }
        *last = Some(at);
    }
    if found.format == "ogg" {
        for start in starts.iter_mut().skip(1) {
            *start = ogg_chain_start(path, *start).unwrap_or(*start);
        }
    }
    // Without positions there is nothing to cut at: the file is read as one.
    if starts.windows(2).any(|w| w[0] >= w[1]) {
        starts.truncate(1);
    }
    // Extents of each part in its own clock.
    let mut extents: Vec<(i64, i64)> = vec![(i64::MAX, i64::MIN); starts.len()];
    let mut last_pos = 0;
    for place in found.places.iter().filter(|p| wanted.iter().any(|s| s.index == p.stream)) {
        last_pos = place.pos.unwrap_or(last_pos);
        let Some(at) = time_of(place) else { continue };
        let part = range_at(&starts, last_pos);
        extents[part] = (extents[part].0.min(at), extents[part].1.max(at.saturating_add(place.duration_ms)));
    }
    let mut out: Vec<ClockRange> = Vec::new();
    let mut end = i64::MIN;
    for (n, (first, last)) in extents.into_iter().enumerate() {
        // Twice the hole, so that a span never reaches over a reset.
        let shift_ms = if n == 0 || first > last { 0 } else { end.saturating_add(2 * HOLE_MS).saturating_sub(first) };
        let start_ms = if first > last { end } else { first.saturating_add(shift_ms) };
        out.push(ClockRange { from_byte: starts[n], to_byte: starts.get(n + 1).copied(), shift_ms, start_ms });
        end = end.max(last.saturating_add(shift_ms));
    }
    out
}

fn range_at(starts: &[u64], pos: u64) -> usize {
    starts.partition_point(|start| *start <= pos).saturating_sub(1)
}

/// A reset in Ogg is a new chain: its headers lie before its first media. Looks back for the last run of
/// pages that begin streams.
fn ogg_chain_start(path: &Path, before: u64) -> Option<u64> {
    use std::io::{Read, Seek, SeekFrom};
    /// Headers with cover video frames in their comments are some 100 KiB long.
    const BACK: u64 = 1 << 20;
    let from = before.saturating_sub(BACK);
    let mut file = std::fs::File::open(path).ok()?;
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut bytes = Vec::new();
    file.take(before - from + 6).read_to_end(&mut bytes).ok()?;
    let begins = |at: usize| bytes[at..].starts_with(b"OggS") && bytes.get(at + 5).is_some_and(|flags| flags & 2 != 0);
    let mut start = (0..bytes.len().saturating_sub(5)).rev().find(|at| begins(*at))?;
    // Several streams begin on neighbouring pages; one such page is short.
    while let Some(earlier) = (start.saturating_sub(1024)..start).rev().find(|at| begins(*at)) {
        start = earlier;
    }
    Some(from + start as u64)
}

/// Media whose last byte had arrived when so many bytes had: (bytes, end of that media in the
/// segment's clock), by bytes.
fn arrivals(
    found: &Probe,
    selection: &[TrackSelection],
    clock_ranges: &[ClockRange],
    drift: i64,
    bytes: u64,
) -> Vec<(u64, i64)> {
    let starts: Vec<u64> = clock_ranges.iter().map(|p| p.from_byte).collect();
    let mut out = Vec::new();
    for selected in selection {
        // A packet is surely there when the next one of its stream begins: in MPEG-TS others lie between.
        let mut by = bytes;
        let mut waiting: Vec<i64> = Vec::new();
        let of_stream: Vec<&PacketPlace> = found.places.iter().filter(|p| p.stream == selected.stream).collect();
        for place in of_stream.iter().rev() {
            if let Some(at) = time_of(place) {
                waiting.push(at.saturating_add(place.duration_ms));
            }
            let Some(pos) = place.pos else { continue };
            let shift = clock_ranges.get(range_at(&starts, pos)).map_or(0, |p| p.shift_ms);
            out.extend(waiting.drain(..).map(|end| (by, end.saturating_add(shift).saturating_add(drift))));
            by = by.min(pos);
        }
        let shift = clock_ranges.first().map_or(0, |p| p.shift_ms);
        out.extend(waiting.drain(..).map(|end| (by, end.saturating_add(shift).saturating_add(drift))));
    }
    out.sort_unstable();
    out
}

/// Sets each span's offset to the wall time of media time 0 that the marks show (see [`Anchor`]).
fn anchor(spans: &mut [MediaSpan], arrivals: &[(u64, i64)], clock_ranges: &[ClockRange], marks: &[Mark], bytes: u64) {
    let mut anchors = vec![Anchor::default(); spans.len()];
    let mut next = arrivals.iter().peekable();
    // The span that the last arrived media belongs to, and how far it reached.
    let mut reached: Option<(usize, i64)> = None;
    for mark in marks {
        while let Some((by, end)) = next.peek() {
            if *by > mark.offset && mark.offset < bytes {
                break;
            }
            next.next();
            let span = spans.partition_point(|s| s.media_start_ms < *end).saturating_sub(1);
            reached = match reached {
                Some((at, far)) if at == span => Some((at, far.max(*end))),
                Some((at, _)) if at > span => reached,
                _ => Some((span, *end)),
            };
        }
        if let Some((span, end)) = reached {
            anchors[span].observe(mark.at, end);
        }
    }
    let mut samples: Vec<Option<i64>> = anchors.iter().map(|anchor| anchor.zero().map(|zero| zero.0)).collect();
    // A span that no mark fell into lies beside its neighbour: on the same clock where it has the same,
    // else directly before or after it.
    // Parts lie two holes apart, so that one of them is room for codec delays.
    let range_of =
        |s: &MediaSpan| clock_ranges.iter().skip(1).filter(|p| s.media_start_ms >= p.start_ms - HOLE_MS).count();
    for n in (0..spans.len().saturating_sub(1)).rev() {
        if let (None, Some(known)) = (samples[n], samples[n + 1]) {
            let (this, after) = (spans[n], spans[n + 1]);
            let same = range_of(&this) == range_of(&after);
            samples[n] = Some(if same { known } else { after.media_start_ms + known - this.media_end_ms });
        }
    }
    for n in 1..spans.len() {
        if let (None, Some(known)) = (samples[n], samples[n - 1]) {
            let (before, this) = (spans[n - 1], spans[n]);
            let same = range_of(&this) == range_of(&before);
            samples[n] = Some(if same { known } else { before.media_end_ms + known - this.media_start_ms });
        }
    }
    // One timeline with a hole in it has one anchor: the smaller.
    for n in 1..spans.len() {
        if let (Some(a), Some(b)) = (samples[n - 1], samples[n])
            && (a - b).abs() < SAME_TIMELINE_MS
            && range_of(&spans[n - 1]) == range_of(&spans[n])
        {
            samples[n] = Some(a.min(b));
        }
    }
    for n in (1..spans.len()).rev() {
        if let (Some(a), Some(b)) = (samples[n - 1], samples[n])
            && (a - b).abs() < SAME_TIMELINE_MS
            && range_of(&spans[n - 1]) == range_of(&spans[n])
        {
            samples[n - 1] = Some(a.min(b));
        }
    }
    for (span, sample) in spans.iter_mut().zip(samples) {
        span.offset_ms = sample.unwrap_or(-span.media_start_ms);
    }
}

#[cfg(test)]
mod tests;
