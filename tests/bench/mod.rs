//! Tapes on real sources and real files: what the tests of several sources share.

#![allow(dead_code, reason = "each of these tests uses a part of it")]

pub mod tls;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use streamrip::app::support::clock::SystemClock;
use streamrip::domain::clock::Clock as _;
use streamrip::domain::hall::{Recorder, Stream};
use streamrip::domain::hls::Quality;
use streamrip::domain::ids::{HallId, StreamId};
use streamrip::domain::segment::{Container, EndReason, Mark};
use streamrip::domain::settings::Record;
use streamrip::domain::stream_url::StreamUrl;
use streamrip::source::child::start_ticks;
use streamrip::source::hls::Hls;
use streamrip::source::http::Setup;
use streamrip::source::log::LineLog;
use streamrip::source::{ProcessId, Sources};
use streamrip::tape::events::{TapeEvent, TapeSink};
use streamrip::tape::{self, TapeDeps, TapeHandle, TapeOrder};
use streamrip_lab::{PATIENCE, eventually};
use tokio::sync::oneshot;
use uuid::Uuid;

/// What tapes told.
#[derive(Debug, Default)]
pub struct Told(Mutex<Vec<TapeEvent>>);

impl Told {
    pub fn events(&self) -> Vec<TapeEvent> {
        self.0.lock().expect("lock").clone()
    }
}

impl TapeSink for Told {
    fn send(&self, event: TapeEvent) -> oneshot::Receiver<()> {
        let (tell, answer) = oneshot::channel();
        self.0.lock().expect("lock").push(event);
        tell.send(()).expect("just made");
        answer
    }
}

/// What sources said.
#[derive(Debug, Default)]
struct Lines(Mutex<Vec<String>>);

impl LineLog for Lines {
    fn line(&self, label: &str, line: &str) {
        self.0.lock().expect("lock").push(format!("{label}: {line}"));
    }
}

/// A closed segment.
#[derive(Debug)]
pub struct Segment {
    pub path: PathBuf,
    pub content: Vec<u8>,
    pub container: Container,
    pub not_media: bool,
    pub reason: EndReason,
    pub marks: Vec<Mark>,
}

/// Tapes that share their sources, as in one daemon.
pub struct Bench {
    pub dir: tempfile::TempDir,
    told: Arc<Told>,
    lines: Arc<Lines>,
    pub sources: Sources,
    pub record: Record,
    pub buffer_bytes: Option<usize>,
}

impl Bench {
    /// With the sources of a daemon.
    pub fn new() -> Self {
        let lines = Arc::new(Lines::default());
        let log: Arc<dyn LineLog> = lines.clone();
        Self {
            dir: tempfile::tempdir().expect("dir"),
            told: Arc::default(),
            lines,
            sources: Sources::programs(&log),
            record: Record::default(),
            buffer_bytes: None,
        }
    }

    /// With HLS alone, and a proxy for everything.
    pub fn behind(proxy: &str) -> Self {
        Self::of_hls(Setup { proxy: Some(proxy.to_owned()), ..Setup::default() })
    }

    /// With HLS alone.
    pub fn of_hls(setup: Setup) -> Self {
        let mut bench = Self::new();
        bench.sources = Sources::of(vec![Arc::new(Hls::with(bench.lines.clone(), setup))]);
        bench
    }

    /// One stream for ten minutes, and all that its server holds of the last ten.
    pub fn order(url: &str) -> TapeOrder {
        let now = SystemClock.now();
        TapeOrder {
            hall: HallId(1),
            hall_name: "Saal 1".to_owned(),
            event_slug: "27c3".to_owned(),
            hall_slug: "saal-1".to_owned(),
            zone: chrono_tz::Europe::Berlin,
            streams: vec![Stream { id: StreamId(1), url: StreamUrl::parse(url).expect("valid") }],
            recorder: Recorder::Auto,
            quality: Quality::Best,
            max_connections: 2,
            from: now.minus(600_000),
            until: now.plus(600_000),
            boundaries: Vec::new(),
            handover_lead_ms: 0,
        }
    }

