//! Opt-outs that do not wait: where a schedule is refused or cannot be read, those of its schedule.xml are applied all
//! the same. The safe direction needs no guard.

use std::collections::HashMap;

use rusqlite::Connection;

use crate::catalog;
use crate::catalog::import::{self as catalog_import, Known};
use crate::domain::hall::fold_name;
use crate::domain::ids::TalkId;
use crate::domain::programme::Programme;
use crate::domain::schedule::{Schedule, ScheduledTalk};
use crate::domain::talk::TalkStatus;
use crate::plan::programme_join::{JoinOptions, join};

/// Opts the known talks of an event out that `programme` opts out now; gives those that were not before.
///
/// # Errors
/// When SQLite cannot write.
pub(super) fn apply_opt_outs(db: &Connection, known: &Known, programme: &Programme) -> catalog::Result<Vec<TalkId>> {
    let talks = new_opt_outs(known, programme);
    catalog_import::opt_out(db, &talks)?;
    Ok(talks)
}

/// Known talks that a programme opts out now.
fn new_opt_outs(known: &Known, programme: &Programme) -> Vec<TalkId> {
    let hall = |id| known.halls.iter().find(|h| h.id == id).map(|h| h.name.clone());
    let talks = known.talks.iter().map(|talk| ScheduledTalk {
        uid: talk.uid.clone(),
        hall: hall(talk.hall),
        cancelled: talk.status == TalkStatus::Cancelled,
        page_url: talk.page_url.clone(),
        offset_known: true,
        ..ScheduledTalk::new(talk.title.clone(), talk.slot)
    });
    let mut schedule = Schedule { talks: talks.collect(), ..Schedule::default() };
    let mut aliases = HashMap::new();
    for hall in &known.halls {
        aliases.extend(hall.aliases.iter().map(|alias| (fold_name(alias), fold_name(&hall.name))));
    }
    join(&mut schedule, programme, &JoinOptions { zone: known.row.zone, aliases });
    let joined = known.talks.iter().zip(&schedule.talks);
    joined.filter(|(old, new)| new.opted_out && !old.opted_out).map(|(old, _)| old.id).collect()
}
