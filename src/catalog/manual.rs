//! Rows that a person adds with `dump`: its event, and a hall for each address.

use rusqlite::Connection as Db;

use super::Result;
use crate::domain::ids::{EventId, HallId};
use crate::domain::stream_url::StreamUrl;
use crate::domain::time::Ms;

/// The event of this name, without padding; it is made where it is missing. `zone` is the name of a time zone.
///
/// # Errors
/// When SQLite cannot write.
pub fn event(db: &Db, name: &str, zone: &str) -> Result<EventId> {
    db.execute(
        "INSERT INTO event (name, slug, time_zone, pre_padding_ms, post_padding_ms) VALUES (?1, ?1, ?2, 0, 0)
         ON CONFLICT (name) DO NOTHING",
        (name, zone),
    )?;
    Ok(db.query_row("SELECT id FROM event WHERE name = ?1", [name], |row| row.get(0)).map(EventId)?)
}

/// Adds a hall. `slug` is the name of its folder, which no other hall of the event has.
///
/// # Errors
/// When SQLite cannot write.
pub fn add_hall(db: &Db, event: EventId, name: &str, slug: &str) -> Result<HallId> {
    db.execute("INSERT INTO hall (event_id, name, slug) VALUES (?1, ?2, ?3)", (event.0, name, slug))?;
    Ok(HallId(db.last_insert_rowid()))
}

/// Makes `url` the only stream of a hall. Streams that it had stay in the catalog as removed ones.
///
/// # Errors
/// When SQLite cannot write.
pub fn set_only_stream(db: &Db, hall: HallId, url: &StreamUrl, now: Ms) -> Result<()> {
    db.execute(
        "UPDATE stream SET removed_ms = max(added_ms, ?2) WHERE hall_id = ?1 AND removed_ms IS NULL",
        [hall.0, now.0],
    )?;
    db.execute(
        "INSERT INTO stream (hall_id, url, priority, origin, added_ms) VALUES (?1, ?2, 0, 'command', ?3)",
        (hall.0, url.secret(), now.0),
    )?;
    Ok(())
}
