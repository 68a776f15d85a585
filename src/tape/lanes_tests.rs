//! Two mirrors at once, in simulated time, on sources that fail on command.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::app::support::clock::TestClock;
use crate::domain::clock::Clock as _;
use crate::domain::hall::{Recorder, Stream};
use crate::domain::hls::Quality;
use crate::domain::ids::{HallId, StreamId};
use crate::domain::settings::Record;
use crate::domain::stream_url::StreamUrl;
use crate::domain::time::Ms;
use crate::source::{Running, Source, SourceEnd, Sources};
use crate::tape::events::{TapeEvent, TapeSink};

const START: Ms = Ms(1_293_447_600_000);

/// A server of mirrors: each can be switched off, which ends what runs and refuses what comes.
#[derive(Debug, Default)]
struct Mirrors {
    down: Mutex<HashMap<String, Arc<AtomicBool>>>,
    open: Mutex<HashMap<String, usize>>,
    /// The most that were ever open at once, by address.
    most: Mutex<HashMap<String, usize>>,
}

impl Mirrors {
    fn switch(&self, name: &str) -> Arc<AtomicBool> {
        self.down.lock().expect("lock").entry(name.to_owned()).or_default().clone()
    }

    fn set_down(&self, name: &str, down: bool) {
        self.switch(name).store(down, Ordering::SeqCst);
    }

    fn open_now(&self) -> Vec<(String, usize)> {
        let mut all: Vec<_> =
            self.open.lock().expect("lock").iter().filter(|(_, n)| **n > 0).map(|(u, n)| (u.clone(), *n)).collect();
        all.sort();
        all
    }
}

#[derive(Debug)]
struct Fake(Arc<Mirrors>);

impl Source for Fake {
    fn name(&self) -> &'static str {
        "mplayer"
    }

    fn open(&self, url: &StreamUrl, _label: &str) -> Result<Running, SourceEnd> {
        let name = url.path().trim_start_matches('/').to_owned();
        let down = self.0.switch(&name);
        let (ours, mut theirs) = tokio::io::duplex(1 << 22);
        let (stop, kill, (tell, ended)) = (CancellationToken::new(), CancellationToken::new(), oneshot::channel());
        let (stopped, mirrors) = (stop.clone(), self.0.clone());
        let now = {
            let mut open = self.0.open.lock().expect("lock");
            let n = open.entry(name.clone()).or_default();
            *n += 1;
            *n
        };
        self.0.most.lock().expect("lock").entry(name.clone()).and_modify(|m| *m = now.max(*m)).or_insert(now);
        tokio::spawn(async move {
            let mut end = SourceEnd::default();
            let mut packet = [0xee_u8; 1880];
            (0..10).for_each(|n| packet[n * 188..][..4].copy_from_slice(&[0x47, 0x40, 0x11, 0x10]));
            while !stopped.is_cancelled() {
                if down.load(Ordering::SeqCst) {
                    end = SourceEnd { reason: Some(EndReason::Refused), detail: None };
                    break;
                }
                let _ = theirs.write_all(&packet).await;
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(100)) => {}
                    () = stopped.cancelled() => {}
                }
            }
            *mirrors.open.lock().expect("lock").entry(name).or_default() -= 1;
            drop(theirs);
            let _ = tell.send(end);
        });
        Ok(Running {
            bytes: Box::pin(ours),
            stop,
            kill,
            ended,
            over: tokio_util::sync::CancellationToken::new(),
            process: None,
        })
    }
}

#[derive(Debug, Default)]
struct Recorded(Mutex<Vec<TapeEvent>>);

impl TapeSink for Recorded {
    fn send(&self, event: TapeEvent) -> oneshot::Receiver<()> {
        self.0.lock().expect("lock").push(event);
        let (tell, answer) = oneshot::channel();
        tell.send(()).expect("just made");
        answer
    }
}

struct Bench {
    dir: tempfile::TempDir,
    mirrors: Arc<Mirrors>,
    sink: Arc<Recorded>,
    clock: TestClock,
}

