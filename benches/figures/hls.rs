//! Seconds lost and recorded twice of a live HLS stream whose server is down for less than its window.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use streamrip_lab::child::OwnedChild;
use streamrip_lab::schedule::in_seconds;
use streamrip_lab::{Daemon, Encoder, Format, PATIENCE, Recipe, Streamrip, now_ms, wait_until};

use crate::frames::{self, Account};
use crate::measure::{Figure, Reached, middle, runs, spread};
use crate::nginx::Nginx;
use crate::peers::{self, Loop, Peer};
use crate::station::{self, Station};

/// Seconds, all from the moment at which what is compared begins.
const OUTAGE: std::ops::Range<i64> = 15..30;
const COMPARED: i64 = 45;
/// Players are some segments behind; all of what is compared must have reached them.
const STOP: i64 = 62;
/// The recorders are on for so long before.
const BEFORE: i64 = 15;

enum Who {
    Peer(Peer),
    Streamrip { name: &'static str, recorder: &'static str, asked: bool },
}

impl Who {
    fn name(&self) -> &'static str {
        match self {
            Self::Peer(peer) => peer.name,
            Self::Streamrip { name, .. } => name,
        }
    }
}

/// One of them at work.
enum Recorder {
    Loop(Loop),
    Streamrip(Streamrip, Daemon),
    Absent(String),
}

pub fn figures() -> Vec<Figure> {
    let who = [
        Who::Peer(peers::STREAMLINK_HLS),
        Who::Peer(peers::STREAMLINK_HLS_RESTART),
        Who::Peer(peers::YT_DLP),
        Who::Peer(peers::FFMPEG_HLS),
        Who::Streamrip { name: "streamrip, ffmpeg", recorder: "ffmpeg", asked: false },
        Who::Streamrip { name: "streamrip, built-in HLS", recorder: "hls", asked: true },
    ];
    let mut all: Vec<Vec<Result<Account, String>>> = who.iter().map(|_| Vec::new()).collect();
    for _ in 0..runs() {
        for ((result, results), who) in run(&who).into_iter().zip(&mut all).zip(&who) {
            match &result {
                Ok(account) => eprintln!("{}: {account}", who.name()),
                Err(words) => eprintln!("{}: {words}", who.name()),
            }
            results.push(result);
        }
    }
    who.iter().zip(&all).map(|(who, results)| figure(who, results)).collect()
}

fn figure(who: &Who, results: &[Result<Account, String>]) -> Figure {
    let accounts: Vec<Account> = results.iter().filter_map(|result| result.clone().ok()).collect();
    let lost: Vec<f64> = accounts.iter().map(|account| account.lost).collect();
    let twice: Vec<f64> = accounts.iter().map(|account| account.twice).collect();
    let measured = match results.iter().find_map(|result| result.as_ref().err()) {
        Some(reason) => format!("not measured: {reason}"),
        None => format!("{} s lost, {} s twice", spread(&lost, 2), spread(&twice, 2)),
    };
    let (name, compared_with, asked) = match who {
        Who::Peer(peer) => (peer.name, peer.version(), false),
        Who::Streamrip { name, asked, .. } => (*name, String::new(), *asked),
    };
    let length = OUTAGE.end - OUTAGE.start;
    Figure {
        what: format!("HLS, window 20 s, {length} s of 503, {COMPARED} s compared: {name}"),
        measured,
        compared_with,
        limit: if asked { "0 s, 0 s" } else { "" },
        reached: if asked && !lost.is_empty() {
            Reached::of(middle(&lost) == 0.0 && middle(&twice) == 0.0)
        } else {
            Reached::Unasked
        },
    }
}

