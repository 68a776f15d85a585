//! What another recorder's catalog says of a segment, and taking it over into ours.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::{Result, marks, media_index};
use crate::domain::ids::{HallId, SegmentId};
use crate::domain::media::MediaIndex;
use crate::domain::segment::{Mark, Segment, Verdict};
use crate::domain::time::Ms;

/// Everything of a segment that is taken over, in the other's clock.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// The segment's row in the other catalog.
    pub segment: Segment,
    /// What is in it.
    pub index: MediaIndex,
    /// When its bytes came.
    pub marks: Vec<Mark>,
    /// From which connection.
    pub connection: Option<ForeignConnection>,
}

/// A connection of another recorder.
#[derive(Clone, Debug)]
pub struct ForeignConnection {
    uuid: String,
    source: String,
    opened_ms: i64,
    first_byte_ms: Option<i64>,
    closed_ms: Option<i64>,
    bytes: i64,
    end_reason: Option<String>,
    detail: Option<String>,
    url: Option<String>,
    run: Option<(String, String, i64, i64, i64, Option<i64>)>,
}

/// Reads what another catalog knows of a segment.
///
/// # Errors
/// When SQLite cannot answer.
pub fn read(db: &Connection, segment: Segment, index: MediaIndex) -> Result<Foreign> {
    let connection = match segment.connection {
        Some(id) => db
            .query_row(
                "SELECT c.uuid, c.source, c.opened_ms, c.first_byte_ms, c.closed_ms, c.bytes, c.end_reason, c.detail,
                        stream.url, r.uuid, r.version, r.pid, r.started_ms, r.heartbeat_ms, r.stopped_ms
                 FROM connection c LEFT JOIN stream ON stream.id = c.stream_id
                   LEFT JOIN daemon_run r ON r.id = c.daemon_run_id WHERE c.id = ?1",
                [id.0],
                |row| {
                    let run = match row.get::<_, Option<String>>(9)? {
                        Some(uuid) => {
                            Some((uuid, row.get(10)?, row.get(11)?, row.get(12)?, row.get(13)?, row.get(14)?))
                        }
                        None => None,
                    };
                    Ok(ForeignConnection {
                        uuid: row.get(0)?,
                        source: row.get(1)?,
                        opened_ms: row.get(2)?,
                        first_byte_ms: row.get(3)?,
                        closed_ms: row.get(4)?,
                        bytes: row.get(5)?,
                        end_reason: row.get(6)?,
                        detail: row.get(7)?,
                        url: row.get(8)?,
                        run,
                    })
                },
            )
            .optional()?,
        None => None,
    };
    Ok(Foreign { marks: marks::of_segment(db, segment.id)?, segment, index, connection })
}

/// True where a segment of this name is ours already and its file was not lost.
///
/// # Errors
/// When SQLite cannot answer.
pub fn is_known(db: &Connection, uuid: Uuid) -> Result<bool> {
    let mut query = db.prepare_cached("SELECT 1 FROM segment WHERE uuid = ?1 AND verdict <> 'lost'")?;
    Ok(query.exists([uuid.to_string()])?)
}

/// Notes that segments are taken over from a data directory. Gives the row's id.
///
/// # Errors
/// When SQLite cannot write.
pub fn begin(db: &Connection, data_dir: &Path, now: Ms) -> Result<i64> {
    db.execute("INSERT INTO merge (at_ms, data_dir) VALUES (?1, ?2)", (now.0, data_dir.to_string_lossy()))?;
    Ok(db.last_insert_rowid())
}

/// How a segment is taken over.
#[derive(Clone, Debug)]
pub struct CopiedSegment {
    /// See [`begin`].
    pub merge: i64,
    /// Hall of this catalog that the segment is filed under.
    pub hall: HallId,
    /// Where its file goes, relative to our data directory.
    pub path: PathBuf,
    /// Our clock less the other's, milliseconds: added to all its times.
    pub clock_ms: i64,
    /// Equal packets that say so; 0: the clocks were trusted.
    pub shared_packets: usize,
}

/// Writes the rows of a segment that is taken over, its connection's and its daemon's, with their UUIDs, and
/// puts the talks it may belong to on the list. One that was ours and was lost is ours again.
///
/// # Errors
/// When SQLite cannot write.
pub fn insert(db: &Connection, foreign: &Foreign, taken: &CopiedSegment, now: Ms) -> Result<SegmentId> {
    let shift = |ms: i64| ms.saturating_add(taken.clock_ms);
    let s = &foreign.segment;
    let connection = foreign.connection.as_ref().map(|c| insert_connection(db, c, s, taken)).transpose()?;
    let uuid = s.uuid.to_string();
    db.execute(
        "INSERT INTO segment (uuid, hall_id, connection_id, path, container, start_ms, end_ms, opened_ms, closed_ms, bytes,
           lost_bytes, sha256, verdict, end_reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 'unchecked', ?13)
         ON CONFLICT (uuid) DO UPDATE SET path = excluded.path, verdict = 'unchecked', verdict_reason = NULL",
        rusqlite::params![
            uuid,
            taken.hall.0,
            connection,
            taken.path.to_string_lossy(),
            s.container.as_str(),
            shift(s.at.start.0),
            shift(s.at.end.0),
            shift(s.opened.0),
            shift(s.closed.unwrap_or(s.at.end).0),
            s.bytes.cast_signed(),
            s.lost_bytes.cast_signed(),
            s.sha256,
            s.end_reason.map(|r| r.to_string()),
        ],
    )?;
    let id = db.query_row("SELECT id FROM segment WHERE uuid = ?1", [&uuid], |row| row.get(0)).map(SegmentId)?;
    db.execute("DELETE FROM mark_chunk WHERE segment_id = ?1", [id.0])?;
    let marks: Vec<Mark> = foreign.marks.iter().map(|m| Mark { at: Ms(shift(m.at.0)), ..*m }).collect();
    marks::append(db, id, &marks)?;
    let mut index = foreign.index.clone();
    index.spans.iter_mut().for_each(|span| span.offset_ms = shift(span.offset_ms));
    media_index::store(db, id, &index, now)?;
    db.execute(
        "INSERT OR REPLACE INTO merged_segment (segment_id, merge_id, path, clock_ms, shared_packets)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        rusqlite::params![
            id.0,
            taken.merge,
            s.path.to_string_lossy(),
            taken.clock_ms,
            i64::try_from(taken.shared_packets).unwrap_or(i64::MAX)
        ],
    )?;
    Ok(id)
}

