//! Tapes on real mplayer and ffmpeg, real streams on loopback, and children that behave badly.

mod bench;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use streamrip::app::support::clock::SystemClock;
use streamrip::domain::clock::Clock as _;
use streamrip::domain::hall::Recorder;
use streamrip::domain::segment::{Container, EndReason};
use streamrip::domain::settings::Record;
use streamrip::source::child::{is_running, start_ticks};
use streamrip::source::log::{LineLog, NoLog};
use streamrip::source::mplayer::Mplayer;
use streamrip::source::{ProcessId, Sources};
use streamrip::tape::events::TapeEvent;
use streamrip::tape::{self, TapeDeps, TapeOrder};
use streamrip_lab::{
    Act, Answer, End, FaultServer, Feed, Format, Live, PATIENCE, Recipe, SmallDisk, eventually, not_allowed,
};

use bench::{Bench, Told};

/// As a busy machine needs it, and no longer.
fn new_bench() -> Bench {
    let mut bench = Bench::new();
    bench.record = Record { stall_timeout_ms: 3000, first_byte_timeout_ms: 5000, ..Record::default() };
    bench
}

/// With a script in place of mplayer.
fn scripted(text: &str) -> Bench {
    let mut bench = new_bench();
    let path = bench.dir.path().join("fake-mplayer");
    // Written by another process: a program that a test of this one has open for writing, even in a
    // child it is just about to start, cannot be run.
    let written = std::process::Command::new("sh")
        .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", text])
        .arg(&path)
        .status();
    assert!(written.expect("sh").success());
    bench.sources = Sources::of(vec![Arc::new(Mplayer::at(path, Arc::new(NoLog)))]);
    bench
}

#[tokio::test]
async fn mplayer_cut_stalled_and_handed_over_leaves_pieces_of_the_stream() {
    let (server, feed, bench) = (FaultServer::start(), Feed::start(14), new_bench());
    let route = server.live("/saal1", "video/mp2t", &feed.live);
    let mut order = Bench::order(&route.url());
    let mut tape = bench.start(order.clone());
    bench.flows(&tape, 1).await;
    route.act(Act::Cut(End::Fin));
    bench.goes_on_after(&tape, 1).await;
    let ended = bench.reasons().len();
    route.act(Act::Cut(End::Rst));
    bench.goes_on_after(&tape, ended + 1).await;
    route.act(Act::Silence);
    // Not the last trouble, which the next connection's soon is.
    eventually("a stall", PATIENCE, || bench.reasons().contains(&EndReason::Stalled)).await;
    route.act(Act::Resume);
    bench.goes_on_after(&tape, 0).await;
    let before = tape.status().connections;
    order.boundaries = vec![SystemClock.now().plus(200)];
    tape.retarget(order);
    bench.flows(&tape, before + 1).await;
    bench.stop(&mut tape).await;

    let mut segments = bench.segments();
    // As they began: the old mplayer may take longer to end than the new one.
    segments.sort_by(|a, b| a.path.cmp(&b.path));
    let places: Vec<_> = segments.iter().map(|s| feed.place(&s.content)).collect();
    let reasons: Vec<_> = segments.iter().map(|s| s.reason).collect();
    assert!(reasons.contains(&EndReason::Eof) && reasons.contains(&EndReason::Stalled), "{reasons:?}");
    assert_eq!(reasons[reasons.len() - 2..], [EndReason::Handover, EndReason::Shutdown]);
    let (old, new) = (places[places.len() - 2], places[places.len() - 1]);
    assert!(new.0 < old.1, "no overlap at the handover: {old:?} {new:?}");
    for segment in &segments {
        assert_eq!((segment.container, segment.not_media), (Container::MpegTs, false));
        assert!(segment.path.starts_with("segments/27c3/saal-1"), "{:?}", segment.path);
        assert_eq!(segment.path.extension().and_then(|e| e.to_str()), Some("ts"));
    }
}

