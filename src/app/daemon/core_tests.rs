//! A daemon in simulated time: real catalog, real planner, real tapes and files, scripted streams.

use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::Connection as Db;
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::app::daemon::catalog_sink::CatalogSink;
use crate::app::support::clock::TestClock;
use crate::catalog::segments::{connections_of_hall, segments_of_hall};
use crate::catalog::writer::Writer;
use crate::catalog::{open_reader, open_writer};
use crate::domain::segment::Segment;
use crate::domain::settings::Settings;
use crate::domain::stream_url::StreamUrl;
use crate::domain::time::MINUTE;
use crate::source::{Running, Source, SourceEnd, Sources};

/// 2010-12-27T09:00:00Z, ten in Berlin.
const TEN: Ms = Ms(1_293_440_400_000);

/// MPEG-TS without end, 18,800 bytes a second.
#[derive(Debug, Default)]
struct Endless {
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Source for Endless {
    fn name(&self) -> &'static str {
        "mplayer"
    }

    fn open(&self, _: &StreamUrl, _: &str) -> Result<Running, SourceEnd> {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let (stop, (tell, ended)) = (CancellationToken::new(), oneshot::channel());
        let (stopped, open) = (stop.clone(), Arc::clone(&self.open));
        self.most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::spawn(async move {
            let mut packet = [0xee_u8; 188];
            packet[..4].copy_from_slice(&[0x47, 0x40, 0x11, 0x10]);
            let second = packet.repeat(100);
            while !stopped.is_cancelled() && theirs.write_all(&second).await.is_ok() {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                    () = stopped.cancelled() => {}
                }
            }
            open.fetch_sub(1, Ordering::SeqCst);
            drop(theirs);
            let _ = tell.send(SourceEnd::default());
        });
        Ok(Running {
            bytes: Box::pin(ours),
            stop,
            kill: CancellationToken::new(),
            ended,
            over: CancellationToken::new(),
            process: None,
        })
    }
}

struct Day {
    _dir: tempfile::TempDir,
    env: Env,
    clock: TestClock,
    db: Db,
    core: Arc<Core>,
    writer: Writer,
    most: Arc<AtomicUsize>,
    _closed: mpsc::UnboundedReceiver<uuid::Uuid>,
}

impl Day {
    /// Ten o'clock; two halls with a stream each; no talk yet. Padding: 5 min before, 15 min after.
    fn begin() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let clock = TestClock::starting_at(TEN);
        let env = Env {
            data_dir: dir.path().to_owned(),
            settings: Settings::default(),
            clock: Arc::new(clock.clone()),
            engine: Arc::new(crate::media::engine::Ffmpeg),
        };
        let db = open_writer(dir.path()).expect("catalog");
        db.execute_batch(
            "INSERT INTO event (id, name, slug, time_zone) VALUES (1, '27c3', '27c3', 'Europe/Berlin');
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1'), (2, 1, 'Saal 2', 'saal-2');
             INSERT INTO stream (hall_id, url, priority, origin, added_ms) VALUES
               (1, 'http://h.example/1', 0, 'command', 0), (2, 'http://h.example/2', 0, 'command', 0);",
        )
        .expect("halls");
        let (writer, _) = Writer::start(open_writer(dir.path()).expect("writer")).expect("thread");
        let (tell, closed) = mpsc::unbounded_channel();
        let source = Endless::default();
        let most = Arc::clone(&source.most);
        let deps = TapeDeps::new(
            env.clock.clone(),
            Arc::new(CatalogSink::new(writer.clone(), None, tell)),
            Sources::of(vec![Arc::new(source)]),
            env.data_dir.clone(),
            env.settings.record.clone(),
        );
        let core = Core::new(env.clone(), open_reader(dir.path()).expect("reader"), deps, None);
        Self { _dir: dir, env, clock, db, core, writer, most, _closed: closed }
    }

    fn talk(&self, id: i64, hall: i64, from: i64, to: i64) {
        self.db
            .execute(
                "INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, known_since_ms)
                 VALUES (?1, 1, ?2, 'k' || ?1, 'Talk ' || ?1, ?3, ?4, 0)",
                [id, hall, at(from).0, at(to).0],
            )
            .expect("talk");
    }

    fn change(&self, sql: &str) {
        assert!(self.db.execute(sql, []).expect(sql) > 0, "{sql}");
    }

    /// Ticks until so many minutes after ten.
    async fn until(&self, minutes: i64) {
        while self.env.clock.now() < at(minutes) {
            self.core.reconcile().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.core.reconcile().await;
    }

    async fn taping(&self) -> Vec<i64> {
        self.core.tapes().await.iter().map(|t| t.hall.id.0).collect()
    }

    async fn end(&self) -> Vec<Segment> {
        self.core.stop(EndReason::Shutdown).await;
        // Queued behind everything the tapes told.
        self.writer.call(|_| Ok(())).await.expect("written");
        let all = Interval::new(Ms(0), Ms(i64::MAX));
        [1, 2].iter().flat_map(|h| segments_of_hall(&self.db, HallId(*h), all).expect("segments")).collect()
    }
}

