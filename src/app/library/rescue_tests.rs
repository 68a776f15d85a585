//! A catalog that is damaged, empty or gone when the daemon begins.

use super::*;
use crate::catalog::backup::{Occasion, make};
use crate::catalog::{FILE_NAME, open_writer};
use crate::domain::settings::Settings;
use crate::domain::time::{HOUR, Ms};

/// A catalog with one talk, and a backup of it where `with_backup`; then with a second talk.
fn catalog(with_backup: bool) -> (tempfile::TempDir, Env) {
    let dir = tempfile::tempdir().expect("dir");
    let db = open_writer(dir.path()).expect("catalog");
    db.execute_batch(
        "INSERT INTO event (id, name, slug, time_zone) VALUES (1, 'e', 'e', 'UTC');
         INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'h', 'h');
         INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, known_since_ms) VALUES (1, 1, 1, 'a', 'first', 0, 1, 0);",
    )
    .expect("rows");
    if with_backup {
        make(&db, dir.path(), Occasion::Hourly, Ms(HOUR)).expect("a backup");
    }
    db.execute_batch(
        "INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, known_since_ms) VALUES (2, 1, 1, 'b', 'second', 0, 1, 0);",
    )
    .expect("rows");
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("checkpoint");
    let env = Env::real(dir.path().to_owned(), Settings::default());
    (dir, env)
}

fn talks(db: &rusqlite::Connection) -> i64 {
    db.query_row("SELECT count(*) FROM talk", [], |r| r.get(0)).expect("counted")
}

/// Spoils all pages but the first.
fn spoil(path: &std::path::Path) {
    let mut content = std::fs::read(path).expect("read");
    content.iter_mut().skip(4096).for_each(|byte| *byte ^= 0x5a);
    std::fs::write(path, content).expect("written");
}

#[test]
fn a_sound_catalog_is_left_alone() {
    let (_dir, env) = catalog(true);
    let (db, rescue) = open(&env).expect("opened");
    assert_eq!((talks(&db), rescue), (2, None));
}

#[test]
fn the_newest_sound_backup_takes_the_place_of_a_damaged_catalog() {
    let whole = |path: &std::path::Path| std::fs::write(path, "<html>".repeat(2000)).expect("written");
    let cut = |path: &std::path::Path| {
        let length = std::fs::metadata(path).expect("there").len();
        std::fs::OpenOptions::new().write(true).open(path).expect("open").set_len(length / 2).expect("cut");
    };
    let empty = |path: &std::path::Path| std::fs::write(path, "").expect("written");
    let gone = |path: &std::path::Path| std::fs::remove_file(path).expect("removed");
    for (what, damage) in [
        ("a page of HTML", &whole as &dyn Fn(&std::path::Path)),
        ("spoilt pages", &spoil),
        ("half of it", &cut),
        ("empty", &empty),
        ("gone", &gone),
    ] {
        let (dir, env) = catalog(true);
        // A newer backup that is of no use is passed over.
        let newer = dir.path().join(backup::FOLDER).join("catalog_2030-01-01_00-00-00.000Z_hourly.db");
        std::fs::write(newer, "no backup").expect("written");
        let path = dir.path().join(FILE_NAME);
        damage(&path);
        let damaged = std::fs::read(&path).ok();
        let (db, rescue) = open(&env).expect("opened");
        let rescue = rescue.unwrap_or_else(|| panic!("{what}: it was taken for sound"));
        assert_eq!(talks(&db), 1, "{what}");
        assert!(rescue.from.is_some() && rescue.describe().contains("backup"), "{what}: {}", rescue.describe());
        // What was there is still there.
        let kept = rescue.aside.as_ref().and_then(|aside| std::fs::read(aside).ok());
        assert_eq!(kept.map(|bytes| bytes.len()), damaged.map(|bytes| bytes.len()), "{what}");
        drop(db);
        let (db, again) = open(&env).expect("opened again");
        assert_eq!((talks(&db), again), (1, None), "{what}");
    }
}

#[test]
fn without_a_backup_a_new_catalog_begins_with_what_can_be_read() {
    let (dir, env) = catalog(false);
    let path = dir.path().join(FILE_NAME);
    std::fs::write(&path, "<html>".repeat(2000)).expect("written");
    let (db, rescue) = open(&env).expect("opened");
    let rescue = rescue.expect("it was damaged");
    assert_eq!((talks(&db), rescue.from.clone(), rescue.salvaged), (0, None, 0));
    assert!(rescue.aside.as_ref().is_some_and(|aside| aside.exists()), "{rescue:?}");
    assert!(rescue.describe().contains("import the schedule again"), "{}", rescue.describe());
}

#[test]
fn a_data_directory_that_never_had_a_catalog_has_lost_none() {
    let dir = tempfile::tempdir().expect("dir");
    let env = Env::real(dir.path().to_owned(), Settings::default());
    assert!(!is_gone(&env));
    assert_eq!(open(&env).expect("opened").1, None);
}
