use std::sync::{Mutex, OnceLock};

use streamrip_lab::{Format, Recipe};
use uuid::Uuid;

use super::*;
use crate::app::library::recover::{Recovery, recover};
use crate::app::library::report;
use crate::app::library::verify::{VerifyRequest, verify};
use crate::app::support::clock::TestClock;
use crate::catalog::segments::{
    ClosedSegment, NewConnection, close_connection, close_segment, open_connection, open_segment,
};
use crate::domain::ids::StreamId;
use crate::domain::segment::{Container, EndReason, Mark, Verdict};
use crate::domain::settings::Settings;
use crate::domain::talk::TalkState;
use crate::domain::time::{MINUTE, Ms};
use crate::media::CancellationToken;
use crate::plan::verify::Fault;

/// Start of the talk.
const START: Ms = Ms(1_293_478_200_000);

/// 40 s of stream whose first byte is made 5 s before the talk.
fn stream() -> &'static [u8] {
    static STREAM: OnceLock<Vec<u8>> = OnceLock::new();
    STREAM.get_or_init(|| Recipe::new(Format::MpegTs).video_kbit(100).seconds(40.0).bytes())
}

/// A recorder with a talk of 30 s, and how far its clock is ahead.
struct Machine {
    dir: tempfile::TempDir,
    env: Env,
    ahead: i64,
}

