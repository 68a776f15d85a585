//! Reading schedules again while the congress runs. A schedule that is not to be believed is not
//! applied: the last good one stays, and `status` says why.

use std::sync::Arc;

use rusqlite::Connection;

use super::opt_outs::apply_opt_outs;
use crate::app::schedule::import::{
    ApplyOptions, Gathered, ImportReport, Outcome, ScheduleInputs, apply, gather, same_places, series_window,
};
use crate::app::support::blocking::Reader;
use crate::app::support::env::Env;
use crate::catalog;
use crate::catalog::import::{self as catalog_import, EventRow};
use crate::catalog::writer::Writer;
use crate::domain::ids::{EventId, TalkId};
use crate::domain::interval::Interval;
use crate::domain::schedule::WarningKind;
use crate::domain::settings::Settings;
use crate::domain::stream_url::redact_text;
use crate::domain::talk::Talk;
use crate::domain::time::{HOUR, Ms};
use crate::fetch::Cache;

/// An event is refreshed until so long after its last talk. Milliseconds.
const AFTER_THE_END: i64 = 24 * HOUR;

/// An event whose schedule can be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Primary key of the event.
    pub id: EventId,
    /// Name of the event.
    pub name: String,
    /// Which dates of long series are read.
    pub window: Interval,
    /// Where its schedule, halls file and schedule.xml are.
    row: EventRow,
}

/// Events whose schedule can be read again and that are not over for a day.
///
/// # Errors
/// When the catalog fails.
pub fn remembered(db: &Connection, now: Ms) -> catalog::Result<Vec<Remembered>> {
    let mut out = Vec::new();
    for (id, name) in catalog_import::refreshable(db, now.minus(AFTER_THE_END))? {
        if let Some(known) = catalog_import::known(db, &name)? {
            let window = series_window(&Settings::default(), now);
            out.push(Remembered { id, name, window, row: known.row });
        }
    }
    Ok(out)
}

/// True where the event of these talks is not over for so long that its schedule is not read again any more: of
/// what [`remembered`] asks the catalog.
#[must_use]
pub fn is_current(event: EventId, talks: &[Talk], now: Ms) -> bool {
    talks.iter().any(|talk| talk.event == event && talk.slot.end > now.minus(AFTER_THE_END))
}

/// What was fetched for one event. Cheap to hand to the writer's thread by reference.
#[derive(Debug)]
pub struct Fetched {
    event: Remembered,
    gathered: Gathered,
}

impl Fetched {
    /// Why there is no schedule, without passwords; `None`: there is one.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.gathered.prepared.as_ref().err().map(|failure| redact_text(&failure.to_string()))
    }

    /// Talks of the calendar of which its schedule.xml does not say whether they may be recorded, for people.
    pub fn not_in_schedule_xml(&self) -> impl Iterator<Item = &str> {
        let warnings = self.gathered.prepared.iter().flat_map(|prepared| &prepared.schedule.warnings);
        warnings.filter(|w| w.kind == WarningKind::NotInScheduleXml).map(|w| w.message.as_str())
    }
}

/// Fetches and reads everything of one event. Takes no part of the catalog.
///
/// `cache`: what the same caller fetched before; a server is asked whether that has changed.
pub async fn fetch(event: Remembered, cache: &Arc<Cache>) -> Fetched {
    let gathered = match ScheduleInputs::remembered(&event.name, &event.row, cache) {
        Ok(inputs) => gather(&inputs, event.window).await,
        Err(e) => Gathered { name: event.name.clone(), programme: None, prepared: Err(e) },
    };
    Fetched { event, gathered }
}

/// What a refresh did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// The event's name.
    pub event: String,
    /// What was applied; `None`: nothing.
    pub report: Option<ImportReport>,
    /// Why it was not applied.
    pub problem: Option<String>,
    /// The problem is another one than at the last refresh.
    pub is_news: bool,
    /// Talks that were opted out although the schedule was not applied.
    pub opted_out: Vec<TalkId>,
}

