//! What happened around talks: read once for a hall and a stretch of time, then asked for each talk.
//!
//! One talk or ten thousand, it is the same number of questions to the catalog for each hall, so that a list takes time
//! in proportion to its length.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rusqlite::Connection as Db;

use crate::catalog::{Result, daemon_runs, incidents, schedule, seams, segments};
use crate::domain::gap::Gap;
use crate::domain::ids::{EventId, HallId, SegmentId, StreamId};
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::segment::{ConnectionRecord, Segment};
use crate::domain::time::{HOUR, Ms};
use crate::domain::timeline::Timeline;

/// How long before a talk's window its hall's connections are of interest: they may be why it begins with a gap.
const CONNECTIONS_BEFORE_MS: i64 = HOUR;

/// So many connections that began even earlier may still have been open: two mirrors, each handing over.
const OPEN_AT_ONCE: usize = 8;

/// What happened in one hall over a stretch of time.
#[derive(Debug, Default)]
pub(super) struct HallHistory {
    segments: Timeline<Segment>,
    /// In the order in which they were opened.
    connections: Vec<ConnectionRecord>,
    followers: HashMap<SegmentId, Vec<SegmentId>>,
    disk_full: IntervalSet,
    forbidden: IntervalSet,
    /// When the hall had a stream.
    pub(super) stream_times: IntervalSet,
    /// Addresses without passwords, also of streams that are no longer in use.
    pub(super) stream_urls: Arc<BTreeMap<StreamId, String>>,
}

impl HallHistory {
    /// Reads what happened in a hall within `recorded` (`None`: no window has begun yet, so nothing can have happened),
    /// and where in `slots` nothing may be recorded.
    pub(super) fn read(db: &Db, hall: HallId, recorded: Option<Interval>, slots: Interval, now: Ms) -> Result<Self> {
        let mut out = Self {
            forbidden: schedule::forbidden_slots(db, hall, slots)?,
            stream_times: schedule::stream_times(db, hall)?,
            stream_urls: Arc::new(schedule::stream_urls(db, hall)?),
            ..Self::default()
        };
        if let Some(within) = recorded {
            let found = segments::segments_of_hall(db, hall, within)?;
            if let Some(first) = found.first() {
                out.followers = seams::followers(db, hall, Interval::new(first.at.start, within.end))?;
            }
            out.segments = found.into_iter().map(|segment| (segment.at, segment)).collect();
            out.connections = segments::connections_of_hall(db, hall, within.padded(CONNECTIONS_BEFORE_MS, 0))?;
            out.disk_full = incidents::disk_full_times(db, hall, within, now)?;
        }
        Ok(out)
    }

    /// Segments whose media touches `window`, by start.
    pub(super) fn segments(&self, window: Interval) -> Vec<Segment> {
        self.segments.touching(window).cloned().collect()
    }

    /// Connections around `window`, by opening: also those before it that may be the cause of a gap at its start.
    pub(super) fn connections(&self, window: Interval) -> &[ConnectionRecord] {
        let early = window.start.minus(CONNECTIONS_BEFORE_MS);
        let from = self.connections.partition_point(|c| c.opened < early).saturating_sub(OPEN_AT_ONCE);
        let to = self.connections.partition_point(|c| c.opened < window.end);
        self.connections.get(from..to).unwrap_or_default()
    }

    /// Stretches between these segments whose packets are known to follow each other without loss.
    pub(super) fn bridges(&self, segments: &[Segment]) -> IntervalSet {
        let followed = segments.iter().filter_map(|first| Some((first, self.followers.get(&first.id)?)));
        followed
            .flat_map(|(first, seconds)| {
                let later = segments.iter().filter(|s| seconds.contains(&s.id));
                later.map(|second| Interval::new(first.at.end, second.at.start))
            })
            .collect()
    }

    /// When the hall's tape could not write for want of space.
    pub(super) fn disk_full(&self, window: Interval) -> IntervalSet {
        self.disk_full.clip(window)
    }

    /// Where in a slot nothing may be recorded, because the hall has another talk there that is opted out.
    pub(super) fn forbidden(&self, slot: Interval) -> IntervalSet {
        self.forbidden.clip(slot)
    }
}

/// When somebody was there to record, over a stretch of time.
#[derive(Debug, Default)]
pub(super) struct Presence {
    alive: HashMap<EventId, IntervalSet>,
    /// Wall time that nobody lived through.
    skipped: Timeline<Gap>,
}

impl Presence {
    /// Reads it for these events. `living`: see [`daemon_runs::alive`].
    pub(super) fn read(
        db: &Db,
        events: impl IntoIterator<Item = EventId>,
        within: Interval,
        now: Ms,
        living: Option<i64>,
    ) -> Result<Self> {
        let skipped = incidents::skipped_times(db, within)?.into_iter().map(|gap| (gap.at, gap)).collect();
        // What a clock that was set back shows twice, the daemon lived through twice.
        let back = incidents::clock_steps(db, within)?.into_iter().filter(|step| step.by_ms() < 0);
        let twice: IntervalSet = back.map(|step| Interval::new(step.to, step.from)).collect();
        let mut alive = HashMap::new();
        for event in events {
            alive.insert(event, daemon_runs::alive(db, event, within, now, living)?.union(&twice));
        }
        Ok(Self { alive, skipped })
    }

    /// When a daemon ran that recorded this event.
    pub(super) fn alive(&self, event: EventId, window: Interval) -> IntervalSet {
        self.alive.get(&event).map(|alive| alive.clip(window)).unwrap_or_default()
    }

    /// When the machine slept or its clock was set, with that cause.
    pub(super) fn skipped(&self, window: Interval) -> Vec<Gap> {
        self.skipped.touching(window).copied().collect()
    }
}
