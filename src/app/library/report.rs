//! What became of talks: the facts of the catalog, put before the planner.

mod history;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono_tz::Tz;
use rusqlite::Connection as Db;

use self::history::{HallHistory, Presence};
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::app::support::{free_space, lock};
use crate::catalog::assemblies::{self, Assembly, EarlierFile, Files, Part, PrunedAssembly};
use crate::catalog::schedule::{self, TalkFilter};
use crate::catalog::{assembly_queue, daemon_runs, merge_origins, talk_details};
use crate::domain::event::Event;
use crate::domain::gap::{Gap, GapCause};
use crate::domain::hall::{Hall, fold_name};
use crate::domain::ids::{EventId, HallId, SegmentId, StreamId, TalkId};
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::schedule::TalkDetails;
use crate::domain::segment::{ConnectionRecord, Segment, Verdict};
use crate::domain::settings::Settings;
use crate::domain::talk::{Rescheduled, Talk, TalkState, TalkStatus};
use crate::domain::text::folded;
use crate::domain::time::{MINUTE, Ms};
use crate::plan::coverage::{FilePresence, TalkFacts, TalkReport, report};
use crate::plan::presented::presence;
use crate::plan::schedule_diff::slot_text;
use crate::plan::wanted::window_of;
use crate::source::child::start_ticks;

/// Everything about one talk.
#[derive(Clone, Debug)]
pub struct TalkView {
    /// The talk as scheduled.
    pub talk: Talk,
    /// Event of the talk.
    pub event: Arc<Event>,
    /// Hall of the talk.
    pub hall: Arc<Hall>,
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
    pub streams: Arc<BTreeMap<StreamId, String>>,
    /// The file made for it.
    pub assembly: Option<Assembly>,
    /// There was one, and it was deleted as the user wished.
    pub pruned: Option<PrunedAssembly>,
    /// Files of it that stayed when another one took their place, oldest first.
    pub earlier: Vec<EarlierFile>,
    /// What the schedule tells of it, with the address of its page; `None`: it was not asked for.
    pub details: Option<(TalkDetails, Option<String>)>,
    /// What the schedule says by now, where the talk keeps the hall and slot of its recording.
    pub rescheduled: Option<Rescheduled>,
    /// The hall that the schedule names by now, where the recording is of another one.
    pub scheduled_hall: Option<Arc<Hall>>,
}

/// Segments that another recorder taped, and where they come from.
pub type Foreign = BTreeMap<SegmentId, merge_origins::Origin>;

impl TalkView {
    /// What the schedule says by now, for people, where the recording stays under another hall or slot.
    #[must_use]
    pub fn schedule_note(&self) -> Option<String> {
        let said = self.rescheduled.as_ref()?;
        let since = said.since.in_zone(self.event.zone).format("%Y-%m-%d %H:%M");
        let hall = self.scheduled_hall.as_ref().map_or("", |hall| hall.name.as_str());
        let place = format!("{hall}, {}", slot_text(said.slot, self.event.zone));
        Some(match (said.status, said.talk) {
            (TalkStatus::Cancelled, _) => format!("cancelled by the schedule (since {since})"),
            (TalkStatus::Removed, _) => format!("no longer in the schedule (since {since})"),
            (TalkStatus::Scheduled, Some(talk)) => format!("in the schedule since {since}: {place} (talk {talk})"),
            (TalkStatus::Scheduled, None) => format!("in the schedule since {since}: {place}"),
        })
    }

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

/// A congress day that a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Day {
    /// The one that is on, in each event's own zone.
    Today,
    /// The one after that.
    Tomorrow,
    /// The day with this date.
    Date(chrono::NaiveDate),
}

impl Day {
    /// The date of this day for an event in `zone`.
    #[must_use]
    pub fn date(self, now: Ms, zone: Tz, settings: &Settings) -> chrono::NaiveDate {
        let today = congress_day(now, zone, settings);
        match self {
            Self::Today => today,
            Self::Tomorrow => today.succ_opt().unwrap_or(today),
            Self::Date(date) => date,
        }
    }
}

impl std::str::FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "today" => Ok(Self::Today),
            "tomorrow" => Ok(Self::Tomorrow),
            _ => text
                .parse()
                .map(Self::Date)
                .map_err(|_| format!("{text:?} is no day: use today, tomorrow, or a date such as 2010-12-27")),
        }
    }
}

