//! Which tracks a talk's file has, and which tracks of each segment they are.

use super::OutTrack;
use super::build::SourceSegment;
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::media::{MediaIndex, MediaSpan, Track, TrackKind};
use crate::domain::time::Ms;
use crate::plan::seam::{TrackOf, pair};

/// What pauses for longer than this, milliseconds, is a hole: see the spans of an index.
const HOLE_MS: i64 = 1000;

/// A track that stands beside the leading one for less than this share of either is of another time.
const BESIDE: i64 = 2;

/// Where a track has media, in its segment's clock. Of an index that does not say so, wherever the segment has any.
fn stretches(index: &MediaIndex, track: &Track) -> Vec<(i64, i64)> {
    let of_track = index.track_stretches.iter().filter(|s| s.track == track.number).map(|s| (s.start_ms, s.end_ms));
    let found: Vec<_> = of_track.collect();
    if index.track_stretches.is_empty() {
        index.spans.iter().map(|s| (s.media_start_ms, s.media_end_ms)).collect()
    } else {
        found
    }
}

/// Where a track has media, in wall time.
pub(super) fn walls(index: &MediaIndex, track: &Track) -> IntervalSet {
    let place = |(start, end)| spans_of(index, start, end).into_iter().map(MediaSpan::wall);
    stretches(index, track).into_iter().flat_map(place).collect()
}

/// A stretch of a segment, cut where its spans meet.
fn spans_of(index: &MediaIndex, start: i64, end: i64) -> Vec<MediaSpan> {
    let spans = index.spans.iter().enumerate();
    let cut = spans.filter_map(|(n, span)| {
        let from = if n == 0 { i64::MIN } else { span.media_start_ms };
        let to = index.spans.get(n + 1).map_or(i64::MAX, |next| next.media_start_ms);
        let (media_start_ms, media_end_ms) = (start.max(from), end.min(to));
        (media_start_ms < media_end_ms).then_some(MediaSpan { media_start_ms, media_end_ms, ..*span })
    });
    cut.collect()
}

/// Tracks of a segment that are sent at one time: those beside one that leads, which is video where there is any.
fn sets(index: &MediaIndex) -> Vec<(Vec<OutTrack>, IntervalSet)> {
    let kind =
        if index.tracks.iter().any(|t| t.kind == TrackKind::Video) { TrackKind::Video } else { TrackKind::Audio };
    let set = |track: &Track| -> IntervalSet {
        stretches(index, track).into_iter().map(|(from, to)| Interval::new(Ms(from), Ms(to))).collect()
    };
    let mut out: Vec<(Vec<OutTrack>, IntervalSet)> = Vec::new();
    for lead in index.tracks.iter().filter(|t| t.kind == kind) {
        let of_format = |t: &&Track| t.kind == kind && t.format_hash == lead.format_hash;
        // Several tracks of one format lead together.
        if index.tracks.iter().take_while(|t| t.number != lead.number).any(|t| of_format(&t)) {
            continue;
        }
        let leading = set(lead);
        let beside = |t: &&Track| {
            let (own, shared) = (set(t), set(t).intersect(&leading).total_ms());
            of_format(t) || shared * BESIDE >= own.total_ms() || shared * BESIDE >= leading.total_ms()
        };
        let is_in = |t: &&Track| if t.kind == kind { of_format(t) } else { beside(t) };
        let tracks = (1..).zip(index.tracks.iter().filter(is_in)).map(|(number, t)| OutTrack {
            number,
            kind: t.kind,
            format_hash: t.format_hash,
        });
        let tracks: Vec<OutTrack> = tracks.collect();
        out.push((tracks, walls(index, lead)));
    }
    out
}

