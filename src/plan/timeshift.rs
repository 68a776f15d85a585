//! What of a talk can be watched already: pieces of segments, one after the other, that only ever grow in
//! number. A player that read the list once finds the same list, longer, the next time.

use crate::domain::ids::SegmentId;
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::time::{Ms, SECOND};

/// A chunk is at least so long, where the keyframes allow it. Milliseconds.
pub const ENTRY_MS: i64 = 4 * SECOND;

/// After a connection's end the next one is waited for so long before what is left of the first is shown:
/// if it brings the same video frames again, they are taken from there.
pub const CONTINUATION_WAIT_MS: i64 = 20 * SECOND;

/// Media that begins no more than this after what was shown is its continuation, in one clock.
const SAME_CLOCK_MS: i64 = 5 * SECOND;

/// Where two clocks differ from the wall's by more than this, they are two: no burst reaches back so far that it brings
/// the same video frame again.
const OTHER_CLOCK_MS: i64 = 120 * SECOND;

/// A place in a segment where a chunk may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncPoint {
    /// Offset of the first byte of the keyframe's packet.
    pub byte: u64,
    /// Presentation time in the segment's clock, in microseconds: milliseconds would not tell video frames apart.
    pub media_us: i64,
    /// Wall time, decided once: it does not change when more is known of the segment.
    pub wall: Ms,
    /// The clock was set before it, and this is where the media ended by the clock before, in microseconds.
    pub jump: Option<i64>,
    /// Hash of its video frame.
    pub hash: u64,
}

impl SyncPoint {
    fn is_same_picture(&self, other: &Self) -> bool {
        (self.media_us, self.hash) == (other.media_us, other.hash)
    }

    /// By how many milliseconds the two clocks differ from the wall's; about 0 where they are one.
    fn clock_drift_ms(&self, media_us: i64, wall: Ms) -> i64 {
        ((self.media_us - media_us) / 1000 - self.wall.since(wall)).abs()
    }
}

/// A segment as far as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentTimeline {
    /// Segment that is described.
    pub segment: SegmentId,
    /// When its first byte came.
    pub opened: Ms,
    /// When it was closed; `None`: it grows.
    pub closed: Option<Ms>,
    /// Bytes so far.
    pub bytes: u64,
    /// Where chunks may begin, in order; none while their wall time is not decided.
    pub keys: Vec<SyncPoint>,
    /// End of its media so far, in the clock of the last key point, microseconds.
    pub end_us: i64,
    /// By so many milliseconds its media lies later in wall time than its key points say, as is known when it was looked
    /// into. What must not be shown is not shown by either.
    pub late_ms: i64,
}

/// A piece that a player fetches as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaylistEntry {
    /// Of which segment.
    pub segment: SegmentId,
    /// Offset of the first byte.
    pub from: u64,
    /// First byte after.
    pub to: u64,
    /// Presentation time of its start in its segment's clock, microseconds.
    pub media_us: i64,
    /// Length, microseconds.
    pub length_us: i64,
    /// Wall time of its start.
    pub wall: Ms,
    /// Its clock is not the one of the chunk before it, or something is missing between them.
    pub breaks: bool,
}

/// Lists the chunks of a stretch of time. `timelines` in the order in which they were opened; `now` decides
/// whether a next connection may still come.
///
/// The list is a prefix of any later one: what it says of a segment that grows, or of the one after a closed
/// one, is decided only when nothing later can change it.
#[must_use]
pub fn playlist_entries(
    timelines: &[SegmentTimeline],
    within: Interval,
    forbidden: &IntervalSet,
    now: Ms,
) -> Vec<PlaylistEntry> {
    let timelines: Vec<&SegmentTimeline> =
        timelines.iter().filter(|s| !s.keys.is_empty() || s.closed.is_none()).collect();
    let over = is_over(timelines.iter().copied(), within, now);
    let mut out = Vec::new();
    let mut done: Option<ListEnd> = None;
    for (nth, timeline) in timelines.iter().enumerate() {
        // The one that was shown last: of one between them nothing may have been shown.
        let shown = done.as_ref().map(|d| d.segment);
        let before = timelines[..nth].iter().find(|s| Some(s.segment) == shown).copied();
        let from = begin(timeline, before, done.as_ref(), within);
        let (mut listed, rest) = whole(timeline, from);
        let mut waits = timeline.closed.is_none();
        if let (Some(rest), Some(closed)) = (rest, timeline.closed) {
            match what_follows(timeline, &rest, closed, &timelines[nth + 1..]) {
                Continuation::BringsIt => {}
                Continuation::DoesNot => {
                    listed.push(CompleteEntry { start: rest, to: timeline.bytes, end_us: timeline.end_us });
                }
                Continuation::None if over || now.since(closed) > CONTINUATION_WAIT_MS => {
                    listed.push(CompleteEntry { start: rest, to: timeline.bytes, end_us: timeline.end_us });
                }
                Continuation::None | Continuation::Unknown => waits = true,
            }
        }
        for CompleteEntry { start: key, to, end_us } in listed {
            let length_us = end_us - key.media_us;
            let at = Interval::new(key.wall, key.wall.plus(length_us / 1000));
            // A torn end.
            if length_us <= 0 || to <= key.byte || at.start >= within.end || at.end <= within.start {
                continue;
            }
            let known = Interval::new(at.start.plus(timeline.late_ms), at.end.plus(timeline.late_ms));
            if forbidden.iter().any(|slot| slot.overlaps(at) || slot.overlaps(known)) {
                done = Some(ListEnd { segment: timeline.segment, shown: false, media_us: end_us, wall: at.end });
                continue;
            }
            let goes_on = done.as_ref().is_some_and(|d| {
                key.jump.is_none() && d.media_us == key.media_us && d.shown && d.segment == timeline.segment
            });
            out.push(PlaylistEntry {
                segment: timeline.segment,
                from: key.byte,
                to,
                media_us: key.media_us,
                length_us,
                wall: key.wall,
                breaks: !goes_on,
            });
            done = Some(ListEnd { segment: timeline.segment, shown: true, media_us: end_us, wall: at.end });
        }
        if waits {
            // Where the next one begins depends on where this one ends, also where both grow at the same time.
            break;
        }
    }
    if let Some(first) = out.first_mut() {
        first.breaks = false;
    }
    out
}

