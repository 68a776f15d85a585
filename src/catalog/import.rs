//! Writing what an import decided: an event, its halls with their streams, its talks. What is as it
//! should be is not written again: the same import twice writes nothing.

use std::collections::HashSet;

use chrono_tz::Tz;
use rusqlite::{Connection, OptionalExtension, params};

use super::halls::{known_halls, set_requests, set_streams};
use super::{CatalogError, Result, talk_details};
use crate::domain::hall::fold_name;
use crate::domain::ids::{EventId, HallId, TalkId};
use crate::domain::interval::Interval;
use crate::domain::name::slug;
use crate::domain::talk::{Place, TalkStatus};
use crate::domain::time::Ms;
use crate::plan::hall_plan::{HallPlan, KnownHall, PlannedHall};
use crate::plan::refresh_guard::KnownEvent;
use crate::plan::schedule_diff::{ChangeKind, Diff, KnownTalk, Placement, TalkRow};

/// Names of folders: leaves room for a hall's and a talk's in a path.
const MAX_SLUG: usize = 60;

/// So many recordings of one talk, each of another hall or slot, are opted out together.
const MAX_RECORDINGS: usize = 100;

/// What an event's row says of its schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Time zone of the event (IANA name).
    pub zone: Tz,
    /// Absolute path or URL; `None`: standard input.
    pub source: Option<String>,
    /// Absolute path.
    pub halls_file: Option<String>,
    /// Absolute path or URL.
    pub schedule_xml: Option<String>,
    /// Time zone given with `--tz`, which overrides the calendar's.
    pub zone_option: Option<Tz>,
    /// Milliseconds.
    pub pre_padding_ms: Option<i64>,
    /// Milliseconds.
    pub post_padding_ms: Option<i64>,
    /// Streams that the schedule names may be private.
    pub private_streams: bool,
}

/// An event as the catalog has it, for a comparison with a new schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Primary key of the event.
    pub id: EventId,
    /// Stored row of the event.
    pub row: EventRow,
    /// Why its last refresh was not applied.
    pub refresh_problem: Option<String>,
    /// Its halls, by id.
    pub halls: Vec<KnownHall>,
    /// Its talks that came from schedules, by id.
    pub talks: Vec<KnownTalk>,
}

/// Reads an event by its name.
///
/// # Errors
/// When SQLite cannot answer, or a stored value is not known.
pub fn known(db: &Connection, name: &str) -> Result<Option<Known>> {
    type Texts = (i64, String, Option<String>, Option<String>, Option<String>, Option<String>);
    let found = db
        .query_row(
            "SELECT id, time_zone, source, halls_file, schedule_xml, zone_option, pre_padding_ms, post_padding_ms,
                    refresh_problem, private_streams
             FROM event WHERE name = ?1",
            [name],
            |r| {
                let texts: Texts = (r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?);
                Ok((texts, r.get(6)?, r.get(7)?, r.get(8)?, r.get(9)?))
            },
        )
        .optional()?;
    let Some((texts, pre_padding_ms, post_padding_ms, problem, private_streams)) = found else {
        return Ok(None);
    };
    let (id, zone, source, halls_file, schedule_xml, option) = texts;
    let parse = |name: String| name.parse::<Tz>().map_err(|_| CatalogError::Value(format!("time zone {name:?}")));
    let row = EventRow {
        zone: parse(zone)?,
        source,
        halls_file,
        schedule_xml,
        zone_option: option.map(parse).transpose()?,
        pre_padding_ms,
        post_padding_ms,
        private_streams,
    };
    let id = EventId(id);
    Ok(Some(Known { id, row, refresh_problem: problem, halls: known_halls(db, id)?, talks: known_talks(db, id)? }))
}

