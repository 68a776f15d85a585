//! A tape on HLS, and a stream whose every chunk is known.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use streamrip::app::clock::SystemClock;
use streamrip::domain::clock::Clock as _;
use streamrip::domain::hall::{Recorder, Stream};
use streamrip::domain::hls::Quality;
use streamrip::domain::ids::{HallId, StreamId};
use streamrip::domain::segment::{Container, EndReason, Mark};
use streamrip::domain::settings::Record;
use streamrip::domain::stream_url::StreamUrl;
use streamrip::domain::time::Ms;
use streamrip::source::Sources;
use streamrip::source::hls::Hls;
use streamrip::source::http::Setup;
use streamrip::source::log::LineLog;
use streamrip::tape::events::{TapeEvent, TapeSink};
use streamrip::tape::{self, TapeDeps, TapeHandle, TapeOrder};
use streamrip_lab::{PATIENCE, WebServer, eventually};
use tokio::sync::oneshot;
use uuid::Uuid;

#[derive(Debug, Default)]
pub struct Told(Mutex<Vec<TapeEvent>>);

impl TapeSink for Told {
    fn send(&self, event: TapeEvent) -> oneshot::Receiver<()> {
        let (tell, answer) = oneshot::channel();
        self.0.lock().expect("lock").push(event);
        tell.send(()).expect("just made");
        answer
    }
}

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
    pub reason: EndReason,
    pub marks: Vec<Mark>,
}

/// Tapes that share their sources, as in one daemon.
pub struct Bench {
    pub dir: tempfile::TempDir,
    told: Arc<Told>,
    lines: Arc<Lines>,
    sources: Sources,
}

impl Bench {
    pub fn new() -> Self {
        let lines = Arc::new(Lines::default());
        let log: Arc<dyn LineLog> = lines.clone();
        let dir = tempfile::tempdir().expect("dir");
        Self { dir, told: Arc::default(), lines, sources: Sources::programs(&log) }
    }

    /// With a proxy for everything.
    pub fn behind(proxy: &str) -> Self {
        let mut bench = Self::new();
        let setup = Setup { proxy: Some(proxy.to_owned()), ..Setup::default() };
        bench.sources = Sources::of(vec![Arc::new(Hls::with(bench.lines.clone(), setup))]);
        bench
    }

    /// All that the server holds is wanted.
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
        let data = self.dir.path().to_owned();
        let (clock, sink) = (Arc::new(SystemClock), self.told.clone());
        tape::start(order, TapeDeps::new(clock, sink, self.sources.clone(), data, Record::default()))
    }

    pub fn events(&self) -> Vec<TapeEvent> {
        self.told.0.lock().expect("lock").clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.0.lock().expect("lock").clone()
    }

    /// Ends of connections, in order, with their words.
    pub fn ends(&self) -> Vec<(EndReason, String)> {
        let ends = self.events().into_iter().filter_map(|e| match e {
            TapeEvent::ConnectionClosed { reason, detail, .. } => Some((reason, detail.unwrap_or_default())),
            _ => None,
        });
        ends.collect()
    }

    pub async fn bytes(&self, tape: &TapeHandle, at_least: usize) {
        let enough = || tape.status().bytes >= at_least as u64;
        eventually("bytes", PATIENCE, enough).await;
    }

    pub async fn stop(&self, tape: &mut TapeHandle) {
        tape.stop(EndReason::Shutdown);
        tokio::time::timeout(PATIENCE, tape.finished()).await.expect("stuck");
    }

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
                TapeEvent::SegmentClosed { segment, marks: last, container, reason, .. } => {
                    let (path, mut marks) = open.remove(&segment).expect("opened");
                    marks.extend(last);
                    let content = std::fs::read(self.dir.path().join(&path)).expect("a file");
                    segments.push(Segment { path, content, container, reason, marks });
                }
                _ => {}
            }
        }
        assert!(open.is_empty(), "left open: {open:?}");
        segments
    }
}

