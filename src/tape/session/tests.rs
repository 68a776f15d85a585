//! Tapes in simulated time, on scripted sources and real files.

mod leaving;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::app::clock::TestClock;
use crate::domain::clock::Clock as _;
use crate::domain::hall::Recorder;
use crate::domain::ids::{HallId, StreamId};
use crate::domain::segment::{Container, Mark};
use crate::domain::settings::Record;
use crate::domain::stream_url::StreamUrl;
use crate::source::{Running, Source, SourceEnd, Sources};
use crate::tape::events::{TapeEvent, TapeSink};

/// 2010-12-27T11:00:00Z, noon in Berlin.
const START: Ms = Ms(1_293_447_600_000);

/// One thing a scripted source does.
#[derive(Clone, Debug)]
enum Step {
    /// Gives MPEG-TS, so many milliseconds long, 1880 bytes every 100 ms.
    Media(u64),
    /// Gives these bytes.
    Bytes(Vec<u8>),
    /// Gives nothing for so long.
    Silence(u64),
    /// Likewise, and does not hear that it is to stop.
    Deaf(u64),
    /// Ends with this.
    End(SourceEnd),
    /// Cannot be started.
    Missing,
}

use Step::{Bytes, Deaf, End, Media, Missing, Silence};

const LONG: u64 = 100_000_000;

fn eof() -> Step {
    End(SourceEnd::default())
}

fn failed(reason: EndReason) -> Step {
    End(SourceEnd { reason: Some(reason), detail: Some("words".to_owned()) })
}

/// What one life of a scripted source gave.
#[derive(Debug)]
struct Given {
    at: Instant,
    bytes: Arc<Mutex<Vec<u8>>>,
}

#[derive(Debug, Default)]
struct Fake {
    /// By last part of the address; the last script of a list is used again and again.
    scripts: Mutex<HashMap<String, VecDeque<Vec<Step>>>>,
    given: Mutex<Vec<Given>>,
    open: Arc<AtomicU32>,
    most_open: Arc<AtomicU32>,
}

fn packets(life: u32, n: &mut u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..10 {
        let mut packet = [0xee_u8; 188];
        packet[..4].copy_from_slice(&[0x47, 0x40, 0x11, 0x10]);
        packet[4..8].copy_from_slice(&life.to_be_bytes());
        packet[8..12].copy_from_slice(&n.to_be_bytes());
        *n += 1;
        bytes.extend(packet);
    }
    bytes
}

impl Source for Fake {
    fn name(&self) -> &'static str {
        "mplayer"
    }

    fn open(&self, url: &StreamUrl, _label: &str) -> Result<Running, SourceEnd> {
        let name = url.path().trim_start_matches('/').to_owned();
        let script = {
            let mut scripts = self.scripts.lock().expect("lock");
            let scripts = scripts.get_mut(&name).expect("a script for it");
            if scripts.len() > 1 { scripts.pop_front() } else { scripts.front().cloned() }.expect("a script")
        };
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let life = {
            let mut given = self.given.lock().expect("lock");
            given.push(Given { at: Instant::now(), bytes: bytes.clone() });
            given.len() as u32
        };
        if matches!(script[0], Missing) {
            return Err(SourceEnd { reason: Some(EndReason::SourceMissing), detail: Some("apt".to_owned()) });
        }
        let (ours, mut theirs) = tokio::io::duplex(1 << 22);
        let (stop, kill, (tell, ended)) = (CancellationToken::new(), CancellationToken::new(), oneshot::channel());
        let stopped = stop.clone();
        let (open, most) = (self.open.clone(), self.most_open.clone());
        most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::spawn(async move {
            let mut n = 0;
            let mut give = async |what: Vec<u8>| {
                if theirs.write_all(&what).await.is_ok() {
                    bytes.lock().expect("lock").extend(what);
                }
            };
            let mut end = SourceEnd::default();
            for step in script {
                match step {
                    Media(ms) => {
                        for _ in 0..ms / 100 {
                            if stopped.is_cancelled() {
                                break;
                            }
                            give(packets(life, &mut n)).await;
                            tokio::select! {
                                () = tokio::time::sleep(Duration::from_millis(100)) => {}
                                () = stopped.cancelled() => {}
                            }
                        }
                    }
                    Bytes(what) => give(what).await,
                    Silence(ms) => tokio::select! {
                        () = tokio::time::sleep(Duration::from_millis(ms)) => {}
                        () = stopped.cancelled() => {}
                    },
                    Deaf(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                    End(said) => end = said,
                    Missing => {}
                }
                if stopped.is_cancelled() {
                    // What it still had in its buffer.
                    if n > 0 {
                        give(packets(life, &mut n)).await;
                    }
                    break;
                }
            }
            open.fetch_sub(1, Ordering::SeqCst);
            drop(theirs);
            let _ = tell.send(end);
        });
        Ok(Running { bytes: Box::pin(ours), stop, kill, ended, over: CancellationToken::new(), process: None })
    }
}

