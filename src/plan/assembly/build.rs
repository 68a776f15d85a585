//! Puts segments one after the other: the heart of a plan.

use std::collections::{HashSet, VecDeque};

use super::clip_bounds::{begin_ms, from_key, keys_in, middle, packet_ms, settle};
use super::{Clip, MissingMedia, RejectedSegment, TrackClip};
use crate::domain::gap::Gap;
use crate::domain::ids::{SegmentId, StreamId};
use crate::domain::interval::Interval;
use crate::domain::media::{MediaIndex, TrackKind};
use crate::domain::time::SECOND;
use crate::plan::cut::{CutEnd, CutStart};
use crate::plan::seam::{self, Method, RecordingOrder, Seam, SeamKind, SeamSearch, begin_after_gap, whole_packets};

/// A second segment that reaches back before the first by more than this is taken first instead.
const REACH_BACK_MS: i64 = 100;

/// Limit for a segment that reaches back before the previous one, milliseconds, where equal packets give the exact
/// amount: the rounding of Matroska timestamps.
const EXACT_BACK_MS: i64 = 4;

/// Connections to one stream run beside each other for no longer than a handover takes (20 s, and 5 s to
/// stop the old one).
const HANDOVER_MS: i64 = 30 * SECOND;

/// A segment that goes on from before the last one's end by so much surely shows the seam.
const SURE_MS: i64 = SECOND;

/// A segment that may be used.
pub(super) struct SourceSegment<'a> {
    pub(super) id: SegmentId,
    /// The segment that it is, or is a part of: for people, and to tell parts of one segment.
    pub(super) segment: SegmentId,
    pub(super) index: &'a MediaIndex,
    /// From which stream.
    pub(super) stream: Option<StreamId>,
    /// When its bytes came.
    pub(super) came: Interval,
    /// Track in the segment, track in the assembly.
    pub(super) tracks: Vec<(u32, u32)>,
}

impl SourceSegment<'_> {
    pub(super) fn wall(&self) -> Interval {
        let spans = &self.index.spans;
        let start = spans.iter().map(|s| s.wall().start).min().unwrap_or_default();
        Interval::new(start, spans.iter().map(|s| s.wall().end).max().unwrap_or(start))
    }

    /// True where the two were taped at the same time, each from a mirror of its own; a handover is no such
    /// thing, unless it changes the mirror.
    pub(super) fn is_beside(&self, other: &SourceSegment<'_>) -> bool {
        if self.segment == other.segment {
            return false;
        }
        let together = self.came.intersect(other.came).len_ms();
        let other_stream = self.stream.zip(other.stream).is_some_and(|(a, b)| a != b);
        together > HANDOVER_MS || (other_stream && together > 0)
    }

    fn taped(&self, later: &SourceSegment<'_>) -> RecordingOrder {
        if self.is_beside(later) {
            RecordingOrder::Beside
        } else if self.stream.zip(later.stream).is_some_and(|(a, b)| a != b) {
            RecordingOrder::FromAnother
        } else {
            RecordingOrder::InTurn
        }
    }
}

/// What came of it.
pub(super) struct ClipList {
    pub(super) clips: Vec<Clip>,
    pub(super) rejected: Vec<RejectedSegment>,
    pub(super) seams: Vec<(SegmentId, SegmentId, Seam)>,
    /// Packets that are not known and would show a seam better: segment, from, to, in its own clock.
    pub(super) wanted: Vec<(SegmentId, i64, i64)>,
}

/// Puts the segments, which are in the order of their begin, into a window. `rejected`: what was left out
/// before.
pub(super) fn build(
    units: &[SourceSegment<'_>],
    window: Interval,
    gaps: &[Gap],
    rejected: Vec<RejectedSegment>,
) -> ClipList {
    let mut builder = ClipBuilder { window, clips: Vec::new(), rejected, seams: Vec::new(), wanted: Vec::new(), gaps };
    builder.run(units);
    ClipList { clips: builder.clips, rejected: builder.rejected, seams: builder.seams, wanted: builder.wanted }
}

struct ClipBuilder<'a> {
    window: Interval,
    clips: Vec<Clip>,
    rejected: Vec<RejectedSegment>,
    seams: Vec<(SegmentId, SegmentId, Seam)>,
    wanted: Vec<(SegmentId, i64, i64)>,
    gaps: &'a [Gap],
}

