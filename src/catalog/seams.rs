//! Seams between neighbouring segments.

use rusqlite::Connection;

use super::Result;
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::segment::Segment;

/// Stretches between neighbouring segments whose packets are known to follow each other without loss:
/// what their arrival times leave open there is no gap.
///
/// # Errors
/// When SQLite cannot answer.
pub fn bridges(db: &Connection, segments: &[Segment]) -> Result<IntervalSet> {
    let mut query =
        db.prepare_cached("SELECT second_id FROM seam WHERE first_id = ?1 AND kind = 'overlap' AND missing_ms = 0")?;
    let mut out = Vec::new();
    for first in segments {
        let mut rows = query.query([first.id.0])?;
        while let Some(row) = rows.next()? {
            let second: i64 = row.get(0)?;
            if let Some(second) = segments.iter().find(|s| s.id.0 == second) {
                out.push(Interval::new(first.at.end, second.at.start));
            }
        }
    }
    Ok(out.into_iter().collect())
}
