//! Halls of an event and their streams, for imports and `halls`.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};

use super::{CatalogError, Result};
use crate::domain::ids::{EventId, HallId, StreamId};
use crate::domain::stream_request::StreamRequest;
use crate::domain::stream_url::StreamUrl;
use crate::domain::time::Ms;
use crate::plan::hall_plan::{KnownHall, KnownStream, StreamOrigin};

/// The halls of an event, by id.
///
/// # Errors
/// When SQLite cannot answer, or a stored value is not known.
pub fn known_halls(db: &Connection, event: EventId) -> Result<Vec<KnownHall>> {
    let mut query = db.prepare_cached(
        "SELECT id, name, recorder, max_connections, redundancy, quality, room_guid FROM hall WHERE event_id = ?1 ORDER BY id",
    )?;
    let mut aliases =
        db.prepare_cached("SELECT alias FROM hall_alias WHERE hall_id = ?1 AND origin = ?2 ORDER BY alias")?;
    let mut streams = db.prepare_cached(
        "SELECT id, url, origin FROM stream WHERE hall_id = ?1 AND removed_ms IS NULL ORDER BY priority, id",
    )?;
    let mut rows = query.query([event.0])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let (recorder, quality): (Option<String>, Option<String>) = (row.get(2)?, row.get(5)?);
        let mut in_use = Vec::new();
        let mut stream_rows = streams.query([id])?;
        while let Some(stream) = stream_rows.next()? {
            in_use.push(KnownStream {
                id: StreamId(stream.get(0)?),
                url: stream.get(1)?,
                origin: stream.get::<_, String>(2)?.parse().map_err(CatalogError::Value)?,
            });
        }
        let mut aliases = |origin: &str| -> Result<Vec<String>> {
            Ok(aliases.query_map((id, origin), |r| r.get(0))?.collect::<rusqlite::Result<_>>()?)
        };
        out.push(KnownHall {
            id: HallId(id),
            name: row.get(1)?,
            aliases: aliases("halls-file")?,
            renamed: aliases("schedule")?,
            room_guid: row.get(6)?,
            recorder: recorder.map(|r| r.parse()).transpose().map_err(CatalogError::Value)?,
            quality: quality.map(|q| q.parse()).transpose().map_err(CatalogError::Value)?,
            max_connections: row.get(3)?,
            redundancy: row.get(4)?,
            streams: in_use,
        });
    }
    Ok(out)
}

/// Makes `wanted` (whole address, who named it; by preference) the streams of a hall that has `old`.
/// A stream that goes is kept as removed, since connections and gaps refer to it.
///
/// # Errors
/// When SQLite cannot write.
pub fn set_streams(
    db: &Connection,
    hall: HallId,
    old: &[KnownStream],
    wanted: &[(&str, StreamOrigin)],
    now: Ms,
) -> Result<()> {
    let is_same = old.len() == wanted.len()
        && old.iter().zip(wanted).all(|(old, (url, origin))| old.url == *url && old.origin == *origin);
    if is_same {
        return Ok(());
    }
    for stream in old.iter().filter(|s| !wanted.contains(&(s.url.as_str(), s.origin))) {
        // The clock may have been set back since it was added.
        db.execute("UPDATE stream SET removed_ms = max(?2, added_ms) WHERE id = ?1", [stream.id.0, now.0])?;
    }
    for (priority, (url, origin)) in wanted.iter().enumerate() {
        let priority = i64::try_from(priority).unwrap_or(i64::MAX);
        match old.iter().find(|s| (s.url.as_str(), s.origin) == (*url, *origin)) {
            Some(stream) => {
                db.execute(
                    "UPDATE stream SET priority = ?2 WHERE id = ?1 AND priority <> ?2",
                    [stream.id.0, priority],
                )?;
            }
            None => {
                let mut insert = db.prepare_cached(
                    "INSERT INTO stream (hall_id, url, priority, origin, added_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?;
                insert.execute(params![hall.0, url, priority, origin.as_str(), now.0])?;
            }
        }
    }
    Ok(())
}

/// Notes of streams of a hall that a command set whether they must not lead into a private network
/// ([`StreamUrl::is_public_only`]).
///
/// # Errors
/// When SQLite cannot write.
pub fn set_public_only(db: &Connection, hall: HallId, urls: &[StreamUrl]) -> Result<()> {
    let mut query = db.prepare_cached(
        "UPDATE stream SET public_only = ?3
         WHERE hall_id = ?1 AND url = ?2 AND removed_ms IS NULL AND origin = 'command' AND public_only <> ?3",
    )?;
    for url in urls {
        query.execute(params![hall.0, url.secret(), url.is_public_only()])?;
    }
    Ok(())
}

/// Sets what is to be said when asking for each stream of a hall in use that the halls file named: by whole address;
/// nothing to those that are not in `requests`.
///
/// # Errors
/// When SQLite cannot write.
pub fn set_requests(db: &Connection, hall: HallId, requests: &BTreeMap<String, StreamRequest>) -> Result<()> {
    let mut query = db.prepare_cached(
        "SELECT id, url, request FROM stream WHERE hall_id = ?1 AND removed_ms IS NULL AND origin = 'halls-file'",
    )?;
    let rows = query.query_map([hall.0], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?, r.get(2)?)))?;
    for (id, url, known) in rows.collect::<rusqlite::Result<Vec<(i64, String, Option<String>)>>>()? {
        let wanted = requests.get(&url).map(request_text);
        if known != wanted {
            db.execute("UPDATE stream SET request = ?2 WHERE id = ?1", params![id, wanted])?;
        }
    }
    Ok(())
}

fn request_text(request: &StreamRequest) -> String {
    let headers: serde_json::Map<String, serde_json::Value> =
        request.headers().iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    serde_json::json!({"user_agent": request.user_agent(), "headers": headers}).to_string()
}

/// What is to be said when asking for a stream, as it is stored. What cannot be read in it is left out.
pub(super) fn read_request(text: &str) -> StreamRequest {
    let mut request = StreamRequest::default();
    let stored: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let mut odd = false;
    if let Some(agent) = stored["user_agent"].as_str() {
        odd |= request.set_user_agent(agent).is_err();
    }
    for (name, value) in stored["headers"].as_object().into_iter().flatten() {
        odd |= value.as_str().is_none_or(|value| request.add_header(name, value).is_err());
    }
    if odd {
        tracing::warn!("some stored request headers of a stream are invalid and are not sent");
    }
    request
}

/// How many talks are to be recorded in each hall of an event.
///
/// # Errors
/// When SQLite cannot answer.
pub fn talk_counts(db: &Connection, event: EventId) -> Result<HashMap<HallId, usize>> {
    let mut query = db.prepare_cached(
        "SELECT hall_id, count(*) FROM talk WHERE event_id = ?1 AND status = 'scheduled' AND opted_out = 0
         GROUP BY hall_id",
    )?;
    let rows = query.query_map([event.0], |r| Ok((HallId(r.get(0)?), r.get::<_, u32>(1)? as usize)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
