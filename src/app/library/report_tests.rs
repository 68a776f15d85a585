//! What a list says, and which talks it holds.

use super::*;
use crate::catalog::open_writer;
use crate::domain::time::HOUR;

#[test]
fn of_what_is_shown_to_others_nothing_is_opted_out() {
    let dir = tempfile::tempdir().expect("dir");
    let db = open_writer(dir.path()).expect("catalog");
    db.execute_batch(
        "INSERT INTO event (id, name, slug, time_zone) VALUES (1, '27c3', '27c3', 'UTC');
         INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');
         INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, opted_out, known_since_ms)
           VALUES (1, 1, 1, 'a', 'Opening', 0, 1000, 0, 0), (2, 1, 1, 'b', 'Not to be seen', 1000, 2000, 1, 0);",
    )
    .expect("rows");
    let env = Env::real(dir.path().to_owned(), Settings::default());
    let of = |shown_only| -> Vec<i64> {
        let selection = Selection { shown_only, ..Selection::default() };
        select(&db, &env, &selection).expect("views").iter().map(|view| view.talk.id.0).collect()
    };
    assert_eq!(of(false), [1, 2], "to whom it belongs");
    assert_eq!(of(true), [1]);
}

/// A hall of ten talks an hour apart, with connections, segments, a seam, a slept hour, files, and an opt-out.
const A_DAY: &str = "
    INSERT INTO event (id, name, slug, time_zone, pre_padding_ms, post_padding_ms) VALUES (1, '27c3', '27c3', 'UTC', 300000, 900000);
    INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1'), (2, 1, 'Saal 2', 'saal-2');
    INSERT INTO stream (id, hall_id, url, priority, origin, added_ms) VALUES (1, 1, 'http://h/1', 0, 'command', 0);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
      INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, opted_out, known_since_ms)
        SELECT i, 1, 1 + i % 2, 'k' || i, 'Talk ' || i, i * 1800000, i * 1800000 + 2700000, i % 7 = 0, 0 FROM n;
    INSERT INTO daemon_run (id, uuid, version, pid, started_ms, heartbeat_ms, stopped_ms)
      VALUES (1, 'a', '0', 1, 0, 9000000, 9000000), (2, 'b', '0', 1, 10000000, 99000000, 99000000);
    INSERT INTO trouble (kind, from_ms, until_ms, message) VALUES ('host-asleep', 12000000, 12600000, ''), ('clock-set', 30000000, 29000000, '');
    INSERT INTO trouble (hall_id, kind, from_ms, until_ms, message) VALUES (1, 'disk-full', 20000000, 21000000, '');
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
      INSERT INTO connection (id, uuid, hall_id, stream_id, source, opened_ms, first_byte_ms, closed_ms, bytes, end_reason)
        SELECT i, 'c' || i, 1, 1, 'http', i * 900000, i * 900000 + 400, i * 900000 + 700000, 100, 'eof' FROM n;
    INSERT INTO segment (id, uuid, hall_id, connection_id, path, container, start_ms, end_ms, opened_ms, closed_ms, bytes, sha256, verdict, end_reason)
      SELECT id, printf('00000000-0000-7000-8000-%012d', id), 1, id, 'segments/' || id, 'mpegts', first_byte_ms, closed_ms, opened_ms, closed_ms,
        100, zeroblob(32), 'unchecked', 'eof' FROM connection WHERE id % 3;
    UPDATE segment SET lost_bytes = 5 WHERE id IN (22, 23);
    INSERT INTO seam (first_id, second_id, seq, kind, shift_ms, shared_ms, missing_ms, matched_packets, method, cuts)
      VALUES (4, 5, 0, 'overlap', 0, 100, 0, 3, 'packets', '[]');
    INSERT INTO assembly (talk_id, path, bytes, sha256, duration_ms, made_ms, inputs, gone_ms, gone_reason)
      VALUES (2, 'talks/a.mkv', 1, zeroblob(32), 1, 5, zeroblob(32), 6, 'the talk was moved; the file stays'),
             (2, 'talks/b.mkv', 1, zeroblob(32), 1, 6, zeroblob(32), NULL, NULL),
             (4, 'talks/c.mkv', 1, zeroblob(32), 1, 6, zeroblob(32), 7, 'pruned: old'),
             (6, 'talks/d.mkv', 1, zeroblob(32), 1, 6, zeroblob(32), 7, 'replaced'),
             (6, 'talks/e.mkv', 1, zeroblob(32), 1, 7, zeroblob(32), NULL, NULL);";

