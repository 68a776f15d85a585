//! What of a talk was recorded, what is missing, and why.
//!
//! Every instant of a slot's past is either covered or in a gap, and each gap has a cause.

use crate::domain::gap::{Gap, GapCause};
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::segment::{Connection, EndReason, Segment, Verdict};
use crate::domain::talk::{Talk, TalkState, TalkStatus};
use crate::domain::time::{Ms, SECOND};

/// How late the catalog may be about an open segment: its progress is written every few seconds. Up to
/// so long after its last mark, an open segment is taken to reach `now`.
pub const PROGRESS_LAG_MS: i64 = 8 * SECOND;

/// A piece of a gap shorter than this does not get a line of its own: it takes its neighbour's cause.
/// (A reconnect that meets a refusal is a second of `eof` and a minute of `refused`: one gap, one cause.)
const SLIVER_MS: i64 = SECOND;

/// Media with a hole shorter than this is whole: the wall time of media is known to some tenths of a
/// second (arrival jitter), and neighbours that share packets may seem this far apart.
pub const ANCHOR_JITTER_MS: i64 = 300;

/// Everything that is known around one talk.
#[derive(Clone, Copy, Debug)]
pub struct TalkFacts<'a> {
    /// The talk.
    pub talk: &'a Talk,
    /// Its slot with padding.
    pub window: Interval,
    /// Segments of its hall that touch the slot, by start.
    pub segments: &'a [Segment],
    /// Connections of its hall around the slot, by opening.
    pub connections: &'a [Connection],
    /// When a daemon ran.
    pub alive: &'a IntervalSet,
    /// When the hall had a stream.
    pub streams: &'a IntervalSet,
    /// Stretches without media between segments whose packets are known to follow each other: a seam
    /// says more than two arrival times.
    pub bridges: &'a IntervalSet,
    /// When the hall's tape could not write for want of space.
    pub disk_full: &'a IntervalSet,
    /// Wall time that the machine slept through, or that its clock was set over.
    pub skipped: &'a [Gap],
    /// Slots of other talks in its hall that must not be recorded: what lies in them is nobody's.
    pub forbidden: &'a IntervalSet,
}

/// What became of one talk.
#[derive(Clone, Debug, PartialEq)]
pub struct TalkReport {
    /// Where it stands.
    pub state: TalkState,
    /// Recorded parts of the slot.
    pub covered: IntervalSet,
    /// Parts of the slot's past that were not recorded, in order.
    pub gaps: Vec<Gap>,
    /// Milliseconds of the slot that were recorded.
    pub recorded_ms: i64,
    /// Recorded share of the slot's past, 0 to 1; 0 where the slot lies ahead.
    pub coverage: f64,
}

/// Says what became of a talk by `now`. `tolerance_ms`: so much may be missing in a complete talk.
#[must_use]
pub fn report(facts: &TalkFacts<'_>, now: Ms, tolerance_ms: i64) -> TalkReport {
    let slot = facts.talk.slot;
    let past = Interval::new(slot.start, slot.end.min(now));
    let covered = covered(facts, now).clip(past);
    let missing = IntervalSet::from(past).subtract(&covered);
    let gaps = missing.iter().flat_map(|gap| explain(gap, facts, now)).collect();
    let recorded_ms = covered.total_ms();
    let coverage = if past.is_empty() { 0.0 } else { recorded_ms as f64 / past.len_ms() as f64 };
    let state = match facts.talk.status {
        TalkStatus::Cancelled => TalkState::Cancelled,
        TalkStatus::Removed => TalkState::Removed,
        TalkStatus::Scheduled if facts.talk.opted_out => TalkState::OptedOut,
        TalkStatus::Scheduled if now < facts.window.start => TalkState::Scheduled,
        TalkStatus::Scheduled if now < facts.window.end => TalkState::Recording,
        TalkStatus::Scheduled if missing.total_ms() <= tolerance_ms => TalkState::Complete,
        TalkStatus::Scheduled if covered.is_empty() => TalkState::Missed,
        TalkStatus::Scheduled => TalkState::Partial,
    };
    TalkReport { state, covered, gaps, recorded_ms, coverage }
}

/// Wall time that the segments cover, bridged where they are known to be whole.
fn covered(facts: &TalkFacts<'_>, now: Ms) -> IntervalSet {
    let media: IntervalSet = facts
        .segments
        .iter()
        .flat_map(|segment| {
            let mut covered = segment.covered();
            if segment.verdict == Verdict::Open && now.since(segment.at.end) <= PROGRESS_LAG_MS {
                covered = covered.union(&Interval::new(segment.at.start, now).into());
            }
            covered.iter().collect::<Vec<_>>()
        })
        .collect();
    let jitter = media.as_slice().windows(2).filter_map(|pair| {
        let hole = Interval::new(pair[0].end, pair[1].start);
        (hole.len_ms() < ANCHOR_JITTER_MS).then_some(hole)
    });
    media.union(&jitter.collect()).union(facts.bridges)
}

