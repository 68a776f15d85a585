//! Reading events, halls and talks.

use std::collections::{BTreeMap, HashMap};

use chrono_tz::Tz;
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::halls::read_request;
use super::{CatalogError, Result};
use crate::domain::event::Event;
use crate::domain::hall::{Hall, Stream};
use crate::domain::ids::{EventId, HallId, StreamId, TalkId};
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::stream_url::StreamUrl;
use crate::domain::talk::{Rescheduled, Talk};
use crate::domain::time::Ms;

/// Counts changes of what should be taped: another number means that the schedule must be read anew.
///
/// # Errors
/// When SQLite cannot answer.
pub fn schedule_version(db: &Connection) -> Result<i64> {
    Ok(db.prepare_cached("SELECT schedule_version FROM meta")?.query_row([], |row| row.get(0))?)
}

/// All events, by name.
///
/// # Errors
/// When SQLite cannot answer, or a stored zone is not known.
pub fn events(db: &Connection) -> Result<Vec<Event>> {
    let mut query = db.prepare_cached(
        "SELECT id, name, slug, time_zone, source, halls_file, schedule_xml, zone_option, pre_padding_ms,
                post_padding_ms, refresh_problem
         FROM event ORDER BY name",
    )?;
    let mut rows = query.query([])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.push(Event {
            id: EventId(row.get(0)?),
            name: row.get(1)?,
            slug: row.get(2)?,
            zone: zone(&row.get::<_, String>(3)?)?,
            source: row.get(4)?,
            halls_file: row.get(5)?,
            schedule_xml: row.get(6)?,
            zone_option: row.get::<_, Option<String>>(7)?.map(|z| zone(&z)).transpose()?,
            pre_padding_ms: row.get(8)?,
            post_padding_ms: row.get(9)?,
            refresh_problem: row.get(10)?,
        });
    }
    Ok(out)
}

fn zone(name: &str) -> Result<Tz> {
    name.parse().map_err(|_| CatalogError::Value(format!("time zone {name:?}")))
}

/// All halls with their aliases and the streams in use, by event and name.
///
/// # Errors
/// When SQLite cannot answer. A stored address that is no longer allowed is left out with a log line.
pub fn halls(db: &Connection) -> Result<Vec<Hall>> {
    let mut aliases: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    let mut query = db.prepare_cached("SELECT hall_id, alias FROM hall_alias ORDER BY hall_id, alias")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        aliases.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    let mut streams: BTreeMap<i64, Vec<Stream>> = BTreeMap::new();
    let mut query = db.prepare_cached(
        "SELECT hall_id, stream.id, url, public_only OR (stream.origin = 'schedule' AND NOT private_streams), request
         FROM stream JOIN hall ON hall.id = hall_id JOIN event ON event.id = event_id
         WHERE removed_ms IS NULL ORDER BY hall_id, priority, stream.id",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (hall, id, url): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let of_strangers: bool = row.get(3)?;
        let read = if of_strangers { StreamUrl::parse_from_schedule(&url) } else { StreamUrl::parse(&url) };
        match read {
            Ok(url) => {
                let request: Option<String> = row.get(4)?;
                let url = match request {
                    Some(text) => url.asked_with(read_request(&text)),
                    None => url,
                };
                streams.entry(hall).or_default().push(Stream { id: StreamId(id), url });
            }
            Err(e) => tracing::warn!("stream {id} of the catalog is ignored: {e}"),
        }
    }
    let mut query = db.prepare_cached(
        "SELECT id, event_id, name, slug, recorder, max_connections, redundancy, quality FROM hall ORDER BY event_id, name",
    )?;
    let mut rows = query.query([])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let (recorder, quality): (Option<String>, Option<String>) = (row.get(4)?, row.get(7)?);
        out.push(Hall {
            id: HallId(id),
            event: EventId(row.get(1)?),
            name: row.get(2)?,
            slug: row.get(3)?,
            aliases: aliases.remove(&id).unwrap_or_default(),
            streams: streams.remove(&id).unwrap_or_default(),
            recorder: recorder.map(|r| r.parse()).transpose().map_err(CatalogError::Value)?,
            quality: quality.map(|q| q.parse()).transpose().map_err(CatalogError::Value)?,
            max_connections: row.get(5)?,
            redundancy: row.get(6)?,
        });
    }
    Ok(out)
}

/// When a hall had at least one stream.
///
/// # Errors
/// When SQLite cannot answer.
pub fn stream_times(db: &Connection, hall: HallId) -> Result<IntervalSet> {
    let mut query = db.prepare_cached("SELECT added_ms, removed_ms FROM stream WHERE hall_id = ?1")?;
    let rows = query.query_map([hall.0], |row| {
        let removed: Option<i64> = row.get(1)?;
        Ok(Interval::new(Ms(row.get(0)?), Ms(removed.unwrap_or(i64::MAX))))
    })?;
    Ok(rows.collect::<rusqlite::Result<IntervalSet>>()?)
}