#[tokio::test]
async fn mplayer_is_not_believed_when_it_exits_with_0() {
    let server = FaultServer::start();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("address");
    let url = "http://127.0.0.1:1/x";
    let cases: Vec<(&str, Option<Answer>, EndReason, bool)> = vec![
        ("/404", Some(Answer::Status(404)), EndReason::Http(404), false),
        ("/503", Some(Answer::Status(503)), EndReason::Http(503), false),
        ("/html", Some(Answer::html()), EndReason::NotMedia, true),
        ("/asx", Some(Answer::asx(url)), EndReason::NotMedia, false),
        ("/m3u", Some(Answer::m3u(url)), EndReason::NotMedia, false),
        ("/gone", Some(Answer::HangUp(End::Rst)), EndReason::Network, false),
        ("/silence", Some(Answer::Silence), EndReason::NoFirstByte, false),
        ("/body", Some(Answer::SilentBody), EndReason::NoFirstByte, false),
        ("/refused", None, EndReason::Refused, false),
    ];
    let live = Live::new(188);
    for (path, answer, want, kept) in cases {
        let bench = new_bench();
        let url = match answer {
            Some(answer) => {
                let route = server.live(path, "video/mp2t", &live);
                route.act(Act::Always(answer));
                route.url()
            }
            None => format!("http://{nobody}{path}"),
        };
        let mut tape = bench.start(Bench::order(&url));
        eventually(path, PATIENCE, || !bench.reasons().is_empty()).await;
        bench.stop(&mut tape).await;
        assert_eq!(bench.reasons()[0], want, "{path}: {:?}", tape.status().last_trouble);
        let segments = bench.segments();
        assert_eq!(segments.first().is_some_and(|s| s.not_media), kept, "{path}: {segments:?}");
    }
}

#[tokio::test]
async fn ffmpeg_tapes_what_it_can_in_mpegts_and_the_rest_in_matroska() {
    let server = FaultServer::start();
    for (format, want) in [(Format::MpegTs, Container::MpegTs), (Format::WebM, Container::Matroska)] {
        let media = Recipe::new(format).seconds(8.0).flat_out().bytes();
        // ffmpeg looks at up to five seconds of a stream before it writes the first of them.
        let rate = (media.len() / 8) as u64;
        let route = server.file(&format!("/{format:?}"), format.kind(), media, rate);
        let mut bench = new_bench();
        bench.record.first_byte_timeout_ms = 30_000;
        let mut order = Bench::order(&route.url());
        order.recorder = Recorder::Ffmpeg;
        let mut tape = bench.start(order);
        eventually("media", PATIENCE, || {
            bench.events().iter().any(|e| matches!(e, TapeEvent::SegmentOpened { container, .. } if *container == want))
        })
        .await;
        eventually("some of it", PATIENCE, || tape.status().bytes > 50_000).await;
        bench.stop(&mut tape).await;
        assert!(bench.segments().iter().any(|s| s.container == want && s.content.len() > 10_000));
    }
}

