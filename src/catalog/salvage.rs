//! What can still be read of a damaged catalog: halls, their streams and the talks, which say what is to be recorded.
//! Everything else is on the disk too, and recovery finds it there.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

/// In an order in which no row refers to one that comes later.
const TABLES: [&str; 5] = ["event", "hall", "hall_alias", "stream", "talk"];

/// Copies what can be read from the damaged catalog `from` into `into`, a new one, and says how many rows that are. What
/// cannot be read, or does not fit, is left out.
pub fn schedule(from: &Path, into: &Connection) -> usize {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let Ok(damaged) = Connection::open_with_flags(from, flags) else { return 0 };
    TABLES.into_iter().map(|table| copy(&damaged, into, table)).sum()
}

fn copy(from: &Connection, into: &Connection, table: &str) -> usize {
    let Ok(mut query) = from.prepare(&format!("SELECT * FROM {table}")) else { return 0 };
    let names: Vec<String> = query.column_names().map(str::to_owned).collect();
    let known: Vec<(usize, &String)> = names
        .iter()
        .enumerate()
        .filter(|(_, name)| {
            into.prepare(&format!("SELECT \"{name}\" FROM {table}")).is_ok_and(|q| q.column_count() == 1)
        })
        .filter(|(_, name)| !name.contains('"'))
        .collect();
    let columns = known.iter().map(|(_, name)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let marks = vec!["?"; known.len()].join(", ");
    let Ok(mut insert) = into.prepare(&format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})")) else {
        return 0;
    };
    let Ok(mut rows) = query.query([]) else { return 0 };
    let mut copied = 0;
    // The first row that cannot be read ends it: what comes behind it cannot be found either.
    while let Ok(Some(row)) = rows.next() {
        let values = known.iter().map(|(at, _)| row.get::<_, Value>(*at)).collect::<rusqlite::Result<Vec<Value>>>();
        let Ok(values) = values else { continue };
        copied += insert.execute(params_from_iter(values)).unwrap_or(0);
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{open_in_memory, open_writer};

    #[test]
    fn what_can_be_read_is_copied() {
        let dir = tempfile::tempdir().expect("dir");
        let db = open_writer(dir.path()).expect("catalog");
        db.execute_batch(
            "INSERT INTO event (id, name, slug, time_zone) VALUES (1, 'e', 'e', 'UTC');
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'h', 'h');
             INSERT INTO stream (hall_id, url, priority, origin, added_ms) VALUES (1, 'http://h/', 0, 'command', 0);
             INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, known_since_ms) VALUES (7, 1, 1, 'k', 't', 0, 1, 0);",
        )
        .expect("rows");
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("checkpoint");
        let into = open_in_memory().expect("catalog");
        assert_eq!(schedule(&dir.path().join(crate::catalog::FILE_NAME), &into), 4);
        let title: String = into.query_row("SELECT title FROM talk WHERE id = 7", [], |r| r.get(0)).expect("a talk");
        assert_eq!(title, "t");
        let nothing = dir.path().join("nothing");
        std::fs::write(&nothing, "no database at all, and long enough to be read as one".repeat(100)).expect("written");
        assert_eq!(schedule(&nothing, &into), 0);
    }
}
