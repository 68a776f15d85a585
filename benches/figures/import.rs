//! Import of a large calendar.

use std::fs;
use std::time::Duration;

use rusqlite::{Connection, params};
use streamrip_lab::Streamrip;
use streamrip_lab::schedule::{Talk, calendar, halls_file, in_seconds};

use crate::measure::{Figure, Reached, median, seconds};

const TALKS: i64 = 10_000;
const HALLS: i64 = 10;
const RUNS: usize = 5;

pub fn figures() -> Vec<Figure> {
    let start = in_seconds(86_400);
    let talks: Vec<_> = (0..TALKS)
        .map(|n| {
            let (hall, turn) = (n % HALLS, n / HALLS);
            Talk::new(
                &format!("Saal {hall}"),
                &format!("Talk number {n}, with a title"),
                start + turn * 3_600_000,
                3000,
            )
        })
        .collect();
    let text = calendar(&talks);
    let names: Vec<_> = (0..HALLS).map(|n| (format!("Saal {n}"), [format!("http://127.0.0.1:9/{n}")])).collect();
    let halls: Vec<_> = names.iter().map(|(name, urls)| (name.as_str(), urls.as_slice(), 2)).collect();
    let fresh = || {
        let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
        streamrip.write("large.ics", &text);
        streamrip.write("large.toml", halls_file(300, 900, &halls));
        streamrip
    };
    let first = median(RUNS, fresh, |streamrip| drop(streamrip.ok(&["import", "large.ics"])));
    let known = fresh();
    known.ok(&["import", "large.ics"]);
    let again = median(RUNS, || (), |()| drop(known.ok(&["import", "large.ics"])));
    let floor = seconds(insert(&talks));
    vec![
        Figure {
            what: format!("import of {TALKS} talks ({:.1} MB)", text.len() as f64 / 1e6),
            measured: seconds(first),
            compared_with: format!("{floor} for a bare SQLite to insert as many rows and sync"),
            limit: "0.5 s",
            reached: Reached::of(first <= Duration::from_millis(500)),
        },
        Figure {
            what: "the same again, unchanged".to_owned(),
            measured: seconds(again),
            compared_with: "the line above".to_owned(),
            limit: "",
            reached: Reached::Unasked,
        },
    ]
}

/// What a program cannot do without: as many rows in one transaction, synced.
fn insert(talks: &[Talk]) -> Duration {
    let folder = tempfile::tempdir().expect("a folder");
    median(
        RUNS,
        || {
            let path = folder.path().join("floor.db");
            let _ = fs::remove_file(&path);
            let db = Connection::open(path).expect("a database");
            db.execute_batch("CREATE TABLE talk (id INTEGER PRIMARY KEY, uid TEXT UNIQUE, title TEXT, start_ms INTEGER, end_ms INTEGER)")
                .expect("a table");
            db
        },
        |db| {
            let tx = db.transaction().expect("a transaction");
            for talk in talks {
                tx.prepare_cached("INSERT INTO talk (uid, title, start_ms, end_ms) VALUES (?1, ?2, ?3, ?4)")
                    .expect("a statement")
                    .execute(params![talk.uid, talk.title, talk.start_ms, talk.end_ms()])
                    .expect("a row");
            }
            tx.commit().expect("a commit");
        },
    )
}