fn at(minutes: i64) -> Ms {
    TEN.plus(minutes * MINUTE)
}

fn minutes(segment: &Segment) -> (i64, i64) {
    let round = |at: Ms| (at.since(TEN) as f64 / MINUTE as f64).round() as i64;
    (round(segment.at.start), round(segment.at.end))
}

#[tokio::test(start_paused = true)]
async fn a_day_is_taped_from_window_to_window() {
    let day = Day::begin();
    day.talk(1, 1, 30, 60);
    day.talk(2, 1, 65, 80);
    day.talk(3, 2, 40, 50);
    day.until(24).await;
    assert!(day.taping().await.is_empty());
    day.until(26).await;
    assert_eq!(day.taping().await, [1]);
    day.until(45).await;
    assert_eq!(day.taping().await, [1, 2]);
    day.until(100).await;
    assert!(day.taping().await.is_empty(), "windows ended");
    let segments = day.end().await;
    let spans: Vec<_> = segments.iter().map(minutes).collect();
    assert_eq!(spans, [(25, 60), (60, 95), (35, 65)], "a handover at the second window's start");
    for segment in &segments {
        let on_disk = std::fs::metadata(day.env.data_dir.join(&segment.path)).expect("file").len();
        assert_eq!(segment.bytes, on_disk);
    }
    // Asked for on time, though the tick comes once a second.
    let opened = connections_of_hall(&day.db, HallId(1), Interval::new(Ms(0), Ms(i64::MAX))).expect("read")[0].opened;
    assert!(opened.since(at(25)).abs() <= 100, "{} ms", opened.since(at(25)));
    assert!(day.most.load(Ordering::SeqCst) <= 3, "one a hall, and one for the handover");
}

#[tokio::test(start_paused = true)]
async fn changes_take_effect_within_two_seconds() {
    let day = Day::begin();
    day.until(10).await;
    // Imported while it should already run.
    day.talk(1, 1, 5, 40);
    tokio::time::sleep(Duration::from_secs(1)).await;
    day.core.reconcile().await;
    assert_eq!(day.taping().await, [1]);
    // Prolonged: runs beyond 10:55.
    day.until(50).await;
    day.change("UPDATE talk SET extended_ms = 600000 WHERE id = 1");
    day.until(60).await;
    assert_eq!(day.taping().await, [1]);
    // Cancelled while it runs: taped to the old end all the same.
    day.change("UPDATE talk SET status = 'cancelled' WHERE id = 1");
    day.until(64).await;
    assert_eq!(day.taping().await, [1]);
    day.until(66).await;
    assert!(day.taping().await.is_empty());
    assert_eq!(day.end().await.iter().map(minutes).collect::<Vec<_>>(), [(10, 65)]);
}