#[tokio::test]
async fn children_that_behave_badly_neither_stop_the_tape_nor_stay() {
    // In a pipeline, descriptor 0 is the pipeline's.
    let media = "exec 3>&0; head -c 18800 /dev/zero | tr '\\0' G >&3";
    // A grandchild tells its number into a file of the data directory, since its pipe may be gone.
    let fork = |how: &str| format!("{media}; {how} & echo $! >> \"$0.forked\"; exit 0");
    let table = [
        ("it crashes", format!("{media}; kill -SEGV $$"), EndReason::SourceFailed, 18_800),
        ("it crashes before a byte", "kill -SEGV $$".to_owned(), EndReason::SourceFailed, 0),
        ("it ends", media.to_owned(), EndReason::Eof, 18_800),
        ("it claims failure by its exit code", format!("{media}; exit 3"), EndReason::SourceFailed, 18_800),
        (
            "it claims failure in words",
            format!("{media}; echo 'Playing http://h/x.'; echo 'Server returned 404: Not Found'"),
            EndReason::Eof,
            18_800,
        ),
        (
            "it closes its pipe and lives on",
            format!("{media}; exec 3>&- 0</dev/null; exec sleep 1000"),
            EndReason::Eof,
            18_800,
        ),
        (
            "it closes its pipe, lives on and ignores TERM",
            format!("trap '' TERM; {media}; exec 3>&- 0</dev/null; while :; do sleep 1000; done"),
            EndReason::Eof,
            18_800,
        ),
        ("it hangs", format!("trap '' TERM; {media}; while :; do sleep 1000; done"), EndReason::Stalled, 18_800),
        ("it says nothing", "exec sleep 1000".to_owned(), EndReason::NoFirstByte, 0),
        ("it talks too much", format!("yes | head -c 10000000; {media}"), EndReason::Eof, 18_800),
        (
            "it talks too much, in one line",
            format!("(head -c 10000000 /dev/zero | tr '\\0' x) >&2; {media}"),
            EndReason::Eof,
            18_800,
        ),
        ("it forks", fork("sleep 1000"), EndReason::Eof, 18_800),
        ("it forks one that ignores TERM", fork("sh -c 'trap \"\" TERM; sleep 1000; :'"), EndReason::Eof, 18_800),
    ];
    // All at once: most of the time they wait.
    let mut all = tokio::task::JoinSet::new();
    for (what, script, want, bytes) in table {
        all.spawn(async move {
            let mut bench = scripted(&script);
            if what.starts_with("it talks") {
                // Ten megabytes take their time on a busy machine.
                bench.record.first_byte_timeout_ms = 50_000;
            }
            // One child at a time: what is opened beside a silent one is tested elsewhere.
            let order = TapeOrder { max_connections: 1, ..Bench::order("http://127.0.0.1:1/x") };
            let mut tape = bench.start(order);
            // The second one shows that the tape is not stuck.
            eventually(what, PATIENCE, || bench.reasons().len() >= 2).await;
            bench.stop(&mut tape).await;
            assert_eq!(bench.reasons()[..2], [want, want], "{what}");
            let files: Vec<_> = bench.segments().iter().map(|s| s.content.len()).collect();
            assert!(files.iter().all(|n| *n <= 18_800), "{what}: {files:?}");
            // All that was given is kept, whatever was said of it.
            assert!(bytes == 0 || files.first() == Some(&bytes), "{what}: {files:?}");
            let forked = std::fs::read_to_string(bench.dir.path().join("fake-mplayer.forked")).unwrap_or_default();
            assert_eq!(forked.is_empty(), !what.starts_with("it forks"), "{what}");
            for pid in forked.lines().map(|pid| pid.parse().expect("a number")) {
                eventually(what, PATIENCE, || !runs(pid)).await;
            }
        });
    }
    while let Some(done) = all.join_next().await {
        done.expect("no tape fails");
    }
}

/// True while the process runs. One that nobody has waited for yet does not: a grandchild is not ours to wait for.
fn runs(pid: u32) -> bool {
    start_ticks(pid).is_some_and(|start_ticks| is_running(ProcessId { pid, start_ticks }))
}

#[tokio::test]
async fn one_that_ignores_term_is_gone_six_seconds_after_a_stop() {
    let bench =
        scripted("trap '' TERM; exec 3>&0; while :; do head -c 1880 /dev/zero | tr '\\0' G >&3; sleep 0.1; done");
    let mut tape = bench.start(Bench::order("http://127.0.0.1:1/x"));
    bench.flows(&tape, 1).await;
    bench.stop(&mut tape).await;
    assert_eq!(bench.reasons(), [EndReason::Shutdown]);
    assert_eq!(bench.segments().len(), 1);
}

/// Not a test: the program that the next one kills.
#[test]
#[ignore = "run by killed_at_once_it_leaves_no_source_behind"]
fn helper_that_tapes_until_it_is_killed() {
    let (Ok(url), Ok(dir)) = (std::env::var("TAPE_URL"), std::env::var("TAPE_DIR")) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    runtime.block_on(async {
        let told = Arc::new(Told::default());
        let log: Arc<dyn LineLog> = Arc::new(NoLog);
        let deps = TapeDeps::new(
            Arc::new(SystemClock),
            told.clone(),
            Sources::programs(&log),
            PathBuf::from(dir),
            Record::default(),
        );
        let _tape = tape::start(Bench::order(&url), deps);
        let mut shown = false;
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let events = told.events();
            let flows = events.iter().any(|e| matches!(e, TapeEvent::Progress { .. }));
            for event in &events {
                if let TapeEvent::ConnectionOpened { process: Some(process), .. } = event
                    && flows
                    && !shown
                {
                    // Another line may have been begun by the test harness.
                    let line = format!("\nchild {} {}\n", process.pid, process.start_ticks);
                    std::io::stdout().write_all(line.as_bytes()).expect("said");
                    shown = true;
                }
            }
        }
    });
}

