//! Indexing a closed segment: what is in it, where it lies in wall time, and the packets at its edges.
//!
//! MPEG-TS and audio without a container are read here, in one pass. Other containers are in two, by children of low
//! priority: [`super::probe`] for byte
//! positions (when which media arrived), [`super::demux`] for the packets exactly as an assembly will see them.

mod donors;
mod native;
mod packet_windows;
mod segment_stats;
mod tail;

use std::path::{Path, PathBuf};

use self::segment_stats::SegmentStats;
use super::demux::{Demux, Demuxed, TrackSelection};
use super::probe::{PacketPlace, Probe, ProbedStream, probe, probe_range};
use super::restarts;
use super::{CancellationToken, MediaError, Result};
use crate::domain::media::{ClockRange, MediaIndex, MediaSpan, Track, TrackKind};
use crate::domain::segment::Mark;
use crate::plan::anchor::Anchor;

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

/// A file in which the stream begins anew more often than this is not cut more often.
const MOST_RESTARTS: usize = 64;

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
    if let Some(index) = native::index(path, marks, donors, bytes, cancel)? {
        return Ok(index);
    }
    let (mut found, prefix) = look(path, donors, cancel)?;
    let mut restarts = Vec::new();
    if restarts::is_known(&found.format) {
        restarts = restarts::restarts(path, &found.format)
            .map_err(|source| MediaError::File { path: path.to_owned(), source })?;
        restarts.truncate(MOST_RESTARTS);
        if !restarts.is_empty() {
            found = by_parts(path, &found.format, &restarts, cancel)?;
        }
    }
    let nothing =
        |problem: String| MediaIndex { format: found.format.clone(), problem: Some(problem), ..MediaIndex::default() };
    let wanted: Vec<&ProbedStream> = wanted(&found);
    if wanted.is_empty() {
        return Ok(nothing(found.complaint.clone().unwrap_or_else(|| "no pictures and no sound in it".to_owned())));
    }
    let mut clock_ranges = clock_ranges(path, &found, &wanted, &restarts);
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
                index.left_out = left_out(&found, &streams);
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

/// As [`probe`], of a file in which the stream begins anew at these bytes: each part by itself.
fn by_parts(path: &Path, format: &str, restarts: &[u64], cancel: &CancellationToken) -> Result<Probe> {
    let mut out = Probe::default();
    for (n, from_byte) in std::iter::once(0).chain(restarts.iter().copied()).enumerate() {
        let to_byte = restarts.get(n).copied();
        let header = if n == 0 { Ok(Vec::new()) } else { restarts::header_for(path, format, from_byte) };
        let header = header.map_err(|source| MediaError::File { path: path.to_owned(), source })?;
        let range = ClockRange { from_byte, to_byte, shift_ms: 0, start_ms: 0 };
        let mut part = probe_range(path, range, &header, cancel)?;
        // A header of the part's own stands before its first packet: that is of this part all the same.
        for place in &mut part.places {
            place.pos = place.pos.map(|pos| pos.clamp(from_byte, to_byte.map_or(u64::MAX, |to| to - 1)));
        }
        if n == 0 {
            out = part;
        } else {
            out.places.extend(part.places);
        }
    }
    out.format = format.to_owned();
    Ok(out)
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
        // with a key picture, and then nothing is missing.
        if has_pictures(&with) && clock_ranges(path, &with, &wanted(&with), &[]).len() == 1 {
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

/// Streams that can go into an assembly, pictures first, so that tracks have the same order in every
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

/// What a file carries besides these streams, for people.
fn left_out(found: &Probe, streams: &[&ProbedStream]) -> Vec<String> {
    let is_used = |s: &&ProbedStream| streams.iter().any(|used| used.index == s.index) || s.cover;
    let name = |s: &ProbedStream| {
        let kind = match s.kind {
            TrackKind::Video => "video",
            TrackKind::Audio => "audio",
            TrackKind::Other => "data",
        };
        let codec = if s.codec.is_empty() { "of an unknown kind" } else { s.codec.as_str() };
        let language = if s.language.is_empty() { String::new() } else { format!(" ({})", s.language) };
        format!("{kind} {codec}{language}")
    };
    let has_packets = |s: &&ProbedStream| found.places.iter().any(|p| p.stream == s.index);
    found.streams.iter().filter(|s| !is_used(s)).filter(has_packets).map(name).collect()
}

/// Containers whose last packet ends where the file ends, torn or not.
fn is_ragged(format: &str) -> bool {
    !["matroska,webm", "ogg", ""].contains(&format)
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
    let mut gathered = SegmentStats::default();
    while let Some(Demuxed { packet, .. }) = demux.next_packet()? {
        gathered.take(packet);
    }
    let problem = problem.or_else(|| demux.trouble().map(str::to_owned));
    let tracks_out: Vec<Track> = demux
        .entries()
        .zip(demux.track_picks())
        .zip(1..)
        .map(|((entry, selected), number)| {
            let stream = found.streams.iter().find(|s| s.index == selected.stream);
            let mut entry = entry.clone();
            if let Some(stream) = stream {
                // In Ogg a title is that of the song.
                let title = if found.format == "ogg" { "" } else { &stream.title };
                entry.call(&stream.language, title);
            }
            let mut track = gathered.track(number, &entry);
            (track.stream, track.adts) = (selected.stream, selected.adts);
            track
        })
        .collect();
    let drift = selection
        .iter()
        .zip(1..)
        .find_map(|(selected, number)| {
            let first = found.places.iter().find(|p| p.stream == selected.stream && time_of(p).is_some())?;
            Some(gathered.tracks.get(&number)?.first_ms? - time_of(first)?)
        })
        .unwrap_or_default();
    let arrivals = arrivals(found, selection, &clock_ranges, drift, bytes);
    let mut index = gathered.finish(tracks_out, clock_ranges, &arrivals, marks, bytes);
    index.ragged_end = is_ragged(&found.format);
    index.format = found.format.clone();
    index.problem = problem.or(index.problem);
    Ok(index)
}

fn time_of(p: &PacketPlace) -> Option<i64> {
    p.pts_ms.or(p.dts_ms)
}

/// The byte ranges between resets of the clock, with shifts that make the whole rise. A reset shows in
/// each stream by itself; the first stream that shows it says where.
fn clock_ranges(path: &Path, found: &Probe, wanted: &[&ProbedStream], restarts: &[u64]) -> Vec<ClockRange> {
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
    // Where the container itself was looked at, it is known where.
    if restarts::is_known(&found.format) {
        starts = std::iter::once(0).chain(restarts.iter().copied()).collect();
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
