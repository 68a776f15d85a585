//! What became of talks: the facts of the catalog, put before the planner.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use rusqlite::Connection as Db;

use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::app::support::{free_space, lock};
use crate::catalog::assemblies::{self, Assembly, Part, PrunedAssembly};
use crate::catalog::schedule::{self, TalkFilter};
use crate::catalog::{assembly_queue, daemon_runs, incidents, merge_origins, seams, segments};
use crate::domain::event::Event;
use crate::domain::gap::{Gap, GapCause};
use crate::domain::hall::Hall;
use crate::domain::ids::{EventId, HallId, SegmentId, StreamId, TalkId};
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::segment::{ConnectionRecord, Segment, Verdict};
use crate::domain::settings::Settings;
use crate::domain::talk::{Talk, TalkState};
use crate::domain::time::{HOUR, MINUTE, Ms};
use crate::plan::coverage::{FilePresence, TalkFacts, TalkReport, report};
use crate::plan::presented::presence;
use crate::plan::wanted::{forbidden_slots, window_of};
use crate::source::child::start_ticks;

/// Everything about one talk.
#[derive(Clone, Debug)]
pub struct TalkView {
    /// The talk as scheduled.
    pub talk: Talk,
    /// Event of the talk.
    pub event: Event,
    /// Hall of the talk.
    pub hall: Hall,
    /// Its slot with padding.
    pub window: Interval,
    /// What became of it.
    pub report: TalkReport,
    /// Gaps of what its segments hold, whatever its file presents: what a join starts from. A file must not be out of date
    /// because something was found in it.
    pub segment_gaps: Vec<Gap>,
    /// Segments of its hall that touch its window, by start.
    pub segments: Vec<Segment>,
    /// Connections of its hall in its window, by opening.
    pub connections: Vec<ConnectionRecord>,
    /// Addresses of the hall's streams, without passwords.
    pub streams: BTreeMap<StreamId, String>,
    /// The file made for it.
    pub assembly: Option<Assembly>,
    /// There was one, and it was deleted as the user wished.
    pub pruned: Option<PrunedAssembly>,
}

/// Segments that another recorder taped, and where they come from.
pub type Foreign = BTreeMap<SegmentId, merge_origins::Origin>;

impl TalkView {
    /// The address that a segment was taped from, without password.
    #[must_use]
    pub fn stream_of(&self, segment: SegmentId) -> Option<&str> {
        let stream = self.segments.iter().find(|s| s.id == segment)?.stream?;
        self.streams.get(&stream).map(String::as_str)
    }
}

/// What a talk's file was made of, and what was left out; nothing where there is none.
///
/// # Errors
/// When the catalog cannot be read.
pub fn parts(db: &Db, view: &TalkView) -> Result<Vec<Part>> {
    view.assembly.as_ref().map_or(Ok(Vec::new()), |assembly| Ok(assemblies::parts(db, assembly.id)?))
}

/// Which of a talk's segments were merged from another recorder.
///
/// # Errors
/// When the catalog cannot be read.
pub fn foreign(db: &Db, view: &TalkView) -> Result<Foreign> {
    let mut foreign = Foreign::new();
    for segment in &view.segments {
        if let Some(origin) = merge_origins::origin(db, segment.id)? {
            foreign.insert(segment.id, origin);
        }
    }
    Ok(foreign)
}

/// Which talks a person asks for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Name of an event.
    pub event: Option<String>,
    /// Name or alias of a hall.
    pub hall: Option<String>,
    /// A congress day.
    pub day: Option<chrono::NaiveDate>,
    /// Only talks in this state.
    pub state: Option<TalkState>,
    /// Without those that must not be shown, since they are opted out of recording.
    pub shown_only: bool,
}

