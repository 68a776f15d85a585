//! Holes in the media of one segment that another mirror does not have. The segment is then taken for several: one that
//! ends at the hole, and one that begins behind it; what is known of two segments that end and begin there holds for them.

use super::build::{self, ClipList, SourceSegment};
use super::{Clip, RejectedSegment};
use crate::domain::gap::Gap;
use crate::domain::ids::SegmentId;
use crate::domain::interval::Interval;
use crate::domain::media::{EDGE_MS, MediaIndex, Packet, PacketWindow};
use crate::domain::time::SECOND;
use crate::plan::cut::{CutEnd, CutStart};

/// A segment, and the place of the span behind the hole among its spans.
pub(super) type Hole = (SegmentId, usize);

/// Packets from the middle of a segment that are wanted: segment, from, to, in its own clock.
type Wanted = (SegmentId, i64, i64);

/// A shorter hole is not worth two seams; of a longer one another mirror must have so much.
const MARGIN_MS: i64 = SECOND;

/// No more holes than this are filled in one talk: what has more is beyond help, and each costs a look into its file.
const MOST: usize = 64;

/// Holes of segments of which another segment, taped at the same time, has at least a part.
pub(super) fn fillable(units: &[SourceSegment<'_>]) -> Vec<Hole> {
    let mut out: Vec<Vec<Hole>> = Vec::new();
    for unit in units {
        let mut holes = Vec::new();
        for (n, pair) in (1..).zip(unit.index.spans.windows(2)) {
            let (from, to) = (pair[0].wall().end, pair[1].wall().start);
            let has_some = |at: Interval| at.intersect(Interval::new(from, to)).len_ms() >= MARGIN_MS;
            let has_it = |other: &SourceSegment<'_>| {
                other.is_beside(unit) && other.index.spans.iter().any(|span| has_some(span.wall()))
            };
            if to.since(from) >= MARGIN_MS && units.iter().any(has_it) {
                holes.push((unit.segment, n));
            }
        }
        out.push(holes);
    }
    // The few of a good segment count more than the many of a bad one.
    out.sort_by_key(Vec::len);
    out.into_iter().flatten().take(MOST).collect()
}

/// True where a plan closes one of these holes as a gap.
pub(super) fn is_any_used(clips: &[Clip], holes: &[Hole], units: &[SourceSegment<'_>]) -> bool {
    clips.windows(2).any(|pair| {
        let [before, behind] = pair else { return false };
        let begin = behind.out_start_ms - behind.shift_ms;
        before.segment == behind.segment
            && behind.before.is_some()
            && holes.iter().any(|(segment, n)| {
                let spans = units.iter().find(|u| u.segment == *segment).map(|u| &u.index.spans);
                *segment == behind.segment
                    && spans
                        .and_then(|spans| spans.get(*n))
                        .is_some_and(|span| span.media_start_ms <= begin && begin <= span.media_end_ms)
            })
    })
}

/// As [`build::build`], with segments taken apart at these holes. What happens there must have been looked at.
///
/// # Errors
/// What has not been looked at yet.
pub(super) fn build(
    units: &[SourceSegment<'_>],
    holes: &[Hole],
    window: Interval,
    gaps: &[Gap],
    rejected: Vec<RejectedSegment>,
) -> Result<ClipList, Vec<Wanted>> {
    let mut wanted = Vec::new();
    let mut parts: Vec<SubSegment<'_>> = Vec::new();
    for unit in units {
        let mut edges: Vec<HoleEdge<'_>> = Vec::new();
        for (_, n) in holes.iter().filter(|(segment, _)| *segment == unit.segment) {
            match HoleEdge::of(unit.index, *n) {
                Ok(edge) => edges.extend(edge),
                Err((from, to)) => wanted.push((unit.segment, from, to)),
            }
        }
        parts.extend(
            (0..=edges.len()).map(|n| SubSegment::new(unit, n.checked_sub(1).map(|n| &edges[n]), edges.get(n))),
        );
    }
    if !wanted.is_empty() {
        return Err(wanted);
    }
    let mut apart: Vec<SourceSegment<'_>> = parts.iter().enumerate().map(|(n, part)| part.unit(n)).collect();
    apart.sort_by_key(|u| (u.wall().start, u.wall().end, u.id));
    let mut built = build::build(&apart, window, gaps, rejected);
    for clip in &mut built.clips {
        if let Some(part) = part_of(&parts, clip.segment) {
            part.translate(clip);
        }
    }
    let real = |id: SegmentId| part_of(&parts, id).map_or(id, |part| part.of.segment);
    for (first, second, _) in &mut built.seams {
        (*first, *second) = (real(*first), real(*second));
    }
    built.seams.retain(|(first, second, _)| first != second);
    for (segment, ..) in &mut built.wanted {
        *segment = real(*segment);
    }
    // A segment is left out where all its parts are, and redundant where all of them are.
    let mut out: Vec<RejectedSegment> = Vec::new();
    for mut rejected in built.rejected {
        rejected.segment = real(rejected.segment);
        match out.iter_mut().find(|known| known.segment == rejected.segment) {
            Some(known) => known.redundant &= rejected.redundant,
            None => out.push(rejected),
        }
    }
    out.retain(|rejected| built.clips.iter().all(|clip| clip.segment != rejected.segment));
    Ok(ClipList { rejected: out, ..built })
}

/// How much a plan knows to be missing, milliseconds.
pub(super) fn missing_ms(clips: &[Clip]) -> i64 {
    clips.iter().filter_map(|clip| clip.before.as_ref()).map(|missing| missing.ms).sum()
}

/// While the parts are put together each has a number of its own in place of its segment's; those of the catalog are
/// positive.
fn key(n: usize) -> SegmentId {
    SegmentId(-1 - i64::try_from(n).unwrap_or(i64::MAX - 1))
}

fn part_of<'p, 'a>(parts: &'p [SubSegment<'a>], id: SegmentId) -> Option<&'p SubSegment<'a>> {
    parts.get(usize::try_from(-1 - id.0).ok()?)
}

/// A hole that was looked at.
struct HoleEdge<'a> {
    /// The span behind it.
    span: usize,
    /// The middle of the hole, in the segment's clock, milliseconds.
    middle: i64,
    /// For each track: how many of its packets lie before the hole.
    before: Vec<u64>,
    window: &'a PacketWindow,
}

