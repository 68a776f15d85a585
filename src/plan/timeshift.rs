//! What of a talk can be watched already: pieces of segments, one after the other, that only ever grow in
//! number. A player that read the list once finds the same list, longer, the next time.

use crate::domain::ids::SegmentId;
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::time::{Ms, SECOND};

/// A chunk is at least so long, where the key pictures allow it. Milliseconds.
pub const CHUNK_MS: i64 = 4 * SECOND;

/// After a connection's end the next one is waited for so long before what is left of the first is shown:
/// if it brings the same pictures again, they are taken from there.
pub const WAIT_MS: i64 = 20 * SECOND;

/// Media that begins no more than this after what was shown is its continuation, in one clock.
const SAME_CLOCK_MS: i64 = 5 * SECOND;

/// A place in a segment where a chunk may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPoint {
    /// First byte.
    pub byte: u64,
    /// Presentation time in the segment's clock, in microseconds: milliseconds would not tell pictures apart.
    pub media_us: i64,
    /// Wall time, as well as it is known.
    pub wall: Ms,
    /// The clock was set before it.
    pub jump: bool,
    /// Hash of its picture.
    pub hash: u64,
}

impl KeyPoint {
    fn is_same_picture(&self, other: &Self) -> bool {
        (self.media_us, self.hash) == (other.media_us, other.hash)
    }
}

/// A segment as far as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strip {
    /// Which.
    pub segment: SegmentId,
    /// When its first byte came.
    pub opened: Ms,
    /// When it was closed; `None`: it grows.
    pub closed: Option<Ms>,
    /// Bytes so far.
    pub bytes: u64,
    /// Where chunks may begin, in order.
    pub keys: Vec<KeyPoint>,
    /// End of its media so far, in its clock, microseconds.
    pub end_us: i64,
}

/// A piece that a player fetches as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Of which segment.
    pub segment: SegmentId,
    /// First byte.
    pub from: u64,
    /// First byte after.
    pub to: u64,
    /// Length, microseconds.
    pub length_us: i64,
    /// Wall time of its start.
    pub wall: Ms,
    /// Its clock is not the one of the chunk before it, or something is missing between them.
    pub breaks: bool,
}

/// Lists the chunks of a stretch of time. `strips` in the order in which they were opened; `now` decides
/// whether a next connection may still come.
///
/// The list is a prefix of any later one: what it says of a segment that grows, or of the one after a closed
/// one, is decided only when nothing later can change it.
#[must_use]
pub fn chunks(strips: &[Strip], within: Interval, forbidden: &IntervalSet, now: Ms) -> Vec<Chunk> {
    let strips: Vec<&Strip> = strips.iter().filter(|s| !s.keys.is_empty() || s.closed.is_none()).collect();
    let mut out = Vec::new();
    let mut done: Option<Done> = None;
    for (nth, strip) in strips.iter().enumerate() {
        if strip.keys.is_empty() {
            // It has just been opened: what follows must wait for it.
            break;
        }
        // The one that was shown last: of one between them nothing may have been shown.
        let shown = done.as_ref().map(|d| d.segment);
        let before = strips[..nth].iter().find(|s| Some(s.segment) == shown).copied();
        let from = begin(strip, before, done.as_ref(), within);
        let next = strips.get(nth + 1);
        let (mut listed, rest) = whole(strip, from);
        if let (Some(rest), Some(closed)) = (rest, strip.closed) {
            let soon = next.filter(|next| next.opened.since(closed) <= WAIT_MS);
            let decided = match soon {
                // It goes on there with the very picture with which the rest begins.
                Some(next) => !next.keys.is_empty() && !next.keys.iter().any(|k| k.is_same_picture(&rest)),
                None => is_over(strips.iter().copied(), within, now) || now.since(closed) > WAIT_MS,
            };
            if decided {
                listed.push((rest, None));
            }
        }
        for (key, to) in listed {
            let (to, end_us) = to.map_or((strip.bytes, strip.end_us), |to: KeyPoint| (to.byte, to.media_us));
            let length_us = end_us - key.media_us;
            let wall_end = key.wall.plus(length_us / 1000);
            // A clock that was set inside a chunk, or a torn end.
            if length_us <= 0 || to <= key.byte || key.wall >= within.end || wall_end <= within.start {
                continue;
            }
            if forbidden.iter().any(|slot| slot.overlaps(Interval::new(key.wall, wall_end))) {
                done = Some(Done { segment: strip.segment, shown: false, media_us: end_us, wall: wall_end });
                continue;
            }
            let goes_on = done
                .as_ref()
                .is_some_and(|d| !key.jump && d.media_us == key.media_us && d.shown && d.segment == strip.segment);
            let chunk =
                Chunk { segment: strip.segment, from: key.byte, to, length_us, wall: key.wall, breaks: !goes_on };
            out.push(chunk);
            done = Some(Done { segment: strip.segment, shown: true, media_us: end_us, wall: wall_end });
        }
        if strip.closed.is_none() && next.is_none() {
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
pub fn is_over<'a>(strips: impl IntoIterator<Item = &'a Strip>, within: Interval, now: Ms) -> bool {
    now.since(within.end) > WAIT_MS || (now >= within.end && strips.into_iter().all(|s| s.closed.is_some()))
}

/// Where what is listed ends.
struct Done {
    segment: SegmentId,
    /// False where it was not to be shown.
    shown: bool,
    media_us: i64,
    wall: Ms,
}

/// The first key point of a segment that is not shown yet.
fn begin(strip: &Strip, before: Option<&Strip>, done: Option<&Done>, within: Interval) -> usize {
    let Some(done) = done else {
        // The last one at or before the start, so that the start is there.
        return strip.keys.iter().rposition(|k| k.wall <= within.start).unwrap_or(0);
    };
    let shared = |k: &KeyPoint| before.is_some_and(|b| b.keys.iter().any(|other| k.is_same_picture(other)));
    let same_clock = strip.keys.iter().any(shared)
        || strip.keys.iter().any(|k| {
            let (media_ms, wall_ms) = ((k.media_us - done.media_us) / 1000, k.wall.since(done.wall));
            (media_ms - wall_ms).abs() <= SAME_CLOCK_MS
        });
    let shown = |k: &KeyPoint| {
        if same_clock { k.media_us < done.media_us } else { k.wall.plus(SECOND) < done.wall }
    };
    strip.keys.iter().position(|k| !shown(k)).unwrap_or(strip.keys.len())
}

/// The chunks that are whole, and where the rest begins: up to a segment's end, or as far as it has grown.
fn whole(strip: &Strip, from: usize) -> (Vec<(KeyPoint, Option<KeyPoint>)>, Option<KeyPoint>) {
    let mut listed = Vec::new();
    let mut keys = strip.keys.iter().skip(from).copied();
    let Some(mut start) = keys.next() else { return (listed, None) };
    let mut last = start;
    for key in keys {
        if key.jump {
            // What lies before a clock that was set ends where the next begins; how long it is, its keys say.
            listed.push((start, Some(KeyPoint { byte: key.byte, ..last })));
            start = key;
        } else if key.media_us - start.media_us >= CHUNK_MS * 1000 {
            listed.push((start, Some(key)));
            start = key;
        }
        last = key;
    }
    (listed, Some(start))
}

#[cfg(test)]
mod tests;