#[derive(Debug, Default)]
struct Recorded {
    events: Mutex<Vec<TapeEvent>>,
    /// Answers that are never given.
    dead: Mutex<Option<Vec<oneshot::Sender<()>>>>,
}

impl TapeSink for Recorded {
    fn send(&self, event: TapeEvent) -> oneshot::Receiver<()> {
        self.events.lock().expect("lock").push(event);
        let (tell, answer) = oneshot::channel();
        match &mut *self.dead.lock().expect("lock") {
            Some(kept) => kept.push(tell),
            None => tell.send(()).expect("just made"),
        }
        answer
    }
}

struct Bench {
    dir: tempfile::TempDir,
    fake: Arc<Fake>,
    sink: Arc<Recorded>,
    clock: TestClock,
    began: Instant,
}

impl Bench {
    fn new(scripts: &[(&str, &[&[Step]])]) -> Self {
        let fake = Fake::default();
        for (url, lives) in scripts {
            fake.scripts
                .lock()
                .expect("lock")
                .insert((*url).to_owned(), lives.iter().map(|life| life.to_vec()).collect());
        }
        Self {
            dir: tempfile::tempdir().expect("dir"),
            fake: Arc::new(fake),
            sink: Arc::default(),
            clock: TestClock::starting_at(START),
            began: Instant::now(),
        }
    }

    fn order(&self, urls: &[&str], seconds: i64) -> TapeOrder {
        TapeOrder {
            hall: HallId(1),
            hall_name: "Saal 1".to_owned(),
            event_slug: "27c3".to_owned(),
            hall_slug: "saal-1".to_owned(),
            zone: chrono_tz::Europe::Berlin,
            streams: urls
                .iter()
                .enumerate()
                .map(|(n, url)| Stream {
                    id: StreamId(n as i64 + 1),
                    url: StreamUrl::parse(&format!("http://h/{url}")).expect("valid"),
                })
                .collect(),
            recorder: Recorder::Auto,
            quality: Default::default(),
            from: START.minus(60_000),
            max_connections: 2,
            until: START.plus(seconds * 1000),
            boundaries: Vec::new(),
            handover_lead_ms: 3000,
        }
    }

    fn deps(&self) -> TapeDeps {
        TapeDeps::new(
            Arc::new(self.clock.clone()),
            self.sink.clone(),
            Sources::of(vec![self.fake.clone()]),
            self.dir.path().to_owned(),
            Record::default(),
        )
    }

    fn start(&self, order: TapeOrder) -> TapeHandle {
        start(order, self.deps())
    }

    async fn at(&self, ms: u64) {
        tokio::time::sleep_until(self.began + Duration::from_millis(ms)).await;
    }

    async fn run(&self, order: TapeOrder) {
        self.start(order).finished().await;
    }

    fn events(&self) -> Vec<TapeEvent> {
        self.sink.events.lock().expect("lock").clone()
    }

    /// Per connection in order of opening: stream and end reason.
    fn connections(&self) -> Vec<(i64, EndReason)> {
        let events = self.events();
        let opened = events.iter().filter_map(|e| match e {
            TapeEvent::ConnectionOpened { connection, stream, .. } => Some((*connection, stream.0)),
            _ => None,
        });
        opened
            .map(|(id, stream)| {
                let reasons: Vec<_> = events
                    .iter()
                    .filter_map(|e| match e {
                        TapeEvent::ConnectionClosed { connection, reason, .. } if *connection == id => Some(*reason),
                        _ => None,
                    })
                    .collect();
                assert_eq!(reasons.len(), 1, "closed once: {reasons:?}");
                (stream, reasons[0])
            })
            .collect()
    }

    /// When each source was opened, in milliseconds from the start.
    fn opened_ms(&self) -> Vec<u128> {
        self.fake.given.lock().expect("lock").iter().map(|g| (g.at - self.began).as_millis()).collect()
    }

    /// Segments in order of opening, each checked against its file: path, bytes, closing event.
    fn segments(&self) -> Vec<(PathBuf, Vec<u8>, TapeEvent)> {
        let events = self.events();
        let opened = events.iter().filter_map(|e| match e {
            TapeEvent::SegmentOpened { segment, path, at, .. } => Some((*segment, path.clone(), *at)),
            _ => None,
        });
        opened
            .map(|(id, path, opened_at)| {
                let closed: Vec<_> = events
                    .iter()
                    .filter(|e| matches!(e, TapeEvent::SegmentClosed { segment, .. } if *segment == id))
                    .collect();
                assert_eq!(closed.len(), 1, "closed once");
                let content = std::fs::read(self.dir.path().join(&path)).unwrap_or_default();
                let TapeEvent::SegmentClosed { bytes, sha256, .. } = closed[0] else { unreachable!() };
                assert_eq!(*bytes, content.len() as u64);
                assert_eq!(*sha256, <[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest(&content)));
                check_marks(&marks_of(&events, id), *bytes, opened_at);
                (path, content, closed[0].clone())
            })
            .collect()
    }