/// Reads events, halls and the talks of a selection, and says what became of each.
///
/// # Errors
/// When there is no such event or hall, or the catalog cannot be read.
pub fn select(db: &Db, env: &Env, selection: &Selection) -> Result<Vec<TalkView>> {
    let events = schedule::events(db)?;
    let halls = schedule::halls(db)?;
    let event = selection.event.as_deref().map(|name| find_event(&events, name)).transpose()?;
    let hall_ids = selection.hall.as_deref().map(|name| find_halls(&halls, &events, event, name)).transpose()?;
    // A day is a different stretch of time in each zone: read what any of them may mean, then look closer.
    let within = selection.day.map(|day| {
        let zones = events.iter().filter(|e| event.is_none_or(|id| id == e.id)).map(|e| e.zone);
        zones
            .map(|zone| day_of(day, zone, &env.settings))
            .fold(Interval::new(Ms(i64::MAX), Ms(i64::MIN)), |all, one| {
                Interval::new(all.start.min(one.start), all.end.max(one.end))
            })
    });
    let mut views = Vec::new();
    let mut reader = Reader::new(db, env, events, halls);
    for talk in schedule::talks(db, TalkFilter { event, hall: None, within })? {
        if hall_ids.as_ref().is_some_and(|ids| !ids.contains(&talk.hall)) || (selection.shown_only && talk.opted_out) {
            continue;
        }
        if let Some(day) = selection.day {
            let Some(event) = reader.events.get(&talk.event) else { continue };
            if !day_of(day, event.zone, &env.settings).contains(talk.slot.start) {
                continue;
            }
        }
        let view = reader.view(talk)?;
        if selection.state.is_none_or(|state| state == view.report.state) {
            views.push(view);
        }
    }
    Ok(views)
}

/// One talk by id, UID, or a unique piece of its title, with everything about it.
///
/// # Errors
/// `NotFound` when none or several fit.
pub fn one(db: &Db, env: &Env, text: &str) -> Result<TalkView> {
    let talk = find_talk(db, text)?;
    Reader::new(db, env, schedule::events(db)?, schedule::halls(db)?).view(talk)
}

/// The talk of this row id, with everything about it.
///
/// # Errors
/// `NotFound` where there is none.
pub fn by_id(db: &Db, env: &Env, id: i64) -> Result<TalkView> {
    let talk = schedule::talk(db, TalkId(id))?
        .ok_or_else(|| Failure::new(Kind::NotFound, format!("there is no talk {id}")))?;
    Reader::new(db, env, schedule::events(db)?, schedule::halls(db)?).view(talk)
}

/// The talk that a person means: an id, a UID, or a unique piece of a title.
///
/// # Errors
/// `NotFound` when none or several fit.
pub fn find_talk(db: &Db, text: &str) -> Result<Talk> {
    let mut found = schedule::find_talks(db, text)?;
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Failure::new(Kind::NotFound, format!("no talk has the id or UID {text:?}, or this in its title"))
            .hint("streamrip list shows all talks with their ids")),
        _ => {
            let some: Vec<_> = found.iter().take(5).map(|t| format!("{} {:?}", t.id, t.title)).collect();
            let more = if found.len() > 5 { ", …" } else { "" };
            Err(Failure::new(Kind::NotFound, format!("{text:?} fits several talks: {}{more}", some.join(", ")))
                .hint("use the id"))
        }
    }
}

/// The event of this name.
///
/// # Errors
/// `NotFound`, with the names there are.
pub fn find_event(events: &[Event], name: &str) -> Result<EventId> {
    events.iter().find(|e| e.name == name || e.slug == name).map(|e| e.id).ok_or_else(|| {
        let names: Vec<_> = events.iter().map(|e| e.name.as_str()).collect();
        let known =
            if names.is_empty() { "there are none yet".to_owned() } else { format!("known: {}", names.join(", ")) };
        Failure::new(Kind::NotFound, format!("there is no event {name:?} ({known})"))
    })
}

/// The halls of this name or alias: one in each event that has it.
///
/// # Errors
/// `NotFound`, with the names there are.
pub fn find_halls(halls: &[Hall], events: &[Event], event: Option<EventId>, name: &str) -> Result<Vec<HallId>> {
    use crate::domain::hall::fold_name;
    let wanted = fold_name(name);
    let near: Vec<&Hall> = halls.iter().filter(|h| event.is_none_or(|e| e == h.event)).collect();
    let found: Vec<HallId> = near
        .iter()
        .filter(|h| fold_name(&h.name) == wanted || h.slug == name || h.aliases.iter().any(|a| fold_name(a) == wanted))
        .map(|h| h.id)
        .collect();
    if found.is_empty() {
        let names: Vec<_> = near
            .iter()
            .map(|h| match events.iter().find(|e| e.id == h.event) {
                Some(e) if event.is_none() && events.len() > 1 => format!("{} ({})", h.name, e.name),
                _ => h.name.clone(),
            })
            .collect();
        return Err(Failure::new(Kind::NotFound, format!("there is no hall {name:?} (known: {})", names.join(", "))));
    }
    Ok(found)
}