    pub fn start(&self, order: TapeOrder) -> TapeHandle {
        let (data, record) = (self.dir.path().to_owned(), self.record.clone());
        let mut deps = TapeDeps::new(Arc::new(SystemClock), self.told.clone(), self.sources.clone(), data, record);
        deps.buffer_bytes = self.buffer_bytes.unwrap_or(deps.buffer_bytes);
        tape::start(order, deps)
    }

    pub fn events(&self) -> Vec<TapeEvent> {
        self.told.events()
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.0.lock().expect("lock").clone()
    }

    /// Of connections, in order of opening.
    pub fn processes(&self) -> Vec<ProcessId> {
        let processes = self.events().into_iter().filter_map(|e| match e {
            TapeEvent::ConnectionOpened { process, .. } => process,
            _ => None,
        });
        processes.collect()
    }

    /// Why each connection ended, in order of their ends, and the words to it.
    pub fn ends(&self) -> Vec<(EndReason, String)> {
        let ends = self.events().into_iter().filter_map(|e| match e {
            TapeEvent::ConnectionClosed { reason, detail, .. } => Some((reason, detail.unwrap_or_default())),
            _ => None,
        });
        ends.collect()
    }

    /// Likewise, without the words.
    pub fn reasons(&self) -> Vec<EndReason> {
        self.ends().into_iter().map(|(reason, _)| reason).collect()
    }

    /// In order of their ends; panics where one is open.
    pub fn segments(&self) -> Vec<Segment> {
        let mut open: HashMap<Uuid, (PathBuf, Vec<Mark>)> = HashMap::new();
        let mut segments = Vec::new();
        for event in self.events() {
            match event {
                TapeEvent::SegmentOpened { segment, path, .. } => {
                    open.insert(segment, (path, Vec::new()));
                }
                TapeEvent::Progress { segment, marks, .. } => {
                    open.get_mut(&segment).expect("opened").1.extend(marks);
                }
                TapeEvent::SegmentClosed { segment, marks: last, container, not_media, reason, .. } => {
                    let (path, mut marks) = open.remove(&segment).expect("opened");
                    marks.extend(last);
                    let content = std::fs::read(self.dir.path().join(&path)).expect("a file");
                    segments.push(Segment { path, content, container, not_media, reason, marks });
                }
                _ => {}
            }
        }
        assert!(open.is_empty(), "left open: {open:?}");
        segments
    }

    pub async fn stop(&self, tape: &mut TapeHandle) {
        tape.stop(EndReason::Shutdown);
        tokio::time::timeout(PATIENCE, tape.finished()).await.expect("stuck");
        // Every process was waited for: none is left, not even as a zombie.
        for process in self.processes() {
            assert_ne!(start_ticks(process.pid), Some(process.start_ticks), "{process:?} is still there");
        }
    }

    /// Until so many connections were opened, and the last one delivers.
    pub async fn flows(&self, tape: &TapeHandle, connections: u32) {
        eventually("bytes", PATIENCE, || {
            let status = tape.status();
            status.connections >= connections && status.bytes_per_second > 0.0 && !status.handover
        })
        .await;
    }

    /// Until so many connections have ended, and more came than they may still have given: a second of a `Feed` of 14
    /// packets. On a slow machine a silence is hedged before anything is cut, so that counting what was opened is not enough.
    pub async fn goes_on_after(&self, tape: &TapeHandle, ends: usize) {
        eventually("an end", PATIENCE, || self.reasons().len() >= ends).await;
        let before = tape.status().bytes;
        eventually("bytes of the next one", PATIENCE, || tape.status().bytes > before + 14 * 188 * 20).await;
    }

    pub async fn bytes(&self, tape: &TapeHandle, at_least: usize) {
        eventually("bytes", PATIENCE, || tape.status().bytes >= at_least as u64).await;
    }
}
