//! A large catalog, made by SQL.

use std::fs;
use std::path::Path;

use rusqlite::params;
use streamrip::catalog::open_writer;

/// Talks of the catalog.
pub const TALKS: i64 = 10_000;
/// Segments of each talk: a bad day's worth of reconnects, 30 s each.
pub const SEGMENTS_PER_TALK: i64 = 100;
/// Halls; each has 25 talks a day.
const HALLS: i64 = 4;
const TALKS_PER_DAY: i64 = 25;
const DAY_MS: i64 = 86_400_000;
const TALK_MS: i64 = 50 * 60_000;

/// 2020-01-01 00:00 UTC: the first day.
const FIRST_DAY_MS: i64 = 1_577_836_800_000;

/// A day in the middle, for `--day`.
pub const SOME_DAY: &str = "2020-02-20";

/// Fills `data_dir` with 10,000 past talks in 4 halls over 100 days, all recorded in 100 segments and
/// assembled. The files themselves are not there: see [`make_files`].
pub fn make(data_dir: &Path) {
    let mut db = open_writer(data_dir).expect("a catalog");
    db.pragma_update(None, "synchronous", "off").expect("a pragma");
    let tx = db.transaction().expect("a transaction");
    tx.execute("INSERT INTO event (id, name, slug, time_zone) VALUES (1, 'large', 'large', 'UTC')", [])
        .expect("an event");
    for hall in 1..=HALLS {
        tx.execute("INSERT INTO hall (id, event_id, name, slug) VALUES (?1, 1, 'Saal ' || ?1, 'saal-' || ?1)", [hall])
            .expect("a hall");
        tx.execute(
            "INSERT INTO stream (hall_id, url, priority, origin, added_ms) VALUES (?1, 'http://127.0.0.1:9/' || ?1, 0, 'halls-file', ?2)",
            [hall, FIRST_DAY_MS],
        )
        .expect("a stream");
    }
    {
        let mut talk = tx
            .prepare(
                "INSERT INTO talk (id, event_id, hall_id, match_key, uid, title, speakers, start_ms, end_ms, known_since_ms)
                 VALUES (?1, 1, ?2, 'uid:' || ?1, ?1 || '@large', 'Talk number ' || ?1, '[\"A. Speaker\"]', ?3, ?4, ?5)",
            )
            .expect("a statement");
        let mut connection = tx
            .prepare(
                "INSERT INTO connection (id, uuid, hall_id, source, opened_ms, first_byte_ms, closed_ms, bytes, end_reason)
                 VALUES (?1, printf('00000000-0000-7000-8000-c%011d', ?1), ?2, 'mplayer', ?3, ?3 + 400, ?4, 7500000, 'eof')",
            )
            .expect("a statement");
        let mut segment = tx
            .prepare(
                "INSERT INTO segment (id, uuid, hall_id, connection_id, path, container, start_ms, end_ms, opened_ms, closed_ms,
                   bytes, sha256, media_ms, verdict, end_reason)
                 VALUES (?1, printf('00000000-0000-7000-8000-a%011d', ?1), ?2, ?1, 'segments/large/saal-' || ?2 || '/' || ((?1 - 1) / 100) || '/' || ?1 || '.ts', 'mpegts', ?3, ?4, ?3, ?4,
                   7500000, zeroblob(32), ?4 - ?3, 'media', 'eof')",
            )
            .expect("a statement");
        let mut span = tx
            .prepare("INSERT INTO span (segment_id, seq, media_start_ms, media_end_ms, offset_ms) VALUES (?1, 0, 0, ?3 - ?2, ?2)")
            .expect("a statement");
        let mut assembly = tx
            .prepare(
                "INSERT INTO assembly (talk_id, path, bytes, sha256, duration_ms, made_ms, inputs)
                 VALUES (?1, 'talks/large/' || ?1 || '.mkv', 750000000, zeroblob(32), ?2, ?3, zeroblob(32))",
            )
            .expect("a statement");
        for id in 1..=TALKS {
            let hall = (id - 1) % HALLS + 1;
            let turn = (id - 1) / HALLS;
            let start = FIRST_DAY_MS + turn / TALKS_PER_DAY * DAY_MS + turn % TALKS_PER_DAY * (TALK_MS + 5 * 60_000);
            talk.execute(params![id, hall, start, start + TALK_MS, FIRST_DAY_MS]).expect("a talk");
            for n in 0..SEGMENTS_PER_TALK {
                let segment_id = (id - 1) * SEGMENTS_PER_TALK + n + 1;
                let (from, to) =
                    (start + n * TALK_MS / SEGMENTS_PER_TALK, start + (n + 1) * TALK_MS / SEGMENTS_PER_TALK - 20);
                connection.execute(params![segment_id, hall, from, to]).expect("a connection");
                segment.execute(params![segment_id, hall, from, to]).expect("a segment");
                span.execute(params![segment_id, from, to]).expect("a span");
            }
            assembly.execute(params![id, TALK_MS, start + TALK_MS]).expect("an assembly");
        }
    }
    tx.execute("DELETE FROM assembly_todo", []).expect("nothing to do");
    tx.commit().expect("a commit");
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA optimize;").expect("a checkpoint");
}

/// Makes the files of the catalog, empty: a daemon looks whether they are there, and no further.
pub fn make_files(data_dir: &Path) {
    for id in 1..=TALKS {
        let hall = (id - 1) % HALLS + 1;
        let folder = data_dir.join(format!("segments/large/saal-{hall}/{}", id - 1));
        fs::create_dir_all(&folder).expect("a folder");
        for n in 0..SEGMENTS_PER_TALK {
            let segment_id = (id - 1) * SEGMENTS_PER_TALK + n + 1;
            fs::File::create(folder.join(format!("{segment_id}.ts"))).expect("a file");
        }
    }
    let talks = data_dir.join("talks/large");
    fs::create_dir_all(&talks).expect("a folder");
    for id in 1..=TALKS {
        fs::File::create(talks.join(format!("{id}.mkv"))).expect("a file");
    }
}
