//! When a new schedule is not believed: better an old schedule than a day without recordings.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::hall_plan::{HallPlan, KnownHall};
use super::schedule_diff::{ChangeKind, Diff, KnownTalk};
use crate::domain::hall::fold_name;
use crate::domain::ids::TalkId;
use crate::domain::schedule::ScheduledTalk;
use crate::domain::talk::TalkStatus;
use crate::domain::text::shortened;
use crate::domain::time::Ms;

/// Why a schedule should not be applied to an event that is known; nothing in it: it may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objections {
    /// For people; against the schedule as a whole.
    pub reasons: Vec<String>,
    /// Against the halls that some talks would have.
    pub halls: Vec<LostHall>,
}

impl Objections {
    /// All of them, for people.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.reasons.iter().cloned().chain(self.halls.iter().map(|lost| lost.reason.clone())).collect()
    }
}

/// Talks to come that would lose the streams of their hall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostHall {
    /// The reason, for people.
    pub reason: String,
    /// Which talks.
    pub talks: Vec<TalkId>,
    /// The hall that they are in, and the one that they would go to.
    pub names: (String, String),
}

/// Looks for objections. Only talks to come count: what is past is recorded or not, whatever the schedule says now.
#[must_use]
pub fn objections(
    known: &[KnownTalk],
    known_halls: &[KnownHall],
    halls: &HallPlan,
    diff: &Diff,
    now: Ms,
) -> Objections {
    let mut out = Vec::new();
    if diff.talks == 0 {
        out.push("it has no talks".to_owned());
    }
    let coming: HashMap<TalkId, &KnownTalk> =
        known.iter().filter(|t| t.status == TalkStatus::Scheduled && t.slot.end > now).map(|t| (t.id, t)).collect();
    let of = |step: &super::schedule_diff::TalkStep| step.known.and_then(|id| coming.get(&id).copied());
    let removed = diff.steps.iter().filter(|s| s.is(ChangeKind::Removed) && of(s).is_some()).count();
    if diff.talks > 0 && removed * 2 > coming.len() {
        out.push(format!("it removes {removed} of {} talks to come", coming.len()));
    }
    let had_stream: HashSet<_> = known_halls.iter().filter(|h| !h.streams.is_empty()).map(|h| h.id).collect();
    let on: HashMap<TalkId, bool> = diff
        .steps
        .iter()
        .filter_map(|s| Some((s.known?, s.row.status == TalkStatus::Scheduled && !s.row.opted_out)))
        .collect();
    let new_hall: HashMap<TalkId, usize> = diff.steps.iter().filter_map(|s| Some((s.known?, s.row.hall))).collect();
    let places = halls.by_row();
    let mut lost: BTreeMap<(String, String), Vec<TalkId>> = BTreeMap::new();
    for talk in coming.values().filter(|t| had_stream.contains(&t.hall) && !t.opted_out) {
        if on.get(&talk.id) == Some(&false) {
            continue;
        }
        // A talk without a step stays in its hall, which may have lost its streams.
        let old = places.get(&talk.hall).copied();
        let Some(new) = new_hall.get(&talk.id).copied().or(old) else { continue };
        if halls.halls[new].streams.is_empty() {
            let old = old.map_or_else(String::new, |at| halls.halls[at].name.clone());
            lost.entry((old, halls.halls[new].name.clone())).or_default().push(talk.id);
        }
    }
    let lost = lost.into_iter().map(|((old, new), mut ids)| {
        ids.sort_unstable();
        let talks = if ids.len() == 1 { "1 talk".to_owned() } else { format!("{} talks", ids.len()) };
        let names = (old.clone(), new.clone());
        let (old, new) = (shortened(&old, 60), shortened(&new, 60));
        let reason = if old == new {
            format!("{talks} to come in {old:?} would have no stream any more")
        } else {
            format!("{talks} to come would go from {old:?} to {new:?}, which has no stream (if {old:?} is called so now, add it to the aliases of {old:?} in the halls file)")
        };
        LostHall { reason, talks: ids, names }
    });
    Objections { reasons: out, halls: lost.collect() }
}

/// Leaves talks that would lose their streams in the halls where they are, and everything else of them as it is to be:
/// one hall that was renamed must not hold up every other change. Gives the reasons for people.
pub fn hold_halls(diff: &mut Diff, known: &[KnownTalk], halls: &HallPlan, lost: &[LostHall]) -> Vec<String> {
    let places = halls.by_row();
    let name = |at: &usize| halls.halls.get(*at).map_or("", |hall| hall.name.as_str());
    let in_hall: HashMap<TalkId, usize> =
        known.iter().filter_map(|talk| Some((talk.id, *places.get(&talk.hall)?))).collect();
    // Talks that are over go with the others: their hall is the same one.
    let goes = |from: &usize, to: &usize| lost.iter().any(|l| l.names.0 == name(from) && l.names.1 == name(to));
    let held: HashMap<TalkId, usize> = diff
        .steps
        .iter()
        .filter_map(|step| Some((step.known?, step.row.hall)))
        .filter_map(|(id, to)| Some((id, *in_hall.get(&id).filter(|from| goes(from, &to))?)))
        .collect();
    for step in &mut diff.steps {
        if let Some(hall) = step.known.and_then(|id| held.get(&id)) {
            step.row.hall = *hall;
            step.changes.retain(|change| change.kind != ChangeKind::Hall);
        }
    }
    diff.steps.retain(|step| !(step.changes.is_empty() && step.known.is_some_and(|id| held.contains_key(&id))));
    lost.iter().map(|lost| lost.reason.clone()).collect()
}

/// An event of the catalog, as far as it is needed to recognise it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownEvent {
    /// Name of the event.
    pub name: String,
    /// UIDs of its talks.
    pub uids: HashSet<String>,
    /// Halls (folded) and starts of its talks.
    pub slots: HashSet<(String, Ms)>,
}

/// The known event that a schedule under a new name seems to be: more than half of its UIDs, or of its
/// halls and starts, are that event's. Starts without hall say nothing.
#[must_use]
pub fn looks_like<'a>(talks: &[ScheduledTalk], events: &'a [KnownEvent]) -> Option<&'a KnownEvent> {
    let uids: HashSet<_> = talks.iter().filter_map(|t| t.uid.as_deref()).collect();
    let slots: HashSet<_> = talks.iter().filter_map(|t| Some((fold_name(t.hall.as_deref()?), t.slot.start))).collect();
    let most = |shared: usize, all: usize| all > 0 && shared * 2 > all;
    events.iter().find(|event| {
        most(uids.iter().filter(|u| event.uids.contains(**u)).count(), uids.len())
            || most(slots.intersection(&event.slots).count(), slots.len())
    })
}
