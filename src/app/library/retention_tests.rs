use super::*;
use crate::app::library::assemble::tests::Site;
use crate::app::library::assemble::{AssembleOutcome, assemble_talk, no_progress};
use crate::app::library::report;
use crate::domain::settings::Prune;
use crate::domain::time::{HOUR, MINUTE};

const DAY: i64 = 24 * HOUR;

async fn assemble(site: &Site, force: bool) -> AssembleOutcome {
    let outcome = assemble_talk(&site.env, &site.reader, &site.writer, TalkId(7), force, no_progress()).await;
    outcome.expect("no failure")
}

/// What goes with these settings, as paths.
async fn goes(site: &Site, segments: Option<i64>, files: Option<KeepAssemblies>, dry_run: bool) -> Vec<String> {
    let mut env = site.env.clone();
    env.settings.prune = Prune { keep_segments_ms: segments, keep_assemblies: files, ..Prune::default() };
    let gone = retain(&env, &site.reader, &site.writer, dry_run).await.expect("pruned");
    gone.into_iter().map(|p| format!("{} ({})", p.path.display(), p.reason)).collect()
}

fn recordings(site: &Site) -> usize {
    std::fs::read_dir(site.env.data_dir.join("segments")).into_iter().flatten().count()
}

#[tokio::test]
async fn segments_go_when_they_are_old_and_their_talks_file_is_sound() {
    let site = Site::new();
    site.tape(0.0, 9.0).await;
    site.tape(7.0, 20.0).await;
    site.clock.step(8 * DAY);
    assert_eq!(goes(&site, Some(7 * DAY), None, false).await, [""; 0], "nobody joined them");
    assert!(matches!(assemble(&site, false).await, AssembleOutcome::Made { .. }));
    assert_eq!(goes(&site, Some(7 * DAY), None, false).await, [""; 0], "their file is new");
    site.clock.step(7 * DAY);
    assert_eq!(goes(&site, None, None, false).await, [""; 0], "off by default");
    let before = site.query(|db| report::one(db, &site.env, "7")).expect("talk");
    let listed = goes(&site, Some(7 * DAY), None, true).await;
    assert!(listed.len() == 2 && listed[0].ends_with("(older than 7days, in the file of talk 7)"), "{listed:?}");
    assert_eq!(recordings(&site), 2, "a dry run deletes nothing");

    // One bit is another one: the segments are what there is.
    let file = site.env.data_dir.join(&before.assembly.as_ref().expect("a file").path);
    let sound = std::fs::read(&file).expect("read");
    let mut damaged = sound.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&file, &damaged).expect("written");
    assert_eq!(goes(&site, Some(7 * DAY), None, false).await, [""; 0]);
    std::fs::write(&file, &sound).expect("written");
    // Something changed since it was joined: perhaps the file is wrong.
    site.sql("UPDATE talk SET title = title").await;
    assert_eq!(goes(&site, Some(7 * DAY), None, false).await, [""; 0]);
    assert!(matches!(assemble(&site, false).await, AssembleOutcome::UpToDate(_)));

    assert_eq!(goes(&site, Some(7 * DAY), None, false).await, listed);
    assert_eq!(recordings(&site), 0);
    assert_eq!(goes(&site, Some(7 * DAY), None, false).await, [""; 0], "nothing is left to do");
    // The talk is what it was.
    assert!(matches!(assemble(&site, false).await, AssembleOutcome::Kept(_)));
    let after = site.query(|db| report::one(db, &site.env, "7")).expect("talk");
    assert_eq!(after.report, before.report);
    assert_eq!(after.assembly.map(|a| (a.path, a.sha256)), before.assembly.map(|a| (a.path, a.sha256)));
    assert!(after.segments.iter().all(|s| s.verdict == Verdict::Pruned && s.bytes > 0 && s.verdict_reason.is_some()));
}

#[tokio::test]
async fn a_segment_that_another_talk_needs_stays() {
    let site = Site::new();
    site.tape(0.0, 20.0).await;
    assemble(&site, false).await;
    // It begins while the first one lasts, and has no file yet.
    site.sql(
        "INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, known_since_ms)
           SELECT 8, 1, 1, 'y', 'Next', start_ms + 15000, end_ms + 15000, 0 FROM talk WHERE id = 7;
         DELETE FROM assembly_todo",
    )
    .await;
    site.clock.step(DAY);
    assert_eq!(goes(&site, Some(0), None, true).await, [""; 0]);
    site.sql("UPDATE talk SET status = 'cancelled' WHERE id = 8; DELETE FROM assembly_todo").await;
    assert_eq!(goes(&site, Some(0), None, true).await.len(), 1);
    // What was taped beyond the talk is in no file.
    site.sql("UPDATE assembly_part SET wall_end_ms = wall_end_ms - 5000").await;
    assert_eq!(goes(&site, Some(0), None, true).await, [""; 0]);
}

