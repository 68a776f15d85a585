use std::sync::Arc;

use rusqlite::Connection;

use super::*;
use crate::app::support::clock::TestClock;
use crate::catalog::{open_reader, open_writer};
use crate::domain::settings::Settings;
use crate::domain::time::{HOUR, MINUTE, Ms};

const DIR: &str = "segments/27c3/saal-1/2010-12-27";

fn start() -> Ms {
    Ms(1_293_476_400_000)
}

struct Place {
    dir: tempfile::TempDir,
    clock: TestClock,
    env: Env,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::create_dir_all(dir.path().join(DIR)).expect("made");
        std::fs::create_dir_all(dir.path().join("talks/27c3")).expect("made");
        let clock = TestClock::starting_at(start());
        let env = Env {
            data_dir: dir.path().to_owned(),
            settings: Settings::default(),
            clock: Arc::new(clock.clone()),
            engine: Arc::new(crate::media::engine::Ffmpeg),
        };
        open_writer(dir.path())
            .expect("db")
            .execute_batch(
                "INSERT INTO event (id, name, slug, time_zone) VALUES (1, '27c3', '27c3', 'Europe/Berlin');
                 INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');
                 INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, known_since_ms)
                   VALUES (1, 1, 1, 'a', 'A', 1293476400000, 1293480000000, 0);",
            )
            .expect("schedule");
        Self { dir, clock, env }
    }

    fn write(&self, path: &str) {
        std::fs::write(self.dir.path().join(path), b"x").expect("written");
    }

    fn db(&self) -> Connection {
        open_reader(self.dir.path()).expect("reader")
    }

    fn paths(&self, sql: &str) -> Vec<String> {
        let db = self.db();
        let mut query = db.prepare(sql).expect("query");
        query.query_map([], |row| row.get(0)).expect("rows").map(|row| row.expect("row")).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_backup_comes_each_hour_and_not_more_often() {
    let place = Place::new();
    assert!(hourly(&place.env).expect("made").is_some(), "the first at once");
    for _ in 0..11 {
        place.clock.step(5 * MINUTE);
        assert_eq!(hourly(&place.env).expect("asked"), None);
    }
    place.clock.step(5 * MINUTE);
    assert!(hourly(&place.env).expect("made").is_some());
    place.clock.step(-3 * HOUR);
    assert!(hourly(&place.env).expect("made").is_some(), "a clock that was set back stops nothing");
    assert_eq!(list(&place.env).expect("listed").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_was_taped_since_the_backup_is_taken_in() {
    let place = Place::new();
    let name = |n: u32| format!("{DIR}/saal-1_2010-12-27_20-0{n}-00.000_000{n}.ts");
    place.write(&name(1));
    let mut db = open_writer(place.dir.path()).expect("db");
    recover::recover(&place.env, &mut db, &CancellationToken::new()).expect("recovered");
    hourly(&place.env).expect("made");
    place.write(&name(2));
    recover::recover(&place.env, &mut db, &CancellationToken::new()).expect("recovered");
    let known = "SELECT path FROM segment ORDER BY path";
    assert_eq!(place.paths(known), [name(1), name(2)]);
    place.write(&name(3));
    place.write("talks/27c3/2010-12-27_2000_saal-1_a.mkv");
    drop(db);
    let daemon = lock::take(place.dir.path()).expect("free");
    assert_eq!(restore(&place.env, None).expect_err("refused").kind, Kind::Busy);
    drop(daemon);
    let done = restore(&place.env, None).expect("restored");
    assert_eq!(done.recovery, Recovery { adopted: 2, ..Recovery::default() });
    assert_eq!(place.paths(known), [name(1), name(2), name(3)]);
    let aside = done.aside.expect("kept");
    let old = Connection::open(aside).expect("opened");
    let count: i64 = old.query_row("SELECT count(*) FROM segment", [], |row| row.get(0)).expect("read");
    assert_eq!(count, 2, "the replaced catalog is whole");
    assert_eq!(done.joined, 1);
    assert_eq!(place.paths("SELECT path FROM assembly"), ["talks/27c3/2010-12-27_2000_saal-1_a.mkv"]);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_backup_is_passed_over_and_a_catalog_that_is_gone_comes_back() {
    let place = Place::new();
    let sound = hourly(&place.env).expect("made").expect("made");
    place.clock.step(HOUR);
    let damaged = hourly(&place.env).expect("made").expect("made");
    std::fs::write(&damaged, b"no database at all".repeat(1000)).expect("written");
    for file in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(place.dir.path().join(file));
    }
    let refused = restore(&place.env, Some(&damaged)).expect_err("refused");
    assert_eq!(refused.kind, Kind::BadInput);
    assert!(!place.dir.path().join("catalog.db").exists(), "nothing was changed");
    let done = restore(&place.env, None).expect("restored");
    assert_eq!((&done.from, &done.aside), (&sound, &None));
    assert_eq!(done.skipped.len(), 1);
    assert_eq!(place.paths("SELECT name FROM event"), ["27c3"]);
    // By its name alone.
    let name = sound.file_name().map(Path::new).expect("a name");
    assert_eq!(restore(&place.env, Some(name)).expect("restored").from, sound);
}

#[tokio::test(start_paused = true)]
async fn without_a_backup_nothing_is_changed() {
    let place = Place::new();
    assert_eq!(restore(&place.env, None).expect_err("none").kind, Kind::NotFound);
    assert_eq!(place.paths("SELECT name FROM event"), ["27c3"]);
}
