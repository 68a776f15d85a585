//! What of a talk was recorded, what is missing, and why.
//!
//! Every instant of a slot's past is either covered or in a gap, and each gap has a cause. An instant is covered where
//! every kind of track that the talk has (video, audio) is there: in the talk's file where that was made and checked, else
//! in the segments that would be joined.

use crate::domain::gap::{Gap, GapCause, Lacks};
use crate::domain::ids::SegmentId;
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::media::TrackKind;
use crate::domain::presence::Presence;
use crate::domain::segment::{ConnectionRecord, EndReason, Segment, Verdict};
use crate::domain::talk::{Talk, TalkState, TalkStatus};
use crate::domain::time::{Ms, SECOND};

/// How late the catalog may be about an open segment: its progress is written every few seconds. Up to
/// so long after its last mark, an open segment is taken to reach `now`.
pub const PROGRESS_LAG_MS: i64 = 8 * SECOND;

/// A piece of a gap shorter than this does not get a line of its own: it takes its neighbour's cause.
/// (A reconnect that meets a refusal is a second of `eof` and a minute of `refused`: one gap, one cause.)
const SLIVER_MS: i64 = SECOND;

/// Media with a hole shorter than this is whole, where more than the hole's length stands on both of its sides: the wall
/// time of media is known to some tenths of a second (arrival jitter), and neighbours that share packets may seem this
/// far apart.
pub const ANCHOR_JITTER_MS: i64 = 300;

/// A kind of track that has less than this of a slot is not expected in the rest of it, milliseconds.
const LEAST_OF_A_KIND_MS: i64 = SECOND;

/// Packets at the edge of a hole are lost, or of a length that nobody states, without being worth a cause of their own,
/// milliseconds.
const EDGE_MS: i64 = 100;

/// Everything that is known around one talk.
#[derive(Clone, Copy, Debug)]
pub struct TalkFacts<'a> {
    /// The talk that is reported on.
    pub talk: &'a Talk,
    /// Its slot with padding.
    pub window: Interval,
    /// Segments of its hall that touch the slot, by start.
    pub segments: &'a [Segment],
    /// Connections of its hall around the slot, by opening.
    pub connections: &'a [ConnectionRecord],
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
    /// What the file of the talk presents; `None`: there is none, or it was never looked into.
    pub file: Option<&'a FilePresence>,
}

/// What a talk's file presents, as it was found in the finished file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilePresence {
    /// Where it has media, by the wall clock.
    pub presence: Presence,
    /// Nothing has changed since it was made: it is all that the talk has. Otherwise it is about to be made anew, and
    /// segments count beside it.
    pub is_settled: bool,
    /// Segments that were left out of it although they have media of their own, and why.
    pub left_out: Vec<(SegmentId, GapCause)>,
}

/// What became of one talk.
#[derive(Clone, Debug, PartialEq)]
pub struct TalkReport {
    /// Where it stands.
    pub state: TalkState,
    /// Recorded parts of the slot: there every kind of track is there.
    pub covered: IntervalSet,
    /// Recorded parts of the slot, by kind of track.
    pub presence: Presence,
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
    let found = presence(facts, now);
    let presence = found.by_kind.clip(past);
    let covered = found.complete().clip(past);
    let missing = IntervalSet::from(past).subtract(&covered);
    let gaps = missing.iter().flat_map(|gap| explain(gap, &presence, facts, now)).collect();
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
    TalkReport { state, covered, presence, gaps, recorded_ms, coverage }
}

/// What is there by now.
struct Found {
    by_kind: Presence,
    /// Where bytes came of which nobody knows yet what they are.
    unknown: IntervalSet,
}

impl Found {
    fn complete(&self) -> IntervalSet {
        if self.by_kind == Presence::default() { self.unknown.clone() } else { self.by_kind.complete() }
    }
}

