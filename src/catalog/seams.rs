//! Seams between neighbouring segments.

use std::collections::HashMap;

use rusqlite::Connection;

use super::Result;
use crate::domain::ids::{HallId, SegmentId};
use crate::domain::interval::Interval;
use crate::domain::segment::Segment;
use crate::plan::seam::Seam;

/// Which segments of a hall are followed by which, without loss, where they begin within `within`: what their arrival
/// times leave open between them is no gap.
///
/// # Errors
/// When SQLite cannot answer.
pub fn followers(db: &Connection, hall: HallId, within: Interval) -> Result<HashMap<SegmentId, Vec<SegmentId>>> {
    let mut query = db.prepare_cached(
        "SELECT first_id, second_id FROM segment CROSS JOIN seam ON first_id = segment.id
         WHERE hall_id = ?1 AND start_ms >= ?2 AND start_ms < ?3 AND kind = 'overlap' AND missing_ms = 0",
    )?;
    let mut rows = query.query([hall.0, within.start.0, within.end.0])?;
    let mut out: HashMap<SegmentId, Vec<SegmentId>> = HashMap::new();
    while let Some(row) = rows.next()? {
        out.entry(SegmentId(row.get(0)?)).or_default().push(SegmentId(row.get(1)?));
    }
    Ok(out)
}

/// Writes how segments meet, or how they are found to meet by now, in the order of the file: what was known of the same
/// pairs before is replaced.
///
/// # Errors
/// When SQLite cannot write.
pub fn store(db: &Connection, seams: &[(SegmentId, SegmentId, Seam)]) -> Result<()> {
    let mut delete = db.prepare_cached("DELETE FROM seam WHERE first_id = ?1 AND second_id = ?2")?;
    for (first, second, _) in seams {
        delete.execute([first.0, second.0])?;
    }
    for (n, (first, second, seam)) in seams.iter().enumerate() {
        let seq = seams[..n].iter().filter(|(a, b, _)| (a, b) == (first, second)).count();
        insert(db, *first, *second, seq, seam)?;
    }
    Ok(())
}

fn insert(db: &Connection, first: SegmentId, second: SegmentId, seq: usize, seam: &Seam) -> Result<()> {
    let cuts: Vec<_> = seam
        .cuts
        .iter()
        .map(|c| {
            serde_json::json!({
                "first_track": c.first_track,
                "second_track": c.second_track,
                "to": c.to.to_string(),
                "from": c.from.to_string(),
            })
        })
        .collect();
    db.prepare_cached(
        "INSERT INTO seam (first_id, second_id, kind, shift_ms, shared_ms, missing_ms, matched_packets, method, cuts, seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute((
        first.0,
        second.0,
        seam.kind.to_string(),
        seam.shift_ms,
        seam.shared_ms.max(0),
        seam.missing_ms.max(0),
        seam.matched_packets.cast_signed(),
        seam.method.to_string(),
        serde_json::Value::from(cuts).to_string(),
        i64::try_from(seq).unwrap_or(i64::MAX),
    ))?;
    Ok(())
}

/// A seam as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeamRow {
    /// The earlier segment.
    pub first: SegmentId,
    /// The later one.
    pub second: SegmentId,
    /// overlap, gap, format.
    pub kind: String,
    /// How it was found.
    pub method: String,
    /// Length of what stands in both, milliseconds.
    pub shared_ms: i64,
    /// Length of what stands in neither, milliseconds.
    pub missing_ms: i64,
    /// Equal packets.
    pub matched_packets: i64,
}

impl SeamRow {
    /// In one line.
    #[must_use]
    pub fn describe(&self) -> String {
        let between = format!("{} | {}", self.first, self.second);
        match self.kind.as_str() {
            "overlap" if self.matched_packets == 0 && self.shared_ms == 0 => {
                format!("{between}  nothing is missing between them (found by {})", self.method)
            }
            // Clocks and arrival say it as well as they agree, and no better.
            "overlap" if self.matched_packets == 0 => format!(
                "{between}  about {:.1} s stand in both, by {} (no packets are equal)",
                self.shared_ms as f64 / 1000.0,
                if self.method == "clock" { "the clock" } else { &self.method },
            ),
            "overlap" => format!(
                "{between}  exact: {:.1} s stand in both, {} equal packets (found by {})",
                self.shared_ms as f64 / 1000.0,
                self.matched_packets,
                self.method
            ),
            "gap" => format!("{between}  {:.1} s are missing between them", self.missing_ms as f64 / 1000.0),
            other => format!("{between}  cannot be joined ({other})"),
        }
    }
}