impl Machine {
    fn new(event: &str, hall: &str, aliases: &[&str], ahead: i64) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let db = catalog::open_writer(dir.path()).expect("catalog");
        db.execute_batch(&format!(
            "INSERT INTO event (id, name, slug, time_zone, pre_padding_ms, post_padding_ms)
               VALUES (1, '{event}', '{event}', 'Europe/Berlin', 0, 0);
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, '{hall}', 'hall');
             INSERT INTO stream (id, hall_id, url, priority, origin, added_ms)
               VALUES (3, 1, 'http://mirror.example/a', 0, 'halls-file', 0);
             INSERT INTO daemon_run (uuid, version, pid, started_ms, heartbeat_ms, stopped_ms)
               VALUES ('{run}', '1', 1, {start} - 60000, {start} + 60000, {start} + 60000);
             INSERT INTO talk (id, event_id, hall_id, match_key, title, speakers, start_ms, end_ms, known_since_ms)
               VALUES (7, 1, 1, 'x', 'We come in Peace', '[]', {start}, {start} + 30000, 0);",
            run = Uuid::new_v4(),
            start = START.0 + ahead
        ))
        .expect("rows");
        for alias in aliases {
            db.execute("INSERT INTO hall_alias (hall_id, alias) VALUES (1, ?1)", [alias]).expect("alias");
        }
        let clock = TestClock::starting_at(START.plus(ahead + MINUTE));
        let mut settings = Settings::default();
        settings.disk.reserve_bytes = 0;
        settings.list.complete_tolerance_ms = 400;
        let env = Env { clock: Arc::new(clock), ..Env::real(dir.path().to_owned(), settings) };
        Self { dir, env, ahead }
    }

    /// What `verify` finds wrong.
    fn faults(&self) -> Vec<Fault> {
        let found = verify(&self.env, VerifyRequest::default(), &mut |_, _| ()).expect("verified");
        found.problems.iter().map(|p| p.fault).collect()
    }

    fn recover(&self) -> Recovery {
        recover(&self.env, &mut self.db(), &CancellationToken::new()).expect("recovered")
    }

    fn db(&self) -> Db {
        catalog::open_writer(self.dir.path()).expect("catalog")
    }

    /// Records the stream between these seconds of the talk, and looks at it.
    async fn tape(&self, from: f64, to: f64) {
        let per_second = stream().len() as f64 / 40.0;
        let at = |s: f64| ((((s + 5.0) * per_second) as usize).min(stream().len())) / 188 * 188;
        let bytes = stream()[at(from)..at(to)].to_vec();
        let (uuid, connection) = (Uuid::now_v7(), Uuid::now_v7());
        let path = Path::new("segments/e/hall/2010-12-27").join(format!("{uuid}.ts"));
        let file = self.dir.path().join(&path);
        std::fs::create_dir_all(file.parent().expect("folder")).expect("made");
        std::fs::write(&file, &bytes).expect("written");
        let wall = |s: f64| START.plus(self.ahead + (s * 1000.0) as i64);
        let marks = (0..=20)
            .map(|n| {
                let share = f64::from(n) / 20.0;
                Mark { at: wall(from + (to - from) * share), offset: ((bytes.len() as f64 * share) as u64).max(1) }
            })
            .collect();
        let closed = ClosedSegment {
            marks,
            bytes: bytes.len() as u64,
            lost_bytes: 0,
            sha256: Sha256::digest(&bytes).into(),
            container: Container::MpegTs,
            verdict: Verdict::Unchecked,
            reason: EndReason::Eof,
            at: wall(to),
        };
        let db = self.db();
        let new = NewConnection {
            uuid: connection,
            hall: HallId(1),
            stream: StreamId(3),
            daemon_run: Some(1),
            source: "mplayer",
            process: Some((1, 1)),
            at: wall(from),
        };
        open_connection(&db, &new).expect("row");
        open_segment(&db, uuid, Some(connection), HallId(1), &path, Container::MpegTs, wall(from)).expect("row");
        close_segment(&db, uuid, &closed).expect("row");
        close_connection(&db, connection, bytes.len() as u64, EndReason::Eof, None, wall(to)).expect("row");
        let id = db.query_row("SELECT id FROM segment WHERE uuid = ?1", [uuid.to_string()], |r| r.get(0)).expect("id");
        drop(db);
        let (reader, writer) = assemble::open(&self.env).expect("open");
        crate::app::library::index::index_segment(&self.env, &reader, &writer, crate::domain::ids::SegmentId(id))
            .await
            .expect("indexed");
    }

    fn plan(&self, other: &Self) -> Merge {
        plan(&self.env, &self.db(), other.dir.path()).expect("planned")
    }

    async fn merge(&self, other: &Self) -> MergeReport {
        let told = Arc::new(Mutex::new(0));
        let seen = told.clone();
        let progress: Progress = Arc::new(move |n, total| {
            assert!(n <= total);
            *seen.lock().expect("lock") = n;
        });
        let plan = self.plan(other);
        merge(&self.env, other.dir.path(), plan, progress).await.expect("merged")
    }

    fn view(&self) -> report::TalkView {
        report::one(&self.db(), &self.env, "7").expect("talk")
    }

    fn number(&self, sql: &str) -> i64 {
        self.db().query_row(sql, [], |r| r.get(0)).expect(sql)
    }

    /// Everything in the catalog that means something, and every file.
    fn content(&self) -> (Vec<String>, Vec<(PathBuf, u64)>) {
        let db = self.db();
        let rows = ["segment", "connection", "daemon_run", "seam", "assembly", "hall", "talk"]
            .iter()
            .map(|table| {
                let mut query = db.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).expect("query");
                let columns = query.column_count();
                let rows = query.query_map([], |row| {
                    Ok((0..columns)
                        .map(|n| format!("{:?}", row.get_ref(n).expect("value")))
                        .collect::<Vec<_>>()
                        .join("|"))
                });
                rows.expect("rows").map(|r| r.expect("row")).collect::<Vec<_>>().join("\n")
            })
            .collect();
        let mut files: Vec<_> = crate::app::support::walk::Tree::read(self.dir.path(), "segments")
            .files
            .into_iter()
            .map(|f| (PathBuf::from(&f), std::fs::metadata(self.dir.path().join(&f)).expect("there").len()))
            .collect();
        files.sort();
        (rows, files)
    }

    fn half_made(&self) -> usize {
        let tree = crate::app::support::walk::Tree::read(self.dir.path(), "segments");
        tree.files.iter().filter(|f| f.ends_with(TEMP_SUFFIX)).count()
    }
}

/// Ours has two gaps, theirs one other.
async fn two_machines(ahead: i64) -> (Machine, Machine) {
    let ours = Machine::new("27c3", "Saal 1", &[], 0);
    ours.tape(-4.0, 10.0).await;
    ours.tape(16.0, 24.0).await;
    let theirs = Machine::new("27c3", "Grand Hall", &["SAAL1"], ahead);
    theirs.tape(-4.5, 19.0).await;
    theirs.tape(21.0, 34.0).await;
    (ours, theirs)
}

