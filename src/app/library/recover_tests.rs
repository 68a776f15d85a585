use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::*;
use crate::app::support::clock::SystemClock;
use crate::catalog::segments::{self, NewConnection};
use crate::catalog::{open_in_memory, open_writer};
use crate::domain::ids::{HallId, StreamId};
use crate::domain::interval::Interval;
use crate::domain::segment::{Container, EndReason, Mark, Verdict};
use crate::domain::settings::Settings;

const DIR: &str = "segments/27c3/saal-1/2010-12-27";

struct Place {
    dir: tempfile::TempDir,
    env: Env,
    db: Db,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::create_dir_all(dir.path().join(DIR)).expect("made");
        let db = open_in_memory().expect("db");
        db.execute_batch(
            "INSERT INTO event (id, name, slug, time_zone) VALUES (1, '27c3', '27c3', 'Europe/Berlin');
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');
             INSERT INTO stream (id, hall_id, url, priority, origin, added_ms) VALUES (1, 1, 'http://h.example/x', 0, 'command', 0);",
        )
        .expect("schedule");
        let env = Env {
            data_dir: dir.path().to_owned(),
            settings: Settings::default(),
            clock: Arc::new(SystemClock),
            engine: Arc::new(crate::media::engine::Ffmpeg),
        };
        Self { dir, env, db }
    }

    fn write(&self, name: &str, content: &[u8]) -> String {
        let path = format!("{DIR}/{name}");
        std::fs::write(self.dir.path().join(&path), content).expect("written");
        path
    }

    /// An open connection with an open segment, as a crash leaves them.
    fn open(&self, path: &str, process: Option<(u32, u64)>) {
        let (connection, segment) = (Uuid::now_v7(), Uuid::now_v7());
        let at = Ms(1_293_476_687_132);
        let new = NewConnection {
            uuid: connection,
            hall: HallId(1),
            stream: StreamId(1),
            daemon_run: None,
            source: "mplayer",
            process,
            at,
        };
        segments::open_connection(&self.db, &new).expect("connection");
        segments::open_segment(&self.db, segment, Some(connection), HallId(1), Path::new(path), Container::MpegTs, at)
            .expect("segment");
        segments::progress(&self.db, segment, &[Mark { at: at.plus(2000), offset: 3 }], 3).expect("progress");
    }

    fn recover(&mut self) -> Recovery {
        recover(&self.env, &mut self.db, &CancellationToken::new()).expect("recovered")
    }

    fn segments(&self) -> Vec<crate::domain::segment::Segment> {
        segments::segments_of_hall(&self.db, HallId(1), Interval::new(Ms(0), Ms(i64::MAX))).expect("read")
    }
}

/// Started with a group of its own, as sources are, and ready: what it does at TERM is settled.
fn survivor(script: &str) -> (std::process::Child, ProcessId) {
    use std::io::Read as _;
    use std::os::unix::process::CommandExt as _;
    let mut child = std::process::Command::new("sh")
        .args(["-c", script])
        .process_group(0)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("started");
    child.stdout.take().expect("a pipe").read_exact(&mut [0]).expect("ready");
    let start_ticks = crate::source::child::start_ticks(child.id()).expect("it runs");
    let process = ProcessId { pid: child.id(), start_ticks };
    (child, process)
}

#[test]
fn a_source_that_outlived_its_daemon_is_ended_and_a_stranger_with_its_number_is_not() {
    let mut place = Place::new();
    let (mut polite, first) = survivor("echo; exec sleep 1000");
    let (mut deaf, second) = survivor("trap '' TERM; echo; while :; do sleep 1000; done");
    let (mut stranger, third) = survivor("echo; exec sleep 1000");
    for (name, process) in [("a", first), ("b", second)] {
        place.open(&place.write(&format!("{name}.ts"), b"abc"), Some((process.pid, process.start_ticks)));
    }
    // The number of one of ours has become another's.
    place.open(&place.write("c.ts", b"abc"), Some((third.pid, third.start_ticks + 1)));
    // Nobody waits for them here either, as in a container whose first process does not.
    assert_eq!(place.recover().ended, 2);
    assert!(!is_running(first) && !is_running(second) && is_running(third));
    stranger.kill().expect("it lives");
    for child in [&mut polite, &mut deaf, &mut stranger] {
        child.wait().expect("it was ours");
    }
}

