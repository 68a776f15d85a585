//! Marks, kept compactly: chunks of (time, offset) pairs as variable-length differences, about four
//! bytes a mark.

use rusqlite::{Connection, OptionalExtension};

use super::{CatalogError, Result};
use crate::domain::ids::SegmentId;
use crate::domain::segment::Mark;
use crate::domain::time::Ms;

/// A chunk is rewritten until it is so long, then a new one begins: bounds what one write touches.
const CHUNK_BYTES: usize = 1024;

/// Adds marks to a segment's.
///
/// # Errors
/// When SQLite cannot write.
pub fn append(db: &Connection, segment: SegmentId, marks: &[Mark]) -> Result<()> {
    if marks.is_empty() {
        return Ok(());
    }
    let last: Option<(i64, Vec<u8>)> = db
        .prepare_cached("SELECT seq, marks FROM mark_chunk WHERE segment_id = ?1 ORDER BY seq DESC LIMIT 1")?
        .query_row([segment.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (seq, mut all) = match last {
        // What is damaged stays as it is, and nothing is added to it.
        Some((seq, blob)) => match decode(&blob) {
            Ok(marks) if blob.len() < CHUNK_BYTES => (seq, marks),
            _ => (seq + 1, Vec::new()),
        },
        None => (0, Vec::new()),
    };
    all.extend_from_slice(marks);
    db.prepare_cached("INSERT OR REPLACE INTO mark_chunk (segment_id, seq, marks) VALUES (?1, ?2, ?3)")?.execute((
        segment.0,
        seq,
        encode(&all),
    ))?;
    Ok(())
}

/// All marks of a segment, oldest first. A damaged chunk is left out: without some marks a segment's place is known
/// a little less well, without the segment its talk is.
///
/// # Errors
/// When SQLite cannot answer.
pub fn of_segment(db: &Connection, segment: SegmentId) -> Result<Vec<Mark>> {
    let mut query = db.prepare_cached("SELECT marks FROM mark_chunk WHERE segment_id = ?1 ORDER BY seq")?;
    let mut rows = query.query([segment.0])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let blob = row.get_ref(0)?.as_blob().map_err(|e| CatalogError::Value(format!("marks: {e}")));
        match blob.and_then(decode) {
            Ok(marks) => out.extend(marks),
            Err(e) => tracing::warn!("segment {segment}: some of its arrival times cannot be read: {e}"),
        }
    }
    Ok(out)
}

fn encode(marks: &[Mark]) -> Vec<u8> {
    let mut out = Vec::with_capacity(marks.len() * 5 + 12);
    let (mut at, mut offset) = (0_i64, 0_u64);
    for mark in marks {
        let dt = mark.at.0.wrapping_sub(at);
        // Zigzag: a wall clock may be set back.
        push(&mut out, ((dt << 1) ^ (dt >> 63)).cast_unsigned());
        push(&mut out, mark.offset.wrapping_sub(offset));
        (at, offset) = (mark.at.0, mark.offset);
    }
    out
}

fn push(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn decode(mut blob: &[u8]) -> Result<Vec<Mark>> {
    let mut out = Vec::new();
    let (mut at, mut offset) = (0_i64, 0_u64);
    while !blob.is_empty() {
        let zigzag = pull(&mut blob)?;
        at = at.wrapping_add((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
        offset = offset.wrapping_add(pull(&mut blob)?);
        out.push(Mark { at: Ms(at), offset });
    }
    Ok(out)
}

fn pull(blob: &mut &[u8]) -> Result<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte, rest @ ..] = *blob else { break };
        *blob = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(CatalogError::Value("marks are cut short".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn marks_read_back_as_they_were(raw in prop::collection::vec((any::<i64>(), any::<u64>()), 0..50)) {
            let marks: Vec<_> = raw.into_iter().map(|(at, offset)| Mark { at: Ms(at), offset }).collect();
            prop_assert_eq!(decode(&encode(&marks)).expect("sound"), marks);
        }

        #[test]
        fn garbage_is_refused_or_read_never_a_panic(blob in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&blob);
        }
    }

    #[test]
    fn a_damaged_chunk_costs_its_own_marks_only() {
        let db = crate::catalog::open_in_memory().expect("db");
        db.execute_batch(
            "INSERT INTO event (id, name, slug, time_zone) VALUES (1, '27c3', '27c3', 'UTC');
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');
             INSERT INTO segment (id, uuid, hall_id, path, container, start_ms, end_ms, opened_ms, verdict)
               VALUES (1, 'u', 1, 'segments/a.ts', 'mpegts', 0, 0, 0, 'open');
             INSERT INTO mark_chunk (segment_id, seq, marks) VALUES (1, 0, x'ffff');",
        )
        .expect("a segment");
        let mark = Mark { at: Ms(7), offset: 9 };
        append(&db, SegmentId(1), &[mark]).expect("written");
        assert_eq!(of_segment(&db, SegmentId(1)).expect("read"), [mark]);
    }

    #[test]
    fn a_mark_a_second_takes_about_five_bytes() {
        let marks: Vec<_> = (0..3600)
            .map(|s| Mark { at: Ms(1_293_404_400_000 + s * 1000), offset: s.cast_unsigned() * 250_000 })
            .collect();
        assert!(encode(&marks).len() < 3600 * 5 + 20, "{}", encode(&marks).len());
    }
}
