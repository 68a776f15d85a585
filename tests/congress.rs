//! The main job, end to end: the real program, real mplayer children, a server that fails, a congress that
//! takes seconds instead of days.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};
use streamrip_lab::schedule::{Talk, calendar, halls_file, in_seconds};
use streamrip_lab::{
    Act, Answer, Encoder, End, FaultServer, Format, PATIENCE, Recipe, Route, Streamrip, now_ms, wait_until,
};

/// Real congresses wait longer; what is waited for is the same.
const SETTINGS: &str = "\
[record]
stall_timeout = \"4s\"
[assemble]
settle = \"1s\"
[prune]
min_segment = \"0B\"
[list]
complete_tolerance = \"2s\"
[disk]
reserve = \"100MiB\"
";

/// Padding before and after each talk.
const PADDING: i64 = 2;

/// From the import to the first talk: the daemon first looks at each stream for some seconds.
const LEAD: i64 = 12;

/// A hall on air, and the server that sends it.
struct Hall {
    name: &'static str,
    encoder: Encoder,
    route: Route,
    _server: FaultServer,
}

impl Hall {
    fn open(name: &'static str) -> Self {
        let encoder = Recipe::new(Format::MpegTs).start().ready();
        let server = FaultServer::start();
        let route = server.live("/live.ts", Format::MpegTs.kind(), encoder.live());
        Self { name, encoder, route, _server: server }
    }
}

fn prepare(halls: &[&Hall]) -> Streamrip {
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    fs::create_dir_all(streamrip.data_dir()).expect("a data directory");
    fs::write(streamrip.data_dir().join("streamrip.toml"), SETTINGS).expect("settings");
    let urls: Vec<_> = halls.iter().map(|hall| [hall.route.url()]).collect();
    let rows: Vec<_> = halls.iter().zip(&urls).map(|(hall, url)| (hall.name, url.as_slice(), 2)).collect();
    streamrip.write("congress.toml", halls_file(PADDING, PADDING, &rows));
    streamrip
}

fn import(streamrip: &Streamrip, talks: &[Talk]) -> Value {
    let file = streamrip.write("congress.ics", calendar(talks));
    streamrip.json(&["import", &file, "--json"])
}

fn list(streamrip: &Streamrip) -> Vec<Value> {
    let list = streamrip.json(&["list", "--json"]);
    list.as_array().expect("a list of talks").clone()
}

fn titled<'a>(list: &'a [Value], title: &str) -> &'a Value {
    list.iter().find(|talk| talk["title"] == title).unwrap_or_else(|| panic!("{title} is not in {list:?}"))
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no array {key:?} in {value}"))
}

fn instant(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no instant"));
    chrono::DateTime::parse_from_rfc3339(text).unwrap_or_else(|e| panic!("{text}: {e}")).timestamp_millis()
}