/// Bytes of a chunk of the scripted stream.
pub const CHUNK: usize = 100 * 188;

/// A live stream whose chunks come when the test says so: numbered MPEG-TS packets.
pub struct Channel {
    pub server: WebServer,
    /// How many chunks its playlist holds.
    pub window: u64,
    /// First and next number.
    pub numbers: std::ops::Range<u64>,
    /// Makes the chunks of another encoder different.
    pub life: u8,
    /// Put before the chunk of that number.
    pub tags: HashMap<u64, String>,
    /// When the chunk number 0 was made, where dates are told.
    pub dated_from: Option<Ms>,
    /// How long a chunk is said to be, milliseconds.
    pub chunk_ms: i64,
}

impl Channel {
    pub fn start(window: u64) -> Self {
        let server = WebServer::start();
        Self { server, window, numbers: 0..0, life: 0, tags: HashMap::new(), dated_from: None, chunk_ms: 200 }
    }

    pub fn url(&self) -> String {
        self.server.url("/live/index.m3u8")
    }

    /// What chunk `number` holds.
    pub fn chunk(&self, number: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CHUNK);
        for n in 0..CHUNK / 188 {
            let mut packet = [0xee_u8; 188];
            packet[..4].copy_from_slice(&[0x47, 0x40, 0x11, 0x10]);
            packet[4..12].copy_from_slice(&number.to_be_bytes());
            packet[12] = self.life;
            packet[13] = n as u8;
            bytes.extend(packet);
        }
        bytes
    }

    /// What these chunks hold, one after the other.
    pub fn chunks(&self, numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
        numbers.into_iter().flat_map(|n| self.chunk(n)).collect()
    }

    /// So many new chunks. What left the window a while ago is no longer served.
    pub fn publish(&mut self, count: u64) {
        for _ in 0..count {
            let number = self.numbers.end;
            self.server.put(&format!("/live/{number}.ts"), self.chunk(number));
            self.numbers.end += 1;
        }
        while self.numbers.end - self.numbers.start > self.window {
            self.server.remove(&format!("/live/{}.ts", self.numbers.start));
            self.numbers.start += 1;
        }
        self.write("");
    }

    /// The playlist as it is now, with something at its end.
    pub fn write(&self, end: &str) {
        let seconds = self.chunk_ms as f64 / 1000.0;
        let mut text = format!("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:{seconds}\n");
        text.push_str(&format!("#EXT-X-MEDIA-SEQUENCE:{}\n", self.numbers.start));
        for number in self.numbers.clone() {
            text.push_str(self.tags.get(&number).map_or("", |tags| tags));
            if let Some(from) = self.dated_from {
                let at = from.plus(number as i64 * self.chunk_ms).rfc3339(chrono_tz::Tz::UTC);
                text.push_str(&format!("#EXT-X-PROGRAM-DATE-TIME:{at}\n"));
            }
            text.push_str(&format!("#EXTINF:{seconds},\n{number}.ts\n"));
        }
        text.push_str(end);
        self.server.put("/live/index.m3u8", text);
    }

    /// A chunk every 200 ms for a while.
    pub async fn go_on(&mut self, count: u64) {
        for _ in 0..count {
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.publish(1);
        }
    }
}

/// Panics with where two contents differ, rather than with all of them.
pub fn assert_same(got: &[u8], want: &[u8], what: &str) {
    let brief = |bytes: &[u8]| {
        let mut numbers: Vec<String> = Vec::new();
        for packet in bytes.chunks(188).filter(|p| p.len() == 188) {
            let number = u64::from_be_bytes(packet[4..12].try_into().expect("8 bytes"));
            let name = format!("{}/{number}", packet[12]);
            if numbers.last() != Some(&name) {
                numbers.push(name);
            }
        }
        numbers.join(" ")
    };
    assert!(got == want, "{what}: {} bytes [{}] instead of {} [{}]", got.len(), brief(got), want.len(), brief(want));
}