fn known_talks(db: &Connection, event: EventId) -> Result<Vec<KnownTalk>> {
    let mut query = db.prepare_cached(
        "SELECT talk.id, match_key, uid, talk.hall_id, title, speakers, talk.start_ms, talk.end_ms, talk.status, opted_out,
                page_url, rescheduled.hall_id, rescheduled.start_ms, rescheduled.end_ms, rescheduled.status,
                EXISTS (SELECT 1 FROM talk AS later WHERE later.follows = talk.id), details
         FROM talk LEFT JOIN rescheduled ON talk_id = talk.id
         WHERE event_id = ?1 AND origin = 'schedule' ORDER BY talk.id",
    )?;
    let mut rows = query.query([event.0])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let speakers: String = row.get(5)?;
        let place = Place { hall: HallId(row.get(3)?), slot: Interval::new(Ms(row.get(6)?), Ms(row.get(7)?)) };
        let status = |text: String| text.parse::<TalkStatus>().map_err(CatalogError::Value);
        let has_another_row: bool = row.get(15)?;
        // What the schedule said last, where that is not what the row has.
        let said: Option<(Place, TalkStatus)> = match row.get::<_, Option<i64>>(11)? {
            Some(_) if has_another_row => Some((place, TalkStatus::Removed)),
            Some(hall) => {
                let slot = Interval::new(Ms(row.get(12)?), Ms(row.get(13)?));
                Some((Place { hall: HallId(hall), slot }, status(row.get(14)?)?))
            }
            None => None,
        };
        let kept = said.is_some().then_some(place);
        let (now, status) = match said {
            Some(said) => said,
            None => (place, status(row.get(8)?)?),
        };
        out.push(KnownTalk {
            id: TalkId(row.get(0)?),
            match_key: row.get(1)?,
            uid: row.get(2)?,
            hall: now.hall,
            title: row.get(4)?,
            speakers: serde_json::from_str(&speakers).map_err(|e| CatalogError::Value(format!("speakers: {e}")))?,
            slot: now.slot,
            status,
            opted_out: row.get(9)?,
            page_url: row.get(10)?,
            details: talk_details::from_json(row.get_ref(16)?.as_str().unwrap_or("{}"))?,
            kept,
        });
    }
    Ok(out)
}

/// Row id and name of the events whose schedule has a source and a talk that ends after `since`, by name.
///
/// # Errors
/// When SQLite cannot answer.
pub fn refreshable(db: &Connection, since: Ms) -> Result<Vec<(EventId, String)>> {
    let mut query = db.prepare_cached(
        "SELECT id, name FROM event
         WHERE source IS NOT NULL AND EXISTS (SELECT 1 FROM talk WHERE event_id = event.id AND end_ms > ?1)
         ORDER BY name",
    )?;
    let rows = query.query_map([since.0], |row| Ok((EventId(row.get(0)?), row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// All events, as far as a new one is compared with them.
///
/// # Errors
/// When SQLite cannot answer.
pub fn known_events(db: &Connection) -> Result<Vec<KnownEvent>> {
    let mut query = db.prepare(
        "SELECT event.name, talk.uid, hall.name, talk.start_ms
         FROM talk JOIN event ON event.id = talk.event_id JOIN hall ON hall.id = talk.hall_id
         WHERE talk.origin = 'schedule' AND talk.status <> 'removed' ORDER BY event.name",
    )?;
    let mut rows = query.query([])?;
    let mut out: Vec<KnownEvent> = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        if out.last().is_none_or(|e| e.name != name) {
            out.push(KnownEvent { name, ..KnownEvent::default() });
        }
        let Some(event) = out.last_mut() else { continue };
        event.uids.extend(row.get::<_, Option<String>>(1)?);
        event.slots.insert((fold_name(&row.get::<_, String>(2)?), Ms(row.get(3)?)));
    }
    Ok(out)
}

/// What is to be written.
#[derive(Debug)]
pub struct Import<'a> {
    /// The event's name.
    pub name: &'a str,
    /// The event as it was when `halls` and `diff` were made; `None`: it is new.
    pub known: Option<&'a Known>,
    /// The event as it is to be.
    pub row: &'a EventRow,
    /// Halls as planned from the halls file and the schedule.
    pub halls: &'a HallPlan,
    /// Differences between the stored talks and the new schedule.
    pub diff: &'a Diff,
    /// SHA-256 of the calendar.
    pub digest: [u8; 32],
}

/// Writes an import. Call it in the transaction in which `known` was read. Gives the id of the talk of
/// each step of the diff.
///
/// # Errors
/// When SQLite cannot write; the caller's transaction must then be given up.
pub fn write(db: &Connection, import: &Import<'_>, now: Ms) -> Result<Vec<TalkId>> {
    let event = write_event(db, import, now)?;
    let halls = write_halls(db, event, import, now)?;
    write_talks(db, event, import, &halls, now)
}

fn write_event(db: &Connection, import: &Import<'_>, now: Ms) -> Result<EventId> {
    let row = import.row;
    if let Some(known) = import.known {
        if known.row != *row || known.refresh_problem.is_some() {
            db.execute(
                "UPDATE event SET source = ?2, halls_file = ?3, schedule_xml = ?4, zone_option = ?5, refreshed_ms = ?6,
                                  refresh_problem = NULL, refresh_problem_ms = NULL WHERE id = ?1",
                params![
                    known.id.0,
                    row.source,
                    row.halls_file,
                    row.schedule_xml,
                    row.zone_option.map(chrono_tz::Tz::name),
                    now.0
                ],
            )?;
        }
        // Apart, because these make a daemon plan anew.
        let told = |r: &EventRow| (r.zone, r.pre_padding_ms, r.post_padding_ms, r.private_streams);
        if told(&known.row) != told(row) {
            db.execute(
                "UPDATE event SET time_zone = ?2, pre_padding_ms = ?3, post_padding_ms = ?4, private_streams = ?5 WHERE id = ?1",
                params![known.id.0, row.zone.name(), row.pre_padding_ms, row.post_padding_ms, row.private_streams],
            )?;
            let paddings = |r: &EventRow| (r.pre_padding_ms, r.post_padding_ms);
            if paddings(&known.row) != paddings(row) {
                super::assembly_queue::event_changed(db, known.id)?;
            }
        }
        return Ok(known.id);
    }
    let mut taken: HashSet<String> = HashSet::new();
    let mut query = db.prepare("SELECT slug FROM event")?;
    for found in query.query_map([], |r| r.get(0))? {
        taken.insert(found?);
    }
    db.execute(
        "INSERT INTO event (name, slug, time_zone, source, halls_file, schedule_xml, zone_option, pre_padding_ms,
                            post_padding_ms, refreshed_ms, private_streams)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            import.name,
            free_slug(import.name, &mut taken),
            row.zone.name(),
            row.source,
            row.halls_file,
            row.schedule_xml,
            row.zone_option.map(chrono_tz::Tz::name),
            row.pre_padding_ms,
            row.post_padding_ms,
            now.0,
            row.private_streams
        ],
    )?;
    Ok(EventId(db.last_insert_rowid()))
}