/// Refreshes every event that is not over, one after another, and logs what came of it. A failure ends
/// nothing: the next refresh tries again.
pub async fn refresh_all(env: &Env, reader: &Reader, writer: &Writer, cache: &Arc<Cache>) {
    let (db, now) = (Arc::clone(reader), env.clock.now());
    let events = tokio::task::spawn_blocking(move || {
        let db = db.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        remembered(&db, now)
    });
    let events = match events.await {
        Ok(Ok(events)) => events,
        Ok(Err(e)) => return tracing::warn!("refresh: {e}"),
        Err(e) => return tracing::warn!("refresh: {e}"),
    };
    for mut event in events {
        let name = event.name.clone();
        event.window = series_window(&env.settings, env.clock.now());
        let fetched = Arc::new(fetch(event, cache).await);
        let clock = Arc::clone(&env.clock);
        match writer.call(move |db| apply_fetched(db, &fetched, clock.now())).await {
            Ok(done) => log(&done),
            Err(e) => tracing::warn!("refresh of {name:?}: {e}"),
        }
    }
}

fn log(done: &Refreshed) {
    let event = &done.event;
    if let Some(problem) = &done.problem {
        if done.is_news {
            let what = if done.report.is_some() { "its new schedule is" } else { "its new schedule is not applied:" };
            tracing::warn!("{event}: {what} {problem} (streamrip import --force applies it)");
        }
        for talk in &done.opted_out {
            tracing::warn!("{event}: talk {talk} is opted out of recording");
        }
    }
    for change in done.report.iter().flat_map(|r| &r.changes) {
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let id = change.talk.map_or_else(String::new, |id| id.to_string());
        let (before, after) = (text(&change.before), text(&change.after));
        tracing::info!("{event}: {} {id} {:?}: {before} -> {after}", change.kind, change.title);
    }
}

/// Applies what was fetched, in the caller's transaction; stores a problem with the event.
///
/// # Errors
/// When the catalog fails; the transaction must then be given up.
pub fn apply_fetched(db: &Connection, fetched: &Fetched, now: Ms) -> catalog::Result<Refreshed> {
    let event = &fetched.event;
    let mut done =
        Refreshed { event: event.name.clone(), report: None, problem: None, is_news: false, opted_out: Vec::new() };
    let Some(known) = catalog_import::known(db, &event.name)? else { return Ok(done) };
    if known.id != event.id || !same_places(&known, &event.row) {
        // It was imported from somewhere else in the meantime.
        return Ok(done);
    }
    let options = ApplyOptions { in_part: true, ..ApplyOptions::default() };
    let outcome = match &fetched.gathered.prepared {
        Ok(prepared) => apply(db, prepared, options, now)?,
        Err(failure) => Outcome::Refused(vec![redact_text(&failure.to_string())]),
    };
    match outcome {
        Outcome::Applied(report) => {
            catalog_import::note_refresh(db, known.id, None, now)?;
            done.report = Some(report);
        }
        Outcome::InPart(report, reasons) => {
            catalog_import::note_refresh(db, known.id, None, now)?;
            done.report = Some(report);
            done.problem = Some(format!("applied but for this: {}", reasons.join("; ")));
        }
        Outcome::Refused(reasons) => done.problem = Some(reasons.join("; ")),
        // Only new events are compared with others.
        Outcome::LooksLike(other) => done.problem = Some(format!("it seems to be a schedule of {other:?}")),
    }
    if let Some(problem) = &done.problem {
        done.is_news = known.refresh_problem.as_ref() != Some(problem);
        catalog_import::note_refresh(db, known.id, Some(problem), now)?;
        if let (Some(programme), None) = (&fetched.gathered.programme, &done.report) {
            done.opted_out = apply_opt_outs(db, &known, programme)?;
        }
    }
    Ok(done)
}
