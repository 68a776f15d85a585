//! Which halls should be taped, and when: the windows of their talks, joined where they touch.

use std::collections::BTreeMap;

use crate::domain::event::Event;
use crate::domain::hall::Hall;
use crate::domain::ids::{EventId, HallId, TalkId};
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::settings::Record;
use crate::domain::talk::{Talk, TalkStatus};
use crate::domain::time::Ms;

/// One uninterrupted recording that a hall needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedTape {
    /// Hall that is to be recorded.
    pub hall: HallId,
    /// The union of the windows that touch.
    pub window: Interval,
    /// Window starts inside it: handovers. Sorted, `window.start` not among them.
    pub boundaries: Vec<Ms>,
    /// Whose windows these are, by start: the reason for the tape.
    pub talks: Vec<TalkId>,
}

/// What talks need of their halls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// By hall, then by time; only what ends after `now`.
    pub tapes: Vec<WantedTape>,
    /// Slots of opted-out talks, by hall: no bytes may be taped there.
    pub forbidden: BTreeMap<HallId, IntervalSet>,
}

impl Wanted {
    /// The tapes that should be running at `now`, at most one a hall.
    pub fn running_at(&self, now: Ms) -> impl Iterator<Item = &WantedTape> {
        self.tapes.iter().filter(move |t| t.window.contains(now))
    }

    /// When the next tape begins after `now`.
    #[must_use]
    pub fn next_start(&self, now: Ms) -> Option<Ms> {
        self.tapes.iter().map(|t| t.window.start).filter(|start| *start > now).min()
    }
}

/// A source that can reach back takes so much from before a window: what it holds on to for its players.
/// Milliseconds.
pub const REACH_BACK_MS: i64 = 60_000;

/// Since when media is wanted that a server still holds, for a tape whose first window begins at `start`:
/// never from a slot in which nothing may be recorded.
#[must_use]
pub fn reach_back(start: Ms, forbidden: &IntervalSet) -> Ms {
    let ends = forbidden.iter().map(|slot| slot.end).filter(|end| *end <= start);
    ends.fold(start.minus(REACH_BACK_MS), Ms::max)
}

/// A talk's window: its slot with the padding of its event, or of the settings where that has none.
#[must_use]
pub fn window_of(talk: &Talk, event: Option<&Event>, record: &Record) -> Interval {
    let before = event.and_then(|e| e.pre_padding_ms).unwrap_or(record.pre_padding_ms);
    let after = event.and_then(|e| e.post_padding_ms).unwrap_or(record.post_padding_ms);
    talk.slot.padded(before, after)
}

/// Slots in which nothing may be recorded: those of opted-out talks that take place.
#[must_use]
pub fn forbidden_slots(talks: &[Talk]) -> IntervalSet {
    talks.iter().filter(|t| forbids(t)).map(|t| t.slot).collect()
}

fn forbids(talk: &Talk) -> bool {
    talk.opted_out && talk.status == TalkStatus::Scheduled
}

/// Computes what should be taped from `now` on.
///
/// A cancelled or removed talk wants nothing. An opted-out one forbids its slot, also to the padding of
/// its neighbours. Halls without streams are left out: nothing can be taped there.
#[must_use]
pub fn wanted(now: Ms, events: &[Event], halls: &[Hall], talks: &[Talk], record: &Record) -> Wanted {
    let events: BTreeMap<EventId, &Event> = events.iter().map(|e| (e.id, e)).collect();
    let mut windows: BTreeMap<HallId, Vec<(Interval, TalkId)>> = BTreeMap::new();
    let mut forbidden: BTreeMap<HallId, Vec<Interval>> = BTreeMap::new();
    for talk in talks {
        if talk.is_on() {
            let window = window_of(talk, events.get(&talk.event).copied(), record);
            if window.end > now && !window.is_empty() {
                windows.entry(talk.hall).or_default().push((window, talk.id));
            }
        } else if forbids(talk) && talk.slot.end > now {
            forbidden.entry(talk.hall).or_default().push(talk.slot);
        }
    }
    let forbidden: BTreeMap<HallId, IntervalSet> =
        forbidden.into_iter().map(|(hall, slots)| (hall, slots.into_iter().collect())).collect();
    let nothing = IntervalSet::new();
    let mut tapes = Vec::new();
    for hall in halls.iter().filter(|h| !h.streams.is_empty()) {
        let Some(windows) = windows.get_mut(&hall.id) else { continue };
        windows.sort_unstable();
        let allowed: IntervalSet = windows
            .iter()
            .map(|(w, _)| *w)
            .collect::<IntervalSet>()
            .subtract(forbidden.get(&hall.id).unwrap_or(&nothing));
        for window in allowed.iter().filter(|w| w.end > now) {
            let mut boundaries: Vec<Ms> =
                windows.iter().map(|(w, _)| w.start).filter(|at| window.start < *at && *at < window.end).collect();
            boundaries.dedup();
            let talks = windows.iter().filter(|(w, _)| w.overlaps(window)).map(|(_, talk)| *talk).collect();
            tapes.push(WantedTape { hall: hall.id, window, boundaries, talks });
        }
    }
    Wanted { tapes, forbidden }
}

#[cfg(test)]
#[path = "wanted_tests.rs"]
mod tests;
