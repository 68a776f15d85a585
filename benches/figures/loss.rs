//! Seconds lost on a live stream whose server fails in every way that servers do.

use std::time::Duration;

use streamrip_lab::schedule::in_seconds;
use streamrip_lab::{Act, Answer, Encoder, End, FaultServer, Format, Limit, Live, Recipe, Route, now_ms};

use crate::contest::{self, Accounts, Outcome, Recorder, Results, Who, until};
use crate::frames::Offered;
use crate::measure::{Figure, Reached};
use crate::peers;
use crate::station::Station;

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

pub fn figures() -> Vec<Figure> {
    let streamrip = |name, recorder, mirrors| Who::Streamrip { name, recorder, mirrors };
    let contestants = [
        (Who::Peer(peers::MPLAYER), None),
        (Who::Peer(peers::WGET), None),
        (Who::Peer(peers::STREAMLINK), None),
        (Who::Peer(peers::CURL), None),
        (Who::Peer(peers::FFMPEG), None),
        (streamrip("streamrip, mplayer", "mplayer", 1), Some((11.0, "11 s"))),
        (streamrip("streamrip, built-in HTTP", "http", 1), Some((7.0, "7.0 s"))),
        (streamrip("streamrip, built-in HTTP, two mirrors that fail 7 s apart", "http", 2), Some((0.0, "0 s"))),
    ];
    let (who, limits): (Vec<_>, Vec<_>) = contestants.into_iter().unzip();
    let results = contest::hold(&who, run);
    who.iter().zip(&results).zip(limits).flat_map(|((who, results), limit)| figures_of(who, results, limit)).collect()
}

/// One line for a peer; for streamrip one for its segments, which are what the peers' files are, and one for the
/// joined file.
fn figures_of(who: &Who, results: &Results, limit: Option<(f64, &'static str)>) -> Vec<Figure> {
    // Two mirrors are to be taped twice; the joined file has each picture once.
    let figure = |part: &str, accounts: &Accounts, most_twice: f64| Figure {
        what: format!("live MPEG-TS of {SECONDS} s from a failing server: {}{part}", who.name()),
        measured: results.words(accounts),
        compared_with: match who {
            Who::Streamrip { mirrors: 1, .. } => format!("{UNAVOIDABLE} s that nobody could have"),
            _ => who.version(),
        },
        limit: limit.map_or("", |(_, words)| words),
        reached: limit.and_then(|(most, _)| accounts.within(most, most_twice)).map_or(Reached::Unasked, Reached::of),
    };
    match &results.segments {
        Some(segments) => {
            vec![figure(", segments", segments, f64::INFINITY), figure(", joined file", &results.files, 0.0)]
        }
        None => vec![figure("", &results.files, 0.0)],
    }
}

fn run(who: &[Who]) -> Vec<Result<Outcome, String>> {
    let folder = tempfile::tempdir().expect("a folder");
    let encoder = Recipe::new(Format::MpegTs).video_kbit(1850).start().ready();
    // The first one's stream fails from here on, the others' later.
    let zero = in_seconds(BEFORE + 4);
    let began: Vec<i64> = (0_i64..).map(|n| zero + n * STAGGER).take(who.len()).collect();
    let last = began.last().copied().unwrap_or(zero);
    let (start, end) = (zero - BEFORE / 2 * 1000, last + (SECONDS + AFTER) * 1000);
    let mut servers = Vec::new();
    let mut recorders = Vec::new();
    for (n, (who, began)) in who.iter().zip(&began).enumerate() {
        let mut on_air = |later: i64| {
            let (server, route) = serve(encoder.live(), began + later);
            servers.push(server);
            route.url()
        };
        recorders.push(match who {
            Who::Peer(peer) => Recorder::repeat(peer, &on_air(0), &folder.path().join(n.to_string())),
            Who::Streamrip { recorder, mirrors, .. } => {
                let urls: Vec<_> = [0, MIRROR_LATER][..*mirrors].iter().map(|later| on_air(*later)).collect();
                Recorder::run(&Station {
                    recorder,
                    hall: if *mirrors > 1 { "redundancy = 2" } else { "" },
                    record: "stall_timeout = \"3s\"",
                    halls: vec![("Saal 1".to_owned(), urls, start, (end + 1999) / 1000 * 1000)],
                })
            }
        });
    }
    assert!(now_ms() < zero, "the contestants took too long to start");
    std::thread::sleep(until(end));
    let recorded: Vec<_> = recorders.into_iter().map(Recorder::finish).collect();
    let outcome = |(recorded, began): (Result<_, _>, i64)| Ok(Outcome::of(&offered(&encoder, began), &recorded?));
    recorded.into_iter().zip(began).map(outcome).collect()
}

/// The pictures that were sent while the script ran.
fn offered(encoder: &Encoder, began: i64) -> Offered {
    Offered::of(&encoder.live().between(began, began + SECONDS * 1000).1, SECONDS)
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