/// The tracks of a file: those of the format that covers most of the slot, and of the window where that is equal; and
/// what other segments of that format have beside it, such as audio that was switched on late.
pub(super) fn choose(units: &[SourceSegment<'_>], slot: Interval, window: Interval) -> Vec<OutTrack> {
    let mut totals: Vec<(Vec<OutTrack>, IntervalSet)> = Vec::new();
    for (tracks, walls) in units.iter().flat_map(|unit| sets(unit.index)) {
        match totals.iter_mut().find(|(known, _)| *known == tracks) {
            // Two mirrors of one format cover the same time once.
            Some(total) => total.1 = total.1.union(&walls),
            None => totals.push((tracks, walls)),
        }
    }
    let share = |walls: &IntervalSet| (walls.clip(slot).total_ms(), walls.clip(window).total_ms());
    // The first of equals: the order of segments is fixed.
    let best = totals.iter().map(|(_, walls)| share(walls)).max();
    let Some(at) = totals.iter().position(|(_, walls)| Some(share(walls)) == best) else { return Vec::new() };
    let mut out = totals[at].0.clone();
    let is_led_alike = |tracks: &[OutTrack]| {
        tracks.iter().any(|t| {
            t.kind == TrackKind::Video && out.iter().any(|o| (o.kind, o.format_hash) == (t.kind, t.format_hash))
        }) || !out.iter().chain(tracks).any(|t| t.kind == TrackKind::Video)
    };
    let more: Vec<&Vec<OutTrack>> = totals.iter().map(|(tracks, _)| tracks).filter(|t| is_led_alike(t)).collect();
    let count = |of: &[OutTrack], t: &OutTrack| {
        of.iter().filter(|o| (o.kind, o.format_hash) == (t.kind, t.format_hash)).count()
    };
    let mut added = Vec::new();
    for tracks in more {
        for t in tracks {
            let all = [&out[..], &added].concat();
            let is_new_kind = !out.iter().any(|o| o.kind == t.kind);
            let is_one_more = count(&all, t) > 0 && count(tracks, t) > count(&all, t);
            let is_first = count(&all, t) == 0 && (is_new_kind && !added.iter().any(|a: &OutTrack| a.kind == t.kind));
            if is_one_more || is_first {
                added.push(*t);
            }
        }
    }
    out.extend(added);
    for (number, track) in (1..).zip(&mut out) {
        track.number = number;
    }
    out
}

/// Which track of the file each track of the segments is: in each, track of the segment and track of the file. Segments
/// are in the order of time, and tracks are told apart by the segment before.
pub(super) fn assign(units: &mut [SourceSegment<'_>], tracks: &[OutTrack]) {
    // The last segment that had each track of the file, and which track of it that was.
    let mut last: Vec<Option<TrackOf<'_>>> = vec![None; tracks.len()];
    for unit in units {
        let known: Vec<(usize, TrackOf<'_>)> =
            last.iter().enumerate().filter_map(|(n, known)| Some((n, (*known)?))).collect();
        let of: Vec<TrackOf<'_>> = known.iter().map(|(_, track)| *track).collect();
        let mut assigned: Vec<(u32, u32)> =
            pair(&of, unit.index).into_iter().map(|(at, t)| (t.number, tracks[known[at].0].number)).collect();
        // What no segment before had: in order.
        for t in &unit.index.tracks {
            let is_free = |out: &&OutTrack| {
                (out.kind, out.format_hash) == (t.kind, t.format_hash)
                    && !assigned.iter().any(|(_, number)| *number == out.number)
                    && last[out.number as usize - 1].is_none()
            };
            if !assigned.iter().any(|(number, _)| *number == t.number)
                && let Some(out) = tracks.iter().find(is_free)
            {
                assigned.push((t.number, out.number));
            }
        }
        assigned.sort_unstable();
        for (number, out) in &assigned {
            if let Some(track) = unit.index.tracks.iter().find(|t| t.number == *number) {
                last[*out as usize - 1] = Some((unit.index, track));
            }
        }
        unit.tracks = assigned;
    }
}

/// True where a segment belongs into a file of these tracks: its video is that of the file, if both have any.
pub(super) fn fits(unit: &SourceSegment<'_>, tracks: &[OutTrack]) -> bool {
    let has_video = unit.index.tracks.iter().any(|t| t.kind == TrackKind::Video);
    let is_video = |out: &u32| tracks.iter().any(|t| t.number == *out && t.kind == TrackKind::Video);
    let wants_video = has_video && tracks.iter().any(|t| t.kind == TrackKind::Video);
    !unit.tracks.is_empty() && (!wants_video || unit.tracks.iter().any(|(_, out)| is_video(out)))
}

/// The index of a segment of which only some tracks are used: as if it had no others, and a hole where only those are.
/// `None`: all are used.
pub(super) fn narrowed(index: &MediaIndex, used: &[(u32, u32)]) -> Option<MediaIndex> {
    let is_used = |number: u32| used.iter().any(|(track, _)| *track == number);
    if index.tracks.iter().all(|t| is_used(t.number)) {
        return None;
    }
    let mut all: Vec<(i64, i64)> =
        index.tracks.iter().filter(|t| is_used(t.number)).flat_map(|t| stretches(index, t)).collect();
    all.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (start, end) in all {
        match merged.last_mut() {
            Some(last) if start <= last.1.saturating_add(HOLE_MS) => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    let first = index.tracks.iter().find(|t| is_used(t.number)).filter(|t| t.kind == TrackKind::Video);
    Some(MediaIndex {
        tracks: index.tracks.iter().filter(|t| is_used(t.number)).cloned().collect(),
        spans: merged.into_iter().flat_map(|(start, end)| spans_of(index, start, end)).collect(),
        track_stretches: index.track_stretches.iter().filter(|s| is_used(s.track)).copied().collect(),
        keys_ms: first.map_or_else(Vec::new, |track| keys(index, track)),
        ..index.clone()
    })
}

/// Times of a video track's keyframes.
fn keys(index: &MediaIndex, track: &Track) -> Vec<i64> {
    if index.tracks.first().is_some_and(|first| first.number == track.number) {
        index.keys_ms.clone()
    } else {
        track.keys_ms.clone()
    }
}

/// Where tracks of a segment have media that are not used.
pub(super) fn unused(index: &MediaIndex, used: &[(u32, u32)]) -> IntervalSet {
    let unused = index.tracks.iter().filter(|t| !used.iter().any(|(track, _)| *track == t.number));
    unused.flat_map(|t| walls(index, t).iter().collect::<Vec<_>>()).collect()
}
