//! What a talk's file presents: each packet that is written into it, placed on the wall clock.

use std::collections::BTreeMap;

use super::assembly::{Clip, EditList};
use super::stretches::TrackStretches;
use crate::domain::ids::SegmentId;
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::media::{Packet, TrackKind};
use crate::domain::presence::Presence;
use crate::domain::time::{Ms, SECOND};

/// Stretches of one track that lie so close in the file follow each other without a loss, milliseconds.
const NEXT_MS: i64 = 250;

/// Two segments whose packets follow each other may be anchored so far apart on the wall clock, milliseconds.
const ANCHORS_MS: i64 = 30 * SECOND;

/// A stretch of one track of a file, without a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentedSpan {
    /// Number of the track in the file.
    pub track: u32,
    /// What the track carries.
    pub kind: TrackKind,
    /// Where it begins in the file, milliseconds from its start.
    pub out_start_ms: i64,
    /// Where it ends there.
    pub out_end_ms: i64,
    /// The wall time that it shows.
    pub wall: Interval,
}

/// Gathers what is written.
#[derive(Clone, Debug)]
pub struct Presenter<'a> {
    plan: &'a EditList,
    /// By track of the file and clip of the plan.
    gathered: BTreeMap<(u32, usize), TrackStretches>,
    packets: BTreeMap<u32, u64>,
}

impl<'a> Presenter<'a> {
    /// For a file that is made by this plan.
    #[must_use]
    pub fn new(plan: &'a EditList) -> Self {
        Self { plan, gathered: BTreeMap::new(), packets: BTreeMap::new() }
    }

    /// A packet of a segment is written. `shift_ms`: what was added to the segment's clock; the packet has the number of
    /// its track, and the time, in the file.
    pub fn add(&mut self, segment: SegmentId, shift_ms: i64, packet: Packet) {
        let apart = |clip: &Clip| (clip.out_start_ms - packet.pts_ms).max(packet.pts_ms - clip.out_end_ms).max(0);
        let clips = self.plan.clips.iter().enumerate();
        let of_it = clips.filter(|(_, p)| p.segment == segment && p.shift_ms == shift_ms);
        let Some((clip, _)) = of_it.min_by_key(|(_, p)| apart(p)) else { return };
        *self.packets.entry(packet.track).or_default() += 1;
        self.gathered.entry((packet.track, clip)).or_default().add(packet);
    }

    /// How many packets of each track were written.
    #[must_use]
    pub fn packets(&self) -> &BTreeMap<u32, u64> {
        &self.packets
    }

    /// What the file presents, by track and place in the file.
    #[must_use]
    pub fn finish(&self) -> Vec<PresentedSpan> {
        let mut out: Vec<PresentedSpan> = Vec::new();
        let mut last: Option<(u32, usize)> = None;
        for ((track, n), gathered) in &self.gathered {
            let Some(kind) = self.plan.tracks.iter().find(|t| t.number == *track).map(|t| t.kind) else { continue };
            let clip = &self.plan.clips[*n];
            let wall = |at: i64| Ms(at).minus(clip.shift_ms).plus(clip.offset_ms);
            let mut first = true;
            for stretch in gathered.finish(*track, kind) {
                let span = PresentedSpan {
                    track: *track,
                    kind,
                    out_start_ms: stretch.start_ms,
                    out_end_ms: stretch.end_ms,
                    wall: Interval::new(wall(stretch.start_ms), wall(stretch.end_ms)),
                };
                let before = last.filter(|(of, _)| *of == *track).map(|(_, n)| n);
                if let (true, Some(before), Some(previous)) = (first, before, out.last_mut()) {
                    let follows = self.plan.clips[before + 1..=*n].iter().all(|p| p.before.is_none())
                        && span.out_start_ms - previous.out_end_ms <= NEXT_MS;
                    // The anchors of two segments differ: what follows without a loss has no hole on the wall.
                    let hole = span.wall.start.since(previous.wall.end);
                    if follows && (0..=ANCHORS_MS).contains(&hole) {
                        previous.wall.end = span.wall.start;
                    }
                }
                first = false;
                out.push(span);
            }
            last = Some((*track, *n));
        }
        out
    }
}

/// Where a file has media, by the wall clock.
#[must_use]
pub fn presence(presented: &[PresentedSpan]) -> Presence {
    let mut out = Presence::default();
    for span in presented {
        out.add(span.kind, &IntervalSet::from(span.wall));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::assembly::{MissingMedia, OutTrack};

    fn clip(segment: i64, shift_ms: i64, offset_ms: i64, out: (i64, i64), missing: Option<i64>) -> Clip {
        Clip {
            segment: SegmentId(segment),
            tracks: Vec::new(),
            shift_ms,
            offset_ms,
            out_start_ms: out.0,
            complete_from_ms: out.0,
            out_end_ms: out.1,
            before: missing.map(|ms| MissingMedia { ms, cause: None }),
        }
    }

    fn plan(clips: Vec<Clip>) -> EditList {
        let track = |number, kind| OutTrack { number, kind, format_hash: 0 };
        let tracks = vec![track(1, TrackKind::Video), track(2, TrackKind::Audio)];
        EditList { tracks, clips, ..EditList::default() }
    }

    fn fill(presenter: &mut Presenter<'_>, segment: i64, shift_ms: i64, track: u32, from: i64, to: i64) {
        for pts_ms in (from..to).step_by(40) {
            let packet = Packet { track, pts_ms, duration_ms: 40, key: true, size: 1, hash: 0 };
            presenter.add(SegmentId(segment), shift_ms, packet);
        }
    }

    fn walls(presenter: &Presenter<'_>) -> Vec<(u32, i64, i64)> {
        presenter.finish().iter().map(|s| (s.track, s.wall.start.0, s.wall.end.0)).collect()
    }

    #[test]
    fn a_track_that_begins_late_is_missing_until_then() {
        let plan = plan(vec![clip(1, 0, 100_000, (0, 8000), None)]);
        let mut presenter = Presenter::new(&plan);
        fill(&mut presenter, 1, 0, 1, 0, 8000);
        fill(&mut presenter, 1, 0, 2, 3000, 8000);
        assert_eq!(walls(&presenter), [(1, 100_000, 108_000), (2, 103_000, 108_000)]);
        assert_eq!(presence(&presenter.finish()).complete().total_ms(), 5000);
        assert_eq!(presenter.packets().values().copied().collect::<Vec<_>>(), [200, 125]);
    }

    #[test]
    fn what_follows_without_a_loss_has_no_hole_and_what_is_missing_has_one() {
        // The second segment is anchored 400 ms later than the first; before the third 2 s are missing.
        let plan = plan(vec![
            clip(1, 0, 100_000, (0, 4000), None),
            clip(2, -1000, 99_400, (4000, 8000), None),
            clip(3, 8000, 110_000, (8000, 12_000), Some(2000)),
        ]);
        let mut presenter = Presenter::new(&plan);
        fill(&mut presenter, 1, 0, 1, 0, 4000);
        fill(&mut presenter, 2, -1000, 1, 4000, 8000);
        fill(&mut presenter, 3, 8000, 1, 8000, 12_000);
        assert_eq!(walls(&presenter), [(1, 100_000, 104_400), (1, 104_400, 108_400), (1, 110_000, 114_000)]);
        assert_eq!(presence(&presenter.finish()).complete().total_ms(), 12_400);
    }
}