#[tokio::test]
async fn a_file_that_was_old_enough_is_not_made_again() {
    let site = Site::new();
    site.tape(-1.0, 9.0).await;
    assemble(&site, false).await;
    let keep = Some(KeepAssemblies::Age(30 * DAY));
    site.clock.step(29 * DAY);
    assert_eq!(goes(&site, None, keep, false).await, [""; 0]);
    let before = site.query(|db| report::one(db, &site.env, "7")).expect("talk");
    let path = &before.assembly.as_ref().expect("a file").path;
    let made = std::fs::read(site.env.data_dir.join(path)).expect("read");
    site.clock.step(2 * DAY);
    let listed = goes(&site, None, keep, true).await;
    assert!(listed.len() == 1 && listed[0].ends_with(".mkv (older than 30days)"), "{listed:?}");
    assert_eq!(site.files().len(), 1, "a dry run deletes nothing");
    // The user's hook has not taken it.
    let mut hooked = site.env.clone();
    hooked.settings.notify.on_talk_done = vec!["upload".to_owned()];
    hooked.settings.prune.keep_assemblies = keep;
    site.sql("UPDATE assembly SET told_ms = NULL").await;
    assert_eq!(retain(&hooked, &site.reader, &site.writer, true).await.expect("looked"), []);
    site.sql("UPDATE assembly SET told_ms = 1").await;
    assert_eq!(retain(&hooked, &site.reader, &site.writer, true).await.expect("looked").len(), 1);

    assert_eq!(goes(&site, None, keep, false).await, listed);
    assert!(site.files().is_empty());
    assert_eq!(goes(&site, None, keep, false).await, [""; 0]);
    assert_eq!(recordings(&site), 1, "what no file holds stays");
    assert_eq!(goes(&site, Some(0), None, true).await, [""; 0]);

    // Whatever puts it on the list again.
    site.sql("UPDATE talk SET title = 'New'").await;
    assert!(matches!(assemble(&site, false).await, AssembleOutcome::Pruned(_)));
    let view = site.query(|db| report::one(db, &site.env, "7")).expect("talk");
    assert_eq!(view.report, before.report);
    assert!(view.assembly.is_none() && view.pruned.as_ref().is_some_and(|p| p.reason == "older than 30days"));
    assert!(crate::app::library::json::talk(&view)["assembly_pruned_at"].is_string());
    // A crash between row and file.
    let left = site.env.data_dir.join(&before.assembly.expect("a file").path);
    std::fs::write(&left, &made).expect("written");
    assert_eq!(goes(&site, None, None, false).await, [""; 0]);
    assert_eq!(goes(&site, None, keep, false).await.len(), 1);
    assert!(!left.exists());
    // What somebody else puts there is not ours to delete, whatever its size.
    for other in [made.iter().map(|byte| !byte).collect(), b"another one".to_vec()] {
        std::fs::write(&left, other).expect("written");
        assert_eq!(goes(&site, None, keep, false).await, [""; 0]);
    }
    std::fs::remove_file(&left).expect("removed");

    // Only on request, or where there is something new.
    assert!(matches!(assemble(&site, true).await, AssembleOutcome::Made { .. }));
    assert_eq!(goes(&site, None, Some(KeepAssemblies::Total(1 << 40)), false).await, [""; 0]);
    assert_eq!(goes(&site, None, Some(KeepAssemblies::Total(1)), false).await, [""; 0], "the newest one stays");
    site.sql(
        "INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, known_since_ms)
           SELECT 8, 1, 1, 'y', 'Next', end_ms + 3600000, end_ms + 7200000, 0 FROM talk WHERE id = 7;
         INSERT INTO assembly (talk_id, path, bytes, sha256, duration_ms, made_ms, inputs, told_ms)
           SELECT 8, 'talks/27c3/next.mkv', 5, sha256, 1, made_ms + 1, inputs, 1 FROM assembly WHERE gone_ms IS NULL;
         DELETE FROM assembly_todo WHERE talk_id = 8",
    )
    .await;
    let gone = goes(&site, None, Some(KeepAssemblies::Total(1)), false).await;
    assert!(gone.len() == 1 && gone[0].contains("_new.mkv (the oldest of more than"), "{gone:?}");
    assert!(matches!(assemble(&site, false).await, AssembleOutcome::Pruned(_)));
    site.tape(10.0, 20.0).await;
    let now = site.env.clock.now().plus(MINUTE).0;
    let came = async |column: &'static str| {
        let sql = format!("UPDATE segment SET {column} = ?1 WHERE id = 2");
        site.writer.call(move |db| Ok(db.execute(&sql, [now]).map(drop)?)).await.expect("sql");
    };
    // The tape that held it went on long after the talk, and ends now: nothing of the talk is new.
    came("closed_ms").await;
    assert!(matches!(assemble(&site, false).await, AssembleOutcome::Pruned(_)));
    came("opened_ms").await;
    assert!(matches!(assemble(&site, false).await, AssembleOutcome::Made { .. }));
}