impl ClipBuilder<'_> {
    fn run(&mut self, units: &[SourceSegment<'_>]) {
        let mut queue: VecDeque<&SourceSegment<'_>> = units.iter().collect();
        let mut turned: HashSet<(SegmentId, SegmentId)> = HashSet::new();
        while let Some(unit) = queue.pop_front() {
            let last = self.clips.last().and_then(|p| units.iter().find(|u| u.id == p.segment));
            let Some(last) = last else {
                self.place_first(unit);
                continue;
            };
            let SeamSearch { seam, wanted } = seam::find_seam(last.index, unit.index, last.taped(unit));
            if reaches_back(&seam) && turned.insert((last.id, unit.id)) && self.take_back(last.id) {
                // The other way round: the second one's burst began before the first one's did.
                queue.push_front(last);
                queue.push_front(unit);
                continue;
            }
            if self.reaches_end(last) {
                let stands = self.stands_in(last, unit, &seam);
                self.reject(unit.id, format!("segment {} goes on to the end of the window", last.segment), stands);
                continue;
            }
            if let Some(better) = further(last, unit, &queue) {
                // One seam less, where a mirror has both.
                let seam = seam::find_seam(better.index, unit.index, RecordingOrder::Beside).seam;
                let stands = self.stands_in(better, unit, &seam);
                self.reject(unit.id, format!("segment {} has more of the same time", better.segment), stands);
                continue;
            }
            self.wanted.extend(wanted.map(|(from, to)| (unit.id, from, to)));
            self.seams.push((last.id, unit.id, seam.clone()));
            if seam.contained {
                let stands = self.stands_in(last, unit, &seam);
                self.reject(unit.id, format!("all of it stands in segment {}", last.segment), stands);
                continue;
            }
            self.follow(units, last, unit, &seam);
        }
        self.cut_end();
    }

    /// True where it is certain that `last` has what `unit` has of the window, up to its own end: by equal packets, or
    /// equal clocks, and without a hole of its own there. Arrival times alone do not tell: where the wall clock was
    /// set back, two hours of media have one hour of wall time.
    fn stands_in(&self, last: &SourceSegment<'_>, unit: &SourceSegment<'_>, seam: &Seam) -> bool {
        let overlaps = seam.kind == SeamKind::Overlap && !reaches_back(seam);
        if !seam.contained && !overlaps {
            return false;
        }
        let (shift, tolerance) = match seam.method {
            Method::Packets => (seam.shift_ms, EXACT_BACK_MS),
            Method::Clock => (0, 0),
            Method::Arrival | Method::None => return false,
        };
        let end = last.index.spans.iter().map(|s| s.media_end_ms).max().unwrap_or(i64::MIN);
        unit.index.spans.iter().all(|s| {
            let from = s.media_start_ms.max(self.window.start.0.saturating_sub(s.offset_ms)) + shift + tolerance;
            let upto = (s.media_end_ms + shift).min(end) - tolerance;
            upto <= from || last.index.spans.iter().any(|l| l.media_start_ms <= from && upto <= l.media_end_ms)
        })
    }

    fn reject(&mut self, segment: SegmentId, reason: String, redundant: bool) {
        self.rejected.push(RejectedSegment { segment, reason, redundant });
    }

    fn reaches_end(&self, unit: &SourceSegment<'_>) -> bool {
        unit.index.spans.iter().any(|s| s.wall().end >= self.window.end)
    }

    /// Takes the pieces of the last segment away again, where it did not grow out of an overlap and
    /// begins where the segment does.
    fn take_back(&mut self, segment: SegmentId) -> bool {
        let at = self.clips.iter().position(|p| p.segment == segment).unwrap_or_default();
        let whole = self.clips.get(at).is_some_and(|p| {
            p.tracks
                .iter()
                .all(|t| matches!(t.from, CutStart::Start | CutStart::Keyframe(i64::MIN) | CutStart::Nothing))
        });
        if whole {
            self.clips.truncate(at);
            self.seams.retain(|(_, second, _)| *second != segment);
        }
        whole
    }

    /// The first segment: from the window's edge on, or from its own start where that comes later.
    fn place_first(&mut self, unit: &SourceSegment<'_>) {
        let Some(first) = unit.index.spans.iter().position(|s| s.wall().end > self.window.start) else {
            self.reject(unit.id, "its media lies outside the talk's window".to_owned(), false);
            return;
        };
        let span = unit.index.spans[first];
        let edge = self.window.start.0.saturating_sub(span.offset_ms);
        let from_edge = edge > span.media_start_ms;
        let keys = keys_in(unit.index, span);
        // A cut falls on the last keyframe at or before the edge.
        let key = keys.iter().copied().rfind(|k| *k <= edge).filter(|_| from_edge);
        let tracks: Vec<_> = unit
            .tracks
            .iter()
            .filter_map(|(track, out_track)| {
                let kind = unit.index.tracks.iter().find(|t| t.number == *track)?.kind;
                let from = match (from_edge || first > 0, key, kind) {
                    (true, Some(key), TrackKind::Video) => CutStart::Keyframe(key),
                    (true, None, TrackKind::Video) => CutStart::Keyframe(edge.max(span.media_start_ms)),
                    (true, key, _) => CutStart::Time(key.unwrap_or(edge).max(span.media_start_ms)),
                    (false, _, TrackKind::Video) => CutStart::Keyframe(i64::MIN),
                    (false, ..) => CutStart::Start,
                };
                Some(TrackClip { track: *track, out_track: *out_track, from, to: CutEnd::End, out_end_ms: None })
            })
            .collect();
        let begin = tracks.iter().filter_map(|t| begin_ms(unit.index, t, span)).min().unwrap_or(span.media_start_ms);
        self.push(unit, first, tracks, -begin, None);
        self.further_spans(unit, first);
    }

    /// Adds a piece that lasts to the end of its span.
    fn push(
        &mut self,
        unit: &SourceSegment<'_>,
        span: usize,
        mut tracks: Vec<TrackClip>,
        shift_ms: i64,
        before: Option<MissingMedia>,
    ) {
        let spans = &unit.index.spans;
        for t in &mut tracks {
            if let Some(known) = unit.index.tracks.iter().find(|known| known.number == t.track)
                && t.to == CutEnd::End
            {
                t.to = match spans.get(span + 1) {
                    Some(next) => CutEnd::Time(middle(spans[span], *next)),
                    None => whole_packets(unit.index, known),
                };
            }
        }
        let begins: Vec<i64> = tracks.iter().filter_map(|t| begin_ms(unit.index, t, spans[span])).collect();
        let out_start_ms = begins.iter().copied().min().unwrap_or(spans[span].media_start_ms) + shift_ms;
        let complete_from_ms = begins.iter().copied().max().unwrap_or(spans[span].media_start_ms) + shift_ms;
        let mut clip = Clip {
            segment: unit.id,
            tracks,
            shift_ms,
            offset_ms: spans[span].offset_ms,
            out_start_ms,
            complete_from_ms,
            out_end_ms: out_start_ms,
            before,
        };
        settle(&mut clip, unit.index, spans[span]);
        self.clips.push(clip);
    }

    /// The stretches of a segment after holes in its media.
    fn further_spans(&mut self, unit: &SourceSegment<'_>, first: usize) {
        for n in first + 1..unit.index.spans.len() {
            let (before, span) = (unit.index.spans[n - 1], unit.index.spans[n]);
            if span.wall().start >= self.window.end {
                break;
            }
            let Some(last) = self.clips.last() else { break };
            let at = middle(before, span);
            let tracks = last
                .tracks
                .iter()
                .map(|t| {
                    let video = unit.index.tracks.iter().any(|k| k.number == t.track && k.kind == TrackKind::Video);
                    TrackClip {
                        from: if video { CutStart::Keyframe(at) } else { CutStart::Time(at) },
                        to: CutEnd::End,
                        ..*t
                    }
                })
                .collect();
            let shift = last.shift_ms - (span.media_start_ms - before.media_end_ms);
            let missing = self.missing(Interval::new(before.wall().end, span.wall().start), None);
            self.push(unit, n, tracks, shift, Some(missing));
        }
    }

    fn missing(&self, at: Interval, ms: Option<i64>) -> MissingMedia {
        let cause = self
            .gaps
            .iter()
            .max_by_key(|g| g.at.intersect(at.padded(SECOND, SECOND)).len_ms())
            .filter(|g| g.at.overlaps(at.padded(SECOND, SECOND)))
            .map(|g| g.cause.to_string());
        MissingMedia { ms: ms.unwrap_or(at.len_ms()), cause }
    }

    /// Adds a segment after the last one.
    fn follow(&mut self, units: &[SourceSegment<'_>], last: &SourceSegment<'_>, unit: &SourceSegment<'_>, seam: &Seam) {
        let overlap = seam.kind == SeamKind::Overlap;
        if unit.index.spans.is_empty() {
            return;
        }
        if overlap {
            self.shorten_last(last, seam);
        }
        let Some(before) = self.clips.last() else {
            // All of the last one lay before the window's begin: this one begins the assembly.
            self.place_first(unit);
            return;
        };
        let before_shift = before.shift_ms;
        let mut tracks: Vec<TrackClip> = unit
            .tracks
            .iter()
            .filter_map(|(track, out_track)| {
                let known = unit.index.tracks.iter().find(|t| t.number == *track)?;
                let from = seam.cuts.iter().find(|c| c.second_track == *track).map(|c| c.from);
                let from = from.unwrap_or_else(|| begin_after_gap(known));
                Some(TrackClip {
                    track: *track,
                    out_track: *out_track,
                    from: if self.waits(units, *out_track) { from_key(unit.index, *track, from) } else { from },
                    to: CutEnd::End,
                    out_end_ms: None,
                })
            })
            .collect();
        // A mirror's segment may go on from its middle.
        let first = unit.index.spans[0];
        let begin = tracks.iter().filter_map(|t| begin_ms(unit.index, t, first)).min().unwrap_or(first.media_start_ms);
        let at = unit.index.spans.iter().rposition(|s| overlap && s.media_start_ms <= begin).unwrap_or_default();
        let span = unit.index.spans[at];
        let wall = Interval::new(last.wall().end, unit.wall().start);
        // Video frames that go on without waiting for a keyframe follow those before: only audio is missing.
        let is_video = |track: u32| unit.index.tracks.iter().any(|t| t.number == track && t.kind == TrackKind::Video);
        let pictures_go_on = tracks.iter().any(|t| t.from == CutStart::Start && is_video(t.track));
        let ends = self.ends();
        // Where both broke off at once it goes on behind a hole of its own, which is closed as any other.
        let last_end = ends.iter().map(|(_, end)| end - before_shift - seam.shift_ms).max();
        let hole_ms = last_end.map_or(0, |end| begin - end);
        let behind_hole = at.checked_sub(1).filter(|_| overlap && hole_ms >= SECOND);
        let (wall, missing_ms) = match behind_hole {
            Some(n) => {
                let before = unit.index.spans[n];
                let from = middle(before, span);
                for t in &mut tracks {
                    t.from = if is_video(t.track) { CutStart::Keyframe(from) } else { CutStart::Time(from) };
                }
                (Interval::new(before.wall().end, span.wall().start), hole_ms)
            }
            None => (wall, seam.missing_ms),
        };
        let (shift, missing) = if overlap && behind_hole.is_none() {
            (before_shift + seam.shift_ms, None)
        } else if pictures_go_on {
            (before_shift + seam.shift_ms, Some(self.missing(wall, Some(missing_ms))))
        } else {
            let begins: Vec<(u32, i64)> =
                tracks.iter().filter_map(|t| Some((t.out_track, begin_ms(unit.index, t, span)?))).collect();
            let (shift, lacks_ms) = close_gap(&ends, &begins, before_shift + seam.shift_ms, seam.method);
            (shift, Some(self.missing(wall, Some(missing_ms.max(lacks_ms)))))
        };
        self.push(unit, at, tracks, shift, missing);
        self.further_spans(unit, at);
    }

    /// Ends the last piece where the seam says. Where nothing is left of it, it goes.
    fn shorten_last(&mut self, unit: &SourceSegment<'_>, seam: &Seam) {
        let (Some(clip), Some(span)) = (self.clips.last_mut(), unit.index.spans.last()) else { return };
        for cut in &seam.cuts {
            if let Some(t) = clip.tracks.iter_mut().find(|t| t.track == cut.first_track) {
                t.to = cut.to;
            }
        }
        settle(clip, unit.index, *span);
        let (empty, segment) = (clip.out_end_ms <= clip.out_start_ms, clip.segment);
        if empty && self.clips.len() == 1 {
            self.clips.clear();
            self.reject(segment, "what it has of the window stands in the next segment".to_owned(), true);
        }
    }

    /// True where the video frames of a track have not begun again since the last gap: of what came then none was a
    /// keyframe.
    fn waits(&self, units: &[SourceSegment<'_>], out_track: u32) -> bool {
        let mut begun = self.clips.iter().rev().filter_map(|clip| {
            let t = clip.tracks.iter().find(|t| t.out_track == out_track && t.from != CutStart::Nothing)?;
            Some((units.iter().find(|u| u.id == clip.segment)?.index, t))
        });
        let Some((index, TrackClip { track, from: CutStart::Keyframe(at), to, .. })) = begun.next() else {
            return false;
        };
        let before = match to {
            CutEnd::End => None,
            CutEnd::Packet(n) => packet_ms(index, *track, *n),
            CutEnd::Time(to) => Some(*to),
        };
        let is_first = index.tracks.first().is_some_and(|first| first.number == *track);
        let is_used = |key: &i64| key >= at && before.is_none_or(|before| *key < before);
        is_first && !index.keys_ms.iter().any(is_used)
    }

    /// Where each track ends by now, in the assembly's clock.
    fn ends(&self) -> Vec<(u32, i64)> {
        let mut out: Vec<(u32, i64)> = Vec::new();
        for clip in self.clips.iter().rev() {
            for t in &clip.tracks {
                if let Some(end) = t.out_end_ms
                    && !out.iter().any(|(track, _)| *track == t.out_track)
                {
                    out.push((t.out_track, end));
                }
            }
        }
        out
    }

    /// Ends the assembly at the window's end.
    fn cut_end(&mut self) {
        let Some(at) = self.clips.iter().position(|p| p.wall().end >= self.window.end) else { return };
        // What followed a gap does not stand in what was before it.
        let gone: Vec<(SegmentId, bool)> =
            self.clips.drain(at + 1..).map(|p| (p.segment, p.before.is_none())).collect();
        let clip = &mut self.clips[at];
        let to = self.window.end.0 - clip.offset_ms;
        let out_to = to + clip.shift_ms;
        for t in &mut clip.tracks {
            // A track that ends before keeps its own end: the last packet may be torn.
            if t.out_end_ms.is_some_and(|end| end > out_to) {
                (t.to, t.out_end_ms) = (CutEnd::Time(to), Some(out_to));
            }
        }
        clip.out_end_ms = out_to.clamp(clip.out_start_ms, clip.out_end_ms);
        for (segment, stands) in gone {
            if !self.clips.iter().any(|p| p.segment == segment) && !self.rejected.iter().any(|r| r.segment == segment) {
                self.reject(segment, "what it has of the window stands in the segment before".to_owned(), stands);
            }
        }
    }
}

/// Where a segment goes that follows another one after a gap: what is to be added to its clock, and how much a track
/// lacks where the gap cannot be closed, milliseconds.
///
/// A gap is closed by as much as all tracks lack, and no more: where audio and video lie askew in the multiplex, the audio
/// from behind the gap would otherwise be heard with the video from before it. `ends`: where each track ends, in the
/// file's clock; `begins`: where each begins, in the segment's clock; `in_step`: what keeps the distance on the wall.
fn close_gap(ends: &[(u32, i64)], begins: &[(u32, i64)], in_step: i64, method: Method) -> (i64, i64) {
    let end = ends.iter().map(|(_, end)| *end).max().unwrap_or_default();
    let begin = begins.iter().map(|(_, begin)| *begin).min().unwrap_or_default();
    let apart = end - begin;
    if in_step >= apart || !matches!(method, Method::Clock | Method::Arrival) {
        return (apart, 0);
    }
    // The tracks lack different stretches of time, and none of it is missing in all of them.
    let end_of = |track: &u32| ends.iter().find(|(t, _)| t == track).map(|(_, end)| *end);
    let fit = begins.iter().filter_map(|(track, begin)| Some(end_of(track)? - begin)).max();
    let shift = fit.map_or(apart, |fit| fit.max(in_step));
    let lacks = begins.iter().filter_map(|(track, begin)| Some(begin + shift - end_of(track)?)).max();
    (shift, lacks.unwrap_or_default().max(0))
}

/// A segment still to come that holds the last one's end too, and goes on for longer than `unit` does.
fn further<'a, 'b>(
    last: &SourceSegment<'_>,
    unit: &SourceSegment<'_>,
    queue: &VecDeque<&'a SourceSegment<'b>>,
) -> Option<&'a SourceSegment<'b>> {
    let ends = last.wall().end;
    queue.iter().copied().find(|better| {
        better.wall().start <= ends.minus(SURE_MS)
            && better.wall().end > unit.wall().end
            && better.is_beside(unit)
            && better.index.spans.iter().any(|s| s.wall().contains(ends))
            && {
                let seam = seam::find_seam(last.index, better.index, last.taped(better)).seam;
                seam.kind == SeamKind::Overlap && !seam.contained
            }
    })
}

/// True where the second has media from before the first.
fn reaches_back(seam: &Seam) -> bool {
    seam.reaches_back_ms > if seam.method == Method::Packets { EXACT_BACK_MS } else { REACH_BACK_MS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_closed_by_what_all_tracks_lack() {
        // Video ends at 10 s, audio 1.4 s earlier; 2.2 s later both go on, askew as before.
        let ends = [(1, 10_000), (2, 8600)];
        let begins = [(1, 12_200), (2, 10_800)];
        assert_eq!(close_gap(&ends, &begins, 0, Method::Clock), (-800, 0), "only 0.8 s lie in both");
        // The video has to wait for its keyframe: the audio does not run ahead of it.
        let late = [(1, 14_000), (2, 10_800)];
        assert_eq!(close_gap(&ends, &late, 0, Method::Clock), (-800, 0));
        // The outage is shorter than the skew: nothing is missing in both, and both keep their places.
        let short = [(1, 10_500), (2, 9100)];
        assert_eq!(close_gap(&ends, &short, 0, Method::Clock), (0, 500));
        // Nobody knows how the two clocks belong together: nothing overlaps.
        assert_eq!(close_gap(&ends, &[(1, 1000), (2, 0)], 0, Method::None), (10_000, 0));
        // Times of arrival are inexact: no track overlaps itself.
        assert_eq!(close_gap(&ends, &[(1, 9900), (2, 9100)], 0, Method::Arrival), (100, 600));
    }
}