/// A congress day: it begins at `list.day_starts_at`, so that a talk at 00:15 belongs to the evening.
#[must_use]
pub fn day_of(day: chrono::NaiveDate, zone: Tz, settings: &Settings) -> Interval {
    let turn = |day: chrono::NaiveDate| {
        let minutes = settings.list.day_starts_at_min;
        let local = day.and_hms_opt(minutes / 60, minutes % 60, 0).unwrap_or_default();
        // In a DST gap the day begins when the clock has jumped.
        let at = local
            .and_local_timezone(zone)
            .earliest()
            .or_else(|| (local + chrono::Duration::hours(1)).and_local_timezone(zone).earliest());
        at.map_or(Ms(local.and_utc().timestamp_millis()), |at| Ms(at.timestamp_millis()))
    };
    Interval::new(turn(day), turn(day.succ_opt().unwrap_or(day)))
}

/// The congress day that an instant belongs to.
#[must_use]
pub fn congress_day(at: Ms, zone: Tz, settings: &Settings) -> chrono::NaiveDate {
    at.minus(i64::from(settings.list.day_starts_at_min) * MINUTE).in_zone(zone).date_naive()
}

/// Reads the facts of many talks, asking for what they share only once.
struct Reader<'a> {
    db: &'a Db,
    env: &'a Env,
    events: BTreeMap<EventId, Event>,
    halls: BTreeMap<HallId, Hall>,
    streams: BTreeMap<HallId, (IntervalSet, BTreeMap<StreamId, String>)>,
    now: Ms,
    /// The run that lives, where that is known without its heartbeat.
    living: Option<i64>,
    /// Nothing can be written now.
    disk_full: bool,
}

impl<'a> Reader<'a> {
    fn new(db: &'a Db, env: &'a Env, events: Vec<Event>, halls: Vec<Hall>) -> Self {
        Self {
            db,
            env,
            events: events.into_iter().map(|e| (e.id, e)).collect(),
            halls: halls.into_iter().map(|h| (h.id, h)).collect(),
            streams: BTreeMap::new(),
            now: env.clock.now(),
            living: living_run(db, env),
            disk_full: free_space::is_full(&env.data_dir),
        }
    }

    fn view(&mut self, talk: Talk) -> Result<TalkView> {
        let (Some(event), Some(hall)) = (self.events.get(&talk.event), self.halls.get(&talk.hall)) else {
            return Err(Failure::new(Kind::Catalog, format!("talk {} has no event or hall in the catalog", talk.id)));
        };
        let (event, hall) = (event.clone(), hall.clone());
        let window = window_of(&talk, Some(&event), &self.env.settings.record);
        let (mut found, mut connections, mut alive) = Default::default();
        if window.start <= self.now {
            found = segments::segments_of_hall(self.db, hall.id, window)?;
            connections = segments::connections_of_hall(self.db, hall.id, window.padded(HOUR, 0))?;
            alive = daemon_runs::alive(self.db, event.id, window, self.now, self.living)?;
        }
        if !self.streams.contains_key(&hall.id) {
            let times = schedule::stream_times(self.db, hall.id)?;
            self.streams.insert(hall.id, (times, schedule::stream_urls(self.db, hall.id)?));
        }
        let (times, urls) = self.streams.get(&hall.id).cloned().unwrap_or_default();
        let bridges = if found.len() > 1 { seams::bridges(self.db, &found)? } else { IntervalSet::new() };
        let mut disk_full = if found.iter().any(|s| s.lost_bytes > 0) || found.is_empty() {
            incidents::disk_full_times(self.db, hall.id, window, self.now)?
        } else {
            IntervalSet::new()
        };
        if let Some(open) = found.iter().rfind(|s| s.verdict == Verdict::Open).filter(|_| self.disk_full) {
            // The catalog lies on that disk too, so nobody can have noted it there yet.
            disk_full = disk_full.union(&Interval::new(open.at.end, self.now).into());
        }
        let skipped = incidents::skipped_times(self.db, window)?;
        if window.start <= self.now {
            // What a clock that was set back shows twice, the daemon lived through twice.
            let back = incidents::clock_steps(self.db, window)?.into_iter().filter(|step| step.by_ms() < 0);
            alive = alive.union(&back.map(|step| Interval::new(step.to, step.from)).collect());
        }
        let beside = TalkFilter { hall: Some(hall.id), within: Some(talk.slot), event: None };
        let forbidden = forbidden_slots(&schedule::talks(self.db, beside)?);
        let file = file_presence(self.db, talk.id)?;
        let facts = TalkFacts {
            talk: &talk,
            window,
            segments: &found,
            connections: &connections,
            alive: &alive,
            streams: &times,
            bridges: &bridges,
            disk_full: &disk_full,
            skipped: &skipped,
            forbidden: &forbidden,
            file: file.as_ref(),
        };
        let tolerance_ms = self.env.settings.list.complete_tolerance_ms;
        let of_segments = file.as_ref().map(|_| report(&TalkFacts { file: None, ..facts }, self.now, tolerance_ms));
        let report = report(&facts, self.now, tolerance_ms);
        let segment_gaps = of_segments.map_or_else(|| report.gaps.clone(), |of_segments| of_segments.gaps);
        let assembly = assemblies::current(self.db, talk.id)?;
        let pruned = if assembly.is_none() { assemblies::pruned(self.db, talk.id)? } else { None };
        connections.retain(|c| c.closed.is_none_or(|closed| closed >= window.start));
        Ok(TalkView {
            talk,
            event,
            hall,
            window,
            report,
            segment_gaps,
            segments: found,
            connections,
            streams: urls,
            assembly,
            pruned,
        })
    }
}