#[tokio::test]
async fn gaps_are_filled_from_the_other_machine_whatever_its_clock_says() {
    // More than two hours: nothing is near by wall time.
    let (ours, theirs) = two_machines(3 * HOUR + 1234).await;
    assert_eq!(ours.view().report.state, TalkState::Partial);
    let before = theirs.content();
    let plan = ours.plan(&theirs);
    assert_eq!(plan.fillings.len(), 2, "{:?}", plan.notes);
    assert!(plan.notes.is_empty(), "{:?}", plan.notes);
    for filling in &plan.fillings {
        let off = filling.taken.clock_ms + 3 * HOUR + 1234;
        assert!(off.abs() < 300 && filling.taken.shared_packets > 100, "{off} ms by {}", filling.taken.shared_packets);
    }
    let done = ours.merge(&theirs).await;
    assert_eq!((done.segments, done.refused.len(), done.talks.len()), (2, 0, 1), "{done:?}");
    let view = ours.view();
    assert_eq!((view.report.state, view.report.gaps.len()), (TalkState::Complete, 0), "{:#?}", view.report);
    let AssembleOutcome::Made { gaps, duration_ms, .. } = done.talks[0].2.as_ref().expect("joined") else {
        panic!("{done:?}")
    };
    assert_eq!(*gaps, 0, "{done:?}");
    assert!((29_500..32_500).contains(duration_ms), "{duration_ms}");
    // Where it came from is known, under the names that the other gave it.
    assert_eq!(ours.number("SELECT count(*) FROM merged_segment JOIN segment ON segment.id = segment_id JOIN connection ON connection.id = connection_id WHERE stream_id = 3"), 2);
    let uuids = "SELECT group_concat(uuid) FROM (SELECT uuid FROM segment WHERE id > (SELECT max(segment_id) - 2 FROM merged_segment) ORDER BY uuid)";
    let theirs_uuids: String = theirs
        .db()
        .query_row("SELECT group_concat(uuid) FROM (SELECT uuid FROM segment ORDER BY uuid)", [], |r| r.get(0))
        .expect("uuids");
    let ours_uuids: String = ours.db().query_row(uuids, [], |r| r.get(0)).expect("uuids");
    assert_eq!(ours_uuids, theirs_uuids);
    // Their daemon was not alive here, and its connections are no causes of our gaps.
    assert_eq!(ours.number("SELECT count(*) FROM daemon_run WHERE merge_id IS NOT NULL"), 1);
    assert_eq!(view.connections.len(), 2);
    assert_eq!(theirs.content(), before, "nothing is changed there");
    // Again: nothing to do, and nothing is done.
    let after = ours.content();
    assert!(ours.plan(&theirs).fillings.is_empty());
    assert_eq!(ours.merge(&theirs).await.segments, 0);
    assert_eq!(ours.content(), after);
    // Both are valid catalogs, also for the way back.
    assert_eq!(ours.recover(), Recovery::default());
    let back = theirs.plan(&ours);
    assert_eq!(back.fillings.len(), 1, "only what is ours and fills theirs: {:?}", back.notes);
}

#[tokio::test]
async fn a_damaged_file_is_not_taken_and_a_sound_one_is() {
    let (ours, theirs) = two_machines(0).await;
    let files = theirs.content().1;
    let victim = theirs.dir.path().join(&files[0].0);
    let mut bytes = std::fs::read(&victim).expect("there");
    bytes[1000] ^= 1;
    std::fs::write(&victim, bytes).expect("written");
    let done = ours.merge(&theirs).await;
    assert_eq!((done.segments, done.refused.len()), (1, 1), "{done:?}");
    assert!(done.refused[0].contains("differs from its row in the other catalog"), "{done:?}");
    assert_eq!(ours.half_made(), 0);
    assert_eq!(ours.content().1.len(), 3);
}