#[test]
fn what_a_crash_left_open_is_closed_from_disk_and_a_second_run_does_nothing() {
    let mut place = Place::new();
    let path = place.write("saal-1_2010-12-27_20-04-47.132_0001.ts", b"abcdef");
    place.open(&path, None);
    let done = place.recover();
    assert_eq!(done, Recovery { closed: 1, ..Recovery::default() });
    let segment = &place.segments()[0];
    assert_eq!((segment.verdict, segment.bytes, segment.end_reason), (Verdict::Unchecked, 6, Some(EndReason::Crash)));
    assert_eq!(segment.sha256, Some(Sha256::digest(b"abcdef").into()));
    assert_eq!(segment.at.len_ms(), 2000, "its last mark: the file's time is years away");
    let open: i64 =
        place.db.query_row("SELECT count(*) FROM connection WHERE closed_ms IS NULL", [], |r| r.get(0)).expect("count");
    assert_eq!(open, 0);
    assert_eq!(place.recover(), Recovery::default());
}

#[test]
fn a_row_without_a_file_is_lost_and_a_file_that_comes_back_is_found() {
    let mut place = Place::new();
    let path = place.write("saal-1_2010-12-27_20-04-47.132_0001.ts", b"abcdef");
    place.open(&path, None);
    place.open(&format!("{DIR}/never.ts"), None);
    assert_eq!(place.recover().closed, 2);
    let full = place.dir.path().join(&path);
    std::fs::rename(&full, place.dir.path().join("aside")).expect("moved");
    assert_eq!(place.recover().lost, 1);
    std::fs::rename(place.dir.path().join("aside"), &full).expect("moved back");
    assert_eq!(place.recover(), Recovery { found: 1, ..Recovery::default() });
}

#[test]
fn files_without_a_row_are_adopted_into_hall_and_time() {
    let mut place = Place::new();
    let mut ts = Vec::new();
    for _ in 0..50 {
        ts.push(0x47);
        ts.resize(ts.len() + 187, 0);
    }
    place.write("saal-1_2010-12-27_20-04-47.132_0001.ts", &ts);
    place.write("no time in this name.ts", b"x");
    std::fs::create_dir_all(place.dir.path().join("segments/other/hall/2010-12-27")).expect("made");
    std::fs::write(place.dir.path().join("segments/other/hall/2010-12-27/hall_2010-12-27_20-04-47.132_0001.ts"), b"x")
        .expect("written");
    assert_eq!(place.recover(), Recovery { adopted: 1, ..Recovery::default() });
    let all = place.segments();
    assert_eq!(all.len(), 1);
    // 20:04:47.132 in Berlin, winter.
    assert_eq!(all[0].opened.rfc3339(chrono_tz::Tz::UTC), "2010-12-27T19:04:47.132Z");
    assert_eq!(all[0].container, Container::MpegTs);
    assert_eq!(place.recover(), Recovery::default());
    assert!(place.dir.path().join(DIR).join("no time in this name.ts").exists(), "nothing is deleted");
}

#[test]
fn a_sound_catalog_is_not_written_to() {
    let dir = tempfile::tempdir().expect("dir");
    let mut db = open_writer(dir.path()).expect("db");
    let env = Env {
        data_dir: dir.path().to_owned(),
        settings: Settings::default(),
        clock: Arc::new(SystemClock),
        engine: Arc::new(crate::media::engine::Ffmpeg),
    };
    let before = db.total_changes();
    assert_eq!(recover(&env, &mut db, &CancellationToken::new()).expect("recovered"), Recovery::default());
    assert_eq!(db.total_changes(), before);
}

#[test]
fn what_was_put_aside_of_an_opted_out_talk_comes_back_as_that() {
    let mut place = Place::new();
    let path = place.write("saal-1_2010-12-27_20-04-47.132_0001.ts", b"abcdef");
    assert_eq!(place.recover().adopted, 1);
    place.db.execute("UPDATE segment SET verdict = 'quarantined'", []).expect("set");
    let full = place.dir.path().join(&path);
    std::fs::rename(&full, place.dir.path().join("aside")).expect("moved");
    assert_eq!(place.recover().lost, 1);
    std::fs::rename(place.dir.path().join("aside"), &full).expect("moved back");
    assert_eq!(place.recover().found, 1);
    assert_eq!(place.segments()[0].verdict, Verdict::Quarantined);
}