/// The slug of a name, with a number where another one has it.
fn free_slug(name: &str, taken: &mut HashSet<String>) -> String {
    let first = slug(name, MAX_SLUG);
    let mut free = first.clone();
    let mut number = 2;
    while !taken.insert(free.clone()) {
        free = format!("{first}-{number}");
        number += 1;
    }
    free
}

/// Gives the row of each planned hall.
fn write_halls(db: &Connection, event: EventId, import: &Import<'_>, now: Ms) -> Result<Vec<HallId>> {
    let known = import.known.map_or(&[][..], |k| &k.halls);
    let by_id: std::collections::HashMap<HallId, &KnownHall> = known.iter().map(|k| (k.id, k)).collect();
    let mut taken: HashSet<String> = HashSet::new();
    let mut query = db.prepare_cached("SELECT slug FROM hall WHERE event_id = ?1")?;
    for found in query.query_map([event.0], |r| r.get(0))? {
        taken.insert(found?);
    }
    let mut out = Vec::with_capacity(import.halls.halls.len());
    for planned in &import.halls.halls {
        let row = planned.known.and_then(|id| by_id.get(&id).copied());
        let id = match row {
            Some(row) => {
                let had = (&row.name, row.recorder, row.max_connections, row.redundancy, row.quality);
                if had
                    != (&planned.name, planned.recorder, planned.max_connections, planned.redundancy, planned.quality)
                {
                    // The slug stays: folders of what is recorded already have that name.
                    db.execute(
                        "UPDATE hall SET name = ?2, recorder = ?3, max_connections = ?4, redundancy = ?5, quality = ?6
                         WHERE id = ?1",
                        params![
                            row.id.0,
                            planned.name,
                            planned.recorder.map(super::super::domain::hall::Recorder::as_str),
                            planned.max_connections,
                            planned.redundancy,
                            planned.quality.map(|q| q.to_string())
                        ],
                    )?;
                }
                row.id
            }
            None => {
                let mut insert = db.prepare_cached(
                    "INSERT INTO hall (event_id, name, slug, recorder, max_connections, redundancy, quality)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?;
                insert.execute(params![
                    event.0,
                    planned.name,
                    free_slug(&planned.name, &mut taken),
                    planned.recorder.map(super::super::domain::hall::Recorder::as_str),
                    planned.max_connections,
                    planned.redundancy,
                    planned.quality.map(|q| q.to_string())
                ])?;
                HallId(db.last_insert_rowid())
            }
        };
        if row.and_then(|r| r.room_guid.as_ref()) != planned.room_guid.as_ref() {
            db.execute("UPDATE hall SET room_guid = ?2 WHERE id = ?1", params![id.0, planned.room_guid])?;
        }
        write_aliases(db, id, row, planned)?;
        let wanted: Vec<_> = planned.streams.iter().map(|(url, origin)| (url.as_str(), *origin)).collect();
        set_streams(db, id, row.map_or(&[][..], |r| &r.streams), &wanted, now)?;
        if let Some(requests) = &planned.requests {
            set_requests(db, id, requests)?;
        }
        out.push(id);
    }
    Ok(out)
}

fn write_aliases(db: &Connection, id: HallId, row: Option<&KnownHall>, planned: &PlannedHall) -> Result<()> {
    let old = row.map_or((&[][..], &[][..]), |r| (&r.aliases, &r.renamed));
    if old == (&planned.aliases[..], &planned.renamed[..]) {
        return Ok(());
    }
    db.execute("DELETE FROM hall_alias WHERE hall_id = ?1", [id.0])?;
    let aliases = planned.aliases.iter().map(|alias| (alias, "halls-file"));
    for (alias, origin) in aliases.chain(planned.renamed.iter().map(|alias| (alias, "schedule"))) {
        db.execute(
            "INSERT OR IGNORE INTO hall_alias (hall_id, alias, origin) VALUES (?1, ?2, ?3)",
            params![id.0, alias, origin],
        )?;
    }
    Ok(())
}

fn write_talks(db: &Connection, event: EventId, import: &Import<'_>, halls: &[HallId], now: Ms) -> Result<Vec<TalkId>> {
    let steps = &import.diff.steps;
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    // Keys may change places among talks: first out of the way, then to where they belong.
    let mut park =
        db.prepare_cached("UPDATE talk SET match_key = 'parked:' || id WHERE id = ?1 AND match_key <> ?2")?;
    for step in steps {
        if let Some(id) = step.known {
            park.execute(params![id.0, step.row.match_key])?;
        }
    }
    let mut insert = db.prepare_cached(
        "INSERT INTO talk (event_id, hall_id, match_key, uid, title, speakers, start_ms, end_ms, status, opted_out,
                           page_url, known_since_ms, follows, details)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    let mut update = db.prepare_cached(
        "UPDATE talk SET match_key = ?2, uid = ?3, title = ?4, speakers = ?5, opted_out = ?6, page_url = ?7, details = ?8
         WHERE id = ?1",
    )?;
    let mut place = db.prepare_cached(
        "UPDATE talk SET hall_id = ?2, start_ms = ?3, end_ms = ?4, status = ?5, known_since_ms = coalesce(?6, known_since_ms)
         WHERE id = ?1",
    )?;
    let mut keep = db.prepare_cached(
        "INSERT OR REPLACE INTO rescheduled (talk_id, since_ms, status, hall_id, start_ms, end_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut out = Vec::with_capacity(steps.len());
    for step in steps {
        let TalkRow { match_key, uid, hall, title, speakers, slot, status, opted_out, page_url, details } = &step.row;
        let details = talk_details::to_json(details).to_string();
        let speakers = serde_json::to_string(speakers).map_err(|e| CatalogError::Value(e.to_string()))?;
        let hall = halls[*hall].0;
        let (start, end) = (slot.start.0, slot.end.0);
        let status = status.as_str();
        if let Some(id) = step.known.filter(|_| step.placement != Placement::Follow) {
            keep.execute(params![id.0, now.0, status, hall, start, end])?;
        }
        match step.known {
            Some(id) if step.placement != Placement::Split => {
                update.execute(params![id.0, match_key, uid, title, speakers, opted_out, page_url, details])?;
                if step.placement == Placement::Follow {
                    let since = step.newly_known.then_some(now.0);
                    place.execute(params![id.0, hall, start, end, status, since])?;
                    // The schedule and the recording agree again.
                    db.execute("DELETE FROM rescheduled WHERE talk_id = ?1", [id.0])?;
                    db.execute("UPDATE talk SET follows = NULL WHERE follows = ?1", [id.0])?;
                }
                out.push(id);
            }
            before => {
                let before = before.map(|id| id.0);
                if let Some(id) = before {
                    db.execute("UPDATE talk SET match_key = 'kept:' || id WHERE id = ?1", [id])?;
                }
                insert.execute(params![
                    event.0, hall, match_key, uid, title, speakers, start, end, status, opted_out, page_url, now.0,
                    before, details
                ])?;
                out.push(TalkId(db.last_insert_rowid()));
            }
        }
    }
    opt_out_recordings(db)?;
    write_changes(db, event, import, &out, now)?;
    Ok(out)
}

fn write_changes(db: &Connection, event: EventId, import: &Import<'_>, talks: &[TalkId], now: Ms) -> Result<()> {
    let steps = &import.diff.steps;
    if steps.iter().all(|s| s.changes.is_empty()) {
        return Ok(());
    }
    db.execute(
        "INSERT INTO import (event_id, at_ms, source, digest) VALUES (?1, ?2, ?3, ?4)",
        params![event.0, now.0, import.row.source, import.digest],
    )?;
    let id = db.last_insert_rowid();
    let mut insert = db.prepare_cached(
        "INSERT INTO talk_change (import_id, talk_id, kind, before, after) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (step, talk) in steps.iter().zip(talks) {
        for change in &step.changes {
            // That a recording stays is told of the row that has it.
            let talk = step.known.filter(|_| change.kind == ChangeKind::Kept).unwrap_or(*talk);
            insert.execute(params![id, talk.0, change.kind.as_str(), change.before, change.after])?;
        }
    }
    Ok(())
}

/// What was recorded of a talk under another hall or slot before is opted out of recording as the talk is.
fn opt_out_recordings(db: &Connection) -> Result<()> {
    let mut update = db.prepare_cached(
        "UPDATE talk SET opted_out = later.opted_out FROM talk AS later
         WHERE later.follows IS NOT NULL AND later.follows = talk.id AND later.opted_out <> talk.opted_out",
    )?;
    // A talk may have been moved several times: each round reaches one recording further back.
    for _ in 0..MAX_RECORDINGS {
        if update.execute([])? == 0 {
            break;
        }
    }
    Ok(())
}

/// Of which of these talks something was recorded, or is being recorded, in the given place.
///
/// # Errors
/// When SQLite cannot answer.
pub fn recorded(db: &Connection, talks: &[(TalkId, Place)]) -> Result<HashSet<TalkId>> {
    let mut longest =
        db.prepare_cached("SELECT coalesce(max(end_ms - start_ms), 0) FROM segment WHERE hall_id = ?1")?;
    // What is being written reaches further than its row says.
    let mut query = db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM assembly WHERE talk_id = ?1 AND gone_ms IS NULL)
             OR EXISTS (SELECT 1 FROM segment WHERE hall_id = ?2 AND start_ms < ?4 AND start_ms >= ?3 - ?5 - 60000
                        AND (verdict = 'open' OR (end_ms > ?3 AND verdict IN ('unchecked', 'media', 'pruned'))))",
    )?;
    let mut out = HashSet::new();
    for (talk, Place { hall, slot }) in talks {
        let longest: i64 = longest.query_row([hall.0], |row| row.get(0))?;
        let found: bool = query.query_row([talk.0, hall.0, slot.start.0, slot.end.0, longest], |row| row.get(0))?;
        if found {
            out.insert(*talk);
        }
    }
    Ok(out)
}

