//! How a daemon begins and ends, as far as no tape is needed for it.

use streamrip_lab::{PATIENCE, eventually};

use super::*;
use crate::app::support::clock::SystemClock;
use crate::domain::settings::Settings;

/// Recovery may have many gigabytes to read. Who stops the daemon then does not wait for that, and nobody may begin
/// beside it meanwhile.
#[tokio::test]
async fn a_recovery_that_nobody_waits_for_any_more_keeps_the_lock_until_it_has_stopped() {
    let dir = tempfile::tempdir().expect("dir");
    let db = catalog::open_writer(dir.path()).expect("catalog");
    db.execute_batch(
        "INSERT INTO event (id, name, slug, time_zone) VALUES (1, '27c3', '27c3', 'Europe/Berlin');
         INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');",
    )
    .expect("rows");
    let folder = dir.path().join("segments/27c3/saal-1/2010-12-27");
    std::fs::create_dir_all(&folder).expect("made");
    std::fs::write(folder.join("saal-1_2010-12-27_20-04-47.132_0001.ts"), b"unknown").expect("written");
    // It waits for the catalog as it would for a slow disk.
    db.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let env = Env {
        data_dir: dir.path().to_owned(),
        settings: Settings::default(),
        clock: Arc::new(SystemClock),
        engine: Arc::new(crate::media::engine::Ffmpeg),
    };
    // Recovery is begun by then.
    let shutdown = tokio::task::yield_now();
    let seen = watch::channel(Status::default()).0;
    let outcome = run(&env, RunOptions::default(), seen, shutdown).await.expect("stopped");
    assert_eq!(outcome, Outcome::Stopped);
    assert!(lock::is_taken(dir.path()), "another daemon could begin beside it");
    db.execute_batch("ROLLBACK").expect("free");
    eventually("the lock to be free", PATIENCE, || !lock::is_taken(dir.path())).await;
    let segments: i64 = db.query_row("SELECT count(*) FROM segment", [], |row| row.get(0)).expect("read");
    assert_eq!(segments, 0, "it had stopped before it took the file in");
}
