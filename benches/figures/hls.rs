//! Seconds lost and recorded twice of a live HLS stream whose server is down for less than its window.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use streamrip_lab::child::OwnedChild;
use streamrip_lab::schedule::in_seconds;
use streamrip_lab::{Encoder, Format, PATIENCE, Recipe, wait_until};

use crate::contest::{self, Outcome, Recorder, Results, Who, until};
use crate::frames::Offered;
use crate::measure::{Figure, Reached};
use crate::nginx::Nginx;
use crate::peers;
use crate::station::Station;

/// Seconds, all from the moment at which what is compared begins.
const OUTAGE: std::ops::Range<i64> = 15..30;
const COMPARED: i64 = 45;
/// Players are some segments behind; all of what is compared must have reached them.
const STOP: i64 = 62;
/// The recorders are on for so long before.
const BEFORE: i64 = 15;

pub fn figures() -> Vec<Figure> {
    let who = [
        Who::Peer(peers::STREAMLINK_HLS),
        Who::Peer(peers::STREAMLINK_HLS_RESTART),
        Who::Peer(peers::YT_DLP),
        Who::Peer(peers::FFMPEG_HLS),
        Who::Streamrip { name: "streamrip, ffmpeg", recorder: "ffmpeg", mirrors: 1 },
        Who::Streamrip { name: "streamrip, built-in HLS", recorder: "hls", mirrors: 1 },
    ];
    let results = contest::hold(&who, run);
    who.iter().zip(&results).map(|(who, results)| figure(who, results)).collect()
}

fn figure(who: &Who, results: &Results) -> Figure {
    let asked = matches!(who, Who::Streamrip { recorder: "hls", .. });
    let within = results.files.within(0.0, 0.0).filter(|_| asked);
    Figure {
        what: format!(
            "HLS with a window of 20 s, down for {} of the {COMPARED} s compared: {}",
            OUTAGE.end - OUTAGE.start,
            who.name()
        ),
        measured: results.words(&results.files),
        compared_with: who.version(),
        limit: if asked { "nothing lost, nothing twice" } else { "" },
        reached: within.map_or(Reached::Unasked, Reached::of),
    }
}

fn run(who: &[Who]) -> Vec<Result<Outcome, String>> {
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
    let start = |(n, who): (usize, &Who)| match who {
        Who::Peer(peer) => Recorder::repeat(peer, &url, &folder.path().join(n.to_string())),
        Who::Streamrip { recorder, .. } => {
            let (start, end) = (zero - (BEFORE - 5) * 1000, zero + STOP * 1000);
            let halls = vec![("Saal 1".to_owned(), vec![url.clone()], start, end)];
            Recorder::run(&Station { recorder, hall: "", record: "", halls })
        }
    };
    let recorders: Vec<_> = who.iter().enumerate().map(start).collect();
    std::thread::sleep(until(zero + OUTAGE.start * 1000));
    fs::write(&down, "").expect("a flag");
    std::thread::sleep(until(zero + OUTAGE.end * 1000));
    fs::remove_file(&down).expect("a flag");
    std::thread::sleep(until(zero + STOP * 1000));
    let recorded: Vec<_> = recorders.into_iter().map(Recorder::finish).collect();
    let offered = Offered::of(&encoder.live().between(zero, zero + COMPARED * 1000).1, COMPARED);
    recorded.into_iter().map(|recorded| Ok(Outcome::of(&offered, &recorded?))).collect()
}

/// Segments of 2 s, of which ten are listed, and those that are not are soon gone.
fn package(encoder: &Encoder, root: &Path) -> OwnedChild {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "ffmpeg", "-v", "error"]);
    command.args(["-analyzeduration", "500000", "-f", "mpegts", "-i", "pipe:0"]);
    command.args(["-map", "0", "-c", "copy", "-f", "hls", "-hls_time", "2", "-hls_list_size", "10"]);
    command.args(["-hls_flags", "delete_segments+program_date_time+temp_file", "-hls_delete_threshold", "2"]);
    command.arg("-hls_segment_filename").arg(root.join("%d.ts")).arg(root.join("live.m3u8"));
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut packager = OwnedChild::spawn(&mut command, Duration::from_secs(5));
    encoder.feed(packager.child().stdin.take().expect("its input is a pipe"));
    packager
}