/// Addresses of streams by id, also of those no longer in use.
///
/// # Errors
/// When SQLite cannot answer.
pub fn stream_urls(db: &Connection, hall: HallId) -> Result<BTreeMap<StreamId, String>> {
    let mut query = db.prepare_cached("SELECT id, url FROM stream WHERE hall_id = ?1")?;
    let rows = query.query_map([hall.0], |row| {
        let url: String = row.get(1)?;
        Ok((StreamId(row.get(0)?), crate::domain::stream_url::redact_text(&url)))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Which talks to read. `None` means any.
#[derive(Clone, Copy, Debug, Default)]
pub struct TalkFilter {
    /// Of this event.
    pub event: Option<EventId>,
    /// In this hall.
    pub hall: Option<HallId>,
    /// Whose slot (with the user's extension) touches this.
    pub within: Option<Interval>,
}

const TALK_COLUMNS: &str = "id, event_id, hall_id, match_key, uid, title, speakers, start_ms, end_ms + extended_ms,
     status, opted_out, known_since_ms, follows";

/// Talks by start, hall and id.
///
/// # Errors
/// When SQLite cannot answer, or a stored word is not known.
pub fn talks(db: &Connection, filter: TalkFilter) -> Result<Vec<Talk>> {
    // Three statements rather than one with optional conditions, so that each uses an index.
    let place = match (filter.hall, filter.event) {
        (Some(_), _) => "hall_id = :place",
        (None, Some(_)) => "event_id = :place",
        (None, None) => ":place IS NULL",
    };
    let sql = format!(
        "SELECT {TALK_COLUMNS} FROM talk
         WHERE {place} AND start_ms < :to AND end_ms + extended_ms >= :from
         ORDER BY start_ms, hall_id, id"
    );
    let within = filter.within.unwrap_or(Interval::new(Ms(i64::MIN), Ms(i64::MAX)));
    let mut query = db.prepare_cached(&sql)?;
    let mut rows = query.query(named_params! {
        ":place": filter.hall.map(|h| h.0).or(filter.event.map(|e| e.0)),
        ":from": within.start.0,
        ":to": within.end.0,
    })?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.push(talk_of(row)?);
    }
    Ok(out)
}

/// Slots (with the user's extensions) of a hall in which nothing may be recorded, as far as they touch `within`: those
/// of opted-out talks that take place. In plan, [`crate::plan::wanted::forbidden_slots`] says the same of talks.
///
/// # Errors
/// When SQLite cannot answer.
pub fn forbidden_slots(db: &Connection, hall: HallId, within: Interval) -> Result<IntervalSet> {
    let mut query = db.prepare_cached(
        "SELECT start_ms, end_ms + extended_ms FROM talk
         WHERE opted_out = 1 AND status = 'scheduled' AND hall_id = ?1 AND start_ms < ?2 AND end_ms + extended_ms >= ?3",
    )?;
    let slots = query
        .query_map([hall.0, within.end.0, within.start.0], |row| Ok(Interval::new(Ms(row.get(0)?), Ms(row.get(1)?))))?;
    Ok(slots.collect::<rusqlite::Result<_>>()?)
}

/// One talk by its id.
///
/// # Errors
/// When SQLite cannot answer, or a stored word is not known.
pub fn talk(db: &Connection, id: TalkId) -> Result<Option<Talk>> {
    let sql = format!("SELECT {TALK_COLUMNS} FROM talk WHERE id = ?1");
    let mut query = db.prepare_cached(&sql)?;
    let mut rows = query.query([id.0])?;
    rows.next()?.map(talk_of).transpose()
}

fn talk_of(row: &Row<'_>) -> Result<Talk> {
    let speakers: String = row.get(6)?;
    let status: String = row.get(9)?;
    Ok(Talk {
        id: TalkId(row.get(0)?),
        event: EventId(row.get(1)?),
        hall: HallId(row.get(2)?),
        match_key: row.get(3)?,
        uid: row.get(4)?,
        title: row.get(5)?,
        speakers: serde_json::from_str(&speakers).map_err(|e| CatalogError::Value(format!("speakers: {e}")))?,
        slot: Interval::new(Ms(row.get(7)?), Ms(row.get(8)?)),
        status: status.parse().map_err(CatalogError::Value)?,
        opted_out: row.get(10)?,
        known_since: Ms(row.get(11)?),
        follows: row.get::<_, Option<i64>>(12)?.map(TalkId),
    })
}

/// Talks that a user may mean: the one with this id, else those with this UID, else those with this in
/// their title (ASCII letters of any case).
///
/// # Errors
/// When SQLite cannot answer.
pub fn find_talks(db: &Connection, text: &str) -> Result<Vec<Talk>> {
    if let Ok(id) = text.parse::<i64>()
        && let Some(found) = talk(db, TalkId(id))?
    {
        return Ok(vec![found]);
    }
    for condition in ["uid = ?1", "instr(lower(title), lower(?1)) > 0"] {
        let sql = format!("SELECT {TALK_COLUMNS} FROM talk WHERE {condition} ORDER BY start_ms, id LIMIT 20");
        let mut query = db.prepare_cached(&sql)?;
        let mut rows = query.query([text])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(talk_of(row)?);
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// What the schedule says by now of talks whose recordings stay as they were made; of all, or of one.
///
/// # Errors
/// When SQLite cannot answer, or a stored word is not known.
pub fn rescheduled(db: &Connection, talk: Option<TalkId>) -> Result<HashMap<TalkId, Rescheduled>> {
    let condition = if talk.is_some() { "talk_id = ?1" } else { "?1 IS NULL" };
    let sql = format!(
        "SELECT talk_id, since_ms, rescheduled.status, rescheduled.hall_id, rescheduled.start_ms, rescheduled.end_ms,
                (SELECT max(id) FROM talk WHERE follows = talk_id)
         FROM rescheduled WHERE {condition}"
    );
    let mut query = db.prepare_cached(&sql)?;
    let mut rows = query.query([talk.map(|t| t.0)])?;
    let mut out = HashMap::new();
    while let Some(row) = rows.next()? {
        let status: String = row.get(2)?;
        let said = Rescheduled {
            since: Ms(row.get(1)?),
            status: status.parse().map_err(CatalogError::Value)?,
            hall: HallId(row.get(3)?),
            slot: Interval::new(Ms(row.get(4)?), Ms(row.get(5)?)),
            talk: row.get::<_, Option<i64>>(6)?.map(TalkId),
        };
        out.insert(TalkId(row.get(0)?), said);
    }
    Ok(out)
}

/// Adds to the user's extension of a talk's slot; the schedule's own end stays as it is.
///
/// # Errors
/// When SQLite cannot write.
pub fn extend_talk(db: &Connection, talk: TalkId, by_ms: i64) -> Result<()> {
    db.execute("UPDATE talk SET extended_ms = max(0, extended_ms + ?2) WHERE id = ?1", [talk.0, by_ms])?;
    Ok(())
}

/// Adds a talk of the user's own (`record`, `dump`); imports leave it alone.
///
/// # Errors
/// When SQLite cannot write.
pub fn add_manual_talk(
    db: &Connection,
    event: EventId,
    hall: HallId,
    title: &str,
    slot: Interval,
    now: Ms,
) -> Result<TalkId> {
    let key = format!("manual:{}", uuid::Uuid::now_v7());
    db.execute(
        "INSERT INTO talk (event_id, hall_id, match_key, title, start_ms, end_ms, origin, known_since_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'manual', ?7)",
        (event.0, hall.0, key, title, slot.start.0, slot.end.0, now.0),
    )?;
    Ok(TalkId(db.last_insert_rowid()))
}

/// Ends a talk of the user's own.
///
/// # Errors
/// When SQLite cannot write.
pub fn end_manual_talk(db: &Connection, talk: TalkId, end: Ms) -> Result<()> {
    db.execute(
        "UPDATE talk SET end_ms = max(start_ms, ?2), extended_ms = 0 WHERE id = ?1 AND origin = 'manual' AND end_ms > ?2",
        [talk.0, end.0],
    )?;
    Ok(())
}

/// The id of an event by its name.
///
/// # Errors
/// When SQLite cannot answer.
pub fn event_by_name(db: &Connection, name: &str) -> Result<Option<EventId>> {
    let id = db.query_row("SELECT id FROM event WHERE name = ?1", [name], |row| row.get(0)).optional()?;
    Ok(id.map(EventId))
}

/// Everything that decides what is taped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// See [`schedule_version`].
    pub version: i64,
    /// All events of the catalog.
    pub events: Vec<Event>,
    /// All halls of the catalog.
    pub halls: Vec<Hall>,
    /// Talks, by start.
    pub talks: Vec<Talk>,
}

/// Reads events, halls and the talks of `filter` as they stand at one instant.
///
/// # Errors
/// When SQLite cannot answer, or a stored value is not known.
pub fn snapshot(db: &Connection, filter: TalkFilter) -> Result<Snapshot> {
    let tx = db.unchecked_transaction()?;
    let snapshot = Snapshot {
        version: schedule_version(&tx)?,
        events: events(&tx)?,
        halls: halls(&tx)?,
        talks: talks(&tx, filter)?,
    };
    tx.commit()?;
    Ok(snapshot)
}
