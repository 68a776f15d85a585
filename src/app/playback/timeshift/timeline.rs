//! A segment as the plan wants it: where it may be cut, and when that was.

use crate::domain::segment::{Mark, Segment};
use crate::domain::time::Ms;
use crate::media::mpegts::{Cut, Scan, TICKS};
use crate::plan::anchor::{DECIDE_MS, first_packet};
use crate::plan::timeshift::{SegmentTimeline, SyncPoint};

/// Wall time of the first cut, by when bytes came; `None` while that may change.
///
/// What is decided stays so when more marks come, when the segment is closed and when it is looked into: the list of what
/// can be watched only grows because of that.
pub(super) fn begin(segment: &Segment, cuts: &[Cut], marks: &[Mark]) -> Option<Ms> {
    let first = cuts.first()?;
    let last = marks.iter().position(|m| m.at.since(segment.opened) > DECIDE_MS);
    let (marks, is_sure) = match last {
        // The cuts up to there are known when there is one behind it.
        Some(last) => (&marks[..=last], cuts.last().is_some_and(|cut| cut.byte > marks[last].offset)),
        None => (marks, false),
    };
    if !is_sure && segment.closed.is_none() {
        return None;
    }
    let arrived = marks.iter().filter_map(|mark| {
        let first_clock = cuts.iter().enumerate().take_while(|(nth, cut)| *nth == 0 || cut.jump.is_none());
        let here = first_clock.map(|(_, cut)| cut).take_while(|cut| cut.byte < mark.offset).last()?;
        Some((mark.at, (here.ticks - first.ticks) * 1000 / TICKS))
    });
    Some(first_packet(segment.opened, arrived))
}

/// What was found in a file so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ScanProgress<'a> {
    /// Where it may be cut, in order.
    pub cuts: &'a [Cut],
    /// Where its media ends for now, in the clock of the last cut, ticks.
    pub end_ticks: i64,
    /// Bytes looked at.
    pub bytes: u64,
}

impl<'a> From<&'a Scan> for ScanProgress<'a> {
    fn from(scan: &'a Scan) -> Self {
        Self { cuts: scan.cuts(), end_ticks: scan.end_ticks(), bytes: scan.taken() }
    }
}

/// `begin`: wall time of the first cut, when it is decided.
pub(super) fn of_segment(segment: &Segment, seen: ScanProgress<'_>, begin: Option<Ms>) -> SegmentTimeline {
    let us = |ticks: i64| ticks * 1_000_000 / TICKS;
    let mut keys = Vec::new();
    if let (Some(begin), Some(first)) = (begin, seen.cuts.first()) {
        // A wall time and the ticks that belong to it: anew where the clock is set, right after what was before.
        let mut base = (begin, first.ticks);
        let wall = |base: (Ms, i64), ticks: i64| base.0.plus((ticks - base.1) * 1000 / TICKS);
        keys.extend(seen.cuts.iter().enumerate().map(|(nth, cut)| {
            let jump = cut.jump.filter(|_| nth > 0);
            if let Some(end) = jump {
                base = (wall(base, end), cut.ticks);
            }
            SyncPoint {
                byte: cut.byte,
                media_us: us(cut.ticks),
                wall: wall(base, cut.ticks),
                jump: jump.map(us),
                hash: cut.hash,
            }
        }));
    }
    let known = segment.spans.first().map(|span| span.wall().start);
    let late_ms = known.zip(keys.first()).map_or(0, |(known, key): (Ms, &SyncPoint)| known.since(key.wall));
    SegmentTimeline {
        segment: segment.id,
        opened: segment.opened,
        closed: segment.closed,
        bytes: seen.bytes,
        keys,
        end_us: us(seen.end_ticks),
        late_ms,
    }
}

#[cfg(test)]
mod tests;