/// Which talks a person asks for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Name of an event.
    pub event: Option<String>,
    /// Name or alias of a hall.
    pub hall: Option<String>,
    /// A congress day.
    pub day: Option<Day>,
    /// Words that all stand in the title or in a speaker's name (letters of any case).
    pub search: Option<String>,
    /// Only talks in this state.
    pub state: Option<TalkState>,
    /// Without those that must not be shown, since they are opted out of recording.
    pub shown_only: bool,
    /// With what the schedule tells of each: long texts, which a table does not need.
    pub with_details: bool,
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
    // A day is a different stretch of time in each zone.
    let now = env.clock.now();
    let wanted = events.iter().filter(|e| event.is_none_or(|id| id == e.id));
    let days: BTreeMap<EventId, Interval> = wanted
        .filter_map(|e| Some((e.id, day_of(selection.day?.date(now, e.zone, &env.settings), e.zone, &env.settings))))
        .collect();
    let within = selection.day.map(|_| days.values().copied().reduce(Interval::hull).unwrap_or_default());
    let words: Vec<String> = selection.search.iter().flat_map(|text| text.split_whitespace()).map(folded).collect();
    let mut talks = schedule::talks(db, TalkFilter { event, hall: None, within })?;
    talks.retain(|talk| {
        hall_ids.as_ref().is_none_or(|ids| ids.contains(&talk.hall))
            && !(selection.shown_only && talk.opted_out)
            && days.get(&talk.event).is_none_or(|day| day.contains(talk.slot.start))
            && mentions(talk, &words)
    });
    let mut facts = Facts::read(db, env, events, halls, &talks)?;
    if selection.with_details {
        facts.details = talk_details::of_talks(db, None)?;
    }
    let mut views = Vec::with_capacity(talks.len());
    for talk in talks {
        let view = facts.view(talk)?;
        if selection.state.is_none_or(|state| state == view.report.state) {
            views.push(view);
        }
    }
    Ok(views)
}

/// True where each of these folded words stands in the talk's title, in a speaker's name, or is its UID.
fn mentions(talk: &Talk, words: &[String]) -> bool {
    if words.is_empty() {
        return true;
    }
    let texts: Vec<String> =
        std::iter::once(&talk.title).chain(&talk.speakers).chain(&talk.uid).map(|text| folded(text)).collect();
    words.iter().all(|word| texts.iter().any(|text| text.contains(word.as_str())))
}

/// One talk by id, UID, or a unique piece of its title, with everything about it.
///
/// # Errors
/// `NotFound` when none or several fit.
pub fn one(db: &Db, env: &Env, text: &str) -> Result<TalkView> {
    let talk = find_talk(db, text)?;
    Facts::read(db, env, schedule::events(db)?, schedule::halls(db)?, std::slice::from_ref(&talk))?.only(talk)
}

/// The talk of this row id, with everything about it.
///
/// # Errors
/// `NotFound` where there is none.
pub fn by_id(db: &Db, env: &Env, id: i64) -> Result<TalkView> {
    let talk = schedule::talk(db, TalkId(id))?
        .ok_or_else(|| Failure::new(Kind::NotFound, format!("there is no talk {id}")))?;
    Facts::read(db, env, schedule::events(db)?, schedule::halls(db)?, std::slice::from_ref(&talk))?.only(talk)
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

/// The facts of some talks, read at once.
struct Facts<'a> {
    db: &'a Db,
    env: &'a Env,
    events: BTreeMap<EventId, Arc<Event>>,
    halls: BTreeMap<HallId, Arc<Hall>>,
    histories: HashMap<HallId, HallHistory>,
    presence: Presence,
    files: HashMap<TalkId, Files>,
    rescheduled: HashMap<TalkId, Rescheduled>,
    details: HashMap<TalkId, (TalkDetails, Option<String>)>,
    now: Ms,
    /// Nothing can be written now.
    disk_full: bool,
}