/// Wall time at which there is media: in the talk's file, and in segments that are not in it yet.
fn presence(facts: &TalkFacts<'_>, now: Ms) -> Found {
    let mut by_kind = facts.file.map(|file| file.presence.clone()).unwrap_or_default();
    let settled = facts.file.is_some_and(|file| file.is_settled);
    let mut unknown = if settled { IntervalSet::new() } else { unindexed(facts, now) };
    let mut segments = of_segments(facts);
    // A kind that only a moment of the slot has is not what the talk has.
    for kind in [TrackKind::Video, TrackKind::Audio] {
        let little = |walls: &IntervalSet| walls.clip(facts.talk.slot).total_ms() < LEAST_OF_A_KIND_MS;
        if by_kind.of(kind).is_some_and(little) {
            by_kind.remove(kind);
        }
        if segments.of(kind).is_some_and(little) {
            segments.remove(kind);
        }
        if let (Some(walls), false) = (segments.of(kind), settled) {
            by_kind.add(kind, walls);
        } else if segments.of(kind).is_some() {
            // What is in no file is missing from the talk, and expected all the same.
            by_kind.add(kind, &IntervalSet::new());
        }
    }
    unknown = bridged(&unknown);
    for kind in [TrackKind::Video, TrackKind::Audio] {
        let Some(walls) = by_kind.of(kind) else { continue };
        let mut walls = bridged(&walls.union(&unknown));
        if !settled {
            walls = walls.union(facts.bridges);
        }
        by_kind.add(kind, &walls);
    }
    if !settled {
        unknown = unknown.union(facts.bridges);
    }
    // What lies in the slot of a talk that must not be recorded is nobody's, also before the files that held it are made
    // anew without it.
    for kind in [TrackKind::Video, TrackKind::Audio] {
        let allowed = by_kind.of(kind).map(|walls| walls.subtract(facts.forbidden));
        if let Some(allowed) = allowed {
            by_kind.remove(kind);
            by_kind.add(kind, &allowed);
        }
    }
    let unknown = unknown.subtract(facts.forbidden);
    Found { by_kind, unknown }
}

/// Where bytes came that were not looked into: open segments, closed ones before they are indexed, and those that were
/// indexed when single tracks were not looked at.
fn unindexed(facts: &TalkFacts<'_>, now: Ms) -> IntervalSet {
    let of = |segment: &Segment| {
        let mut covered = segment.covered();
        if segment.verdict == Verdict::Open && now.since(segment.at.end) <= PROGRESS_LAG_MS {
            covered = covered.union(&Interval::new(segment.at.start, now).into());
        }
        covered.iter().collect::<Vec<_>>()
    };
    facts.segments.iter().filter(|s| s.tracks.is_empty()).flat_map(of).collect()
}

/// Where the tracks of segments have media that a join would present: video that nothing goes before begins with a
/// keyframe.
fn of_segments(facts: &TalkFacts<'_>) -> Presence {
    let mut out = Presence::default();
    for segment in facts.segments {
        for span in segment.track_spans() {
            let before = out.of(span.kind).is_some_and(|walls| reaches(walls, span.wall.start));
            let start = match (span.kind, before, span.keyframe) {
                (TrackKind::Video, false, Some(keyframe)) => keyframe,
                (TrackKind::Video, false, None) => span.wall.end,
                _ => span.wall.start,
            };
            out.add(span.kind, &Interval::new(start, span.wall.end).into());
        }
    }
    out
}

/// True where media reaches an instant, or ends so shortly before that nothing need be missing.
fn reaches(walls: &IntervalSet, at: Ms) -> bool {
    walls.iter().any(|wall| wall.start <= at && at <= wall.end.plus(ANCHOR_JITTER_MS))
}

/// Closes holes that may be no more than jitter.
fn bridged(walls: &IntervalSet) -> IntervalSet {
    let holes = walls.as_slice().windows(2).filter_map(|pair| {
        let hole = Interval::new(pair[0].end, pair[1].start);
        let is_small = hole.len_ms() < ANCHOR_JITTER_MS && hole.len_ms() < pair[0].len_ms().min(pair[1].len_ms());
        is_small.then_some(hole)
    });
    walls.union(&holes.collect())
}

/// What is missing at an instant that is not covered.
fn lacks(at: Ms, presence: &Presence) -> Lacks {
    let has = |kind: &Option<IntervalSet>| kind.as_ref().map(|walls| walls.contains(at));
    match (has(&presence.video), has(&presence.audio)) {
        (Some(false), Some(true)) => Lacks::Video,
        (Some(true), Some(false)) => Lacks::Audio,
        _ => Lacks::All,
    }
}