#[tokio::test]
async fn a_merge_that_was_killed_is_ended_at_the_next_start() {
    let (ours, theirs) = two_machines(0).await;
    let plan = ours.plan(&theirs);
    let filling = plan.fillings[0].clone();
    let path = filling.taken.path.clone();
    let from = theirs.dir.path().join(&filling.foreign.segment.path);
    let wanted = (filling.foreign.segment.bytes, filling.foreign.segment.sha256);
    // Killed after the copy: no row, so it goes.
    copy(ours.dir.path(), &from, &path, wanted, &|_| ()).expect("copied");
    let before = ours.content().0;
    assert_eq!(ours.recover().merged, 1);
    assert_eq!((ours.half_made(), ours.content().0), (0, before));
    // While a merge is at work its copy is left alone.
    copy(ours.dir.path(), &from, &path, wanted, &|_| ()).expect("copied");
    let lock = lock(ours.dir.path()).expect("locked");
    assert_eq!(ours.recover(), Recovery::default());
    assert_eq!((ours.half_made(), ours.faults()), (1, vec![]));
    // Killed between the row and the name: the file gets its name.
    let db = ours.db();
    let row = merge_origins::begin(&db, theirs.dir.path(), START).expect("row");
    merge_origins::insert(&db, &filling.foreign, &CopiedSegment { merge: row, ..filling.taken }, START).expect("rows");
    assert_eq!((ours.recover(), ours.faults()), (Recovery::default(), vec![]));
    drop(lock);
    assert_eq!(ours.faults(), [Fault::HalfMade], "and not a file that is missing");
    let recovered = ours.recover();
    assert_eq!((recovered.merged, recovered.lost, recovered.adopted), (1, 0, 0));
    assert!(ours.dir.path().join(&path).exists() && ours.half_made() == 0);
    assert_eq!(ours.recover(), Recovery::default());
    // And the rest is merged as if nothing had been.
    assert_eq!(ours.merge(&theirs).await.segments, 1);
    assert_eq!(ours.view().report.state, TalkState::Complete);
}

#[tokio::test]
async fn where_nothing_is_shared_the_clocks_are_trusted_and_that_is_said() {
    let ours = Machine::new("27c3", "Saal 1", &[], 0);
    ours.tape(-4.0, 10.0).await;
    let theirs = Machine::new("27c3", "saal  1", &[], 0);
    theirs.tape(12.0, 34.0).await;
    let plan = ours.plan(&theirs);
    assert_eq!(plan.fillings.len(), 1);
    assert_eq!((plan.fillings[0].taken.clock_ms, plan.fillings[0].taken.shared_packets), (0, 0));
    assert!(plan.notes[0].contains("taken to agree"), "{:?}", plan.notes);
    let done = ours.merge(&theirs).await;
    assert_eq!(done.segments, 1);
    let report = ours.view().report;
    assert_eq!(report.gaps.len(), 1, "{report:#?}");
    assert!((1500..2500).contains(&report.gaps[0].at.len_ms()), "{report:#?}");
}

#[tokio::test]
async fn what_does_not_belong_together_is_refused() {
    let ours = Machine::new("27c3", "Saal 1", &[], 0);
    ours.tape(-4.0, 10.0).await;
    let refused = |other: &Path| plan(&ours.env, &ours.db(), other).expect_err("refused").kind;
    assert_eq!(refused(ours.dir.path()), Kind::Usage);
    assert_eq!(refused(&ours.dir.path().join("nothing")), Kind::NotFound);
    let other_event = Machine::new("28c3", "Saal 1", &[], 0);
    assert_eq!(refused(other_event.dir.path()), Kind::NotFound);
    let other_hall = Machine::new("27c3", "Saal 2", &[], 0);
    let plan = ours.plan(&other_hall);
    assert!(plan.fillings.is_empty() && plan.notes[0].contains("no hall"), "{:?}", plan.notes);
    // Two merges at once.
    let theirs = Machine::new("27c3", "Saal 1", &[], 0);
    theirs.tape(9.0, 34.0).await;
    let lock = lock(ours.dir.path()).expect("locked");
    let busy = merge(&ours.env, theirs.dir.path(), ours.plan(&theirs), Arc::new(|_, _| ())).await;
    assert_eq!(busy.expect_err("busy").kind, Kind::Busy);
    drop(lock);
    // Of an opted-out talk nothing is taken.
    ours.db().execute_batch(&format!(
        "INSERT INTO talk (id, event_id, hall_id, match_key, title, speakers, start_ms, end_ms, known_since_ms, opted_out)
         VALUES (8, 1, 1, 'y', 'Private', '[]', {0} + 30000, {0} + 60000, 0, 1);", START.0)).expect("row");
    let plan = ours.plan(&theirs);
    assert!(plan.fillings.is_empty() && plan.notes[0].contains("must not be recorded"), "{:?}", plan.notes);
}