fn insert_connection(db: &Connection, c: &ForeignConnection, segment: &Segment, taken: &CopiedSegment) -> Result<i64> {
    let shift = |ms: i64| ms.saturating_add(taken.clock_ms);
    let run: Option<i64> = match &c.run {
        Some((uuid, version, pid, started, beat, stopped)) => {
            db.execute(
                "INSERT INTO daemon_run (uuid, version, pid, started_ms, heartbeat_ms, stopped_ms, merge_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (uuid) DO NOTHING",
                rusqlite::params![uuid, version, pid, shift(*started), shift(*beat), stopped.map(shift), taken.merge],
            )?;
            Some(db.query_row("SELECT id FROM daemon_run WHERE uuid = ?1", [uuid], |row| row.get(0))?)
        }
        None => None,
    };
    // Of the same address, where we have that: its process is none of ours, and it is over.
    db.execute(
        "INSERT INTO connection (uuid, hall_id, stream_id, daemon_run_id, source, opened_ms, first_byte_ms, closed_ms, bytes,
           end_reason, detail)
         VALUES (?1, ?2, (SELECT id FROM stream WHERE hall_id = ?2 AND url = ?3 ORDER BY removed_ms IS NOT NULL, id LIMIT 1),
           ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (uuid) DO NOTHING",
        rusqlite::params![
            c.uuid,
            taken.hall.0,
            c.url,
            run,
            c.source,
            shift(c.opened_ms),
            c.first_byte_ms.map(shift),
            shift(c.closed_ms.unwrap_or(segment.at.end.0)),
            c.bytes,
            c.end_reason.as_deref().unwrap_or("crash"),
            c.detail,
        ],
    )?;
    Ok(db.query_row("SELECT id FROM connection WHERE uuid = ?1", [&c.uuid], |row| row.get(0))?)
}

/// Where a segment came from, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The other data directory.
    pub data_dir: String,
    /// Its path there.
    pub path: String,
    /// Our clock less the other's, milliseconds.
    pub clock_ms: i64,
    /// Equal packets that say so; 0: the clocks were trusted.
    pub shared_packets: i64,
}

/// Where another recorder's segment came from; `None`: it is ours.
///
/// # Errors
/// When SQLite cannot answer.
pub fn origin(db: &Connection, segment: SegmentId) -> Result<Option<Origin>> {
    let row = db
        .prepare_cached(
            "SELECT data_dir, path, clock_ms, shared_packets FROM merged_segment JOIN merge ON merge.id = merge_id
             WHERE segment_id = ?1",
        )?
        .query_row([segment.0], |row| {
            Ok(Origin { data_dir: row.get(0)?, path: row.get(1)?, clock_ms: row.get(2)?, shared_packets: row.get(3)? })
        })
        .optional()?;
    Ok(row)
}

/// The file of a row, where the row's segment is there.
///
/// # Errors
/// When SQLite cannot answer.
pub fn is_named(db: &Connection, path: &str) -> Result<bool> {
    let mut query =
        db.prepare_cached("SELECT 1 FROM segment WHERE path = ?1 AND verdict IN ('media', 'unchecked', 'lost')")?;
    Ok(query.exists([path])?)
}

/// Segments of another catalog's hall that can be taken over: media that was looked at, and all of it.
///
/// # Errors
/// When SQLite cannot answer.
pub fn of_hall(db: &Connection, hall: HallId) -> Result<(Vec<(Segment, MediaIndex)>, usize)> {
    let always = crate::domain::interval::Interval::new(Ms(i64::MIN / 4), Ms(i64::MAX / 4));
    let (mut out, mut not_ready) = (Vec::new(), 0);
    for segment in super::segments::segments_of_hall(db, hall, always)? {
        match segment.verdict {
            Verdict::Media => match media_index::of_segment(db, segment.id)? {
                Some(index) if segment.sha256.is_some() => out.push((segment, index)),
                _ => not_ready += 1,
            },
            Verdict::Open | Verdict::Unchecked => not_ready += 1,
            _ => {}
        }
    }
    Ok((out, not_ready))
}
