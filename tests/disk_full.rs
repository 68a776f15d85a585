//! The real program on a disk that is full for a while, and then is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use streamrip_lab::schedule::{Talk, calendar, halls_file, in_seconds};
use streamrip_lab::{
    Daemon, Encoder, FaultServer, Format, PATIENCE, Recipe, Route, SmallDisk, Streamrip, not_allowed, now_ms, wait_for,
    wait_until,
};

const SETTINGS: &str = "\
[assemble]
settle = \"1s\"
[prune]
min_segment = \"0B\"
[list]
complete_tolerance = \"2s\"
[disk]
reserve = \"8MiB\"
";

/// The promise: so soon after space returned, what was taped is written again.
const RESUMES_WITHIN: Duration = Duration::from_secs(15);

/// A hall on air, and a daemon that tapes it on a small disk.
struct Bench {
    // Ended in this order.
    daemon: Daemon,
    disk: SmallDisk,
    encoder: Encoder,
    route: Route,
    _server: FaultServer,
    streamrip: Streamrip,
}

impl Bench {
    /// `None` where nothing may be mounted.
    fn start(settings: &str, seconds: i64) -> Option<Self> {
        let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
        fs::create_dir_all(streamrip.data_dir()).expect("a data directory");
        let Some(disk) = SmallDisk::mount(&streamrip.data_dir(), 24) else {
            not_allowed("this user may not mount a tmpfs");
            return None;
        };
        fs::write(streamrip.data_dir().join("streamrip.toml"), settings).expect("settings");
        let encoder = Recipe::new(Format::MpegTs).start().ready();
        let server = FaultServer::start();
        let route = server.live("/live.ts", Format::MpegTs.kind(), encoder.live());
        streamrip.write("congress.toml", halls_file(2, 2, &[("Saal 1", &[route.url()], 2)]));
        let talk = Talk::new("Saal 1", "A talk", in_seconds(5), seconds);
        let calendar = streamrip.write("congress.ics", calendar(&[talk]));
        streamrip.ok(&["import", &calendar]);
        let daemon = streamrip.spawn(&["run", "--until-done", "--no-check"]);
        let bench = Self { encoder, route, _server: server, disk, streamrip, daemon };
        wait_until("a recording", PATIENCE, || bench.on_disk() > 200_000);
        Some(bench)
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        find(&self.streamrip.data_dir().join("segments"), &mut files);
        files.sort();
        files
    }

    fn on_disk(&self) -> u64 {
        self.segments().iter().filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
    }

    fn talk(&self) -> Value {
        self.streamrip.json(&["list", "--json"])[0].clone()
    }

    fn list_says_disk_full(&self) -> bool {
        let talk = self.talk();
        talk["gaps"].as_array().expect("gaps").iter().any(|gap| gap["cause"] == "disk-full")
    }

    fn status_says(&self, word: &str) -> bool {
        let status = self.streamrip.json(&["status", "--json"]);
        status["problems"].as_array().expect("problems").iter().any(|p| p.as_str().is_some_and(|p| p.contains(word)))
    }

    /// Until the server has sent so many more seconds.
    fn sends_on(&self, seconds: i64) {
        let from = now_ms();
        let sent = || self.route.connections().iter().map(|c| c.sent).sum::<u64>();
        let before = sent();
        wait_until("the server to send on", PATIENCE, || now_ms() >= from + seconds * 1000 && sent() > before);
    }

    /// Each file is a piece of what the hall sent, from where a connection began.
    fn check_files(&self) {
        let stream = self.encoder.live().bytes();
        let begins: Vec<usize> =
            self.route.connections().iter().map(|c| usize::try_from(c.from).expect("small")).collect();
        for file in self.segments() {
            let bytes = fs::read(&file).expect("a segment");
            let is_a_piece = begins.iter().any(|at| stream[*at..].starts_with(&bytes));
            assert!(is_a_piece, "{} is not what was sent", file.display());
        }
    }

    fn verify(&self) {
        let verified = self.streamrip.run(&["verify", "--json"]);
        assert_eq!(verified.code, Some(0), "{verified:?}");
    }
}

fn find(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { find(&path, files) } else { files.push(path) }
    }
}

#[test]
fn a_disk_that_is_full_for_a_while_is_told_and_costs_nothing() {
    let Some(mut bench) = Bench::start(SETTINGS, 50) else { return };
    // The reserve is there for what is on the air: below it joining waits, taping goes on.
    bench.disk.fill_but(6 << 20);
    wait_until("status to tell of the reserve", PATIENCE, || bench.status_says("less than disk.reserve"));
    assert!(!bench.status_says("cannot be written"));
    let before = bench.on_disk();
    wait_until("the file to grow below the reserve", PATIENCE, || bench.on_disk() > before + 100_000);
    bench.disk.fill();
    // A write that waits in memory shows that it is full.
    wait_until("status to say disk-full", PATIENCE, || bench.status_says("disk-full: a recording cannot be written"));
    let kept = bench.on_disk();
    wait_until("list to say disk-full", PATIENCE, || bench.list_says_disk_full());
    assert!(bench.streamrip.run(&["list", "--gaps"]).stdout.contains("disk-full"));
    bench.sends_on(2);
    assert_eq!(bench.on_disk(), kept, "there was room after all");
    bench.check_files();

    bench.disk.free();
    let freed = Instant::now();
    wait_until("the file to grow again", PATIENCE, || bench.on_disk() > kept + 100_000);
    assert!(freed.elapsed() < RESUMES_WITHIN, "only after {:?}", freed.elapsed());
    wait_until("status to be content", PATIENCE, || !bench.status_says("disk-full"));
    wait_until("list to be content", PATIENCE, || !bench.list_says_disk_full());
    let status = bench.daemon.wait(Duration::from_secs(120));
    // What could not be written was kept in memory meanwhile.
    assert_eq!(status.code(), Some(0), "{}\n{}", bench.talk(), bench.daemon.said());
    assert_eq!(bench.talk()["state"], "complete");
    bench.check_files();
    bench.verify();
}

#[test]
fn a_daemon_that_is_killed_on_a_full_disk_begins_again_when_there_is_space() {
    let Some(mut bench) = Bench::start(SETTINGS, 30) else { return };
    bench.disk.fill();
    wait_until("status to say disk-full", PATIENCE, || bench.status_says("disk-full: a recording cannot be written"));
    let kept = bench.on_disk();
    bench.daemon.kill();
    bench.check_files();
    let mut daemon = bench.streamrip.spawn(&["run", "--until-done", "--no-check"]);
    daemon.expect("disk-full: cannot begin", PATIENCE);
    assert!(bench.status_says("disk-full"));
    bench.disk.free();
    let freed = Instant::now();
    wait_until("the tape to go on", PATIENCE, || bench.on_disk() > kept + 100_000);
    assert!(freed.elapsed() < RESUMES_WITHIN, "only after {:?}", freed.elapsed());
    let status = daemon.wait(Duration::from_secs(120));
    assert_eq!(status.code(), Some(4), "{}", daemon.said());
    bench.check_files();
    bench.verify();
    let talk = bench.talk();
    let causes: Vec<_> = wait_for("gaps", PATIENCE, || talk["gaps"].as_array().filter(|gaps| !gaps.is_empty()))
        .iter()
        .map(|gap| gap["cause"].as_str().unwrap_or_default())
        .collect();
    for cause in causes {
        assert!(["disk-full", "crash", "daemon-not-running", "connecting"].contains(&cause), "{talk}");
    }
}
