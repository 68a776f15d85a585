//! The assembly queue: talks whose joined file may be missing or out of date.
//!
//! A talk enters it when its row changes (by a trigger), and through this module when a segment in its window, the
//! padding of its event or the padding of the settings changes.

use rusqlite::{Connection, OptionalExtension};

use super::Result;
use super::schedule::{TalkFilter, events, talk, talks};
use crate::domain::ids::{EventId, HallId, SegmentId, TalkId};
use crate::domain::interval::Interval;
use crate::domain::settings::Record;
use crate::domain::talk::Talk;
use crate::domain::time::{MINUTE, Ms, SECOND};
use crate::plan::wanted::window_of;

/// Puts a talk into the queue, with a new stamp and no failed attempts.
///
/// # Errors
/// When SQLite cannot write.
pub fn add(db: &Connection, talk: TalkId) -> Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO assembly_todo (talk_id) VALUES (?1)")?.execute([talk.0])?;
    Ok(())
}

/// Puts every talk into the queue whose window a segment touches: by when its bytes came, or by when its media was made.
/// To be called after each change of a segment's verdict. A segment that does not exist changes nothing.
///
/// # Errors
/// When SQLite cannot read or write.
pub fn segment_changed(db: &Connection, segment: SegmentId) -> Result<()> {
    let mut query = db.prepare_cached(
        "SELECT hall_id, min(start_ms, opened_ms), max(end_ms, coalesce(closed_ms, end_ms)) FROM segment WHERE id = ?1",
    )?;
    let row = query.query_row([segment.0], |row| {
        Ok((HallId(row.get(0)?), Interval::new(Ms(row.get(1)?), Ms(row.get::<_, i64>(2)?))))
    });
    let Some((hall, span)) = row.optional()? else { return Ok(()) };
    let (record, events) = (paddings(db)?, events(db)?);
    let longest = |of_event: fn(&crate::domain::event::Event) -> Option<i64>, default: i64| {
        events.iter().filter_map(of_event).max().unwrap_or(0).max(default)
    };
    // A slot that lies further away has no window that could touch the segment.
    let near = span.padded(
        longest(|e| e.post_padding_ms, record.post_padding_ms),
        longest(|e| e.pre_padding_ms, record.pre_padding_ms).saturating_add(1),
    );
    for talk in talks(db, TalkFilter { hall: Some(hall), within: Some(near), event: None })? {
        let window = window_of(&talk, events.iter().find(|e| e.id == talk.event), &record);
        if window.start <= span.end && span.start <= window.end {
            add(db, talk.id)?;
        }
    }
    Ok(())
}

/// Puts all talks of an event into the queue: its padding has changed.
///
/// # Errors
/// When SQLite cannot write.
pub fn event_changed(db: &Connection, event: EventId) -> Result<()> {
    db.execute("INSERT OR REPLACE INTO assembly_todo (talk_id) SELECT id FROM talk WHERE event_id = ?1", [event.0])?;
    Ok(())
}

/// Makes the paddings of `record` those of talks whose event names none. Where they are other ones than before, all
/// such talks enter the queue: their windows are longer or shorter now.
///
/// # Errors
/// When SQLite cannot read or write.
pub fn set_paddings(db: &Connection, record: &Record) -> Result<()> {
    let of = |r: &Record| (r.pre_padding_ms, r.post_padding_ms);
    if of(&paddings(db)?) == of(record) {
        return Ok(());
    }
    db.execute("UPDATE meta SET pre_padding_ms = ?1, post_padding_ms = ?2", of(record))?;
    db.execute(
        "INSERT OR REPLACE INTO assembly_todo (talk_id)
         SELECT talk.id FROM talk JOIN event ON event.id = event_id
         WHERE event.pre_padding_ms IS NULL OR event.post_padding_ms IS NULL",
        [],
    )?;
    Ok(())
}

/// The paddings that [`set_paddings`] stored, or the program's defaults; what else is in the result means nothing.
///
/// # Errors
/// When SQLite cannot answer.
pub fn paddings(db: &Connection) -> Result<Record> {
    let (before, after): (Option<i64>, Option<i64>) = db
        .prepare_cached("SELECT pre_padding_ms, post_padding_ms FROM meta")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let default = Record::default();
    Ok(Record {
        pre_padding_ms: before.unwrap_or(default.pre_padding_ms),
        post_padding_ms: after.unwrap_or(default.post_padding_ms),
        ..default
    })
}