    /// Every byte that was given is in exactly one segment, in order.
    fn assert_nothing_lost(&self) {
        let mut files: Vec<_> = self.segments().into_iter().map(|(_, content, _)| content).collect();
        files.sort();
        let given = self.fake.given.lock().expect("lock");
        let mut given: Vec<_> = given.iter().map(|g| g.bytes.lock().expect("lock").clone()).collect();
        given.retain(|bytes| !bytes.is_empty());
        given.sort();
        let sizes = |all: &[Vec<u8>]| all.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(&files), sizes(&given));
        assert!(files == given, "other bytes than were given");
    }
}

fn marks_of(events: &[TapeEvent], id: Uuid) -> Vec<Mark> {
    events
        .iter()
        .filter_map(|e| match e {
            TapeEvent::Progress { segment, marks, .. } | TapeEvent::SegmentClosed { segment, marks, .. }
                if *segment == id =>
            {
                Some(marks.clone())
            }
            _ => None,
        })
        .flatten()
        .collect()
}

/// First and last byte, and about one a second between.
fn check_marks(marks: &[Mark], bytes: u64, opened_at: Ms) {
    if bytes == 0 {
        return;
    }
    assert_eq!(marks.first().map(|m| m.at), Some(opened_at));
    assert_eq!(marks.last().map(|m| m.offset), Some(bytes));
    assert!(marks.windows(2).all(|w| w[0].at <= w[1].at && w[0].offset < w[1].offset), "{marks:?}");
    assert!(marks.len() as i64 <= marks[marks.len() - 1].at.since(opened_at) / 1000 + 2, "{marks:?}");
}

