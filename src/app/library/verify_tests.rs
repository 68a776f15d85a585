use std::sync::Arc;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::*;
use crate::app::support::clock::SystemClock;
use crate::catalog::open_writer;
use crate::catalog::segments::{self, ClosedSegment};
use crate::domain::ids::HallId;
use crate::domain::segment::{Container, EndReason, Verdict};
use crate::domain::settings::Settings;
use crate::domain::time::Ms;

const DIR: &str = "segments/27c3/saal-1/2010-12-27";

/// A data directory with one hall and one talk.
struct Place {
    dir: tempfile::TempDir,
    env: Env,
    db: Connection,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::create_dir_all(dir.path().join(DIR)).expect("made");
        std::fs::create_dir_all(dir.path().join("talks/27c3")).expect("made");
        let db = open_writer(dir.path()).expect("db");
        db.execute_batch(
            "INSERT INTO event (id, name, slug, time_zone) VALUES (1, '27c3', '27c3', 'Europe/Berlin');
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');
             INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, known_since_ms)
               VALUES (1, 1, 1, 'a', 'A', 1293476400000, 1293480000000, 0);
             DELETE FROM assembly_todo;",
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

    fn name(n: u32) -> String {
        format!("{DIR}/saal-1_2010-12-27_20-04-47.132_{n:04}.ts")
    }

    fn write(&self, path: &str, content: &[u8]) {
        std::fs::write(self.dir.path().join(path), content).expect("written");
    }

    /// A segment as a tape leaves it.
    fn segment(&self, n: u32, content: &[u8]) -> String {
        let path = Self::name(n);
        self.write(&path, content);
        let (uuid, at) = (Uuid::now_v7(), Ms(1_293_476_687_132));
        segments::open_segment(&self.db, uuid, None, HallId(1), Path::new(&path), Container::MpegTs, at).expect("open");
        let closed = ClosedSegment {
            marks: Vec::new(),
            bytes: content.len() as u64,
            lost_bytes: 0,
            sha256: Sha256::digest(content).into(),
            container: Container::MpegTs,
            verdict: Verdict::Unchecked,
            reason: EndReason::Eof,
            at,
        };
        segments::close_segment(&self.db, uuid, &closed).expect("closed");
        path
    }

    fn assembly(&self, content: &[u8]) -> String {
        let path = "talks/27c3/2010-12-27_2000_saal-1_a.mkv";
        self.write(path, content);
        self.db
            .execute(
                "INSERT INTO assembly (talk_id, path, bytes, sha256, duration_ms, made_ms, inputs) VALUES (1, ?1, ?2, ?3, 0, 0, ?3)",
                (path, content.len().cast_signed(), Sha256::digest(content).as_slice()),
            )
            .expect("row");
        path.to_owned()
    }

    fn verify(&self, fast: bool, repair: bool) -> Verified {
        verify(&self.env, VerifyRequest { fast, repair, deep: false }, &mut |_, _| ()).expect("verified")
    }

    fn faults(&self, fast: bool) -> Vec<(Fault, String)> {
        let path = |p: Problem| p.path.unwrap_or_default().to_string_lossy().into_owned();
        self.verify(fast, false).problems.into_iter().map(|p| (p.fault, path(p))).collect()
    }
}

#[test]
fn what_is_as_it_was_recorded_is_sound_and_was_read() {
    let place = Place::new();
    place.segment(1, b"abc");
    place.assembly(b"defgh");
    let done = place.verify(false, false);
    assert_eq!((done.kind(), done.segments, done.assemblies, done.bytes_read), (None, 1, 1, 8));
    assert_eq!(place.verify(true, false).bytes_read, 0);
}

#[test]
fn each_fault_is_named_and_fast_sees_all_but_the_content() {
    let place = Place::new();
    let [gone, short, other] = [1, 2, 3].map(|n| place.segment(n, b"abc"));
    let joined = place.assembly(b"defgh");
    std::fs::remove_file(place.dir.path().join(&gone)).expect("removed");
    place.write(&short, b"ab");
    place.write(&other, b"abd");
    place.write(&joined, b"defg!");
    let (stranger, half) = (Place::name(9), format!("{joined}.part"));
    place.write(&stranger, b"x");
    place.write(&half, b"x");
    let expected = |content: &[(Fault, &String)]| {
        let mut all = vec![(Fault::Missing, &gone), (Fault::Size, &short)];
        all.extend(content);
        all.extend([(Fault::Unknown, &stranger), (Fault::HalfMade, &half)]);
        all.into_iter().map(|(fault, path)| (fault, path.clone())).collect::<Vec<_>>()
    };
    assert_eq!(place.faults(true), expected(&[]));
    assert_eq!(place.faults(false), expected(&[(Fault::Content, &other), (Fault::Content, &joined)]));
    assert_eq!(place.verify(true, false).kind(), Some(Kind::Incomplete));
}