/// Talks on the list that may be tried at `now`, by end: those whose slot is not over come last and are
/// for the caller to leave.
///
/// # Errors
/// When SQLite cannot answer.
pub fn due(db: &Connection, now: Ms) -> Result<Vec<Talk>> {
    let mut query = db.prepare_cached(
        "SELECT talk.id FROM assembly_todo JOIN talk ON talk.id = talk_id
         WHERE not_before_ms <= ?1 AND start_ms <= ?1 ORDER BY end_ms + extended_ms, talk.id",
    )?;
    let ids = query.query_map([now.0], |row| Ok(TalkId(row.get(0)?)))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut out = Vec::with_capacity(ids.len());
    for id in ids {
        out.extend(talk(db, id)?);
    }
    Ok(out)
}

/// How many talks that have begun are on the list, but for those that failed `give_up` times.
///
/// # Errors
/// When SQLite cannot answer.
pub fn count(db: &Connection, filter: TalkFilter, give_up: u32, now: Ms) -> Result<i64> {
    Ok(db.query_row(
        "SELECT count(*) FROM assembly_todo JOIN talk ON talk.id = talk_id
         WHERE (?1 IS NULL OR event_id = ?1) AND tries < ?2 AND start_ms <= ?3",
        (filter.event.map(|e| e.0), give_up, now.0),
        |row| row.get(0),
    )?)
}

/// Which change put a talk on the list; `None`: it is not there. To be asked before its facts are read.
///
/// # Errors
/// When SQLite cannot answer.
pub fn stamp(db: &Connection, talk: TalkId) -> Result<Option<i64>> {
    let mut query = db.prepare_cached("SELECT stamp FROM assembly_todo WHERE talk_id = ?1")?;
    Ok(query.query_row([talk.0], |row| row.get(0)).optional()?)
}

/// Whether a talk is on the list, and then why the last attempt failed, if one did.
///
/// # Errors
/// When SQLite cannot answer.
pub fn of(db: &Connection, talk: TalkId) -> Result<Option<Option<String>>> {
    let mut query = db.prepare_cached("SELECT problem FROM assembly_todo WHERE talk_id = ?1")?;
    Ok(query.query_row([talk.0], |row| row.get(0)).optional()?)
}

/// Takes a talk off the list: its assembly is as it should be, or there is nothing to make one of. A talk
/// that changed since `stamp` was asked for stays.
///
/// # Errors
/// When SQLite cannot write.
pub fn done(db: &Connection, talk: TalkId, stamp: Option<i64>) -> Result<()> {
    db.prepare_cached("DELETE FROM assembly_todo WHERE talk_id = ?1 AND stamp IS ?2")?.execute((talk.0, stamp))?;
    Ok(())
}

