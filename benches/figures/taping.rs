//! What the daemon costs: idle with a large catalog, and per stream.

use std::time::Duration;

use streamrip_lab::schedule::{Talk, calendar, halls_file, in_seconds};
use streamrip_lab::{Daemon, FaultServer, Format, PATIENCE, Recipe, Streamrip, wait_until};

use crate::catalog;
use crate::measure::{Figure, Reached, children, cpu_seconds};

/// Each measurement lasts so long, and is made three times.
const WINDOW: Duration = Duration::from_secs(20);
const RUNS: usize = 3;
const STREAMS: usize = 4;
/// 2 Mbit/s.
const BYTES_PER_SECOND: u64 = 250_000;

pub fn idle() -> Vec<Figure> {
    let empty = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    empty.write("later.ics", calendar(&[Talk::new("Saal 1", "Later", in_seconds(86_400), 60)]));
    empty.ok(&["import", "later.ics"]);
    let large = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    catalog::make(&large.data_dir());
    catalog::make_files(&large.data_dir());
    let [bare, full] = [empty, large].map(|streamrip| {
        let daemon = streamrip.spawn(&["run"]);
        settle(&daemon);
        percent_of_a_core(daemon.id())
    });
    vec![Figure {
        what: "daemon idle, catalog of 10,000 talks and 1,000,000 segments".to_owned(),
        measured: format!("{full:.2} % of a core"),
        compared_with: format!("{bare:.2} % with a catalog of one talk"),
        limit: "1 %",
        reached: Reached::of(full <= 1.0),
    }]
}

pub fn figures() -> Vec<Figure> {
    let seconds = WINDOW.as_secs() * (RUNS as u64 + 2) + 60;
    let media = Recipe::new(Format::MpegTs).video_kbit(1850).seconds(10.0).bytes();
    // The same ten seconds again and again: nobody decodes them here.
    let turns = usize::try_from(seconds * BYTES_PER_SECOND).expect("it fits") / media.len() + 1;
    let media = media.repeat(turns);
    let server = FaultServer::start();
    let names: Vec<_> = (0..STREAMS).map(|n| format!("Saal {n}")).collect();
    let routes: Vec<_> =
        (0..STREAMS).map(|n| server.file(&format!("/{n}.ts"), "video/mp2t", media.clone(), BYTES_PER_SECOND)).collect();
    let urls: Vec<_> = routes.iter().map(|route| [route.url()]).collect();
    let halls: Vec<_> = names.iter().zip(&urls).map(|(name, urls)| (name.as_str(), urls.as_slice(), 2)).collect();
    let start = in_seconds(10);
    let talks: Vec<_> = names
        .iter()
        .map(|name| Talk::new(name, &format!("All day in {name}"), start, i64::try_from(seconds).expect("it fits")))
        .collect();
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    streamrip.write("taping.ics", calendar(&talks));
    streamrip.write("taping.toml", halls_file(0, 0, &halls));
    streamrip.ok(&["import", "taping.ics"]);
    // The look at the streams would connect to them as well.
    let daemon = streamrip.spawn(&["run", "--no-check"]);
    wait_until("all tapes", PATIENCE, || {
        routes.iter().all(|route| {
            route.connections().last().is_some_and(|c| c.closed_ms.is_none() && c.sent > 5 * BYTES_PER_SECOND)
        })
    });
    settle(&daemon);
    let players = children(daemon.id());
    assert_eq!(players.len(), STREAMS, "one mplayer a stream");
    let before: f64 = players.iter().map(|pid| cpu_seconds(*pid)).sum();
    let own = percent_of_a_core(daemon.id());
    let after: f64 = players.iter().map(|pid| cpu_seconds(*pid)).sum();
    let players = (after - before) * 100.0 / (WINDOW.as_secs_f64() * RUNS as f64);
    vec![Figure {
        what: format!("taping {STREAMS} streams of 2 Mbit/s with mplayer, per stream"),
        measured: format!("daemon {:.2} % of a core", own / STREAMS as f64),
        compared_with: format!("mplayer itself {:.2} %", players / STREAMS as f64),
        limit: "0.3 %",
        reached: Reached::of(own / STREAMS as f64 <= 0.3),
    }]
}

/// The start with its checks and recovery is no part of it.
fn settle(daemon: &Daemon) {
    let mut last = cpu_seconds(daemon.id());
    wait_until("the daemon to settle", Duration::from_secs(300), || {
        std::thread::sleep(Duration::from_secs(5));
        let now = cpu_seconds(daemon.id());
        let calm = now - last < 0.25;
        last = now;
        calm
    });
}

/// Median over the windows.
fn percent_of_a_core(pid: u32) -> f64 {
    let mut all: Vec<f64> = (0..RUNS)
        .map(|_| {
            let before = cpu_seconds(pid);
            std::thread::sleep(WINDOW);
            (cpu_seconds(pid) - before) * 100.0 / WINDOW.as_secs_f64()
        })
        .collect();
    all.sort_unstable_by(f64::total_cmp);
    all[RUNS / 2]
}