fn run(who: &[Who]) -> Vec<Result<Account, String>> {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    fs::create_dir(&root).expect("a folder");
    let encoder = Recipe::new(Format::MpegTs).video_kbit(1850).start().ready();
    let _packager = package(&encoder, &root);
    let down = folder.path().join("down");
    let nginx = Nginx::start(&root, &format!("if (-f {}) {{ return 503; }}", down.display()));
    wait_until("a full window", PATIENCE, || {
        let playlist = fs::read_to_string(root.join("live.m3u8")).unwrap_or_default();
        playlist.matches("#EXTINF").count() >= 10
    });
    let zero = in_seconds(BEFORE);
    let url = nginx.url("live.m3u8");
    let recorders: Vec<_> =
        (0..).zip(who).map(|(n, who)| start(who, &folder.path().join(format!("{n}")), &url, zero)).collect();
    std::thread::sleep(until(zero + OUTAGE.start * 1000));
    fs::write(&down, "").expect("a flag");
    std::thread::sleep(until(zero + OUTAGE.end * 1000));
    fs::remove_file(&down).expect("a flag");
    std::thread::sleep(until(zero + STOP * 1000));
    let recorded: Vec<_> = recorders.into_iter().map(finish).collect();
    let offered = offered(&encoder, zero);
    recorded.into_iter().map(|recorded| recorded.map(|frames| frames::compare(&offered, &frames))).collect()
}

/// The pictures that were made in the time that is compared.
fn offered(encoder: &Encoder, zero: i64) -> Vec<String> {
    let (_, bytes) = encoder.live().between(zero, zero + COMPARED * 1000);
    let offered = frames::offered(&bytes);
    let expected = COMPARED as f64 * frames::RATE;
    assert!((offered.len() as f64 - expected).abs() < 25.0, "{} pictures instead of {expected}", offered.len());
    offered
}

/// Segments of 2 s, of which ten are listed, and those that are not are soon gone.
fn package(encoder: &Encoder, root: &Path) -> OwnedChild {
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "TERM",
        "ffmpeg",
        "-v",
        "error",
        "-analyzeduration",
        "500000",
        "-f",
        "mpegts",
        "-i",
        "pipe:0",
    ]);
    command.args(["-map", "0", "-c", "copy", "-f", "hls", "-hls_time", "2", "-hls_list_size", "10"]);
    command.args(["-hls_flags", "delete_segments+program_date_time+temp_file", "-hls_delete_threshold", "2"]);
    command.arg("-hls_segment_filename").arg(root.join("%d.ts")).arg(root.join("live.m3u8"));
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut packager = OwnedChild::spawn(&mut command, Duration::from_secs(5));
    encoder.feed(packager.child().stdin.take().expect("its input is a pipe"));
    packager
}

fn start(who: &Who, folder: &Path, url: &str, zero: i64) -> Recorder {
    match who {
        Who::Peer(peer) => peer
            .repeat(url, folder)
            .map_or_else(|| Recorder::Absent(format!("{} is not installed", peer.program)), Recorder::Loop),
        Who::Streamrip { recorder, .. } => {
            let station = Station {
                recorder,
                hall: "",
                record: "",
                halls: vec![(
                    "Saal 1".to_owned(),
                    vec![url.to_owned()],
                    zero - (BEFORE - 5) * 1000,
                    zero + STOP * 1000,
                )],
            };
            match station.prepare() {
                Ok(streamrip) => {
                    let daemon = station::run_until_done(&streamrip);
                    Recorder::Streamrip(streamrip, daemon)
                }
                Err(words) => Recorder::Absent(words),
            }
        }
    }
}

fn finish(recorder: Recorder) -> Result<Vec<String>, String> {
    match recorder {
        Recorder::Absent(words) => Err(words),
        Recorder::Loop(peer) => Ok(frames::of_all(&peer.files())),
        Recorder::Streamrip(streamrip, mut daemon) => {
            daemon.wait(Duration::from_secs(120));
            let files: Vec<PathBuf> = station::joined(&streamrip);
            if files.is_empty() {
                Err(format!("no file was joined: {}", daemon.said()))
            } else {
                Ok(frames::of(&files[0]))
            }
        }
    }
}

fn until(at_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(at_ms - now_ms()).unwrap_or(0))
}