#[test]
fn a_talk_in_a_list_is_told_as_it_is_told_alone() {
    let dir = tempfile::tempdir().expect("dir");
    let db = open_writer(dir.path()).expect("catalog");
    db.execute_batch(A_DAY).expect("rows");
    let env = Env::real(dir.path().to_owned(), Settings::default());
    let all = select(&db, &env, &Selection { with_details: true, ..Selection::default() }).expect("views");
    assert_eq!(all.len(), 20);
    for view in &all {
        let alone = by_id(&db, &env, view.talk.id.0).expect("a talk");
        assert_eq!(format!("{:#?}", (&view.report, view)), format!("{:#?}", (&alone.report, &alone)));
    }
    let partial = all.iter().filter(|v| v.report.state == TalkState::Partial).count();
    assert!(partial > 5, "much was recorded: {partial}");
    let causes: std::collections::BTreeSet<String> =
        all.iter().flat_map(|v| &v.report.gaps).map(|gap| gap.cause.to_string()).collect();
    for cause in ["eof", "host-asleep", "daemon-not-running", "opted-out", "no-stream", "disk-full"] {
        assert!(causes.contains(cause), "{cause}: {causes:?}");
    }
    let of = |id: i64| all.iter().find(|v| v.talk.id.0 == id).expect("a talk");
    let paths: Vec<_> = of(2).earlier.iter().map(|e| e.file.path.to_string_lossy().into_owned()).collect();
    assert_eq!(paths, ["talks/a.mkv"]);
    assert!(of(4).pruned.is_some() && of(6).assembly.is_some() && of(6).earlier.is_empty());
}

#[tokio::test(start_paused = true)]
async fn talks_are_found_by_words_and_by_day() {
    let dir = tempfile::tempdir().expect("dir");
    let db = open_writer(dir.path()).expect("catalog");
    db.execute_batch(
        "INSERT INTO event (id, name, slug, time_zone) VALUES (1, 'a', 'a', 'UTC'), (2, 'b', 'b', 'Pacific/Auckland');
         INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1'), (2, 2, 'Saal 1', 'saal-1');",
    )
    .expect("rows");
    let mut env = Env::real(dir.path().to_owned(), Settings::default());
    // 2024-06-01 20:00 UTC is 08:00 of the next day in Auckland.
    let now = Ms(1_717_272_000_000);
    env.clock = Arc::new(crate::app::support::clock::TestClock::starting_at(now));
    let mut insert = db
        .prepare(
            "INSERT INTO talk (id, event_id, hall_id, match_key, title, speakers, start_ms, end_ms, known_since_ms)
             VALUES (?1, ?2, ?2, ?1, ?3, json_array(?4), ?5, ?5, 0)",
        )
        .expect("a statement");
    for (id, event, title, speaker, hours) in [
        (1, 1, "Käse \u{fc}berall", "Ada Lovelace", 0),
        (2, 1, "Cheese", "Grace Hopper", 9),
        (3, 1, "Later", "Ada Byron", 11),
        (4, 2, "Kia ora", "Ada Lovelace", 0),
    ] {
        insert.execute((id, event, title, speaker, now.plus(hours * HOUR).0)).expect("a talk");
    }
    let of = |day: Option<&str>, search: Option<&str>| -> Vec<i64> {
        let day = day.map(|day| day.parse().expect("a day"));
        let selection = Selection { day, search: search.map(str::to_owned), ..Selection::default() };
        select(&db, &env, &selection).expect("views").iter().map(|view| view.talk.id.0).collect()
    };
    assert_eq!(of(Some("today"), None), [1, 4, 2], "05:00 belongs to the evening before");
    assert_eq!(of(Some("tomorrow"), None), [3]);
    assert_eq!(of(Some("2024-06-02"), None), [4, 3]);
    assert_eq!(of(None, Some("ADA")), [1, 4, 3]);
    assert_eq!(of(None, Some("KÄSE ada")), [1]);
    assert_eq!(of(Some("today"), Some("cheese")), [2]);
    assert!(of(None, Some("nothing")).is_empty());
    assert!("yesteryear".parse::<Day>().is_err());
}