impl Bench {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("dir"),
            mirrors: Arc::default(),
            sink: Arc::default(),
            clock: TestClock::starting_at(START),
        }
    }

    fn order(&self, urls: &[&str], seconds: i64, boundaries: &[i64]) -> TapeOrder {
        let stream = |(n, url): (i64, &&str)| Stream {
            id: StreamId(n),
            url: StreamUrl::parse(&format!("http://mirror.example/{url}")).expect("valid"),
        };
        TapeOrder {
            hall: HallId(1),
            hall_name: "Saal 1".to_owned(),
            event_slug: "27c3".to_owned(),
            hall_slug: "saal-1".to_owned(),
            zone: chrono_tz::Tz::Europe__Berlin,
            streams: (1..).zip(urls).map(stream).collect(),
            recorder: Recorder::Mplayer,
            max_connections: 2,
            from: START,
            quality: Quality::default(),
            until: START.plus(seconds * SECOND),
            boundaries: boundaries.iter().map(|s| START.plus(s * SECOND)).collect(),
            handover_lead_ms: 3000,
        }
    }

    fn start(&self, order: TapeOrder, redundancy: u32) -> Lanes {
        let deps = TapeDeps::new(
            Arc::new(self.clock.clone()),
            self.sink.clone(),
            Sources::of(vec![Arc::new(Fake(self.mirrors.clone()))]),
            self.dir.path().to_owned(),
            Record::default(),
        );
        Lanes::start(order, redundancy, deps)
    }

    async fn at(&self, seconds: i64) {
        while self.clock.now() < START.plus(seconds * SECOND) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn open(&self) -> Vec<String> {
        self.mirrors.open_now().into_iter().flat_map(|(url, n)| vec![url; n]).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn two_mirrors_are_taped_at_once_and_end_together() {
    let bench = Bench::new();
    let mut lanes = bench.start(bench.order(&["a", "b"], 60, &[]), 2);
    bench.at(10).await;
    assert_eq!(bench.open(), ["a", "b"]);
    let (each, all) = (lanes.lanes(), lanes.status());
    assert_eq!(each.len(), 2);
    assert!(each.iter().all(|lane| lane.state == TapeState::Taping && lane.bytes > 0), "{each:?}");
    assert_eq!((all.state, all.bytes), (TapeState::Taping, each.iter().map(|lane| lane.bytes).sum()));
    lanes.finished().await;
    assert!(lanes.is_finished());
    assert!(bench.open().is_empty());
    let events = bench.sink.0.lock().expect("lock");
    let mut paths: Vec<_> = events
        .iter()
        .filter_map(|e| match e {
            TapeEvent::SegmentOpened { path, .. } => Some(path.clone()),
            _ => None,
        })
        .collect();
    paths.dedup();
    assert_eq!(paths.len(), 2, "a file each: {paths:?}");
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_fails_is_asked_again_while_the_other_goes_on() {
    let bench = Bench::new();
    let mut lanes = bench.start(bench.order(&["a", "b"], 300, &[]), 2);
    bench.at(10).await;
    bench.mirrors.set_down("a", true);
    bench.at(60).await;
    assert_eq!(bench.open(), ["b"]);
    assert_eq!(lanes.status().state, TapeState::Taping);
    assert!(lanes.lanes()[0].last_trouble.is_some() && lanes.lanes()[1].last_trouble.is_none());
    bench.mirrors.set_down("a", false);
    bench.at(100).await;
    assert_eq!(bench.open(), ["a", "b"]);
    bench.mirrors.set_down("b", true);
    bench.at(140).await;
    assert_eq!(bench.open(), ["a"]);
    lanes.stop(EndReason::Shutdown);
    lanes.finished().await;
    let most = bench.mirrors.most.lock().expect("lock").clone();
    assert!(most.values().all(|n| *n == 1), "one connection to each: {most:?}");
}

#[tokio::test(start_paused = true)]
async fn a_third_mirror_stands_in_for_whichever_fails_and_never_for_both() {
    let bench = Bench::new();
    let mut lanes = bench.start(bench.order(&["a", "b", "c"], 1000, &[300]), 2);
    bench.at(10).await;
    assert_eq!(bench.open(), ["a", "b"]);
    bench.mirrors.set_down("a", true);
    bench.at(20).await;
    assert_eq!(bench.open(), ["b", "c"]);
    bench.mirrors.set_down("b", true);
    bench.at(100).await;
    assert_eq!(bench.open(), ["c"], "not twice the same");
    bench.mirrors.set_down("a", false);
    bench.mirrors.set_down("b", false);
    bench.at(200).await;
    assert_eq!(bench.open(), ["b", "c"]);
    // At the boundary each goes back to what it likes best.
    bench.at(320).await;
    assert_eq!(bench.open(), ["a", "b"]);
    lanes.stop(EndReason::Shutdown);
    lanes.finished().await;
}

#[tokio::test(start_paused = true)]
async fn lanes_come_and_go_with_the_mirrors() {
    let bench = Bench::new();
    let mut lanes = bench.start(bench.order(&["a"], 1000, &[]), 2);
    bench.at(5).await;
    assert_eq!((bench.open().len(), lanes.lanes().len()), (1, 1));
    lanes.retarget(bench.order(&["a", "b"], 1000, &[]), 2);
    bench.at(10).await;
    assert_eq!(bench.open(), ["a", "b"]);
    lanes.retarget(bench.order(&["a", "b"], 1000, &[]), 1);
    bench.at(20).await;
    assert_eq!(bench.open(), ["a"]);
    lanes.stop(EndReason::Shutdown);
    lanes.finished().await;
    assert!(lanes.is_finished());
}

/// Per connection in order of opening: its stream's number, and why it ended if it has.
fn connections(bench: &Bench) -> Vec<(i64, Option<EndReason>)> {
    let events = bench.sink.0.lock().expect("lock");
    let end = |id| {
        events.iter().find_map(|e| match e {
            TapeEvent::ConnectionClosed { connection, reason, .. } if *connection == id => Some(*reason),
            _ => None,
        })
    };
    let opened = events.iter().filter_map(|e| match e {
        TapeEvent::ConnectionOpened { connection, stream, .. } => Some((stream.0, end(*connection))),
        _ => None,
    });
    opened.collect()
}

#[tokio::test(start_paused = true)]
async fn when_a_dead_mirror_is_taken_away_the_lane_that_flows_stays() {
    let bench = Bench::new();
    bench.mirrors.set_down("a", true);
    let both = bench.order(&["a", "b"], 1000, &[]);
    let mut lanes = bench.start(both.clone(), 2);
    bench.at(30).await;
    assert_eq!(bench.open(), ["b"]);
    lanes.retarget(TapeOrder { streams: both.streams[1..].to_vec(), ..both }, 2);
    bench.at(40).await;
    assert_eq!((bench.open(), lanes.lanes().len()), (vec!["b".to_owned()], 1));
    let of_b: Vec<_> = connections(&bench).into_iter().filter(|(stream, _)| *stream == 2).collect();
    assert_eq!(of_b, [(2, None)], "one connection, which goes on");
    // A mirror that comes later is taped too, beside it.
    lanes.retarget(bench.order(&["b", "c"], 1000, &[]), 2);
    bench.at(50).await;
    assert_eq!(bench.open(), ["b", "c"]);
    lanes.stop(EndReason::Shutdown);
    lanes.finished().await;
}

#[tokio::test(start_paused = true)]
async fn of_two_lanes_that_flow_the_one_stays_whose_mirror_is_still_there() {
    for kept in [0, 1] {
        let bench = Bench::new();
        let both = bench.order(&["a", "b"], 1000, &[]);
        let mut lanes = bench.start(both.clone(), 2);
        bench.at(10).await;
        lanes.retarget(TapeOrder { streams: vec![both.streams[kept].clone()], ..both }, 2);
        bench.at(20).await;
        assert_eq!(bench.open(), [["a", "b"][kept]]);
        let mut want = [(1, Some(EndReason::Handover)), (2, Some(EndReason::Handover))];
        want[kept].1 = None;
        assert_eq!(connections(&bench), want, "the other's bytes up to then are kept");
        lanes.stop(EndReason::Shutdown);
        lanes.finished().await;
    }
}