/// Seams between these segments.
///
/// # Errors
/// When SQLite cannot answer.
pub fn between(db: &Connection, segments: &[Segment]) -> Result<Vec<SeamRow>> {
    let mut query = db.prepare_cached(
        "SELECT second_id, kind, method, shared_ms, missing_ms, matched_packets FROM seam WHERE first_id = ?1
         ORDER BY second_id, seq",
    )?;
    let mut out = Vec::new();
    for first in segments {
        let rows = query.query_map([first.id.0], |row| {
            Ok(SeamRow {
                first: first.id,
                second: SegmentId(row.get(0)?),
                kind: row.get(1)?,
                method: row.get(2)?,
                shared_ms: row.get(3)?,
                missing_ms: row.get(4)?,
                matched_packets: row.get(5)?,
            })
        })?;
        for row in rows {
            let row = row?;
            if segments.iter().any(|s| s.id == row.second) {
                out.push(row);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixtures;
    use crate::plan::seam::{Method, SeamKind};

    #[test]
    fn a_pair_has_all_its_seams_and_those_of_before_are_replaced() {
        let db = crate::catalog::open_in_memory().expect("a catalog");
        // Only the seams are looked at here.
        db.pragma_update(None, "foreign_keys", false).expect("works");
        let seam = |shared_ms| Seam {
            kind: SeamKind::Overlap,
            contained: false,
            reaches_back_ms: 0,
            shift_ms: 0,
            cuts: Vec::new(),
            matched_packets: 9,
            shared_ms,
            missing_ms: 0,
            method: Method::Packets,
        };
        let (a, b) = (SegmentId(1), SegmentId(2));
        let segments = [a, b].map(|id| fixtures::segment(id.0, Vec::new()));
        let stored = |seams: &[(SegmentId, SegmentId, Seam)]| {
            store(&db, seams).expect("stored");
            let rows = between(&db, &segments).expect("read");
            rows.into_iter().map(|row| (row.first.0, row.second.0, row.shared_ms)).collect::<Vec<_>>()
        };
        let there_and_back = [(a, b, seam(300)), (b, a, seam(200)), (a, b, seam(100))];
        assert_eq!(stored(&there_and_back), [(1, 2, 300), (1, 2, 100), (2, 1, 200)]);
        assert_eq!(stored(&there_and_back), [(1, 2, 300), (1, 2, 100), (2, 1, 200)]);
        assert_eq!(stored(&[(a, b, seam(400))]), [(1, 2, 400), (2, 1, 200)]);
    }

    #[test]
    fn only_equal_packets_are_called_exact() {
        for (kind, method, shared_ms, missing_ms, matched_packets, want) in [
            (
                "overlap",
                "packets",
                2100,
                0,
                143,
                "5 | 7  exact: 2.1 s stand in both, 143 equal packets (found by packets)",
            ),
            ("overlap", "clock", 2100, 0, 0, "5 | 7  about 2.1 s stand in both, by the clock (no packets are equal)"),
            ("overlap", "arrival", 2100, 0, 0, "5 | 7  about 2.1 s stand in both, by arrival (no packets are equal)"),
            ("overlap", "clock", 0, 0, 0, "5 | 7  nothing is missing between them (found by clock)"),
            ("gap", "clock", 0, 3040, 0, "5 | 7  3.0 s are missing between them"),
            ("format", "none", 0, 0, 0, "5 | 7  cannot be joined (format)"),
        ] {
            let seam = SeamRow {
                first: SegmentId(5),
                second: SegmentId(7),
                kind: kind.to_owned(),
                method: method.to_owned(),
                shared_ms,
                missing_ms,
                matched_packets,
            };
            assert_eq!(seam.describe(), want);
        }
    }
}
