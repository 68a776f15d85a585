//! Opting out on a real catalog and real files.

use std::fs;

use super::*;
use crate::app::library::assemble::tests::Site;
use crate::app::library::assemble::{AssembleOutcome, assemble_talk, no_progress};
use crate::app::library::prune::{PruneRequest, prune};

/// Names in a folder of the data directory.
fn names(site: &Site, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(site.env.data_dir.join(folder)).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn every_file_of_an_opted_out_talk_is_put_aside_and_of_no_other() {
    let site = Site::new();
    site.tape(-1.0, 21.5).await;
    let assemble = async || {
        let outcome = assemble_talk(&site.env, &site.reader, &site.writer, TalkId(7), false, no_progress()).await;
        outcome.expect("no failure")
    };
    assert!(matches!(assemble().await, AssembleOutcome::Made { .. }));
    // What stayed when the talk was joined anew, or moved; the last one's name is another talk's by now.
    for (path, talk) in [("old-before-1.mkv", 7), ("moved.mkv", 7), ("other.mkv", 7), ("other.mkv", 8)] {
        fs::write(site.env.data_dir.join("talks/27c3").join(path), path).expect("written");
        site.writer
            .call(move |db| {
                db.execute_batch(
                    "INSERT OR IGNORE INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, known_since_ms)
                     SELECT 8, 1, 1, 'y', 'Other', start_ms + 3600000, end_ms + 3600000, 0 FROM talk WHERE id = 7",
                )?;
                db.execute(
                    "INSERT INTO assembly (talk_id, path, bytes, sha256, duration_ms, made_ms, inputs, gone_ms)
                     VALUES (?1, 'talks/27c3/' || ?2, 1, zeroblob(32), 1, 0, zeroblob(32), iif(?1 = 8, NULL, 0))",
                    (talk, path),
                )?;
                Ok(())
            })
            .await
            .expect("rows");
    }
    // And something of that name is there from before.
    fs::create_dir(site.env.data_dir.join(QUARANTINE)).expect("made");
    fs::write(site.env.data_dir.join(QUARANTINE).join("moved.mkv"), "another").expect("written");
    let opt_out = |db: &rusqlite::Connection| Ok(db.execute("UPDATE talk SET opted_out = 1 WHERE id = 7", [])?);
    site.writer.call(opt_out).await.expect("written");
    for _ in 0..2 {
        assert!(matches!(assemble().await, AssembleOutcome::Nothing(_)));
        assert_eq!(site.files(), ["other.mkv"]);
        let aside = ["2010-12-27_2030_saal-1_we-come-in-peace.mkv", "moved-2.mkv", "moved.mkv", "old-before-1.mkv"];
        assert_eq!(names(&site, QUARANTINE), aside);
        let unnamed: Vec<_> = aside
            .iter()
            .map(|name| format!("{QUARANTINE}/{name}"))
            .filter(|path| !site.query(|db| crate::catalog::files::is_named(db, path).expect("read")))
            .collect();
        assert_eq!(unnamed, [format!("{QUARANTINE}/moved.mkv")], "the rows say where the files are");
        assert!(site.query(|db| assemblies::current(db, TalkId(7)).expect("read")).is_none());
    }
    let request = PruneRequest { dry_run: false, opted_out: true };
    prune(&site.env, &site.reader, &site.writer, request).await.expect("pruned");
    assert!(names(&site, QUARANTINE).is_empty());
    assert_eq!(site.files(), ["other.mkv"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_put_aside_is_tried_again() {
    let site = Site::new();
    site.tape(-1.0, 21.5).await;
    let assemble = || assemble_talk(&site.env, &site.reader, &site.writer, TalkId(7), false, no_progress());
    assert!(matches!(assemble().await, Ok(AssembleOutcome::Made { .. })));
    fs::write(site.env.data_dir.join(QUARANTINE), "in the way").expect("written");
    let opt_out = |db: &rusqlite::Connection| Ok(db.execute("UPDATE talk SET opted_out = 1 WHERE id = 7", [])?);
    site.writer.call(opt_out).await.expect("written");
    let failure = assemble().await.expect_err("it cannot");
    assert!(failure.message.contains("quarantine"), "{failure}");
    assert!(
        site.query(|db| crate::catalog::assembly_queue::stamp(db, TalkId(7)).expect("read")).is_some(),
        "on the list"
    );
    fs::remove_file(site.env.data_dir.join(QUARANTINE)).expect("removed");
    assert!(matches!(assemble().await, Ok(AssembleOutcome::Nothing(_))));
    assert_eq!(site.files(), Vec::<String>::new());
}

#[tokio::test]
async fn a_talk_that_is_opted_out_late_leaves_the_padding_of_the_files_beside_it() {
    let site = Site::new();
    site.sql(
        "UPDATE event SET post_padding_ms = 6000;
         UPDATE talk SET end_ms = start_ms + 10000;
         INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, known_since_ms)
           SELECT 8, 1, 1, 'y', 'Private', start_ms + 12000, start_ms + 18000, 0 FROM talk WHERE id = 7;",
    )
    .await;
    site.tape(-1.0, 21.5).await;
    let assemble = async |talk| {
        let outcome = assemble_talk(&site.env, &site.reader, &site.writer, TalkId(talk), false, no_progress()).await;
        outcome.expect("no failure")
    };
    let length = |outcome: &AssembleOutcome| match outcome {
        AssembleOutcome::Made { duration_ms, .. } => *duration_ms,
        other => panic!("{other:?}"),
    };
    let before = length(&assemble(7).await);
    assert!(before > 15_000, "with its padding: {before}");
    assemble(8).await;
    site.sql("UPDATE talk SET opted_out = 1 WHERE id = 8; DELETE FROM assembly_todo WHERE talk_id = 7;").await;
    assert!(matches!(assemble(8).await, AssembleOutcome::Nothing(_)));
    let queued = |talk| site.query(|db| assembly_queue::stamp(db, TalkId(talk)).expect("read")).is_some();
    assert!(queued(7), "the one beside it is to be made anew");
    let after = length(&assemble(7).await);
    // It begins at the keyframe a second before the talk.
    assert!(
        after < 13_200 && before - after > 3_500,
        "{after} of {before} ms: nothing of the slot that begins at 12 s"
    );
    // That is all: it is not made again and again.
    assert!(matches!(assemble(8).await, AssembleOutcome::Nothing(_)));
    assert!(!queued(7));
    assert!(matches!(assemble(7).await, AssembleOutcome::UpToDate(_)));
}