/// Cuts a gap where its cause, or what it lacks, changes.
fn explain(gap: Interval, presence: &Presence, facts: &TalkFacts<'_>, now: Ms) -> Vec<Gap> {
    let mut cuts = vec![gap.start, gap.end, facts.talk.known_since];
    cuts.extend(
        presence.video.iter().chain(&presence.audio).flat_map(IntervalSet::iter).flat_map(|i| [i.start, i.end]),
    );
    cuts.extend(
        facts
            .segments
            .iter()
            .flat_map(|s| &s.tracks)
            .flat_map(|t| [Some(t.wall.start), t.keyframe, Some(t.wall.end)].into_iter().flatten()),
    );
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
        let lacks = lacks(at.start, presence);
        let cause = cause(at, lacks, facts, now);
        match pieces.last_mut() {
            Some(last) if (last.cause, last.lacks) == (cause, lacks) => last.at.end = at.end,
            _ => pieces.push(Gap { at, cause, lacks }),
        }
    }
    absorb_slivers(pieces)
}

fn absorb_slivers(pieces: Vec<Gap>) -> Vec<Gap> {
    let mut out: Vec<Gap> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match out.last_mut() {
            Some(last) if is_one(last, &piece) || piece.at.len_ms() < SLIVER_MS => last.at.end = piece.at.end,
            Some(last) if last.at.len_ms() < SLIVER_MS => {
                *last = Gap { at: Interval::new(last.at.start, piece.at.end), ..piece }
            }
            _ => out.push(piece),
        }
    }
    // Taking a neighbour's cause may have made two of one cause meet.
    out.dedup_by(|next, last| {
        let same = is_one(last, next);
        if same {
            last.at.end = next.at.end;
        }
        same
    });
    out
}

fn is_one(gap: &Gap, next: &Gap) -> bool {
    (gap.cause, gap.lacks) == (next.cause, next.lacks)
}

fn is_gone(segment: &Segment) -> bool {
    segment.verdict == Verdict::Lost
}

/// Why there is no media in a stretch in which nothing changes. The first that fits: what forbade it, what became of
/// media that was received, who was not there, what failed.
fn cause(stretch: Interval, lacks: Lacks, facts: &TalkFacts<'_>, now: Ms) -> GapCause {
    let at = stretch.start;
    if facts.talk.opted_out || facts.forbidden.contains(at) {
        return GapCause::OptedOut;
    }
    if let Some(cause) = unused(stretch, lacks, facts) {
        return cause;
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

/// What became of media that was received at that time, and that the talk does not have.
fn unused(stretch: Interval, lacks: Lacks, facts: &TalkFacts<'_>) -> Option<GapCause> {
    let wanted = |kind| match lacks {
        Lacks::All => true,
        Lacks::Video => kind == TrackKind::Video,
        Lacks::Audio => kind == TrackKind::Audio,
    };
    let has = |at: Interval| at.start <= stretch.start && stretch.end <= at.end && stretch.len_ms() > EDGE_MS;
    let is_settled = facts.file.is_some_and(|file| file.is_settled);
    let mut waits = false;
    for segment in facts.segments {
        for span in segment.track_spans().filter(|span| wanted(span.kind) && has(span.wall)) {
            let is_video = span.kind == TrackKind::Video;
            if is_video && span.keyframe.is_none_or(|keyframe| stretch.end <= keyframe) {
                waits = true;
            } else if is_settled {
                let left_out = facts.file.iter().flat_map(|file| &file.left_out);
                let why = left_out.filter(|(id, _)| *id == segment.id).map(|(_, cause)| *cause).next();
                return Some(why.unwrap_or(GapCause::NotJoined));
            }
        }
    }
    waits.then_some(GapCause::WaitsForKeyframe)
}

/// What the connections say. One that is over speaks from its end until the next one's first byte; one
/// that delivered nothing usable speaks for its whole life.
fn connection_cause(at: Ms, connections: &[ConnectionRecord], now: Ms) -> Option<GapCause> {
    // A second connection that came to nothing beside one that was open says nothing: bytes were to come from
    // that one.
    let was_open = |c: &&ConnectionRecord| {
        c.opened <= at && c.first_byte.is_some_and(|first| first <= at) && c.closed.is_none_or(|closed| closed > at)
    };
    let open_since = connections.iter().filter(was_open).map(|c| c.opened).min();
    // What was closed since it was not needed never was to deliver.
    let needed = |c: &&ConnectionRecord| !matches!(c.end, Some(EndReason::HedgeLost | EndReason::HandoverFailed));
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