#[tokio::test(start_paused = true)]
async fn an_opt_out_stops_a_tape_at_once_and_a_neighbours_padding_ends_before_it() {
    let day = Day::begin();
    day.talk(1, 1, 10, 40);
    day.talk(2, 2, 10, 20);
    day.talk(3, 2, 20, 30);
    day.change("UPDATE talk SET opted_out = 1 WHERE id = 3");
    day.until(19).await;
    assert_eq!(day.taping().await, [1, 2]);
    day.change("UPDATE talk SET opted_out = 1 WHERE id = 1");
    tokio::time::sleep(Duration::from_secs(1)).await;
    day.core.reconcile().await;
    day.until(21).await;
    assert!(day.taping().await.is_empty());
    day.until(31).await;
    assert_eq!(day.taping().await, [2], "the first talk's padding goes on after the private one");
    day.until(40).await;
    let segments = day.end().await;
    assert_eq!(segments.iter().map(minutes).collect::<Vec<_>>(), [(5, 19), (5, 20), (30, 35)]);
    let private = Interval::new(at(20), at(30));
    assert!(segments.iter().filter(|s| s.hall == HallId(2)).all(|s| !s.at.overlaps(private)), "{segments:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hall_that_gets_its_stream_while_its_talk_runs_is_taped_from_then_on() {
    let day = Day::begin();
    day.change("UPDATE stream SET removed_ms = 1 WHERE hall_id = 1");
    day.talk(1, 1, 10, 40);
    day.until(20).await;
    assert!(day.taping().await.is_empty());
    day.change("INSERT INTO stream (hall_id, url, priority, origin, added_ms) VALUES (1, 'http://h.example/3', 0, 'command', 5)");
    day.until(21).await;
    assert_eq!(day.taping().await, [1]);
    assert_eq!(day.end().await.iter().map(minutes).collect::<Vec<_>>(), [(20, 21)]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_takes_the_same_road() {
    let day = Day::begin();
    day.talk(1, 1, 30, 60);
    day.until(10).await;
    // An hour forward: 11:10, in the padding after the talk.
    day.clock.step(60 * MINUTE);
    day.core.reconcile().await;
    assert_eq!(day.taping().await, [1]);
    // And back again, to 10:12 or so: what flows is not stopped before its end.
    tokio::time::sleep(Duration::from_secs(120)).await;
    day.clock.step(-60 * MINUTE);
    day.core.reconcile().await;
    assert_eq!(day.taping().await, [1]);
    day.until(80).await;
    assert!(day.taping().await.is_empty());
    assert_eq!(day.end().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_catalog_that_cannot_be_read_stops_nothing() {
    let day = Day::begin();
    day.talk(1, 1, 10, 40);
    day.until(20).await;
    day.change("UPDATE event SET time_zone = 'Nowhere/Land'");
    day.until(30).await;
    assert_eq!(day.taping().await, [1]);
    day.until(56).await;
    assert!(day.taping().await.is_empty(), "it ends when it should");
    assert_eq!(day.end().await.iter().map(minutes).collect::<Vec<_>>(), [(10 - 5, 55)]);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_and_works_again_is_known() {
    let day = Day::begin();
    let problem = async |day: &Day| {
        day.core.reconcile().await;
        day.core.schedule().await.events[0].refresh_problem.clone()
    };
    assert_eq!(problem(&day).await, None);
    let before = day.core.schedule().await;
    day.change("UPDATE event SET refresh_problem = 'no answer' WHERE id = 1");
    assert_eq!(problem(&day).await.as_deref(), Some("no answer"));
    let failed = day.core.schedule().await;
    assert!(before.version != failed.version && plans_alike(&before, &failed), "which is no change of the plan");
    day.change("UPDATE event SET refresh_problem = NULL WHERE id = 1");
    assert_eq!(problem(&day).await, None);
    day.talk(1, 1, 30, 60);
    day.core.reconcile().await;
    assert!(!plans_alike(&before, &*day.core.schedule().await));
    drop(day.end().await);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_failed_is_no_problem_of_an_event_that_is_over() {
    let day = Day::begin();
    let problems = async |day: &Day| {
        day.core.reconcile().await;
        crate::app::daemon::status::of_core(&day.core, &day.env, TEN).await.problems
    };
    day.talk(1, 1, 30, 60);
    day.change("UPDATE event SET refresh_problem = 'no answer' WHERE id = 1");
    assert_eq!(problems(&day).await, ["27c3: no answer"]);
    day.until(90).await;
    assert_eq!(problems(&day).await, ["27c3: no answer"]);
    day.clock.step(24 * HOUR);
    assert_eq!(problems(&day).await, [""; 0]);
    drop(day.end().await);
}

#[tokio::test(start_paused = true)]
async fn a_hall_without_a_stream_is_a_problem_while_its_talk_is_on() {
    let day = Day::begin();
    let problems = async |day: &Day| crate::app::daemon::status::of_core(&day.core, &day.env, TEN).await.problems;
    day.change("INSERT INTO hall (id, event_id, name, slug) VALUES (3, 1, 'Saal 3', 'saal-3')");
    day.talk(1, 3, 30, 60);
    day.until(24).await;
    assert_eq!(problems(&day).await, [""; 0]);
    day.until(26).await;
    assert_eq!(problems(&day).await, ["Saal 3: no stream: nothing is recorded of \"Talk 1\""]);
    day.until(76).await;
    assert_eq!(problems(&day).await, [""; 0]);
    drop(day.end().await);
}