#[tokio::test]
async fn killed_at_once_it_leaves_no_source_behind_and_loses_less_than_a_second() {
    let (server, feed) = (FaultServer::start(), Feed::start(14));
    let route = server.live("/saal1", "video/mp2t", &feed.live);
    let dir = tempfile::tempdir().expect("dir");
    let mut helper = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "helper_that_tapes_until_it_is_killed", "--ignored", "--nocapture"])
        .env("TAPE_URL", route.url())
        .env("TAPE_DIR", dir.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("started");
    let out = helper.stdout.take().expect("piped");
    let said = tokio::task::spawn_blocking(move || {
        BufReader::new(out).lines().map_while(Result::ok).find(|line| line.starts_with("child "))
    });
    let line = tokio::time::timeout(PATIENCE, said).await.expect("in time").expect("read").expect("a child");
    let numbers: Vec<u64> = line.split(' ').skip(1).map(|n| n.parse().expect("a number")).collect();
    let pid = u32::try_from(numbers[0]).expect("a pid");
    assert_eq!(start_ticks(pid), Some(numbers[1]), "mplayer runs");
    let sent = feed.live.len();
    helper.kill().expect("killed");
    helper.wait().expect("waited");
    eventually("mplayer follows", PATIENCE, || start_ticks(pid) != Some(numbers[1])).await;
    let file = find_file(dir.path()).expect("a file");
    let (_, to) = feed.place(&std::fs::read(file).expect("read"));
    // 0.42 Mbit/s: a second is 52,640 bytes, of which mplayer and the pipe hold some.
    assert!(to + 52_640 > sent, "{} bytes lost", sent - to);
}

fn find_file(dir: &Path) -> Option<PathBuf> {
    std::fs::read_dir(dir).ok()?.filter_map(Result::ok).find_map(|entry| {
        let path = entry.path();
        if path.is_dir() { find_file(&path) } else { Some(path) }
    })
}

#[tokio::test]
async fn on_a_disk_that_stays_full_the_file_keeps_what_it_has_and_the_next_one_begins_when_there_is_space() {
    let (server, feed, mut bench) = (FaultServer::start(), Feed::start(14), new_bench());
    let Some(disk) = SmallDisk::mount(bench.dir.path(), 4) else {
        not_allowed("this user may not mount a tmpfs");
        return;
    };
    bench.buffer_bytes = Some(100_000);
    let route = server.live("/saal1", "video/mp2t", &feed.live);
    let mut tape = bench.start(Bench::order(&route.url()));
    bench.flows(&tape, 1).await;
    eventually("a file", PATIENCE, || find_file(&bench.dir.path().join("segments")).is_some()).await;
    disk.fill();
    eventually("the disk to be full", PATIENCE, || tape.status().disk_full).await;
    let before = feed.live.len();
    eventually("more than the buffer holds", PATIENCE, || feed.live.len() > before + 300_000).await;
    assert_eq!(tape.status().connections, 1, "nothing is gained by a new one while the disk is full");
    disk.free();
    let freed = std::time::Instant::now();
    eventually("a new connection", PATIENCE, || tape.status().connections == 2).await;
    bench.flows(&tape, 2).await;
    assert!(freed.elapsed() < Duration::from_secs(15), "only after {:?}", freed.elapsed());
    assert!(!tape.status().disk_full);
    bench.stop(&mut tape).await;
    assert_eq!(bench.reasons(), [EndReason::DiskFull, EndReason::Shutdown]);
    let places: Vec<_> = bench.segments().iter().map(|s| feed.place(&s.content)).collect();
    assert!(places.len() == 2 && places[0].1 > places[0].0 && places[1].0 > places[0].1, "{places:?}");
}
