//! What it costs to record a stream of 2 Mbit/s: processor time and memory, many at once.

use std::fs;
use std::path::Path;
use std::time::Duration;

use streamrip_lab::schedule::in_seconds;
use streamrip_lab::{Format, PATIENCE, Recipe, wait_until};

use crate::measure::{Figure, Reached, cpu_seconds, family, from_environment, memory_mib, middle, runs, spread};
use crate::nginx::Nginx;
use crate::peers::{self, Peer};
use crate::station::{self, Station};

/// 2 Mbit/s.
pub const BYTES_PER_SECOND: usize = 250_000;
/// Each measurement lasts so long.
const WINDOW: Duration = Duration::from_secs(20);
/// After the first byte of the last one.
const SETTLE: Duration = Duration::from_secs(10);
const PEERS: usize = 20;
const OWN: usize = 100;

/// A stream of so many seconds as a file `live.ts`, and what it is made of: the same ten seconds again and again, since
/// nobody decodes them here.
pub fn make_stream(folder: &Path, seconds: usize) -> Vec<u8> {
    let media = Recipe::new(Format::MpegTs).video_kbit(1850).seconds(10.0).bytes();
    let length = seconds * BYTES_PER_SECOND;
    let mut all = media.repeat(length / media.len() + 1);
    all.truncate(length / 188 * 188);
    fs::write(folder.join("live.ts"), &all).expect("a file");
    all
}

/// The rules by which nginx sends it in real time: some 15 times a second, as a live server does.
pub fn real_time() -> String {
    format!("limit_rate {BYTES_PER_SECOND}; sendfile_max_chunk 16k;")
}

pub fn figures() -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    fs::create_dir(&root).expect("a folder");
    drop(make_stream(&root, (WINDOW.as_secs() as usize) * runs() + 120));
    let nginx = Nginx::start(&root, &real_time());
    let url = nginx.url("live.ts");
    let mut figures = Vec::new();
    for peer in [peers::MPLAYER, peers::FFMPEG, peers::STREAMLINK, peers::CURL] {
        let mut figure = match measure_peer(peer, &url) {
            Some(cost) => cost.figure(peer.program, PEERS),
            None => Cost::default().figure(peer.program, PEERS),
        };
        figure.compared_with = peer.version();
        figures.push(figure);
    }
    let count = from_environment("STREAMRIP_BENCH_STREAMS", OWN);
    match measure_own("http", count, &url) {
        Ok((cost, before)) => {
            let mut figure = cost.figure("streamrip, built-in HTTP, with SHA-256", count);
            figure.compared_with = format!("one daemon; it had {before:.1} MiB before the first stream");
            figure.limit = "0.10 %, 0.5 MiB";
            figure.reached = Reached::of(middle(&cost.cpu) <= 0.10 && cost.memory <= 0.5);
            figures.push(figure);
        }
        Err(words) => {
            let mut figure = Cost::default().figure("streamrip, built-in HTTP, with SHA-256", count);
            figure.compared_with = words;
            figures.push(figure);
        }
    }
    figures
}

/// Of one stream.
#[derive(Default)]
struct Cost {
    /// Per cent of a core, one for each window.
    cpu: Vec<f64>,
    /// MiB.
    memory: f64,
}

impl Cost {
    fn of(pids: &[u32], streams: usize) -> Self {
        let used = || pids.iter().flat_map(|pid| family(*pid)).map(cpu_seconds).sum::<f64>();
        let cpu = (0..runs())
            .map(|_| {
                let before = used();
                std::thread::sleep(WINDOW);
                (used() - before) * 100.0 / WINDOW.as_secs_f64() / streams as f64
            })
            .collect();
        let memory = pids.iter().flat_map(|pid| family(*pid)).map(memory_mib).sum::<f64>() / streams as f64;
        Self { cpu, memory }
    }

    fn figure(&self, name: &str, streams: usize) -> Figure {
        let measured = if self.cpu.is_empty() {
            "not measured".to_owned()
        } else {
            format!("{} % of a core, {:.2} MiB", spread(&self.cpu, 3), self.memory)
        };
        Figure {
            what: format!("a stream of 2 Mbit/s, {streams} at once: {name}"),
            measured,
            compared_with: String::new(),
            limit: "",
            reached: Reached::Unasked,
        }
    }
}

fn measure_peer(peer: Peer, url: &str) -> Option<Cost> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut running = Vec::new();
    let mut files = Vec::new();
    for n in 0..PEERS {
        // Each in a folder of its own, which is its home.
        let place = folder.path().join(n.to_string());
        fs::create_dir(&place).expect("a folder");
        files.push(place.join("1.ts"));
        running.push(peer.start(url, &place.join("1.ts"))?);
    }
    wait_until(peer.name, PATIENCE, || files.iter().all(|file| fs::metadata(file).is_ok_and(|meta| meta.len() > 0)));
    std::thread::sleep(SETTLE);
    let pids: Vec<u32> = running.iter().map(peers::Running::id).collect();
    Some(Cost::of(&pids, PEERS))
}

/// Its cost, and the memory that the daemon had before the first stream.
fn measure_own(recorder: &'static str, count: usize, url: &str) -> Result<(Cost, f64), String> {
    let start = in_seconds(15);
    let end = start + 3600 * 1000;
    // Same address, same file: the halls differ.
    let halls = (0..count).map(|n| (format!("Saal {n}"), vec![format!("{url}?{n}")], start, end)).collect();
    let streamrip = Station { recorder, hall: "", record: "", halls }.prepare()?;
    let daemon = station::run(&streamrip);
    std::thread::sleep(Duration::from_secs(6));
    let before = memory_mib(daemon.id());
    wait_until("all tapes", PATIENCE, || {
        station::segments(&streamrip).iter().filter(|(_, bytes)| *bytes > 0).count() >= count
    });
    std::thread::sleep(SETTLE);
    let cost = Cost::of(&[daemon.id()], count);
    Ok((cost, before))
}