/// Notes a failed attempt: the next one comes after 5 s, then twice as long each time, 10 minutes at most.
///
/// # Errors
/// When SQLite cannot write.
pub fn failed(db: &Connection, talk: TalkId, problem: &str, now: Ms) -> Result<()> {
    let tries: u32 =
        db.query_row("SELECT coalesce(max(tries), 0) FROM assembly_todo WHERE talk_id = ?1", [talk.0], |row| {
            row.get(0)
        })?;
    let wait = ((5 * SECOND) << tries.min(10)).min(10 * MINUTE);
    db.execute(
        "UPDATE assembly_todo SET tries = tries + 1, not_before_ms = ?2, problem = ?3 WHERE talk_id = ?1",
        (talk.0, now.plus(wait).0, problem),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use uuid::Uuid;

    use super::*;
    use crate::catalog::segments::{ClosedSegment, close_segment, open_segment, set_verdict};
    use crate::catalog::{media_index, open_in_memory};
    use crate::domain::media::{MediaIndex, MediaSpan};
    use crate::domain::segment::{Container, EndReason, Mark, Verdict};
    use crate::domain::time::HOUR;

    /// A talk of an hour at 0, whose event has these paddings; nothing is in the queue.
    fn one_talk(paddings: &str) -> Connection {
        let db = open_in_memory().expect("db");
        db.execute_batch(&format!(
            "INSERT INTO event (id, name, slug, time_zone, pre_padding_ms, post_padding_ms)
               VALUES (1, '27c3', '27c3', 'Europe/Berlin', {paddings});
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');
             INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, known_since_ms)
               VALUES (1, 1, 1, 'k', 'Keynote', 0, {HOUR}, 0);
             DELETE FROM assembly_todo;"
        ))
        .expect("a talk");
        db
    }

    /// Records a segment between two instants, as a tape does.
    fn recorded(db: &Connection, from: Ms, to: Ms) -> SegmentId {
        let uuid = Uuid::now_v7();
        let path = format!("segments/{uuid}.ts");
        open_segment(db, uuid, None, HallId(1), Path::new(&path), Container::MpegTs, from).expect("opened");
        let closed = ClosedSegment {
            marks: vec![Mark { at: to, offset: 1000 }],
            bytes: 1000,
            lost_bytes: 0,
            sha256: [0; 32],
            container: Container::MpegTs,
            verdict: Verdict::Unchecked,
            reason: EndReason::Eof,
            at: to,
        };
        close_segment(db, uuid, &closed).expect("closed");
        db.query_row("SELECT id FROM segment WHERE uuid = ?1", [uuid.to_string()], |r| r.get(0))
            .map(SegmentId)
            .expect("the row")
    }

    /// True where the talk is in the queue; takes it out.
    fn taken(db: &Connection) -> bool {
        db.execute("DELETE FROM assembly_todo", []).expect("emptied") > 0
    }

    #[test]
    fn a_segment_anywhere_in_the_padding_brings_its_talk_into_the_queue() {
        let (pre, post) = (2 * HOUR, 3 * HOUR);
        let by_settings = one_talk("NULL, NULL");
        let record = Record { pre_padding_ms: pre, post_padding_ms: post, ..Record::default() };
        set_paddings(&by_settings, &record).expect("set");
        assert!(taken(&by_settings), "its window is another one");
        for db in [by_settings, one_talk(&format!("{pre}, {post}"))] {
            let end = HOUR + post;
            for (from, to, touches) in [
                (HOUR + 90 * MINUTE, HOUR + 91 * MINUTE, true),
                (end - MINUTE, end + MINUTE, true),
                (end + 1, end + MINUTE, false),
                (-pre, -pre + 1, true),
                (-pre - MINUTE, -pre - 1, false),
            ] {
                let segment = recorded(&db, Ms(from), Ms(to));
                assert_eq!(taken(&db), touches, "closed: {from} to {to}");
                let span = MediaSpan { media_start_ms: 0, media_end_ms: to - from, offset_ms: from };
                let index = MediaIndex { spans: vec![span], ..MediaIndex::default() };
                media_index::store(&db, segment, &index, Ms(end)).expect("stored");
                assert_eq!(taken(&db), touches, "indexed: {from} to {to}");
                set_verdict(&db, segment, Verdict::Lost, "the file is gone", Ms(end)).expect("set");
                assert_eq!(taken(&db), touches, "lost: {from} to {to}");
            }
        }
    }

    #[test]
    fn media_that_was_made_before_it_came_counts_by_both_times() {
        let db = one_talk("0, 0");
        // It came after the slot, and was made in it.
        let segment = recorded(&db, Ms(HOUR + MINUTE), Ms(HOUR + 2 * MINUTE));
        assert!(!taken(&db));
        let span = MediaSpan { media_start_ms: 0, media_end_ms: 90 * SECOND, offset_ms: HOUR - MINUTE };
        let index = MediaIndex { spans: vec![span], ..MediaIndex::default() };
        media_index::store(&db, segment, &index, Ms(2 * HOUR)).expect("stored");
        assert!(taken(&db));
    }

    #[test]
    fn equal_paddings_bring_nothing_into_the_queue() {
        let db = one_talk("NULL, NULL");
        set_paddings(&db, &Record::default()).expect("set");
        assert!(!taken(&db));
        let longer = Record { post_padding_ms: 3 * HOUR, ..Record::default() };
        set_paddings(&db, &longer).expect("set");
        assert!(taken(&db));
        set_paddings(&db, &longer).expect("set");
        assert!(!taken(&db));
        event_changed(&db, EventId(1)).expect("written");
        assert!(taken(&db));
        let own = one_talk("0, 0");
        set_paddings(&own, &longer).expect("set");
        assert!(!taken(&own), "its event names its own");
    }

    #[test]
    fn a_talk_that_changes_while_it_is_joined_stays_on_the_list() {
        let db = open_in_memory().expect("db");
        db.execute_batch(
            "INSERT INTO event (id, name, slug, time_zone) VALUES (1, '27c3', '27c3', 'Europe/Berlin');
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');
             INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, known_since_ms)
               VALUES (1, 1, 1, 'k', 'Keynote', 0, 1000, 0);",
        )
        .expect("a talk");
        let begun = stamp(&db, TalkId(1)).expect("read");
        assert!(begun.is_some(), "a new talk is on the list");
        db.execute("UPDATE talk SET title = 'Keynote, moved' WHERE id = 1", []).expect("changed");
        done(&db, TalkId(1), begun).expect("written");
        let again = stamp(&db, TalkId(1)).expect("read");
        assert!(again.is_some() && again != begun);
        done(&db, TalkId(1), again).expect("written");
        assert_eq!(stamp(&db, TalkId(1)).expect("read"), None);
    }
}