/// True when nothing more will come: its time is past, and no segment grows that could hold a part of it.
#[must_use]
pub fn is_over<'a>(timelines: impl IntoIterator<Item = &'a SegmentTimeline>, within: Interval, now: Ms) -> bool {
    is_past(timelines.into_iter().any(|s| s.closed.is_none()), within, now)
}

/// True where nothing more will come, given whether a segment `grows` that could hold more. A growing segment is waited
/// for no longer than `CONTINUATION_WAIT_MS` after the end: a recorder that died closes none, and one that runs may
/// already record the next talk.
#[must_use]
pub fn is_past(grows: bool, within: Interval, now: Ms) -> bool {
    now.since(within.end) > CONTINUATION_WAIT_MS || (now >= within.end && !grows)
}

/// Where what is listed ends.
struct ListEnd {
    segment: SegmentId,
    /// False where it was not to be shown.
    shown: bool,
    media_us: i64,
    wall: Ms,
}

/// What the segments after a closed one say of its rest.
enum Continuation {
    /// One of them has all of it too, and goes on.
    BringsIt,
    /// The one that goes on has other video frames there.
    DoesNot,
    /// One of them has not come so far.
    Unknown,
    /// There is none that could.
    None,
}

/// Looks only as far as is needed, so that the answer is the same when they have grown: a burst may begin long before
/// the rest, and come slowly.
fn what_follows(timeline: &SegmentTimeline, rest: &SyncPoint, closed: Ms, later: &[&SegmentTimeline]) -> Continuation {
    let Some(last) = timeline.keys.last() else { return Continuation::None };
    for next in later.iter().take_while(|next| next.opened.since(closed) <= CONTINUATION_WAIT_MS) {
        let mut brings = false;
        // Where its media ends by the clock of the rest.
        let mut end_us = next.end_us;
        for key in &next.keys {
            if brings {
                if let Some(end) = key.jump {
                    end_us = end;
                    break;
                }
                if key.media_us > last.media_us {
                    return Continuation::BringsIt;
                }
                continue;
            }
            brings = key.is_same_picture(rest);
            let is_past = if key.clock_drift_ms(rest.media_us, rest.wall) > OTHER_CLOCK_MS {
                key.wall >= rest.wall
            } else {
                key.media_us >= rest.media_us || key.wall.since(rest.wall) >= CONTINUATION_WAIT_MS
            };
            if is_past && !brings {
                return Continuation::DoesNot;
            }
        }
        if next.closed.is_none() {
            return Continuation::Unknown;
        }
        if brings && end_us >= timeline.end_us {
            return Continuation::BringsIt;
        }
        // It ended before: the one after it tells.
    }
    Continuation::None
}

/// The first key point of a segment that is not shown yet.
fn begin(
    timeline: &SegmentTimeline,
    before: Option<&SegmentTimeline>,
    done: Option<&ListEnd>,
    within: Interval,
) -> usize {
    let Some(done) = done else {
        // The last one at or before the start, so that the start is there.
        return timeline.keys.iter().rposition(|k| k.wall <= within.start).unwrap_or(0);
    };
    // What was shown last, in the clock that it ended with.
    let last = before.map_or(&[][..], |b| &b.keys[b.keys.iter().rposition(|k| k.jump.is_some()).unwrap_or(0)..]);
    let is_known = |k: &SyncPoint| last.iter().any(|other| k.is_same_picture(other));
    let mut from = 0;
    for clock in timeline.keys.chunk_by(|_, k| k.jump.is_none()) {
        let same_clock =
            clock.iter().any(|k| is_known(k) || k.clock_drift_ms(done.media_us, done.wall) <= SAME_CLOCK_MS);
        let shown = |k: &SyncPoint| {
            if same_clock { k.media_us < done.media_us } else { k.wall.plus(SECOND) < done.wall }
        };
        match clock.iter().position(|k| !shown(k)) {
            Some(at) => return from + at,
            None => from += clock.len(),
        }
    }
    from
}

/// A chunk by its segment's clock.
struct CompleteEntry {
    start: SyncPoint,
    /// First byte after.
    to: u64,
    end_us: i64,
}

/// The chunks that are whole, and where the rest begins: up to a segment's end, or as far as it has grown.
fn whole(timeline: &SegmentTimeline, from: usize) -> (Vec<CompleteEntry>, Option<SyncPoint>) {
    let mut listed = Vec::new();
    let mut keys = timeline.keys.iter().skip(from).copied();
    let Some(mut start) = keys.next() else { return (listed, None) };
    for key in keys {
        // A chunk has one clock: it ends where that is set.
        let end_us = key.jump.unwrap_or(key.media_us);
        if key.jump.is_some() || end_us - start.media_us >= ENTRY_MS * 1000 {
            listed.push(CompleteEntry { start, to: key.byte, end_us });
            start = key;
        }
    }
    (listed, Some(start))
}

#[cfg(test)]
mod tests;
