//! What an index keeps of a segment's packets, gathered while they pass.

use std::collections::{BTreeMap, VecDeque};

use super::{HOLE_MS, MAX_EDGE_PACKETS, anchor};
use crate::domain::media::{ClockRange, EDGE_MS, MediaIndex, MediaSpan, Packet, Track, TrackKind};
use crate::domain::segment::Mark;
use crate::media::track::TrackEntry;
use crate::plan::stretches::TrackStretches;

/// What is gathered of a segment while its packets pass.
#[derive(Debug, Default)]
pub(super) struct SegmentStats {
    edges: EdgePackets,
    /// The statistics of each track, by its number.
    pub(super) tracks: BTreeMap<u32, TrackStats>,
}

impl SegmentStats {
    pub(super) fn take(&mut self, packet: Packet) {
        let track = self.tracks.entry(packet.track).or_default();
        track.take(packet);
        track.fine.add(packet);
        self.edges.take(packet);
    }

    /// As if the tracks had had other numbers; those without one are left out.
    pub(super) fn renumbered(self, numbers: &[Option<u32>]) -> Self {
        let to = |from: u32| numbers.get(from as usize).copied().flatten();
        let packets = |packets: &mut Packet| to(packets.track).map(|number| packets.track = number).is_some();
        let Self { mut edges, tracks } = self;
        edges.head.retain_mut(packets);
        edges.tail.retain_mut(packets);
        Self { edges, tracks: tracks.into_iter().filter_map(|(from, t)| Some((to(from)?, t))).collect() }
    }

    /// What is known of a track, but for where in the file it is.
    pub(super) fn track(&self, number: u32, entry: &TrackEntry) -> Track {
        let so_far = self.tracks.get(&number);
        Track {
            number,
            kind: entry.kind(),
            codec: entry.codec(),
            format_hash: entry.format_hash(),
            stream: 0,
            adts: false,
            whole_end: false,
            packet_ms: so_far.map_or(0, TrackStats::packet_ms),
            packets: so_far.map_or(0, |t| t.packets),
            pid: 0,
            language: entry.language(),
            entry: entry.content(),
            keys_ms: Vec::new(),
        }
    }

    /// The index of these tracks, which are numbered from 1 in their order. `arrivals`: see [`arrivals`].
    pub(super) fn finish(
        self,
        tracks: Vec<Track>,
        clock_ranges: Vec<ClockRange>,
        arrivals: &[(u64, i64)],
        marks: &[Mark],
        bytes: u64,
    ) -> MediaIndex {
        let Self { edges, tracks: mut so_far } = self;
        let so_far: Vec<TrackStats> = tracks.iter().map(|t| so_far.remove(&t.number).unwrap_or_default()).collect();
        let mut spans = spans(&so_far, &tracks);
        if spans.is_empty() {
            return MediaIndex { problem: Some("no packets in it".to_owned()), ..MediaIndex::default() };
        }
        let track_stretches = so_far
            .iter()
            .zip(&tracks)
            .flat_map(|(so_far, track)| so_far.fine.finish(track.number, track.kind))
            .collect();
        let (head, tail) = edges.finish(&tracks);
        anchor(&mut spans, arrivals, &clock_ranges, marks, bytes);
        let mut tracks = tracks;
        let mut keys_ms = Vec::new();
        for (track, mut so_far) in tracks.iter_mut().zip(so_far).filter(|(t, _)| t.kind == TrackKind::Video) {
            so_far.keys_ms.sort_unstable();
            let keys = if track.number == 1 { &mut keys_ms } else { &mut track.keys_ms };
            *keys = so_far.keys_ms;
        }
        MediaIndex { tracks, spans, track_stretches, head, tail, keys_ms, clock_ranges, ..MediaIndex::default() }
    }
}

/// What is gathered of a track while its packets pass.
#[derive(Debug, Default)]
pub(super) struct TrackStats {
    packets: u64,
    pub(super) first_ms: Option<i64>,
    /// Stretches without holes, `[start, end]`.
    stretches: Vec<(i64, i64)>,
    /// Times of its first packets.
    times: Vec<i64>,
    stated_ms: i64,
    keys_ms: Vec<i64>,
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
        if p.key {
            self.keys_ms.push(p.pts_ms);
        }
        let end = p.pts_ms.saturating_add(p.duration_ms.max(0));
        match self.stretches.last_mut() {
            Some(last) if p.pts_ms <= last.1.saturating_add(HOLE_MS) => {
                // A picture may be shown before one that was decoded earlier; anything further back is
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
pub(super) struct EdgePackets {
    /// Where each track begins.
    starts_ms: BTreeMap<u32, i64>,
    max_ms: i64,
    head: Vec<Packet>,
    /// Tracks that have left the head: it must hold the first packets of each without holes.
    left: Vec<u32>,
    tail: VecDeque<Packet>,
}

impl EdgePackets {
    pub(super) fn take(&mut self, p: Packet) {
        // One that begins late has its own first minute.
        let start = *self.starts_ms.entry(p.track).or_insert(p.pts_ms);
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

    pub(super) fn finish(mut self, tracks: &[Track]) -> (Vec<Packet>, Vec<Packet>) {
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
