//! The catalog is locked, or its disk is full, while a tape runs: the file goes on, and the rows come later.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rusqlite::Connection;
use streamrip::app::daemon::catalog_sink::CatalogSink;
use streamrip::app::support::clock::SystemClock;
use streamrip::catalog::writer::Writer;
use streamrip::catalog::{open_reader, open_writer, schedule};
use streamrip::domain::clock::Clock as _;
use streamrip::domain::settings::Record;
use streamrip::domain::stream_url::StreamUrl;
use streamrip::source::{Running, Source, SourceEnd, Sources};
use streamrip::tape::{self, TapeDeps, TapeHandle, TapeOrder};
use streamrip_lab::{PATIENCE, eventually};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Interval;
use tokio_util::sync::CancellationToken;

/// Gives ten packets of MPEG-TS every 20 ms until it is stopped, and counts the bytes.
#[derive(Clone, Debug, Default)]
struct Steady {
    given: Arc<AtomicU64>,
}

struct Bytes {
    every: Interval,
    given: Arc<AtomicU64>,
    stop: CancellationToken,
}

impl AsyncRead for Bytes {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.every.poll_tick(cx).is_pending() {
            return Poll::Pending;
        }
        if !self.stop.is_cancelled() {
            let mut packet = [0xee_u8; 188];
            packet[..4].copy_from_slice(&[0x47, 0x40, 0x11, 0x10]);
            buf.put_slice(&packet.repeat(10));
            self.given.fetch_add(1880, Ordering::SeqCst);
        }
        Poll::Ready(Ok(()))
    }
}

impl Source for Steady {
    fn name(&self) -> &'static str {
        "mplayer"
    }

    fn open(&self, _url: &StreamUrl, _label: &str) -> Result<Running, SourceEnd> {
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let (tell, ended) = tokio::sync::oneshot::channel();
        let stopped = stop.clone();
        tokio::spawn(async move {
            stopped.cancelled().await;
            let _ = tell.send(SourceEnd::default());
        });
        let every = tokio::time::interval(Duration::from_millis(20));
        let bytes = Bytes { every, given: self.given.clone(), stop: stop.clone() };
        Ok(Running { bytes: Box::pin(bytes), stop, kill, ended, over: CancellationToken::new(), process: None })
    }
}

/// A tape on a real catalog, whose connection `prepare` may spoil.
struct Bench {
    dir: tempfile::TempDir,
    source: Steady,
    tape: TapeHandle,
}

impl Bench {
    fn start(prepare: impl FnOnce(&Connection)) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let db = open_writer(dir.path()).expect("catalog");
        db.execute_batch(
            "INSERT INTO event (name, slug, time_zone) VALUES ('27c3', '27c3', 'Europe/Berlin');
             INSERT INTO hall (event_id, name, slug) VALUES (1, 'Saal 1', 'saal-1');
             INSERT INTO stream (hall_id, url, priority, origin, added_ms) VALUES (1, 'http://h/x', 0, 'command', 0);",
        )
        .expect("a hall");
        let hall = schedule::halls(&db).expect("halls").remove(0);
        // The patience of the real one is 10 s a try; the tape must not depend on it.
        db.busy_timeout(Duration::from_millis(200)).expect("set");
        prepare(&db);
        let (writer, _) = Writer::start(db).expect("a thread");
        let source = Steady::default();
        let (closed, _) = tokio::sync::mpsc::unbounded_channel();
        let deps = TapeDeps::new(
            Arc::new(SystemClock),
            Arc::new(CatalogSink::new(writer.clone(), None, closed)),
            Sources::of(vec![Arc::new(source.clone())]),
            dir.path().to_owned(),
            Record::default(),
        );
        let order = TapeOrder {
            hall: hall.id,
            hall_name: hall.name,
            event_slug: "27c3".to_owned(),
            hall_slug: hall.slug,
            zone: chrono_tz::Europe::Berlin,
            streams: hall.streams,
            recorder: streamrip::domain::hall::Recorder::Auto,
            quality: Default::default(),
            from: SystemClock.now().minus(60_000),
            max_connections: 2,
            until: SystemClock.now().plus(600_000),
            boundaries: Vec::new(),
            handover_lead_ms: 0,
        };
        Self { source, tape: tape::start(order, deps), dir }
    }

    /// Until so many more bytes are in the file.
    async fn grows(&self, more: u64) {
        let before = on_disk(self.dir.path());
        eventually("the file to grow", PATIENCE, || on_disk(self.dir.path()) >= before + more).await;
    }

    /// Ends the tape; what it was given is in one file, and the catalog says so.
    async fn ends_whole(mut self) {
        self.tape.stop(streamrip::domain::segment::EndReason::Shutdown);
        self.tape.finished().await;
        let given = self.source.given.load(Ordering::SeqCst);
        assert_eq!(on_disk(self.dir.path()), given, "bytes were lost");
        let path = self.dir.path().to_owned();
        let row = move || {
            let db = open_reader(&path).expect("reader");
            db.query_row(
                "SELECT count(*), coalesce(max(bytes), 0), coalesce(max(lost_bytes), 0), coalesce(min(verdict), '') FROM segment",
                [],
                |r| Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?, r.get::<_, i64>(2)?, r.get::<_, String>(3)?)),
            )
            .expect("a row")
        };
        eventually("the row to be written", PATIENCE, || row().3 == "unchecked").await;
        assert_eq!(row(), (1, given.cast_signed(), 0, "unchecked".to_owned()));
        let db = open_reader(self.dir.path()).expect("reader");
        let ended = || -> i64 {
            db.query_row("SELECT count(*) FROM connection WHERE closed_ms IS NOT NULL", [], |r| r.get(0))
                .expect("count")
        };
        // Its row comes after the segment's.
        eventually("the connection's end to be written", PATIENCE, || ended() > 0).await;
        assert_eq!(ended(), 1, "one connection, which nothing interrupted");
    }
}