fn sha256(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The program `program` says nothing and succeeds.
fn silent_success(program: &str, arguments: &[&str], path: &Path) -> String {
    let mut command = Command::new(program);
    for argument in arguments {
        if *argument == "FILE" {
            command.arg(path)
        } else {
            command.arg(argument)
        };
    }
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{program} of {}: {said}", path.display());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Its file plays from start to end, is what the catalog says, and has this length, give or take a second
/// for the keyframe it begins with and one for each gap.
fn check_assembly(streamrip: &Streamrip, talk: &Value, seconds: f64) {
    let assembly = &talk["assembly"];
    let path = streamrip.data_dir().join(assembly["path"].as_str().unwrap_or_else(|| panic!("no file: {talk}")));
    assert_eq!(assembly["sha256"], sha256(&path), "{talk}");
    assert_eq!(assembly["bytes"], fs::metadata(&path).expect("its size").len(), "{talk}");
    silent_success("ffmpeg", &["-v", "error", "-i", "FILE", "-f", "null", "-"], &path);
    let probe = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", "FILE"];
    let length: f64 = silent_success("ffprobe", &probe, &path).trim().parse().expect("a length");
    let tolerance = 1.5 + array(talk, "gaps").len() as f64;
    assert!((length - seconds).abs() < tolerance, "{length} s instead of {seconds} s: {talk}");
    let said = assembly["seconds"].as_f64().expect("its length");
    assert!((length - said).abs() < 0.3, "the catalog says {said} s, ffprobe {length} s");
}

/// Each segment is what its row says, and byte for byte a part of what the hall has sent.
fn check_segments(streamrip: &Streamrip, talk: &Value, hall: &Hall) {
    let sent = hall.encoder.live().bytes();
    let begins: Vec<u64> = hall.route.connections().iter().map(|connection| connection.from).collect();
    let segments = array(talk, "segments");
    assert!(!segments.is_empty(), "{talk}");
    for segment in segments {
        let path: PathBuf = streamrip.data_dir().join(segment["path"].as_str().expect("a path"));
        let bytes = fs::read(&path).expect("its file");
        assert_eq!(segment["bytes"], bytes.len(), "{segment}");
        assert_eq!(segment["sha256"], sha256(&path), "{segment}");
        assert_eq!(segment["container"], "mpegts", "{segment}");
        // How far it is the same as what each connection sent.
        let same = begins.iter().map(|at| {
            let sent = &sent[usize::try_from(*at).expect("it fits")..];
            sent.iter().zip(&bytes).take_while(|(a, b)| a == b).count()
        });
        assert_eq!(same.max(), Some(bytes.len()), "not what any connection sent: {segment}");
    }
}

/// Nothing of a past slot is unaccounted for: what is not recorded is in gaps that have causes.
fn check_account(talk: &Value) {
    let slot = (instant(&talk["end"]) - instant(&talk["start"])) as f64 / 1000.0;
    let missing: f64 = array(talk, "gaps").iter().map(|gap| gap["seconds"].as_f64().expect("seconds")).sum();
    let recorded = talk["recorded_seconds"].as_f64().expect("seconds");
    assert!((recorded + missing - slot).abs() < 0.1, "{recorded} s + {missing} s is not {slot} s: {talk}");
    let coverage = talk["coverage"].as_f64().expect("a share");
    assert!((coverage - recorded / slot).abs() < 0.01, "{talk}");
    for gap in array(talk, "gaps") {
        let cause = gap["cause"].as_str().expect("a cause");
        assert!(cause != "unknown" && !cause.is_empty(), "{talk}");
        assert!(instant(&gap["start"]) >= instant(&talk["start"]) && instant(&gap["end"]) <= instant(&talk["end"]));
    }
}

#[test]
fn a_congress_is_recorded_and_what_is_missing_is_said() {
    let steady = Hall::open("Saal 1");
    let flaky = Hall::open("Saal 2");
    let streamrip = prepare(&[&steady, &flaky]);
    let start = in_seconds(LEAD);
    let talks = [
        Talk::new("Saal 1", "Opening", start, 12),
        Talk::new("Saal 1", "Middle", start + 12_000, 12),
        Talk::new("Saal 1", "End", start + 24_000, 12),
        Talk::new("Saal 2", "Trouble", start, 18),
        Talk::new("Saal 2", "Peace", start + 18_000, 14),
    ];
    let imported = import(&streamrip, &talks);
    assert_eq!((&imported["talks"], &imported["added"]), (&5.into(), &5.into()), "{imported}");
    let again = import(&streamrip, &talks);
    assert_eq!((&again["unchanged"], &again["added"], &again["changed"]), (&5.into(), &0.into(), &0.into()), "{again}");

    let after =
        |seconds: i64| Duration::from_millis(u64::try_from(start + seconds * 1000 - now_ms()).expect("still to come"));
    flaky.route.script([
        (after(5), Act::Always(Answer::Status(404))),
        (after(5), Act::Cut(End::Rst)),
        (after(11), Act::Always(Answer::stream())),
    ]);
    let mut daemon = streamrip.spawn(&["run", "--until-done"]);
    wait_until("the first tapes", PATIENCE, || steady.route.open() > 0 && now_ms() > start);
    let second = streamrip.run(&["run"]);
    assert_eq!(second.code, Some(5), "a second daemon must be refused: {second:?}");
    let status = daemon.wait(Duration::from_secs(120));
    assert_eq!(status.code(), Some(4), "something is missing: {}", daemon.said());

    let list = list(&streamrip);
    assert_eq!(list.len(), 5);
    for talk in &list {
        check_account(talk);
        check_segments(&streamrip, talk, if talk["hall"] == "Saal 1" { &steady } else { &flaky });
    }
    for title in ["Opening", "Middle", "End"] {
        let talk = titled(&list, title);
        assert_eq!(talk["state"], "complete", "{talk}\n{}", daemon.said());
        check_assembly(&streamrip, talk, 16.0);
    }
    let trouble = titled(&list, "Trouble");
    assert_eq!(trouble["state"], "partial", "{trouble}");
    let causes: Vec<_> = array(trouble, "gaps").iter().map(|gap| gap["cause"].clone()).collect();
    assert!(causes.contains(&"http-404".into()), "{causes:?}");
    let outage = start + 5000..start + 12_000 + 20_000;
    for gap in array(trouble, "gaps").iter().filter(|gap| gap["seconds"].as_f64() > Some(1.0)) {
        assert!(instant(&gap["start"]) > outage.start - 2000 && instant(&gap["end"]) < outage.end, "{trouble}");
    }
    let missing: f64 = array(trouble, "gaps").iter().filter_map(|gap| gap["seconds"].as_f64()).sum();
    check_assembly(&streamrip, trouble, 22.0 - missing);
    assert_eq!(
        streamrip.run(&["list", "--gaps"]).stdout.matches("http-404").count(),
        causes.iter().filter(|c| **c == "http-404").count()
    );
    let shown = streamrip.ok(&["show", "Trouble"]).stdout;
    assert!(shown.contains("http-404"), "{shown}");
}

#[test]
fn a_daemon_that_ends_or_is_killed_loses_nothing_it_had() {
    let hall = Hall::open("Saal 1");
    let streamrip = prepare(&[&hall]);
    let start = in_seconds(LEAD);
    import(&streamrip, &[Talk::new("Saal 1", "Long talk", start, 45)]);

    let recording = |connections: usize| {
        wait_until("bytes of the talk", PATIENCE, || {
            now_ms() > start + 3000
                && hall.route.connections().len() > connections
                && hall.route.connections().last().is_some_and(|c| c.closed_ms.is_none() && c.sent > 100_000)
        });
    };
    let mut daemon = streamrip.spawn(&["run", "--until-done"]);
    recording(0);
    daemon.kill();
    wait_until("the killed daemon's mplayer to end", PATIENCE, || hall.route.open() == 0);
    // Long enough to be a gap that needs a cause.
    let killed = now_ms();
    wait_until("some seconds without a daemon", PATIENCE, || now_ms() > killed + 3000);

    let before = hall.route.connections().len();
    let mut daemon = streamrip.spawn(&["run", "--until-done"]);
    recording(before);
    daemon.term();
    // The promise is 6 s.
    daemon.wait(Duration::from_secs(6));
    let stopped = now_ms();
    for segment in array(titled(&list(&streamrip), "Long talk"), "segments") {
        assert!(segment["sha256"].is_string() && segment["ended_at"].is_string(), "not final: {segment}");
        assert_ne!(segment["verdict"], "open", "{segment}");
    }
    wait_until("some seconds without a daemon", PATIENCE, || now_ms() > stopped + 3000);

    let mut daemon = streamrip.spawn(&["run", "--until-done"]);
    let status = daemon.wait(Duration::from_secs(120));
    assert_eq!(status.code(), Some(4), "{}", daemon.said());
    let list = list(&streamrip);
    let talk = titled(&list, "Long talk");
    check_account(talk);
    check_segments(&streamrip, talk, &hall);
    let idle: Vec<_> = array(talk, "gaps").iter().filter(|gap| gap["cause"] == "daemon-not-running").collect();
    assert!(idle.len() >= 2, "two times without a daemon: {talk}");
    assert_eq!(talk["state"], "partial");
    let missing: f64 = array(talk, "gaps").iter().filter_map(|gap| gap["seconds"].as_f64()).sum();
    check_assembly(&streamrip, talk, 49.0 - missing);
}

#[test]
fn a_changed_schedule_takes_effect_in_a_running_daemon() {
    let (first, second) = (Hall::open("Saal 1"), Hall::open("Saal 2"));
    let streamrip = prepare(&[&first, &second]);
    let later = in_seconds(3600);
    let mut talk = Talk::new("Saal 1", "Wanderer", later, 600);
    import(&streamrip, std::slice::from_ref(&talk));
    let mut daemon = streamrip.spawn(&["run"]);
    wait_until("the daemon to be alive", PATIENCE, || {
        streamrip.run(&["status", "--json"]).stdout.contains("Wanderer") || !daemon.is_running()
    });
    assert!(daemon.is_running(), "{}", daemon.said());

    // The look at the streams before the start is no tape.
    wait_until("the look at the streams", PATIENCE, || first.route.open() == 0 && second.route.open() == 0);
    talk.start_ms = in_seconds(4);
    talk.hall = "Saal 2".to_owned();
    let changed = import(&streamrip, std::slice::from_ref(&talk));
    assert_eq!(changed["changed"], 1, "{changed}");
    wait_until("the tape of the moved talk", PATIENCE, || {
        second.route.connections().last().is_some_and(|c| c.closed_ms.is_none() && c.sent > 50_000)
    });
    wait_until("the state of the moved talk", PATIENCE, || {
        titled(&list(&streamrip), "Wanderer")["state"] == "recording"
    });
    daemon.term();
    daemon.wait(PATIENCE);
}
