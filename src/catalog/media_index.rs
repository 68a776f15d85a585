//! What indexing a segment found, kept compactly: variable-length differences, about twelve bytes a
//! packet, most of it the hash.

use rusqlite::{Connection, OptionalExtension};

use super::{CatalogError, Result};
use crate::domain::ids::SegmentId;
use crate::domain::media::{ClockRange, MediaIndex, Packet, PacketWindow, Track, TrackKind};
use crate::domain::segment::Verdict;
use crate::domain::time::Ms;

/// Version of the encoding. An index of another version is made anew from the file.
const FORMAT: i64 = 3;

/// Writes what was found in a segment, with the verdict that follows from it, where its media lies and
/// how long it is. Only an unchecked segment is judged.
///
/// # Errors
/// When SQLite cannot write.
pub fn store(db: &Connection, segment: SegmentId, index: &MediaIndex, now: Ms) -> Result<()> {
    db.prepare_cached("DELETE FROM span WHERE segment_id = ?1")?.execute([segment.0])?;
    let mut insert = db.prepare_cached(
        "INSERT INTO span (segment_id, seq, media_start_ms, media_end_ms, offset_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (seq, span) in (0_i64..).zip(&index.spans) {
        insert.execute((segment.0, seq, span.media_start_ms, span.media_end_ms, span.offset_ms))?;
    }
    db.prepare_cached("DELETE FROM track_stretch WHERE segment_id = ?1")?.execute([segment.0])?;
    let mut insert = db.prepare_cached(
        "INSERT INTO track_stretch (segment_id, seq, track, kind, start_ms, end_ms, keyframe_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (seq, t) in (0_i64..).zip(index.track_stretches.iter().filter(|t| t.kind != TrackKind::Other)) {
        let kind = if t.kind == TrackKind::Video { "video" } else { "audio" };
        insert.execute((segment.0, seq, t.track, kind, t.start_ms, t.end_ms, t.keyframe_ms))?;
    }
    db.prepare_cached("INSERT OR REPLACE INTO media_index (segment_id, format, data) VALUES (?1, ?2, ?3)")?
        .execute((segment.0, FORMAT, encode(index)))?;
    // Of the file as it was before.
    db.prepare_cached("DELETE FROM media_window WHERE segment_id = ?1")?.execute([segment.0])?;
    store_windows(db, segment, &index.packet_windows)?;
    let start = index.spans.iter().map(|s| s.wall().start.0).min();
    let end = index.spans.iter().map(|s| s.wall().end.0).max();
    let verdict = if index.spans.is_empty() { Verdict::NotMedia } else { Verdict::Media };
    let reason = if verdict == Verdict::NotMedia { index.problem.as_deref() } else { None };
    db.prepare_cached(
        "UPDATE segment SET verdict = ?2, verdict_reason = coalesce(?3, verdict_reason), verdict_ms = ?4,
           start_ms = coalesce(?5, start_ms), end_ms = coalesce(?6, end_ms), media_ms = ?7
         WHERE id = ?1 AND verdict IN ('unchecked', 'media')",
    )?
    .execute((segment.0, verdict.as_str(), reason, now.0, start, end, index.media_ms()))?;
    super::assembly_queue::segment_changed(db, segment)
}

