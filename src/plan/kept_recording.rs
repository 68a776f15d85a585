//! A recording stays what it is: the hall and slot that something was recorded under stay with the recording, and what
//! the schedule says afterwards is kept beside it.
//!
//! Schedules change while talks are held and after they are over: rooms are corrected, slots are moved, past talks leave
//! the export. Following such a change would take the recording away from its talk.

use std::collections::{HashMap, HashSet};

use chrono_tz::Tz;

use super::hall_plan::HallPlan;
use super::schedule_diff::{Change, ChangeKind, Diff, KnownTalk, Placement, TalkStep, slot_text};
use crate::domain::ids::TalkId;
use crate::domain::interval::Interval;
use crate::domain::talk::{Place, TalkStatus};
use crate::domain::time::Ms;

/// Steps that would change the hall or slot of a talk that has begun, or take it out of the schedule, with the place the
/// talk's row has: it matters whether something was recorded there.
#[must_use]
pub fn candidates(diff: &Diff, known: &[KnownTalk], halls: &HallPlan, now: Ms) -> Vec<(TalkId, Place)> {
    let by_id: HashMap<TalkId, &KnownTalk> = known.iter().map(|k| (k.id, k)).collect();
    diff.steps
        .iter()
        .filter_map(|step| {
            let old = by_id.get(&step.known?)?;
            let place = old.place();
            (place.slot.start <= now && !agrees(step, place, halls)).then_some((old.id, place))
        })
        .collect()
}

/// Decides of each step whether the talk's row follows it. `recorded`: those of [`candidates`] of which something was
/// recorded, or is being recorded, in the place that their row has. `post_padding_ms`: how long recording goes on after
/// a slot. Steps of talks that are opted out are followed: nothing of them is kept.
pub fn keep_recordings(
    diff: &mut Diff,
    known: &[KnownTalk],
    halls: &HallPlan,
    recorded: &HashSet<TalkId>,
    post_padding_ms: i64,
    now: Ms,
    zone: Tz,
) {
    let by_id: HashMap<TalkId, &KnownTalk> = known.iter().map(|k| (k.id, k)).collect();
    let places = halls.by_row();
    for step in &mut diff.steps {
        let Some(old) = step.known.and_then(|id| by_id.get(&id)) else { continue };
        if !(recorded.contains(&old.id) || old.kept.is_some()) || step.row.opted_out {
            continue;
        }
        step.placement = placement(step, old.place(), halls, post_padding_ms, now);
        if step.placement != Placement::Follow && step.changes.iter().any(|c| c.kind.is_of_place()) {
            let hall = places.get(&old.place().hall).map_or("", |at| halls.halls[*at].name.as_str());
            let kept = format!("its recording stays under {hall}, {}", slot_text(old.place().slot, zone));
            step.changes.push(Change { kind: ChangeKind::Kept, before: None, after: Some(kept) });
        }
    }
}

/// True where a step leaves a talk where its row has it.
fn agrees(step: &TalkStep, place: Place, halls: &HallPlan) -> bool {
    let row = &step.row;
    row.status == TalkStatus::Scheduled && row.slot == place.slot && halls.halls[row.hall].known == Some(place.hall)
}

fn placement(step: &TalkStep, place: Place, halls: &HallPlan, post_padding_ms: i64, now: Ms) -> Placement {
    let row = &step.row;
    if agrees(step, place, halls) {
        return Placement::Follow;
    }
    if row.status != TalkStatus::Scheduled {
        return Placement::Keep;
    }
    let over = |slot: Interval| slot.end.plus(post_padding_ms) <= now;
    let same_hall = halls.halls[row.hall].known == Some(place.hall);
    if same_hall && row.slot.overlaps(place.slot) {
        // Delayed, prolonged or shortened while it is held: the recording goes with it.
        return if over(place.slot) || row.slot.end <= now { Placement::Keep } else { Placement::Follow };
    }
    if over(row.slot) { Placement::Keep } else { Placement::Split }
}