/// The cause that a plan's reason for leaving a segment out stands for.
fn why_left_out(note: &str) -> GapCause {
    if note.contains("format") { GapCause::FormatChanged } else { GapCause::NotJoined }
}

/// What the file of a talk presents; `None` where there is none, or where nobody looked.
fn file_presence(db: &Db, talk: TalkId) -> Result<Option<FilePresence>> {
    let Some(assembly) = assemblies::newest_or_pruned(db, talk)? else { return Ok(None) };
    let presented = assemblies::presented(db, assembly)?;
    if presented.is_empty() {
        return Ok(None);
    }
    let parts = assemblies::parts(db, assembly)?;
    let left_out = parts.iter().filter(|part| part.place.is_none() && !part.redundant);
    let left_out = left_out.map(|part| (part.segment, why_left_out(&part.note))).collect();
    Ok(Some(FilePresence {
        presence: presence(&presented),
        is_settled: assembly_queue::stamp(db, talk)?.is_none(),
        left_out,
    }))
}

/// The newest run, where its daemon holds the data directory: a heartbeat that is old means then only that the
/// catalog cannot be written.
fn living_run(db: &Db, env: &Env) -> Option<i64> {
    let run = daemon_runs::newest(db).ok().flatten().filter(|run| run.stopped.is_none())?;
    // While a daemon starts, the newest run is that of the one before it.
    let its_own = start_ticks(run.pid).is_some() && lock::is_taken(&env.data_dir);
    its_own.then_some(run.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::open_writer;

    #[test]
    fn of_what_is_shown_to_others_nothing_is_opted_out() {
        let dir = tempfile::tempdir().expect("dir");
        let db = open_writer(dir.path()).expect("catalog");
        db.execute_batch(
            "INSERT INTO event (id, name, slug, time_zone) VALUES (1, '27c3', '27c3', 'UTC');
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');
             INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, opted_out, known_since_ms)
               VALUES (1, 1, 1, 'a', 'Opening', 0, 1000, 0, 0), (2, 1, 1, 'b', 'Not to be seen', 1000, 2000, 1, 0);",
        )
        .expect("rows");
        let env = Env::real(dir.path().to_owned(), Settings::default());
        let of = |shown_only| -> Vec<i64> {
            let selection = Selection { shown_only, ..Selection::default() };
            select(&db, &env, &selection).expect("views").iter().map(|view| view.talk.id.0).collect()
        };
        assert_eq!(of(false), [1, 2], "to whom it belongs");
        assert_eq!(of(true), [1]);
    }
}