/// What was found in a segment; `None` where it is not indexed, or was by another version.
///
/// # Errors
/// When SQLite cannot answer, or what is stored cannot be read.
pub fn of_segment(db: &Connection, segment: SegmentId) -> Result<Option<MediaIndex>> {
    let row: Option<(i64, Vec<u8>)> = db
        .prepare_cached("SELECT format, data FROM media_index WHERE segment_id = ?1")?
        .query_row([segment.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((FORMAT, data)) = row else { return Ok(None) };
    let mut index = decode(&data).ok_or_else(|| CatalogError::Value(format!("media index of segment {segment}")))?;
    let mut query = db.prepare_cached(
        "SELECT media_start_ms, media_end_ms, offset_ms FROM span WHERE segment_id = ?1 ORDER BY seq",
    )?;
    let spans = query.query_map([segment.0], |row| {
        Ok(crate::domain::media::MediaSpan {
            media_start_ms: row.get(0)?,
            media_end_ms: row.get(1)?,
            offset_ms: row.get(2)?,
        })
    })?;
    index.spans = spans.collect::<rusqlite::Result<_>>()?;
    index.track_stretches = super::segments::track_stretches(db, segment)?;
    index.packet_windows = windows(db, segment)?;
    Ok(Some(index))
}

/// Writes packets from the middle of a segment, beside those that are known.
///
/// # Errors
/// When SQLite cannot write.
pub fn store_windows(db: &Connection, segment: SegmentId, windows: &[PacketWindow]) -> Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO media_window (segment_id, from_ms, to_ms, format, data) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for window in windows.iter().filter(|w| w.from_ms < w.to_ms) {
        let mut out = Out(Vec::with_capacity(window.packets.len() * 13));
        out.uint(window.before.len() as u64);
        window.before.iter().for_each(|n| out.uint(*n));
        out.packets(&window.packets);
        insert.execute((segment.0, window.from_ms, window.to_ms, FORMAT, out.0))?;
    }
    Ok(())
}

/// By time. One that cannot be read is left out: it is made anew from the file.
fn windows(db: &Connection, segment: SegmentId) -> Result<Vec<PacketWindow>> {
    let mut query = db.prepare_cached(
        "SELECT from_ms, to_ms, data FROM media_window WHERE segment_id = ?1 AND format = ?2 ORDER BY from_ms",
    )?;
    let mut rows = query.query([segment.0, FORMAT])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let data: Vec<u8> = row.get(2)?;
        let mut from = In(&data);
        let read = (|| {
            let before = (0..from.count()?).map(|_| from.uint()).collect::<Option<Vec<u64>>>()?;
            Some((before, from.packets()?))
        })();
        if let Some((before, packets)) = read {
            out.push(PacketWindow { from_ms: row.get(0)?, to_ms: row.get(1)?, before, packets });
        }
    }
    Ok(out)
}

/// Everything but the spans and windows, which have rows of their own.
fn encode(index: &MediaIndex) -> Vec<u8> {
    let mut out = Out(Vec::with_capacity(index.head.len() * 26));
    out.text(&index.format);
    out.text(index.problem.as_deref().unwrap_or_default());
    // What is lent stands at the end, where there is any.
    let flags = [index.ragged_end, !index.prefix.is_empty(), index.is_native];
    out.uint((0..).zip(flags).map(|(bit, set)| u64::from(set) << bit).sum());
    out.uint(index.clock_ranges.len() as u64);
    for part in &index.clock_ranges {
        out.uint(part.from_byte);
        out.uint(part.to_byte.map_or(0, |to| to.saturating_add(1)));
        out.int(part.shift_ms);
        out.int(part.start_ms);
    }
    out.uint(index.tracks.len() as u64);
    for track in &index.tracks {
        out.uint(u64::from(track.number));
        out.uint(match track.kind {
            TrackKind::Video => 0,
            TrackKind::Audio => 1,
            TrackKind::Other => 2,
        });
        out.text(&track.codec);
        out.uint(track.format_hash);
        out.uint(u64::from(track.stream));
        out.uint(u64::from(track.adts) | u64::from(track.whole_end) << 1);
        out.int(track.packet_ms);
        out.uint(track.packets);
        out.uint(u64::from(track.pid));
        out.text(&track.language);
        out.bytes(&track.entry);
        out.times(&track.keys_ms);
    }
    out.packets(&index.head);
    // A short segment has the same packets at both ends.
    let same = index.head == index.tail;
    out.uint(u64::from(same));
    if !same {
        out.packets(&index.tail);
    }
    out.times(&index.keys_ms);
    out.uint(index.left_out.len() as u64);
    index.left_out.iter().for_each(|what| out.text(what));
    if !index.prefix.is_empty() {
        out.bytes(&index.prefix);
    }
    out.0
}

