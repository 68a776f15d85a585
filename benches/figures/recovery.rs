//! Recovery of a large data directory in which nothing was open, and looking at all of it.

use std::sync::Arc;

use rusqlite::params;
use streamrip::app::library::recover::{Recovery, recover};
use streamrip::app::library::verify::{VerifyRequest, verify};
use streamrip::app::support::clock::SystemClock;
use streamrip::app::support::env::Env;
use streamrip::catalog::open_writer;
use streamrip::domain::settings::Settings;
use streamrip::media::CancellationToken;

use crate::measure::{Figure, Reached, median, seconds};

const RUNS: usize = 5;
const SEGMENTS: i64 = 100_000;
/// 4 halls, 25 days, 1,000 files a folder.
const HALLS: i64 = 4;
const PER_FOLDER: i64 = 1000;

pub fn figures() -> Vec<Figure> {
    let dir = tempfile::tempdir().expect("a directory");
    let mut db = open_writer(dir.path()).expect("a catalog");
    make(dir.path(), &mut db);
    let env = Env {
        data_dir: dir.path().to_owned(),
        settings: Settings::default(),
        clock: Arc::new(SystemClock),
        engine: Arc::new(streamrip::media::engine::Ffmpeg),
    };
    let nothing = || ();
    let walk = median(RUNS, nothing, |()| {
        let found = std::process::Command::new("find").arg(dir.path()).args(["-type", "f"]).output().expect("find");
        assert!(found.stdout.len() > 1000);
    });
    let recovered = median(RUNS, nothing, |()| {
        assert_eq!(recover(&env, &mut db, &CancellationToken::new()).expect("recovered"), Recovery::default());
    });
    let looked = median(RUNS, nothing, |()| {
        let request = VerifyRequest { fast: true, repair: false, deep: false };
        let done = verify(&env, request, &mut |_, _| ()).expect("verified");
        assert!(done.is_sound() && done.segments == 100_000, "{done:?}");
    });
    vec![
        Figure {
            what: "recovery of 100,000 segments, nothing open".to_owned(),
            measured: seconds(recovered),
            compared_with: format!("`find -type f` there: {}", seconds(walk)),
            limit: "5 s",
            reached: Reached::of(recovered <= std::time::Duration::from_secs(5)),
        },
        Figure {
            what: "`verify --fast` of 100,000 segments".to_owned(),
            measured: seconds(looked),
            compared_with: String::new(),
            limit: "",
            reached: Reached::Unasked,
        },
    ]
}

/// Rows and their files of one byte.
fn make(data_dir: &std::path::Path, db: &mut rusqlite::Connection) {
    db.pragma_update(None, "synchronous", "off").expect("a pragma");
    let tx = db.transaction().expect("a transaction");
    tx.execute("INSERT INTO event (id, name, slug, time_zone) VALUES (1, 'large', 'large', 'UTC')", [])
        .expect("an event");
    for hall in 1..=HALLS {
        tx.execute("INSERT INTO hall (id, event_id, name, slug) VALUES (?1, 1, 'Saal ' || ?1, 'saal-' || ?1)", [hall])
            .expect("a hall");
    }
    for n in 0..SEGMENTS {
        let (hall, day) = (n / PER_FOLDER % HALLS + 1, n / PER_FOLDER / HALLS + 1);
        let folder = format!("segments/large/saal-{hall}/2020-01-{day:02}");
        if n % PER_FOLDER == 0 {
            std::fs::create_dir_all(data_dir.join(&folder)).expect("a folder");
        }
        let path = format!("{folder}/saal-{hall}_2020-01-{day:02}_10-00-00.000_{n:04}.ts");
        std::fs::write(data_dir.join(&path), b"x").expect("a file");
        tx.prepare_cached(
            "INSERT INTO segment (uuid, hall_id, path, container, start_ms, end_ms, opened_ms, closed_ms, bytes, sha256,
               media_ms, verdict, end_reason)
             VALUES (printf('00000000-0000-7000-8000-a%011d', ?1), ?2, ?3, 'mpegts', ?1, ?1 + 1, ?1, ?1 + 1, 1, zeroblob(32), 1, 'media', 'eof')",
        )
        .expect("a statement")
        .execute(params![n, hall, path])
        .expect("a segment");
    }
    tx.commit().expect("a commit");
}