fn word(event: &TapeEvent) -> &'static str {
    match event {
        TapeEvent::ConnectionOpened { .. } => "opened",
        TapeEvent::FirstByte { .. } => "first",
        TapeEvent::SegmentOpened { .. } => "segment",
        TapeEvent::Progress { .. } => "progress",
        TapeEvent::SegmentClosed { .. } => "segment-closed",
        TapeEvent::ConnectionClosed { .. } => "closed",
        TapeEvent::DiskFull { full: true, .. } => "full",
        TapeEvent::DiskFull { full: false, .. } => "free",
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_stream_is_one_connection_and_one_file_until_the_window_ends() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 60));
    bench.at(30_000).await;
    let status = tape.status();
    assert_eq!((status.state, status.connections), (TapeState::Taping, 1));
    assert!((status.bytes_per_second - 18_800.0).abs() < 1000.0, "{status:?}");
    assert!(status.silence().expect("bytes") < Duration::from_secs(1));
    tape.finished().await;
    assert_eq!(tape.status().state, TapeState::Ended);
    assert!((60_000..61_000).contains(&bench.clock.now().since(START)), "{:?}", bench.clock.now());
    assert_eq!(bench.connections(), [(1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
    let (path, content, _) = bench.segments().remove(0);
    assert_eq!(path, Path::new("segments/27c3/saal-1/2010-12-27/saal-1_2010-12-27_12-00-00.000_0001.ts"));
    assert!(content.len() >= 599 * 1880);
    let mut words: Vec<_> = bench.events().iter().map(word).collect();
    words.dedup();
    assert_eq!(words, ["opened", "first", "segment", "progress", "segment-closed", "closed"]);
}

#[tokio::test(start_paused = true)]
async fn whatever_ends_a_connection_the_next_one_comes_and_no_byte_is_lost() {
    let html = b"<!DOCTYPE html><html><body>later</body></html>".to_vec();
    let bench = Bench::new(&[(
        "a",
        &[
            &[Media(90_000), eof()],
            &[Silence(300), failed(EndReason::Refused)],
            &[Silence(LONG)],
            &[Media(70_000), Silence(LONG)],
            &[Bytes(html.clone()), eof()],
            &[failed(EndReason::Http(503))],
            &[Media(100), failed(EndReason::SourceFailed)],
            &[Media(LONG)],
        ],
    )]);
    // One at a time: a second one beside the silent one is tested elsewhere.
    bench.run(TapeOrder { max_connections: 1, ..bench.order(&["a"], 600) }).await;
    let reasons: Vec<_> = bench.connections().into_iter().map(|(_, reason)| reason).collect();
    use EndReason::{Eof, Http, NoFirstByte, NotMedia, Refused, SourceFailed, Stalled, WindowEnd};
    assert_eq!(reasons, [Eof, Refused, NoFirstByte, Stalled, NotMedia, Http(503), SourceFailed, WindowEnd]);
    bench.assert_nothing_lost();
    let kinds: Vec<_> = bench
        .segments()
        .into_iter()
        .map(|(path, content, closed)| {
            let TapeEvent::SegmentClosed { container, not_media, reason, .. } = closed else { unreachable!() };
            let end = path.extension().expect("one").to_string_lossy().into_owned();
            (end, container, not_media, reason, content.is_empty())
        })
        .collect();
    let ts = |reason| ("ts".to_owned(), Container::MpegTs, false, reason, false);
    let page = ("bin".to_owned(), Container::Unknown, true, NotMedia, false);
    assert_eq!(kinds, [ts(Eof), ts(Stalled), page, ts(SourceFailed), ts(WindowEnd)]);
    assert_eq!(bench.fake.most_open.load(Ordering::SeqCst), 1, "one connection at a time");
    // After media: at once. The first failure: at once. The second: half a second. After media: at once ...
    let opened = bench.opened_ms();
    let gap = |n: usize, after: u128| opened[n] - opened[n - 1] - after;
    assert!(gap(1, 90_000) < 200, "{opened:?}");
    assert!(gap(2, 300) < 200, "{opened:?}");
    assert!((370..700).contains(&gap(3, 15_000)), "{opened:?}");
    assert!(gap(4, 79_800) < 900, "{opened:?}");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_comes_again_and_again_is_silence() {
    let html = b"<!DOCTYPE html><html><body>moved</body></html>".to_vec();
    let page: &[Step] = &[Bytes(html), eof()];
    let bench = Bench::new(&[("a", &[page])]);
    let mut tape = bench.start(bench.order(&["a"], 300));
    bench.at(200_000).await;
    assert_eq!(tape.status().silence(), None, "no media has ever come");
    tape.stop(EndReason::Shutdown);
    tape.finished().await;
    // After media its silence goes on through all the pages.
    let bench = Bench::new(&[("a", &[&[Media(10_000), eof()], page])]);
    let mut tape = bench.start(bench.order(&["a"], 300));
    bench.at(200_000).await;
    let silent = tape.status().silence().expect("media came").as_secs();
    assert!((189..=190).contains(&silent), "{silent}");
    tape.stop(EndReason::Shutdown);
    tape.finished().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recognised_and_is_no_text_is_no_silence() {
    let noise: Vec<u8> = (0..70_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let bench =
        Bench::new(&[("a", &[&[Bytes(noise.clone()), Silence(5000), Bytes(noise[..100].to_vec()), Silence(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 300));
    bench.at(8000).await;
    let silent = tape.status().silence().expect("it passes for media").as_secs();
    assert!((2..=3).contains(&silent), "{silent}");
    tape.stop(EndReason::Shutdown);
    tape.finished().await;
}

#[tokio::test(start_paused = true)]
async fn a_trickle_is_no_stall() {
    let mut life = vec![Media(200)];
    for _ in 0..20 {
        life.extend([Silence(9000), Media(100)]);
    }
    let bench = Bench::new(&[("a", &[&life])]);
    bench.run(TapeOrder { max_connections: 1, ..bench.order(&["a"], 150) }).await;
    assert_eq!(bench.connections(), [(1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn between_two_segments_of_hls_there_is_no_stall() {
    let life = [Media(1000), Silence(12_000), Media(1000), Silence(12_000), Media(1000), Silence(LONG)];
    let bench = Bench::new(&[("a.m3u8", &[&life])]);
    let mut order = bench.order(&["a.m3u8"], 62);
    order.recorder = Recorder::Mplayer;
    order.max_connections = 1;
    bench.run(order).await;
    let reasons: Vec<_> = bench.connections().into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, [EndReason::Stalled, EndReason::WindowEnd]);
    assert!((55_000..60_000).contains(&bench.opened_ms()[1]), "{:?}", bench.opened_ms());
}

#[tokio::test(start_paused = true)]
async fn a_missing_program_is_said_and_tried_again() {
    let bench = Bench::new(&[("a", &[&[Missing], &[Missing], &[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 10));
    bench.at(500).await;
    let (_, reason, detail) = tape.status().last_trouble.expect("trouble");
    assert_eq!((reason, detail.as_deref()), (EndReason::SourceMissing, Some("apt")));
    tape.finished().await;
    let reasons: Vec<_> = bench.connections().into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, [EndReason::SourceMissing, EndReason::SourceMissing, EndReason::WindowEnd]);
}

#[tokio::test(start_paused = true)]
async fn the_next_mirror_is_tried_at_once() {
    let bench = Bench::new(&[("a", &[&[failed(EndReason::Refused)]]), ("b", &[&[Media(LONG)]])]);
    bench.run(bench.order(&["a", "b"], 20)).await;
    assert_eq!(bench.connections(), [(1, EndReason::Refused), (2, EndReason::WindowEnd)]);
    assert!(bench.opened_ms()[1] < 100, "{:?}", bench.opened_ms());
}

#[tokio::test(start_paused = true)]
async fn at_a_boundary_the_new_connection_flows_for_two_seconds_before_the_old_one_stops() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let mut order = bench.order(&["a"], 120);
    order.boundaries = vec![START, START.plus(60_000)];
    bench.run(order).await;
    assert_eq!(bench.connections(), [(1, EndReason::Handover), (1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
    // 3 s before the boundary.
    assert!((57_000..57_200).contains(&bench.opened_ms()[1]), "{:?}", bench.opened_ms());
    let segments = bench.segments();
    let last_of_old = marks_of(&bench.events(), id_of(&segments[0].2)).last().expect("marks").at;
    let first_of_new = marks_of(&bench.events(), id_of(&segments[1].2))[0].at;
    assert!((2000..2600).contains(&last_of_old.since(first_of_new)), "{last_of_old:?} {first_of_new:?}");
    assert!(segments[1].0.to_string_lossy().contains("_12-00-57.0"), "{:?}", segments[1].0);
}

fn id_of(closed: &TapeEvent) -> Uuid {
    match closed {
        TapeEvent::SegmentClosed { segment, .. } => *segment,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_handover_that_does_not_become_good_costs_nothing() {
    let html = b"<html>busy</html>".to_vec();
    for (life, want) in [
        (vec![Silence(LONG)], EndReason::NoFirstByte),
        (vec![Silence(14_000), Bytes(vec![1; 200]), Silence(LONG)], EndReason::HandoverFailed),
        (vec![failed(EndReason::Http(503))], EndReason::Http(503)),
        (vec![Bytes(html), eof()], EndReason::NotMedia),
        (vec![Media(1500), eof()], EndReason::Eof),
    ] {
        let bench = Bench::new(&[("a", &[&[Media(LONG)], &life, &[Media(LONG)]])]);
        let mut order = bench.order(&["a"], 120);
        order.boundaries = vec![START.plus(60_000)];
        bench.run(order).await;
        assert_eq!(bench.connections(), [(1, EndReason::WindowEnd), (1, want)]);
        bench.assert_nothing_lost();
        let segments = bench.segments();
        assert!(segments[0].1.len() >= 1190 * 1880, "the old one went on");
    }
}

#[tokio::test(start_paused = true)]
async fn with_one_connection_allowed_there_is_no_handover() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let mut order = bench.order(&["a"], 60);
    order.boundaries = vec![START.plus(30_000)];
    order.max_connections = 1;
    bench.run(order).await;
    assert_eq!(bench.connections(), [(1, EndReason::WindowEnd)]);
}

#[tokio::test(start_paused = true)]
async fn a_boundary_that_moved_is_kept_again_and_one_that_is_long_past_is_not() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let mut order = bench.order(&["a"], 120);
    let mut tape = bench.start(order.clone());
    bench.at(40_000).await;
    order.boundaries = vec![START.plus(20_000)];
    tape.retarget(order.clone());
    bench.at(50_000).await;
    assert_eq!(tape.status().connections, 1);
    order.boundaries = vec![START.plus(60_000)];
    tape.retarget(order.clone());
    bench.at(70_000).await;
    assert_eq!(tape.status().connections, 2);
    order.boundaries = vec![START.plus(60_000), START.plus(90_000)];
    tape.retarget(order);
    tape.finished().await;
    let reasons: Vec<_> = bench.connections().into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, [EndReason::Handover, EndReason::Handover, EndReason::WindowEnd]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_could_not_keep_up_costs_a_new_connection_and_no_more() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let mut deps = bench.deps();
    deps.buffer_bytes = 40_000;
    // Below a file nothing can be made, until it is taken away.
    let blocker = bench.dir.path().join("segments");
    std::fs::write(&blocker, b"in the way").expect("written");
    let mut tape = start(bench.order(&["a"], 60), deps);
    bench.at(20_000).await;
    assert!(tape.status().disk_full);
    assert_eq!(tape.status().connections, 1, "while the disk is full nothing is gained by it");
    std::fs::remove_file(&blocker).expect("removed");
    bench.at(30_000).await;
    assert!(!tape.status().disk_full);
    tape.finished().await;
    let reasons: Vec<_> = bench.connections().into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, [EndReason::DiskFull, EndReason::WindowEnd]);
    let (first, second) = (&bench.segments()[0].1, &bench.segments()[1].1);
    let given = bench.fake.given.lock().expect("lock");
    let bytes = |n: usize| given[n].bytes.lock().expect("lock").clone();
    assert!(!first.is_empty() && bytes(0).starts_with(first), "the first keeps its beginning");
    assert_eq!(*second, bytes(1));
    let words: Vec<_> = bench.events().iter().map(word).filter(|w| matches!(*w, "full" | "free")).collect();
    assert_eq!(words, ["full", "free"]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_full_disk_and_says_what_is_lost() {
    let bench = Bench::new(&[("a", &[&[Media(5000), eof()], &[Media(LONG)]])]);
    std::fs::write(bench.dir.path().join("segments"), b"in the way").expect("written");
    let mut tape = bench.start(bench.order(&["a"], 600));
    bench.at(20_000).await;
    tape.stop(EndReason::Shutdown);
    tape.finished().await;
    assert!(bench.clock.now().since(START) < 25_000);
    assert_eq!(bench.connections(), [(1, EndReason::Eof), (1, EndReason::Shutdown)]);
    for (n, (_, _, closed)) in bench.segments().into_iter().enumerate() {
        let given = bench.fake.given.lock().expect("lock")[n].bytes.lock().expect("lock").len();
        let TapeEvent::SegmentClosed { lost_bytes, .. } = closed else { unreachable!() };
        assert_eq!(lost_bytes, given as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_old_connection_breaks_during_a_handover_the_new_one_takes_over() {
    let bench = Bench::new(&[("a", &[&[Media(58_000), eof()], &[Silence(3000), Media(LONG)]])]);
    let mut order = bench.order(&["a"], 120);
    order.boundaries = vec![START.plus(60_000)];
    bench.run(order).await;
    assert_eq!(bench.connections(), [(1, EndReason::Eof), (1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn a_cut_of_both_connections_of_a_handover_does_not_forget_how_good_the_first_one_was() {
    let refused: &[Step] = &[failed(EndReason::Refused)];
    let (long, short): (&[Step], &[Step]) = (&[Media(45_000), eof()], &[Media(500), eof()]);
    let lives = [refused, refused, refused, refused, refused, long, short, &[Media(LONG)]];
    let bench = Bench::new(&[("a", &lives)]);
    let mut tape = bench.start(bench.order(&["a"], 200));
    while tape.status().connections < 6 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let flows = bench.opened_ms()[5];
    bench.at(u64::try_from(flows).expect("small") + 44_700).await;
    let mut order = bench.order(&["a"], 200);
    order.boundaries = vec![bench.clock.now()];
    tape.retarget(order);
    tape.finished().await;
    let opened = bench.opened_ms();
    assert_eq!(opened.len(), 8);
    let cut = flows + 45_000;
    assert!(opened[6] < cut && opened[7] - cut < 3000, "{opened:?}");
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn a_boundary_in_a_broken_time_means_nothing() {
    let bench =
        Bench::new(&[("a", &[&[Media(57_000), eof()], &[failed(EndReason::Refused)], &[Silence(5000), Media(LONG)]])]);
    let mut order = bench.order(&["a"], 120);
    order.boundaries = vec![START.plus(60_200)];
    bench.run(order).await;
    let reasons: Vec<_> = bench.connections().into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, [EndReason::Eof, EndReason::Refused, EndReason::WindowEnd]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn the_preferred_mirror_is_taken_up_again_at_a_boundary() {
    let bench = Bench::new(&[("a", &[&[failed(EndReason::Refused)], &[Media(LONG)]]), ("b", &[&[Media(LONG)]])]);
    let mut order = bench.order(&["a", "b"], 60);
    order.boundaries = vec![START.plus(30_000)];
    bench.run(order).await;
    let want = [(1, EndReason::Refused), (2, EndReason::Handover), (1, EndReason::WindowEnd)];
    assert_eq!(bench.connections(), want);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn a_later_end_counts_and_an_earlier_one_does_not_stop_what_flows() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 30));
    bench.at(10_000).await;
    tape.retarget(bench.order(&["a"], 60));
    bench.at(40_000).await;
    assert!(!tape.is_finished());
    tape.retarget(bench.order(&["a"], 20));
    bench.at(59_000).await;
    assert!(!tape.is_finished());
    tape.finished().await;
    assert!((60_000..61_000).contains(&bench.clock.now().since(START)));
    assert_eq!(bench.connections(), [(1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn other_streams_are_taken_without_losing_a_byte_of_the_old_one() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]]), ("b", &[&[Media(LONG)]]), ("c", &[&[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 60));
    bench.at(10_000).await;
    // Still listed: nothing happens.
    tape.retarget(bench.order(&["b", "a"], 60));
    bench.at(20_000).await;
    assert_eq!(tape.status().connections, 1);
    tape.retarget(bench.order(&["c"], 60));
    bench.at(30_000).await;
    let status = tape.status();
    assert_eq!(status.stream.map(|s| s.path().to_owned()).as_deref(), Some("/c"));
    tape.finished().await;
    assert_eq!(bench.connections(), [(1, EndReason::Handover), (1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn a_hall_without_streams_waits_for_one() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&[], 60));
    bench.at(10_000).await;
    assert_eq!(tape.status().state, TapeState::NoStream);
    tape.retarget(bench.order(&["a"], 60));
    tape.finished().await;
    assert_eq!(bench.connections(), [(1, EndReason::WindowEnd)]);
    assert!(bench.opened_ms()[0] < 10_200);
}

#[tokio::test(start_paused = true)]
async fn news_of_streams_end_a_long_wait() {
    let bench = Bench::new(&[("a", &[&[failed(EndReason::Refused)]]), ("b", &[&[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 300));
    bench.at(100_000).await;
    assert!(matches!(tape.status().state, TapeState::Waiting(_)), "{:?}", tape.status());
    tape.retarget(bench.order(&["b"], 300));
    bench.at(102_000).await;
    assert_eq!(tape.status().state, TapeState::Taping);
    tape.stop(EndReason::Shutdown);
    tape.finished().await;
}

#[tokio::test(start_paused = true)]
async fn stops_are_prompt_and_keep_what_was_still_to_come_unless_unwanted() {
    for reason in [EndReason::Shutdown, EndReason::Unwanted] {
        let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
        let mut tape = bench.start(bench.order(&["a"], 600));
        bench.at(10_050).await;
        tape.stop(reason);
        tape.stop(EndReason::WindowEnd);
        tape.finished().await;
        assert!(bench.clock.now().since(START) < 16_000);
        assert_eq!(bench.connections(), [(1, reason)]);
        let file = bench.segments().remove(0).1.len();
        let given = bench.fake.given.lock().expect("lock")[0].bytes.lock().expect("lock").len();
        if reason == EndReason::Shutdown {
            assert_eq!((file, given), (102 * 1880, 102 * 1880));
        } else {
            assert!((95 * 1880..=101 * 1880).contains(&file), "{file}: the rest is not wanted");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_handle_stops_the_tape() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let tape = bench.start(bench.order(&["a"], 600));
    bench.at(10_000).await;
    drop(tape);
    bench.at(20_000).await;
    assert_eq!(bench.connections(), [(1, EndReason::Shutdown)]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn a_dead_catalog_does_not_stop_a_tape() {
    let bench = Bench::new(&[("a", &[&[Media(10_000), eof()], &[Media(LONG)]])]);
    *bench.sink.dead.lock().expect("lock") = Some(Vec::new());
    bench.run(bench.order(&["a"], 60)).await;
    assert_eq!(bench.connections(), [(1, EndReason::Eof), (1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn the_clock_may_be_set_back_and_forth() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 100));
    bench.at(10_000).await;
    bench.clock.step(-3_600_000);
    bench.at(200_000).await;
    assert!(!tape.is_finished(), "its end is a wall time");
    bench.clock.step(3_600_000);
    tape.finished().await;
    assert_eq!(bench.connections(), [(1, EndReason::WindowEnd)]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recognised_is_kept_under_a_plain_name() {
    let noise: Vec<u8> = (0..3000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let bench = Bench::new(&[("a", &[&[Bytes(noise), Silence(2000), eof()]])]);
    bench.run(bench.order(&["a"], 1)).await;
    let (path, content, closed) = bench.segments().remove(0);
    assert_eq!((path.extension().and_then(|e| e.to_str()), content.len()), (Some("bin"), 3000));
    let TapeEvent::SegmentClosed { not_media, .. } = closed else { unreachable!() };
    assert!(!not_media);
}

/// Media for so long, then silence for so long, and again.
fn bursts(media: u64, silence: u64, times: usize) -> Vec<Step> {
    (0..times).flat_map(|_| [Media(media), Silence(silence)]).collect()
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_gets_a_second_one_beside_it_after_about_a_second() {
    let bench = Bench::new(&[("a", &[&[Media(20_000), Silence(LONG)], &[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 60));
    bench.at(24_000).await;
    let status = tape.status();
    let (_, reason, detail) = status.last_trouble.expect("trouble");
    assert_eq!((status.state, status.connections, reason), (TapeState::Taping, 2, EndReason::Stalled));
    assert!(detail.as_deref().is_some_and(|d| d.starts_with("no byte for 1.")), "{detail:?}");
    tape.finished().await;
    assert_eq!(bench.connections(), [(1, EndReason::Stalled), (1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
    let opened = bench.opened_ms()[1];
    assert!((20_900..21_300).contains(&opened), "{opened}");
    assert_eq!(bench.fake.most_open.load(Ordering::SeqCst), 2);
    // The catalog hears how long it was silent: until it was given up.
    let events = bench.events();
    let told = events.iter().find_map(|e| match e {
        TapeEvent::ConnectionClosed { reason: EndReason::Stalled, detail, .. } => detail.clone(),
        _ => None,
    });
    assert_eq!(told.as_deref(), Some("no byte for 10.0 s"));
}

#[tokio::test(start_paused = true)]
async fn with_one_connection_allowed_the_stall_timeout_rules() {
    let bench = Bench::new(&[("a", &[&[Media(20_000), Silence(LONG)], &[Media(LONG)]])]);
    bench.run(TapeOrder { max_connections: 1, ..bench.order(&["a"], 60) }).await;
    assert_eq!(bench.connections(), [(1, EndReason::Stalled), (1, EndReason::WindowEnd)]);
    assert!((29_800..30_300).contains(&bench.opened_ms()[1]), "{:?}", bench.opened_ms());
    assert_eq!(bench.fake.most_open.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn the_old_one_goes_on_where_it_delivers_first() {
    let bench = Bench::new(&[(
        "a",
        &[&[Media(20_000), Silence(3000), Media(LONG)], &[Silence(5000), Media(LONG)], &[Media(LONG)]],
    )]);
    bench.run(bench.order(&["a"], 60)).await;
    assert_eq!(bench.connections(), [(1, EndReason::WindowEnd), (1, EndReason::HedgeLost)]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn what_a_silent_connection_still_delivers_is_kept_though_another_went_on() {
    let bench = Bench::new(&[("a", &[&[Media(20_000), Silence(4000), Media(LONG)], &[Silence(500), Media(LONG)]])]);
    bench.run(bench.order(&["a"], 60)).await;
    assert_eq!(bench.connections(), [(1, EndReason::Stalled), (1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
    let first = bench.segments()[0].1.len();
    // Two seconds more, for the seam.
    assert!((218 * 1880..230 * 1880).contains(&first), "{first}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_bursts_is_known_by_its_bursts() {
    let life = bursts(300, 6000, 30);
    let bench = Bench::new(&[("a", &[&life, &[Silence(LONG)]])]);
    bench.run(bench.order(&["a"], 120)).await;
    let lost = bench.connections().iter().filter(|(_, r)| *r == EndReason::HedgeLost).count();
    // The first of its silences is news.
    assert_eq!((bench.connections().len(), lost), (2, 1), "{:?}", bench.connections());
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn hedges_go_to_the_next_mirror_and_come_back_at_the_next_boundary() {
    let bench = Bench::new(&[
        ("a", &[&[Media(20_000), Silence(LONG)], &[Media(LONG)]]),
        ("b", &[&[failed(EndReason::Refused)]]),
        ("c", &[&[Media(LONG)]]),
    ]);
    let mut order = bench.order(&["a", "b", "c"], 90);
    order.boundaries = vec![START.plus(60_000)];
    bench.run(order).await;
    let want = [(1, EndReason::Stalled), (2, EndReason::Refused), (3, EndReason::Handover), (1, EndReason::WindowEnd)];
    assert_eq!(bench.connections(), want);
    assert!(bench.opened_ms()[2] < 21_500, "{:?}", bench.opened_ms());
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn hedges_that_are_refused_become_rare_and_the_connection_itself_is_tried_as_ever() {
    let refused = [failed(EndReason::Refused)];
    let mut lives: Vec<&[Step]> = vec![&[Media(20_000), Silence(LONG)]];
    lives.extend([&refused[..]; 8]);
    lives.push(&[Media(LONG)]);
    let bench = Bench::new(&[("a", &lives)]);
    bench.run(bench.order(&["a"], 60)).await;
    let opened = bench.opened_ms();
    // At 21 s, then after 1, 2 and 4 s; at 30 s the stall is called and the tape tries as it always does.
    let hedges: Vec<_> = opened.iter().filter(|at| (20_500..29_500).contains(*at)).collect();
    assert!((3..=4).contains(&hedges.len()), "{opened:?}");
    let reasons: Vec<_> = bench.connections().into_iter().map(|(_, r)| r).collect();
    assert_eq!(reasons[0], EndReason::Stalled);
    assert!(opened.iter().filter(|at| (29_800..31_500).contains(*at)).count() >= 3, "{opened:?}");
    assert_eq!(reasons.last(), Some(&EndReason::WindowEnd));
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn a_second_silence_while_the_first_connection_still_hangs_is_hedged_too_and_there_are_never_three() {
    let bench = Bench::new(&[(
        "a",
        &[&[Media(20_000), Silence(LONG)], &[Media(6000), Silence(LONG)], &[Media(3000), eof()], &[Media(LONG)]],
    )]);
    bench.run(bench.order(&["a"], 60)).await;
    let reasons: Vec<_> = bench.connections().into_iter().map(|(_, r)| r).collect();
    use EndReason::{Eof, Stalled, WindowEnd};
    assert_eq!(reasons, [Stalled, Stalled, Eof, WindowEnd]);
    let opened = bench.opened_ms();
    assert!((26_900..28_700).contains(&opened[2]) && opened[3] < 32_000, "{opened:?}");
    assert!(bench.fake.most_open.load(Ordering::SeqCst) <= 2);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn a_handover_under_way_takes_over_at_once_from_one_that_falls_silent() {
    let bench = Bench::new(&[("a", &[&[Media(57_000), Silence(LONG)], &[Silence(2500), Media(LONG)]])]);
    let mut order = bench.order(&["a"], 90);
    order.boundaries = vec![START.plus(59_500)];
    bench.run(order).await;
    assert_eq!(bench.connections(), [(1, EndReason::Stalled), (1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn every_connection_cut_after_half_a_second_costs_nothing_for_seconds() {
    let cut = [Media(500), eof()];
    let first = [Media(20_000), eof()];
    let mut lives: Vec<&[Step]> = vec![&first];
    lives.extend([&cut[..]; 10]);
    lives.push(&[Media(LONG)]);
    let bench = Bench::new(&[("a", &lives)]);
    bench.run(bench.order(&["a"], 60)).await;
    let opened = bench.opened_ms();
    assert!(opened[11] < 20_000 + 10 * 620, "{opened:?}");
    bench.assert_nothing_lost();
}