#[test]
fn an_adopted_file_is_placed_by_its_name_where_its_own_time_was_lost() {
    let mut place = Place::new();
    let path = place.write("saal-1_2010-12-27_20-04-47.132_0001.ts", &[0; 100_000]);
    let full = place.dir.path().join(path);
    let marks = |place: &Place| {
        let id = place.segments()[0].id;
        crate::catalog::marks::of_segment(&place.db, id).expect("marks")
    };
    let start = Ms(1_293_476_687_132);
    // Copied today: the file's time says nothing of when its last byte came.
    place.recover();
    assert_eq!(marks(&place), [Mark { at: start, offset: 65_536 }]);
    assert_eq!(place.segments()[0].at.end, start);
    // Moved with its time.
    place.db.execute_batch("DELETE FROM mark_chunk; DELETE FROM segment").expect("forgotten");
    let modified = std::time::UNIX_EPOCH + Duration::from_millis(1_293_476_787_132);
    File::options().write(true).open(&full).and_then(|f| f.set_modified(modified)).expect("set");
    place.recover();
    let last = Mark { at: start.plus(100_000), offset: 100_000 };
    assert_eq!(marks(&place), [Mark { at: start, offset: 300 }, last], "a kilobyte a second");
}

/// What is not known is not lost.
#[test]
fn a_folder_that_cannot_be_read_loses_no_rows() {
    let tree = Tree { unread: vec!["segments/27c3/saal-1".into()], ..Tree::default() };
    assert!(!tree.knows("segments/27c3/saal-1/2010-12-27/a.ts"));
    assert!(tree.knows("segments/27c3/saal-10/2010-12-27/a.ts"));
    let mut place = Place::new();
    let path = place.write("saal-1_2010-12-27_20-04-47.132_0001.ts", b"abcdef");
    place.recover();
    assert_eq!(compare(&place.db, &tree, Ms(0)).expect("compared").0, 0);
    assert_eq!(compare(&place.db, &Tree::default(), Ms(0)).expect("compared").0, 1, "{path}");
}

#[test]
fn names_that_are_no_text_are_left_alone_every_time() {
    use std::os::unix::ffi::OsStrExt;
    let mut place = Place::new();
    let name = std::ffi::OsStr::from_bytes(b"saal-1_2010-12-27_20-04-47.132_0001\xff.ts");
    std::fs::write(place.dir.path().join(DIR).join(name), b"x").expect("written");
    assert_eq!(place.recover(), Recovery::default());
    assert_eq!(place.recover(), Recovery::default());
}

#[test]
fn a_short_adopted_file_did_not_come_all_at_once() {
    let mut place = Place::new();
    let path = place.write("saal-1_2010-12-27_20-04-47.132_0001.ts", &[0; 7000]);
    let end = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_293_476_687_132 + 7000);
    let file = std::fs::File::options().append(true).open(place.dir.path().join(path)).expect("opened");
    file.set_modified(end).expect("set");
    assert_eq!(place.recover().adopted, 1);
    let marks = crate::catalog::marks::of_segment(&place.db, place.segments()[0].id).expect("marks");
    let marks: Vec<_> = marks.iter().map(|m| (m.at.0 - 1_293_476_687_132, m.offset)).collect();
    assert_eq!(marks, [(0, 300), (7000, 7000)]);
}

#[test]
fn a_file_that_cannot_be_read_does_not_stay_open_for_ever() {
    let place = Place::new();
    // Reading it fails, and not because it is not there.
    let path = format!("{DIR}/saal-1_2010-12-27_20-04-47.132_0001.ts");
    std::fs::create_dir(place.dir.path().join(&path)).expect("made");
    place.open(&path, None);
    let close = || close_open(&place.db, &place.env, Ms(1_293_476_800_000), &CancellationToken::new()).expect("closed");
    assert_eq!(close(), 1);
    let row = &place.segments()[0];
    assert_eq!((row.verdict, row.sha256, row.bytes), (Verdict::Unchecked, None, 3));
    assert_eq!(row.closed, Some(row.at.end));
    assert_eq!(close(), 0, "and is not closed again at each start");
}

#[test]
fn a_recovery_that_is_stopped_says_so_and_the_next_one_goes_on() {
    let mut place = Place::new();
    place.open(&place.write("saal-1_2010-12-27_20-04-47.132_0001.ts", b"abc"), None);
    place.write("saal-1_2010-12-27_21-04-47.132_0001.ts", b"unknown");
    let cancel = CancellationToken::new();
    cancel.cancel();
    recover(&place.env, &mut place.db, &cancel).expect_err("stopped");
    assert_eq!(place.segments().iter().map(|s| s.verdict).collect::<Vec<_>>(), [Verdict::Open], "nothing half done");
    assert_eq!(place.recover(), Recovery { closed: 1, adopted: 1, ..Recovery::default() });
}