/// Notes that an event's schedule was read and applied (`problem` is `None`), or why it was not.
///
/// # Errors
/// When SQLite cannot write.
pub fn note_refresh(db: &Connection, event: EventId, problem: Option<&str>, now: Ms) -> Result<()> {
    match problem {
        None => db.execute(
            "UPDATE event SET refreshed_ms = ?2, refresh_problem = NULL, refresh_problem_ms = NULL WHERE id = ?1",
            [event.0, now.0],
        )?,
        Some(problem) => db.execute(
            "UPDATE event SET refresh_problem = ?2,
                              refresh_problem_ms = CASE WHEN refresh_problem IS NULL THEN ?3 ELSE refresh_problem_ms END
             WHERE id = ?1 AND refresh_problem IS NOT ?2",
            params![event.0, problem, now.0],
        )?,
    };
    Ok(())
}

/// Marks talks as opted out. For when a schedule is not applied: an opt-out does not wait.
///
/// # Errors
/// When SQLite cannot write.
pub fn opt_out(db: &Connection, talks: &[TalkId]) -> Result<()> {
    let mut update = db.prepare_cached("UPDATE talk SET opted_out = 1 WHERE id = ?1 AND opted_out = 0")?;
    for talk in talks {
        update.execute([talk.0])?;
    }
    opt_out_recordings(db)
}