fn on_disk(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let size = |path: &Path| if path.is_dir() { on_disk(path) } else { path.metadata().map_or(0, |m| m.len()) };
    entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.is_dir() || p.extension().is_some_and(|e| e == "ts"))
        .map(|p| size(&p))
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_catalog_does_not_stop_a_tape() {
    let bench = Bench::start(|_| ());
    bench.grows(20_000).await;
    // A reader that takes its time, and a writer.
    let reader = open_reader(bench.dir.path()).expect("third");
    reader.execute_batch("BEGIN; SELECT count(*) FROM segment;").expect("a long look");
    let other = open_writer(bench.dir.path()).expect("second");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let locked = std::time::Instant::now();
    while locked.elapsed() < Duration::from_secs(10) {
        bench.grows(90_000).await;
    }
    other.execute_batch("ROLLBACK").expect("released");
    drop(reader);
    bench.grows(20_000).await;
    bench.ends_whole().await;
}

/// Locked from the start: the file is made although its row is not there yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_locked_from_the_start_does_not_keep_a_tape_from_its_file() {
    let mut lock = None;
    let bench = Bench::start(|db| {
        let other = Connection::open(db.path().expect("a file")).expect("second");
        other.execute_batch("BEGIN IMMEDIATE").expect("locked");
        lock = Some(other);
    });
    bench.grows(50_000).await;
    drop(lock);
    bench.ends_whole().await;
}

/// `SQLITE_FULL`, as of a disk that takes no page more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_catalog_does_not_stop_a_tape() {
    let bench = Bench::start(|db| {
        let pages: i64 = db.pragma_query_value(None, "page_count", |r| r.get(0)).expect("pages");
        let kept: i64 = db.pragma_update_and_check(None, "max_page_count", pages, |r| r.get(0)).expect("a limit");
        assert_eq!(kept, pages);
        // What is free in the pages there are.
        for size in [1500, 200, 1] {
            let fill =
                "INSERT INTO connection (uuid, hall_id, stream_id, source, opened_ms, closed_ms, end_reason, detail)
                        VALUES (hex(randomblob(16)), 1, 1, 'filler', 1, 1, 'eof', hex(randomblob(?1)))";
            while db.execute(fill, [size]).is_ok() {}
        }
    });
    bench.grows(100_000).await;
    let other = open_writer(bench.dir.path()).expect("second");
    let rows: i64 =
        other.query_row("SELECT count(*) FROM connection WHERE source <> 'filler'", [], |r| r.get(0)).expect("count");
    assert_eq!(rows, 0, "the catalog is not full");
    other.execute("DELETE FROM connection WHERE source = 'filler'", []).expect("space again");
    bench.ends_whole().await;
}