/// Cuts a gap where its cause changes.
fn explain(gap: Interval, facts: &TalkFacts<'_>, now: Ms) -> Vec<Gap> {
    let mut cuts = vec![gap.start, gap.end, facts.talk.known_since];
    cuts.extend(facts.alive.iter().flat_map(|i| [i.start, i.end]));
    cuts.extend(facts.streams.iter().flat_map(|i| [i.start, i.end]));
    cuts.extend(facts.disk_full.iter().flat_map(|i| [i.start, i.end]));
    cuts.extend(facts.forbidden.iter().flat_map(|i| [i.start, i.end]));
    cuts.extend(facts.skipped.iter().flat_map(|g| [g.at.start, g.at.end]));
    cuts.extend(facts.segments.iter().filter(|s| is_gone(s)).flat_map(|s| [s.at.start, s.at.end]));
    for c in facts.connections {
        cuts.extend([Some(c.opened), c.first_byte, c.closed].into_iter().flatten());
    }
    cuts.retain(|at| gap.start <= *at && *at <= gap.end);
    cuts.sort_unstable();
    cuts.dedup();
    let mut pieces: Vec<Gap> = Vec::new();
    for pair in cuts.windows(2) {
        let at = Interval::new(pair[0], pair[1]);
        let cause = cause(at.start, facts, now);
        match pieces.last_mut() {
            Some(last) if last.cause == cause => last.at.end = at.end,
            _ => pieces.push(Gap { at, cause }),
        }
    }
    absorb_slivers(pieces)
}

fn absorb_slivers(pieces: Vec<Gap>) -> Vec<Gap> {
    let mut out: Vec<Gap> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match out.last_mut() {
            Some(last) if last.cause == piece.cause || piece.at.len_ms() < SLIVER_MS => last.at.end = piece.at.end,
            Some(last) if last.at.len_ms() < SLIVER_MS => {
                *last = Gap { at: Interval::new(last.at.start, piece.at.end), ..piece }
            }
            _ => out.push(piece),
        }
    }
    // Taking a neighbour's cause may have made two of one cause meet.
    out.dedup_by(|next, last| {
        let same = last.cause == next.cause;
        if same {
            last.at.end = next.at.end;
        }
        same
    });
    out
}

fn is_gone(segment: &Segment) -> bool {
    segment.verdict == Verdict::Lost
}

/// Why there is no media at `at`. The first that fits: what forbade it, who was not there, what failed.
fn cause(at: Ms, facts: &TalkFacts<'_>, now: Ms) -> GapCause {
    if facts.talk.opted_out || facts.forbidden.contains(at) {
        return GapCause::OptedOut;
    }
    if at < facts.talk.known_since {
        return if facts.talk.follows.is_some() { GapCause::Rescheduled } else { GapCause::ImportedLate };
    }
    // Before the daemon: only one that ran can have noted it, so it knows better than a heartbeat that was
    // not written any more.
    if let Some(skipped) = facts.skipped.iter().find(|g| g.at.contains(at)) {
        return skipped.cause;
    }
    if !facts.alive.contains(at) {
        return GapCause::DaemonNotRunning;
    }
    if facts.segments.iter().any(|s| is_gone(s) && s.at.contains(at)) {
        return GapCause::FileLost;
    }
    if !facts.streams.contains(at) {
        return GapCause::NoStream;
    }
    if facts.disk_full.contains(at) {
        return GapCause::Connection(EndReason::DiskFull);
    }
    let said = connection_cause(at, facts.connections, now);
    said.unwrap_or(if facts.talk.status != TalkStatus::Scheduled {
        GapCause::Cancelled
    } else if facts.connections.is_empty() {
        GapCause::Unknown
    } else {
        // A daemon with a stream and no connection is about to open its first.
        GapCause::Connecting
    })
}

/// What the connections say. One that is over speaks from its end until the next one's first byte; one
/// that delivered nothing usable speaks for its whole life.
fn connection_cause(at: Ms, connections: &[Connection], now: Ms) -> Option<GapCause> {
    // A second connection that came to nothing beside one that was open says nothing: bytes were to come from
    // that one.
    let was_open = |c: &&Connection| {
        c.opened <= at && c.first_byte.is_some_and(|first| first <= at) && c.closed.is_none_or(|closed| closed > at)
    };
    let open_since = connections.iter().filter(was_open).map(|c| c.opened).min();
    // What was closed since it was not needed never was to deliver.
    let needed = |c: &&Connection| !matches!(c.end, Some(EndReason::HedgeLost | EndReason::HandoverFailed));
    let mut before = None;
    for c in connections.iter().filter(|c| c.opened <= at).filter(needed) {
        let failed = c.end.filter(|end| !end.is_wanted());
        let over = c.closed.is_some_and(|closed| closed <= at);
        let delivering = c.first_byte.is_some_and(|first| first <= at);
        match (over, failed) {
            // A wanted end says nothing of what is missing after it, and so leaves the word to an earlier
            // failure only if nothing was wrong in between.
            (true, _) if open_since.is_some_and(|since| since <= c.opened) => {}
            (true, Some(reason)) => before = Some(GapCause::Connection(reason)),
            (true, None) => before = if c.first_byte.is_some() { None } else { before },
            // Bytes came and no media covers this instant: they stopped (stall), or were no media.
            (false, Some(reason)) if delivering => before = Some(GapCause::Connection(reason)),
            (false, _) if delivering => {
                before = Some(if c.end.is_none() && c.closed.is_none() && now.since(at) > PROGRESS_LAG_MS {
                    GapCause::Connection(EndReason::Stalled)
                } else {
                    GapCause::NoMedia
                });
            }
            // Being opened: what failed before is why we are here; else that it never gave media; else it just takes
            // time, whatever became of it once it delivered.
            (false, Some(reason)) if c.first_byte.is_none() || reason == EndReason::NotMedia => {
                before = before.or(Some(GapCause::Connection(reason)));
            }
            (false, _) => before = before.or(Some(GapCause::Connecting)),
        }
    }
    before
}

#[cfg(test)]
#[path = "coverage_tests.rs"]
mod tests;