impl<'a> HoleEdge<'a> {
    /// `None`: what was seen does not tell where the hole lies among the packets. The error is the stretch that is
    /// to be looked at.
    fn of(index: &'a MediaIndex, span: usize) -> Result<Option<Self>, (i64, i64)> {
        let (Some(last), Some(next)) = (index.spans.get(span.wrapping_sub(1)), index.spans.get(span)) else {
            return Ok(None);
        };
        let stretch = (last.media_end_ms - EDGE_MS, next.media_start_ms + EDGE_MS);
        let Some(window) = index.packet_windows.iter().find(|w| (w.from_ms, w.to_ms) == stretch) else {
            return Err(stretch);
        };
        let middle = last.media_end_ms + (next.media_start_ms - last.media_end_ms) / 2;
        let sides = [true, false].map(|before| window.packets.iter().any(|p| (p.pts_ms < middle) == before));
        if sides != [true, true] {
            return Ok(None);
        }
        let count =
            |track: &u32| window.packets.iter().filter(|p| p.track == *track && p.pts_ms < middle).count() as u64;
        let before = (1..).zip(&window.before).map(|(track, before)| before + count(&track)).collect();
        Ok(Some(Self { span, middle, before, window }))
    }
}

/// What lies between two holes of a segment, or between a hole and an end of it.
struct SubSegment<'a> {
    of: &'a SourceSegment<'a>,
    index: MediaIndex,
    /// Nothing before this time belongs to it, in the segment's clock; `None`: the segment's begin.
    from: Option<i64>,
    /// Nothing from this time on.
    to: Option<i64>,
    /// For each track: packets of the segment before its first.
    base: Vec<u64>,
}

