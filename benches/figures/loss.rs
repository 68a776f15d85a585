//! Seconds lost on a live stream whose server fails in every way that servers do.

use std::time::Duration;

use streamrip_lab::schedule::in_seconds;
use streamrip_lab::{
    Act, Answer, Daemon, Encoder, End, FaultServer, Format, Limit, Live, Recipe, Route, Streamrip, now_ms,
};

use crate::frames::{self, Account};
use crate::measure::{Figure, Reached, middle, runs, spread};
use crate::peers::{self, Loop, Peer};
use crate::station::{self, Station};

/// So long is the stream, and so much of it nobody can have: 30-33 and 88-90.
const SECONDS: i64 = 100;
const UNAVOIDABLE: f64 = 5.0;
/// Contestants are on for so long before and after.
const BEFORE: i64 = 6;
const AFTER: i64 = 3;
/// Their servers fail one after the other, so that a program that takes the processor to start again does not
/// slow down the others. Milliseconds.
const STAGGER: i64 = 1300;
/// The second mirror fails so much later than the first. Milliseconds.
const MIRROR_LATER: i64 = 7000;

/// Who takes part.
enum Who {
    Peer(Peer),
    Streamrip { name: &'static str, recorder: &'static str, mirrors: usize, limit: Option<(f64, &'static str)> },
}

fn contestants() -> Vec<Who> {
    let streamrip = |name, recorder, mirrors, limit| Who::Streamrip { name, recorder, mirrors, limit };
    vec![
        Who::Peer(peers::MPLAYER),
        Who::Peer(peers::WGET),
        Who::Peer(peers::STREAMLINK),
        Who::Peer(peers::CURL),
        Who::Peer(peers::FFMPEG),
        streamrip("streamrip, mplayer", "mplayer", 1, Some((11.0, "11 s"))),
        streamrip("streamrip, built-in HTTP", "http", 1, Some((7.0, "7.0 s"))),
        streamrip("streamrip, built-in HTTP, two mirrors that fail 7 s apart", "http", 2, Some((0.0, "0 s"))),
    ]
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
    let who = contestants();
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
        None if middle(&twice) > 0.0 => format!("{} s; {} s stand there twice", spread(&lost, 2), spread(&twice, 2)),
        None => format!("{} s", spread(&lost, 2)),
    };
    let (name, compared_with, limit) = match who {
        Who::Peer(peer) => (peer.name, peer.version(), None),
        Who::Streamrip { name, limit, mirrors, .. } => {
            let unavoidable = if *mirrors > 1 { 0.0 } else { UNAVOIDABLE };
            (*name, format!("{unavoidable} s that nobody could have"), *limit)
        }
    };
    Figure {
        what: format!("seconds lost of {SECONDS}: {name}"),
        measured,
        compared_with,
        limit: limit.map_or("", |(_, words)| words),
        reached: match limit {
            Some((most, _)) if !lost.is_empty() => Reached::of(middle(&lost) <= most),
            _ => Reached::Unasked,
        },
    }
}

fn run(who: &[Who]) -> Vec<Result<Account, String>> {
    let folder = tempfile::tempdir().expect("a folder");
    let encoder = Recipe::new(Format::MpegTs).video_kbit(1850).start().ready();
    // The first one's stream fails from here on, the others' later.
    let zero = in_seconds(BEFORE + 4);
    let began: Vec<i64> = (0_i64..).map(|n| zero + n * STAGGER).take(who.len()).collect();
    let last = began.last().copied().unwrap_or(zero);
    let (start, end) = (zero - BEFORE / 2 * 1000, last + (SECONDS + AFTER) * 1000);
    let mut servers = Vec::new();
    let mut recorders = Vec::new();
    for (n, who) in who.iter().enumerate() {
        let mut on_air = |later: i64| {
            let (server, route) = serve(encoder.live(), began[n] + later);
            servers.push(server);
            route.url()
        };
        recorders.push(match who {
            Who::Peer(peer) => peer
                .repeat(&on_air(0), &folder.path().join(n.to_string()))
                .map_or(Recorder::Absent(format!("{} is not installed", peer.program)), Recorder::Loop),
            Who::Streamrip { recorder, mirrors, .. } => {
                let urls: Vec<_> = [0, MIRROR_LATER][..*mirrors].iter().map(|later| on_air(*later)).collect();
                let station = Station {
                    recorder,
                    hall: if *mirrors > 1 { "redundancy = 2" } else { "" },
                    record: "stall_timeout = \"3s\"",
                    halls: vec![("Saal 1".to_owned(), urls, start, (end + 1999) / 1000 * 1000)],
                };
                match station.prepare() {
                    Ok(streamrip) => {
                        let daemon = station::run_until_done(&streamrip);
                        Recorder::Streamrip(streamrip, daemon)
                    }
                    Err(words) => Recorder::Absent(words),
                }
            }
        });
    }
    assert!(now_ms() < zero, "the contestants took too long to start");
    std::thread::sleep(until(end));
    let recorded: Vec<_> = recorders.into_iter().map(finish).collect();
    let accounts = recorded.into_iter().zip(began);
    accounts
        .map(|(recorded, began)| recorded.map(|frames| frames::compare(&offered(&encoder, began), &frames)))
        .collect()
}

/// The pictures that were sent while the script ran.
fn offered(encoder: &Encoder, began: i64) -> Vec<String> {
    let (_, bytes) = encoder.live().between(began, began + SECONDS * 1000);
    let offered = frames::offered(&bytes);
    let expected = SECONDS as f64 * frames::RATE;
    assert!((offered.len() as f64 - expected).abs() < 25.0, "{} pictures instead of {expected}", offered.len());
    offered
}

/// All pictures that it has.
fn finish(recorder: Recorder) -> Result<Vec<String>, String> {
    match recorder {
        Recorder::Absent(words) => Err(words),
        Recorder::Loop(peer) => Ok(frames::of_all(&peer.files())),
        Recorder::Streamrip(streamrip, mut daemon) => {
            daemon.wait(Duration::from_secs(120));
            let files = station::joined(&streamrip);
            if files.is_empty() {
                Err(format!("no file was joined: {}", daemon.said()))
            } else {
                Ok(frames::of(&files[0]))
            }
        }
    }
}

/// A server of its own for the stream, with the script of faults.
fn serve(live: &Live, began: i64) -> (FaultServer, Route) {
    let server = FaultServer::start();
    let route = server.live("/live.ts", Format::MpegTs.kind(), live);
    let at = |seconds: f64| until(began + (seconds * 1000.0) as i64);
    // What later connections meet is settled a moment before the open one ends: two acts of one instant have no order.
    let before = |seconds: f64| at(seconds - 0.02);
    let fine = || Act::Always(Answer::stream());
    route.script([
        (at(10.0), Act::Cut(End::Fin)),
        (at(20.0), Act::Cut(End::Rst)),
        (before(30.0), Act::Always(Answer::Status(503))),
        (at(30.0), Act::Cut(End::Rst)),
        (at(33.0), fine()),
        (at(45.0), Act::Abandon),
        (before(70.0), Act::Always(Answer::cut(Limit::Time(Duration::from_millis(500)), End::Fin))),
        (at(70.0), Act::Cut(End::Fin)),
        (at(75.0), fine()),
        (before(88.0), Act::Always(Answer::html())),
        (at(88.0), Act::Cut(End::Fin)),
        (at(90.0), fine()),
    ]);
    (server, route)
}

fn until(at_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(at_ms - now_ms()).unwrap_or(0))
}