#[test]
fn looking_writes_nothing() {
    let place = Place::new();
    std::fs::remove_file(place.dir.path().join(place.segment(1, b"abc"))).expect("removed");
    place.write(&Place::name(9), b"x");
    let version = || -> i64 { place.db.pragma_query_value(None, "data_version", |row| row.get(0)).expect("asked") };
    let before = version();
    assert_eq!(place.verify(false, false).problems.len(), 2);
    assert_eq!(version(), before);
}

#[test]
fn repair_adds_knowledge_and_deletes_nothing() {
    let place = Place::new();
    let gone = place.segment(1, b"abc");
    let unsummed = place.segment(2, b"def");
    let short = place.segment(3, b"ghi");
    let joined = place.assembly(b"xyz");
    place.db.execute("UPDATE segment SET sha256 = NULL WHERE path = ?1", [&unsummed]).expect("set");
    for path in [&gone, &joined] {
        std::fs::remove_file(place.dir.path().join(path)).expect("removed");
    }
    place.write(&short, b"g");
    place.write(&Place::name(9), b"x");
    let half = "talks/27c3/b.mkv.part";
    place.write(half, b"x");
    let done = place.verify(false, true);
    let left: Vec<_> = done.problems.iter().map(|p| p.fault).collect();
    assert_eq!(left, [Fault::Size, Fault::HalfMade], "{:?}", done.problems);
    assert_eq!((done.known_lost, done.segments, done.repaired.len()), (1, 3, 3), "{:?}", done.repaired);
    let sum: Vec<u8> =
        place.db.query_row("SELECT sha256 FROM segment WHERE path = ?1", [&short], |r| r.get(0)).expect("row");
    assert_eq!(sum, Sha256::digest(b"ghi").as_slice(), "a sum that is there says what was recorded");
    let todo: i64 =
        place.db.query_row("SELECT count(*) FROM assembly_todo WHERE talk_id = 1", [], |r| r.get(0)).expect("count");
    assert_eq!(todo, 1, "the talk is joined again");
    assert!(place.dir.path().join(half).exists() && place.dir.path().join(Place::name(9)).exists());
    assert_eq!(place.verify(false, true).repaired, Vec::<String>::new(), "a second repair has nothing to do");
}

#[test]
fn beside_a_daemon_open_segments_are_fine_and_repair_is_refused() {
    let place = Place::new();
    let path = Place::name(1);
    segments::open_segment(&place.db, Uuid::now_v7(), None, HallId(1), Path::new(&path), Container::MpegTs, Ms(1))
        .expect("open");
    assert_eq!(place.faults(false), [(Fault::LeftOpen, path.clone())]);
    let daemon = lock::take(place.dir.path()).expect("free");
    assert_eq!(place.faults(false), []);
    let refused = verify(&place.env, VerifyRequest { fast: true, repair: true, deep: false }, &mut |_, _| ())
        .expect_err("refused");
    assert_eq!(refused.kind, Kind::Busy);
    drop(daemon);
    assert_eq!(place.verify(true, true).kind(), None);
}

#[test]
fn damage_and_dangling_references_of_the_database_are_found() {
    let mut place = Place::new();
    for n in 0..200 {
        place.segment(n, b"abc");
    }
    place
        .db
        .execute_batch(
            "PRAGMA foreign_keys = OFF; UPDATE segment SET hall_id = 77 WHERE id = 5; PRAGMA wal_checkpoint(TRUNCATE)",
        )
        .expect("broken");
    let done = place.verify(true, false);
    assert_eq!(done.problems.iter().map(|p| p.fault).collect::<Vec<_>>(), [Fault::ForeignKey]);
    assert!(done.problems[0].message.contains("segment 5"), "{:?}", done.problems);
    // Damage in the middle of the file, with the first page as it was.
    place.db = catalog::open_in_memory().expect("db");
    let file = place.dir.path().join(catalog::FILE_NAME);
    let mut bytes = std::fs::read(&file).expect("read");
    let from = bytes.len() / 3;
    bytes[from..from + 8192].fill(0xa5);
    std::fs::write(&file, bytes).expect("written");
    match verify(&place.env, VerifyRequest { fast: true, repair: false, deep: false }, &mut |_, _| ()) {
        Ok(done) => assert_eq!(done.kind(), Some(Kind::Catalog), "{done:?}"),
        Err(failure) => assert_eq!(failure.kind, Kind::Catalog, "{failure}"),
    }
}

#[cfg(unix)]
#[test]
fn a_link_in_place_of_a_file_is_no_recording() {
    let place = Place::new();
    let path = place.segment(1, b"abc");
    let full = place.dir.path().join(&path);
    std::fs::rename(&full, place.dir.path().join("elsewhere")).expect("moved");
    std::os::unix::fs::symlink(place.dir.path().join("elsewhere"), &full).expect("linked");
    assert_eq!(place.faults(false), [(Fault::Missing, path)]);
}