impl<'a> Facts<'a> {
    fn read(db: &'a Db, env: &'a Env, events: Vec<Event>, halls: Vec<Hall>, talks: &[Talk]) -> Result<Self> {
        let now = env.clock.now();
        let events: BTreeMap<_, _> = events.into_iter().map(|e| (e.id, Arc::new(e))).collect();
        let mut stretches: BTreeMap<HallId, (Option<Interval>, Interval)> = BTreeMap::new();
        let mut always: Option<Interval> = None;
        for talk in talks {
            let window = window_of(talk, events.get(&talk.event).map(Arc::as_ref), &env.settings.record);
            let (recorded, slots) = stretches.entry(talk.hall).or_insert((None, talk.slot));
            *slots = slots.hull(talk.slot);
            always = Some(always.map_or(window, |all| all.hull(window)));
            if window.start <= now {
                *recorded = Some(recorded.map_or(window, |all| all.hull(window)));
            }
        }
        let mut histories = HashMap::new();
        for (hall, (recorded, slots)) in stretches {
            histories.insert(hall, HallHistory::read(db, hall, recorded, slots, now)?);
        }
        let presence = match always {
            Some(within) => Presence::read(db, events.keys().copied(), within, now, living_run(db, env))?,
            None => Presence::default(),
        };
        let only = if let [one] = talks { Some(one.id) } else { None };
        let (files, rescheduled) = (assemblies::files(db, only)?, schedule::rescheduled(db, only)?);
        let halls = halls.into_iter().map(|h| (h.id, Arc::new(h))).collect();
        let disk_full = free_space::is_full(&env.data_dir);
        let details = if only.is_some() { talk_details::of_talks(db, only)? } else { HashMap::new() };
        Ok(Self { db, env, events, halls, histories, presence, files, rescheduled, details, now, disk_full })
    }

    fn view(&mut self, talk: Talk) -> Result<TalkView> {
        let (Some(event), Some(hall), Some(history)) =
            (self.events.get(&talk.event), self.halls.get(&talk.hall), self.histories.get(&talk.hall))
        else {
            return Err(Failure::new(Kind::Catalog, format!("talk {} has no event or hall in the catalog", talk.id)));
        };
        let window = window_of(&talk, Some(event), &self.env.settings.record);
        let begun = window.start <= self.now;
        let (segments, connections) =
            if begun { (history.segments(window), history.connections(window)) } else { (Vec::new(), &[][..]) };
        let mut disk_full = if segments.iter().any(|s| s.lost_bytes > 0) || segments.is_empty() {
            history.disk_full(window)
        } else {
            IntervalSet::new()
        };
        if let Some(open) = segments.iter().rfind(|s| s.verdict == Verdict::Open).filter(|_| self.disk_full) {
            // The catalog lies on that disk too, so nobody can have noted it there yet.
            disk_full = disk_full.union(&Interval::new(open.at.end, self.now).into());
        }
        // Only a talk that has, or had, a file has any that presents something.
        let file = if self.files.contains_key(&talk.id) { file_presence(self.db, &talk)? } else { None };
        let alive = if begun { self.presence.alive(event.id, window) } else { IntervalSet::new() };
        let (bridges, skipped) = (history.bridges(&segments), self.presence.skipped(window));
        let forbidden = history.forbidden(talk.slot);
        let facts = TalkFacts {
            talk: &talk,
            window,
            segments: &segments,
            connections,
            alive: &alive,
            streams: &history.stream_times,
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
        let connections = connections.iter().filter(|c| c.closed.is_none_or(|closed| closed >= window.start));
        let Files { current, pruned, earlier } = self.files.remove(&talk.id).unwrap_or_default();
        let rescheduled = self.rescheduled.remove(&talk.id);
        let scheduled_hall = rescheduled.as_ref().and_then(|said| self.halls.get(&said.hall)).map(Arc::clone);
        Ok(TalkView {
            connections: connections.cloned().collect(),
            details: self.details.remove(&talk.id),
            rescheduled,
            scheduled_hall,
            talk,
            event: Arc::clone(event),
            hall: Arc::clone(hall),
            window,
            report,
            segment_gaps,
            segments,
            streams: Arc::clone(&history.stream_urls),
            assembly: current,
            pruned,
            earlier,
        })
    }

    fn only(mut self, talk: Talk) -> Result<TalkView> {
        self.view(talk)
    }
}

/// The cause that a plan's reason for leaving a segment out stands for.
fn why_left_out(note: &str) -> GapCause {
    if note.contains("format") { GapCause::FormatChanged } else { GapCause::NotJoined }
}

/// What the file of a talk presents; `None` where there is none, or where nobody looked.
fn file_presence(db: &Db, talk: &Talk) -> Result<Option<FilePresence>> {
    let Some(assembly) = assemblies::newest_or_pruned(db, talk.id)? else { return Ok(None) };
    let presented = assemblies::presented(db, assembly)?;
    if presented.is_empty() {
        return Ok(None);
    }
    let parts = assemblies::parts(db, assembly)?;
    let left_out = parts.iter().filter(|part| !part.redundant);
    let left_out = left_out.map(|part| (part.segment, why_left_out(&part.note))).collect();
    Ok(Some(FilePresence {
        presence: presence(&presented),
        is_settled: assembly_queue::stamp(db, talk.id)?.is_none(),
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
#[path = "report_tests.rs"]
mod tests;