fn decode(data: &[u8]) -> Option<MediaIndex> {
    let mut from = In(data);
    let mut index = MediaIndex { format: from.text()?, ..MediaIndex::default() };
    index.problem = Some(from.text()?).filter(|p| !p.is_empty());
    let flags = from.uint()?;
    (index.ragged_end, index.is_native) = (flags & 1 != 0, flags & 4 != 0);
    for _ in 0..from.count()? {
        index.clock_ranges.push(ClockRange {
            from_byte: from.uint()?,
            to_byte: from.uint()?.checked_sub(1),
            shift_ms: from.int()?,
            start_ms: from.int()?,
        });
    }
    for _ in 0..from.count()? {
        let mut track = Track {
            number: from.small()?,
            kind: match from.uint()? {
                0 => TrackKind::Video,
                1 => TrackKind::Audio,
                _ => TrackKind::Other,
            },
            codec: from.text()?,
            format_hash: from.uint()?,
            stream: from.small()?,
            adts: false,
            whole_end: false,
            packet_ms: 0,
            packets: 0,
            pid: 0,
            language: String::new(),
            entry: Vec::new(),
            keys_ms: Vec::new(),
        };
        let ends = from.uint()?;
        (track.adts, track.whole_end) = (ends & 1 != 0, ends & 2 != 0);
        (track.packet_ms, track.packets) = (from.int()?, from.uint()?);
        (track.pid, track.language) = (u16::try_from(from.uint()?).ok()?, from.text()?);
        track.entry = from.bytes()?;
        track.keys_ms = from.times()?;
        index.tracks.push(track);
    }
    index.head = from.packets()?;
    index.tail = if from.uint()? != 0 { index.head.clone() } else { from.packets()? };
    index.keys_ms = from.times()?;
    index.left_out = (0..from.count()?).map(|_| from.text()).collect::<Option<_>>()?;
    if flags & 2 != 0 {
        index.prefix = from.bytes()?;
    }
    from.0.is_empty().then_some(index)
}

struct Out(Vec<u8>);

