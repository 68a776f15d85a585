//! Halls: which there are, which streams they have, and setting those.

use rusqlite::{Connection, TransactionBehavior};

use crate::app::library::report;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::catalog::halls::{known_halls, set_public_only, set_streams, talk_counts};
use crate::catalog::schedule;
use crate::domain::event::Event;
use crate::domain::hall::fold_name;
use crate::domain::stream_url::StreamUrl;
use crate::domain::time::Ms;
use crate::plan::hall_plan::{KnownHall, StreamOrigin};

/// A hall of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HallReport {
    /// The event's name.
    pub event: String,
    /// The hall; its stream addresses may hold passwords.
    pub hall: KnownHall,
    /// Talks to be recorded in it, past ones included.
    pub talks: usize,
}

/// All halls, or those of one event, by event and name.
///
/// # Errors
/// When the catalog fails, or there is no such event.
pub fn list(db: &Connection, event: Option<&str>) -> Result<Vec<HallReport>> {
    let mut out = Vec::new();
    for event in events(db, event)? {
        let counts = talk_counts(db, event.id)?;
        let mut halls = known_halls(db, event.id)?;
        halls.sort_by_cached_key(|h| fold_name(&h.name));
        out.extend(halls.into_iter().map(|hall| {
            let talks = counts.get(&hall.id).copied().unwrap_or_default();
            HallReport { event: event.name.clone(), hall, talks }
        }));
    }
    Ok(out)
}

/// Sets the streams of a hall, named by its name or an alias, in order of preference; they survive
/// imports. No address at all: those set before are forgotten, and the next import decides again.
///
/// # Errors
/// When an address is not allowed, or there is no such hall, or several.
pub fn set(db: &mut Connection, event: Option<&str>, hall: &str, urls: &[String], now: Ms) -> Result<HallReport> {
    let mut wanted: Vec<StreamUrl> = Vec::new();
    for url in urls {
        let url = StreamUrl::parse(url).map_err(|e| Failure::new(Kind::Usage, e.to_string()))?;
        if !wanted.contains(&url) {
            wanted.push(url);
        }
    }
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let report = set_in(&tx, event, hall, &wanted, now)?;
    tx.commit()?;
    Ok(report)
}

/// As [`set`], within the caller's transaction. An address that must not lead into a private network stays one
/// that must not.
pub(super) fn set_in(
    db: &Connection,
    event: Option<&str>,
    hall: &str,
    urls: &[StreamUrl],
    now: Ms,
) -> Result<HallReport> {
    let mut report = find(db, event, hall)?;
    let wanted: Vec<_> = urls.iter().map(|u| (u.secret(), StreamOrigin::Command)).collect();
    set_streams(db, report.hall.id, &report.hall.streams, &wanted, now)?;
    set_public_only(db, report.hall.id, urls)?;
    let id = report.hall.id;
    if let Some(now) = list(db, Some(&report.event))?.into_iter().find(|r| r.hall.id == id) {
        report = now;
    }
    Ok(report)
}

/// The one hall of that name or alias.
fn find(db: &Connection, event: Option<&str>, hall: &str) -> Result<HallReport> {
    let all = list(db, event)?;
    let wanted = fold_name(hall);
    let is_it = |h: &KnownHall| {
        fold_name(&h.name) == wanted || h.aliases.iter().chain(&h.renamed).any(|a| fold_name(a) == wanted)
    };
    let mut found: Vec<_> = all.iter().filter(|r| is_it(&r.hall)).cloned().collect();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let mut names: Vec<_> = all.iter().map(|r| r.hall.name.as_str()).collect();
            names.dedup();
            let hint = match names.as_slice() {
                [] => "there are no halls yet: begin with streamrip import SCHEDULE.ics".to_owned(),
                names => format!("halls: {}", names.iter().take(20).copied().collect::<Vec<_>>().join(", ")),
            };
            Err(Failure::new(Kind::NotFound, format!("there is no hall {hall:?}")).hint(hint))
        }
        _ => {
            let events: Vec<_> = found.iter().map(|r| r.event.as_str()).collect();
            let message = format!("hall {hall:?} is in more than one event: {}", events.join(", "));
            Err(Failure::new(Kind::NotFound, message).hint("say which with --event NAME"))
        }
    }
}

fn events(db: &Connection, name: Option<&str>) -> Result<Vec<Event>> {
    let all = schedule::events(db)?;
    let Some(name) = name else { return Ok(all) };
    let id = report::find_event(&all, name)?;
    Ok(all.into_iter().filter(|e| e.id == id).collect())
}