impl<'a> SubSegment<'a> {
    fn new(of: &'a SourceSegment<'a>, begin: Option<&HoleEdge<'_>>, end: Option<&HoleEdge<'_>>) -> Self {
        let whole = of.index;
        let (from, to) = (begin.map(|edge| edge.middle), end.map(|edge| edge.middle));
        let base = begin.map_or_else(Vec::new, |edge| edge.before.clone());
        if begin.is_none() && end.is_none() {
            return Self { of, index: whole.clone(), from, to, base };
        }
        let inside = |at: i64| from.is_none_or(|from| from <= at) && to.is_none_or(|to| at < to);
        let of_it = |packets: &[Packet]| packets.iter().filter(|p| inside(p.pts_ms)).copied().collect::<Vec<_>>();
        let spans = begin.map_or(0, |edge| edge.span)..end.map_or(whole.spans.len(), |edge| edge.span);
        let mut index = MediaIndex {
            spans: whole.spans[spans].to_vec(),
            head: of_it(begin.map_or(&whole.head, |edge| &edge.window.packets)),
            tail: of_it(end.map_or(&whole.tail, |edge| &edge.window.packets)),
            keys_ms: whole.keys_ms.iter().copied().filter(|at| inside(*at)).collect(),
            packet_windows: Vec::new(),
            // Bytes that are missing tear a packet as an end does.
            ragged_end: end.is_some() || whole.ragged_end,
            ..whole.clone()
        };
        for track in &mut index.tracks {
            let n = track.number as usize - 1;
            let upto = end.and_then(|edge| edge.before.get(n).copied()).unwrap_or(track.packets);
            track.packets = upto.saturating_sub(base.get(n).copied().unwrap_or_default());
            track.whole_end &= end.is_none();
        }
        index.packet_windows = whole
            .packet_windows
            .iter()
            .filter(|w| w.from_ms < to.unwrap_or(i64::MAX) && from.unwrap_or(i64::MIN) < w.to_ms)
            .map(|w| PacketWindow {
                from_ms: w.from_ms.max(from.unwrap_or(i64::MIN)),
                to_ms: w.to_ms.min(to.unwrap_or(i64::MAX)),
                // One that begins before the hole shows the part from its first packet on.
                before: w
                    .before
                    .iter()
                    .enumerate()
                    .map(|(n, before)| before.saturating_sub(base.get(n).copied().unwrap_or_default()))
                    .collect(),
                packets: of_it(&w.packets),
            })
            .collect();
        Self { of, index, from, to, base }
    }

    fn unit(&self, n: usize) -> SourceSegment<'_> {
        SourceSegment {
            id: key(n),
            segment: self.of.segment,
            index: &self.index,
            stream: self.of.stream,
            came: self.of.came,
            tracks: self.of.tracks.clone(),
        }
    }

    /// From the part's own counting to the segment's.
    fn translate(&self, clip: &mut Clip) {
        clip.segment = self.of.segment;
        for t in &mut clip.tracks {
            let n = t.track as usize - 1;
            let base = self.base.get(n).copied().unwrap_or_default();
            let packets = self.index.tracks.iter().find(|k| k.number == t.track).map_or(0, |track| track.packets);
            t.from = match (t.from, self.from) {
                (CutStart::Packet(n), _) => CutStart::Packet(base + n),
                (CutStart::Start, Some(_)) => CutStart::Packet(base),
                (CutStart::Keyframe(at), Some(from)) => CutStart::Keyframe(at.max(from)),
                (CutStart::Time(at), Some(from)) => CutStart::Time(at.max(from)),
                (from, _) => from,
            };
            t.to = match (t.to, self.to) {
                (CutEnd::Packet(n), _) => CutEnd::Packet(base + n),
                (CutEnd::End, Some(_)) => CutEnd::Packet(base + packets),
                (CutEnd::Time(at), Some(to)) => CutEnd::Time(at.min(to)),
                (to, None) => to,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::StreamId;
    use crate::domain::media::MediaSpan;
    use crate::domain::time::{MINUTE, Ms};

    #[test]
    fn a_segment_that_is_all_holes_takes_no_place_from_one_that_has_a_few() {
        // Both last two hours: one lacks 10 s in each minute, the other 10 s in an hour.
        let index = |from: i64, step: i64| {
            let mut spans = Vec::new();
            let mut begin = 0;
            for hole in (0..120).filter(|n| n % step == from).map(|n| n * MINUTE + 20 * SECOND + from * SECOND) {
                spans.push(MediaSpan { media_start_ms: begin, media_end_ms: hole, offset_ms: 0 });
                begin = hole + 10 * SECOND;
            }
            spans.push(MediaSpan { media_start_ms: begin, media_end_ms: 120 * MINUTE, offset_ms: 0 });
            MediaIndex { spans, ..MediaIndex::default() }
        };
        let (bad, good) = (index(0, 1), index(30, 60));
        let units: Vec<_> = [(1, &bad), (2, &good)]
            .map(|(id, index)| SourceSegment {
                id: SegmentId(id),
                segment: SegmentId(id),
                index,
                stream: Some(StreamId(id)),
                came: Interval::new(Ms(0), Ms(120 * MINUTE)),
                tracks: Vec::new(),
            })
            .into();
        let holes = fillable(&units);
        assert_eq!(holes.len(), MOST);
        assert_eq!(holes.iter().filter(|(segment, _)| *segment == SegmentId(2)).count(), 2);
    }
}