impl Out {
    fn uint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Zigzag: small numbers of either sign are short.
    fn int(&mut self, value: i64) {
        self.uint(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.uint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn times(&mut self, times: &[i64]) {
        self.uint(times.len() as u64);
        let mut last = 0;
        for at in times {
            self.int(at.wrapping_sub(last));
            last = *at;
        }
    }

    fn packets(&mut self, packets: &[Packet]) {
        self.uint(packets.len() as u64);
        let mut last = 0_i64;
        for p in packets {
            // Track and key share a number: below 64 tracks one byte.
            self.uint(u64::from(p.track) << 1 | u64::from(p.key));
            self.int(p.pts_ms.wrapping_sub(last));
            last = p.pts_ms;
            self.int(p.duration_ms);
            self.uint(u64::from(p.size));
            self.0.extend_from_slice(&p.hash.to_le_bytes());
        }
    }
}

struct In<'a>(&'a [u8]);

impl In<'_> {
    fn uint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn int(&mut self) -> Option<i64> {
        let zigzag = self.uint()?;
        Some((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.uint()?).ok()
    }

    /// A number of things that follow: each takes at least a byte.
    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.uint()?).ok().filter(|n| *n <= self.0.len())
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = self.count()?;
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(bytes.to_vec())
    }

    fn times(&mut self) -> Option<Vec<i64>> {
        let (count, mut last) = (self.count()?, 0_i64);
        let mut out = Vec::with_capacity(count);
        for _ in 0..count {
            last = last.wrapping_add(self.int()?);
            out.push(last);
        }
        Some(out)
    }

    fn packets(&mut self) -> Option<Vec<Packet>> {
        let count = self.count()?;
        let mut out = Vec::with_capacity(count);
        let mut last = 0_i64;
        for _ in 0..count {
            let track = self.uint()?;
            last = last.wrapping_add(self.int()?);
            let duration_ms = self.int()?;
            let size = self.small()?;
            let (hash, rest) = self.0.split_first_chunk::<8>()?;
            self.0 = rest;
            out.push(Packet {
                track: u32::try_from(track >> 1).ok()?,
                pts_ms: last,
                duration_ms,
                key: track & 1 == 1,
                size,
                hash: u64::from_le_bytes(*hash),
            });
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packets() -> impl Strategy<Value = Vec<Packet>> {
        let packet = (1_u32..9, any::<i64>(), any::<i64>(), any::<bool>(), any::<u32>(), any::<u64>());
        prop::collection::vec(packet, 0..20).prop_map(|all| {
            all.into_iter()
                .map(|(track, pts_ms, duration_ms, key, size, hash)| Packet {
                    track,
                    pts_ms,
                    duration_ms,
                    key,
                    size,
                    hash,
                })
                .collect()
        })
    }

    fn index() -> impl Strategy<Value = MediaIndex> {
        let part = (any::<u64>(), prop::option::of(0..u64::MAX), any::<i64>(), any::<i64>());
        let track =
            (any::<u32>(), 0..3_u8, "[A-Z_/]{0,20}", any::<u64>(), any::<u32>(), any::<(bool, bool)>(), any::<i64>());
        (
            (packets(), packets(), any::<bool>()),
            prop::collection::vec(part, 0..4),
            prop::collection::vec(track, 0..4),
            prop::collection::vec(any::<i64>(), 0..20),
            ("[a-z,]{0,10}", prop::option::of("\\PC{1,20}"), any::<bool>(), prop::collection::vec(any::<u8>(), 0..9)),
        )
            .prop_map(|((head, tail, same), parts, tracks, keys_ms, (format, problem, ragged_end, prefix))| {
                MediaIndex {
                    tracks: tracks
                        .into_iter()
                        .map(|(number, kind, codec, format_hash, stream, (adts, whole_end), packet_ms)| Track {
                            number,
                            kind: [TrackKind::Video, TrackKind::Audio, TrackKind::Other][usize::from(kind)],
                            codec,
                            format_hash,
                            stream,
                            adts,
                            whole_end,
                            packet_ms,
                            packets: format_hash,
                            pid: stream as u16,
                            language: if adts { "deu".to_owned() } else { String::new() },
                            entry: vec![7; usize::from(whole_end) * 300],
                            keys_ms: vec![packet_ms; usize::from(adts)],
                        })
                        .collect(),
                    spans: Vec::new(),
                    track_stretches: Vec::new(),
                    tail: if same { head.clone() } else { tail },
                    head,
                    keys_ms,
                    format,
                    clock_ranges: parts
                        .into_iter()
                        .map(|(from_byte, to_byte, shift_ms, start_ms)| ClockRange {
                            from_byte,
                            to_byte,
                            shift_ms,
                            start_ms,
                        })
                        .collect(),
                    ragged_end,
                    problem,
                    packet_windows: Vec::new(),
                    left_out: vec!["teletext (deu)".to_owned(); prefix.len() % 3],
                    is_native: same,
                    prefix,
                }
            })
    }

    #[test]
    fn windows_are_kept_until_the_file_is_indexed_anew() {
        let db = crate::catalog::open_in_memory().expect("db");
        db.execute_batch(
            "INSERT INTO event (id, name, slug, time_zone) VALUES (1, 'e', 'e', 'UTC');
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'h', 'h');
             INSERT INTO segment (id, uuid, hall_id, path, container, start_ms, end_ms, opened_ms, verdict)
               VALUES (5, 'u', 1, 'p', 'mpegts', 0, 1, 0, 'unchecked');",
        )
        .expect("rows");
        let id = SegmentId(5);
        store(&db, id, &MediaIndex::default(), Ms(1)).expect("stored");
        let packet = Packet { track: 2, pts_ms: -7, duration_ms: 23, key: true, size: 9, hash: u64::MAX };
        let window = PacketWindow { from_ms: -10, to_ms: 50, before: vec![3, 1 << 40], packets: vec![packet; 3] };
        store_windows(&db, id, std::slice::from_ref(&window)).expect("stored");
        let read = |db: &Connection| of_segment(db, id).expect("read").expect("there").packet_windows;
        assert_eq!(read(&db), [window]);
        store(&db, id, &MediaIndex::default(), Ms(2)).expect("stored");
        assert_eq!(read(&db), []);
    }

    proptest! {
        #[test]
        fn an_index_reads_back_as_it_was(index in index()) {
            prop_assert_eq!(decode(&encode(&index)), Some(index));
        }

        #[test]
        fn garbage_is_refused_or_read_never_a_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&data);
        }

        #[test]
        fn a_torn_index_is_refused(index in index(), cut in 0.0..1.0_f64) {
            let data = encode(&index);
            prop_assert_eq!(decode(&data[..(data.len() as f64 * cut) as usize]), None);
        }
    }
}
