//! Two mirrors of one encoder, taped at the same time by the real program; they fail at different times. Once by one
//! recorder, once each by a recorder of its own, which are merged.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use streamrip_lab::schedule::{Talk, calendar, halls_file, in_seconds};
use streamrip_lab::{
    Act, Answer, Encoder, End, FaultServer, Format, PATIENCE, Recipe, Route, Streamrip, now_ms, wait_until,
};

const SETTINGS: &str = "\
[record]
stall_timeout = \"4s\"
redundancy = 2
[assemble]
settle = \"1s\"
[prune]
min_segment = \"0B\"
[list]
complete_tolerance = \"0s\"
[disk]
reserve = \"100MiB\"
";

/// From the import to the first talk: the daemon first looks at each stream for some seconds.
const LEAD: i64 = 12;

/// Content of pictures (`v`) or sound (`a`), packet by packet.
fn packets(file: &Path, kind: &str) -> Vec<String> {
    let out = Command::new("ffprobe")
        .args(["-v", "quiet", "-select_streams", kind, "-show_data_hash", "CRC32"])
        .args(["-show_entries", "packet=data_hash", "-of", "csv=p=0"])
        .arg(file)
        .output()
        .expect("ffprobe");
    String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
}

/// Each packet of the file is the encoder's next one: none is missing, none stands twice.
fn check_whole(file: &Path, encoder: &Encoder, streamrip: &Streamrip) {
    let ts = streamrip.folder().join("truth.ts");
    fs::write(&ts, encoder.live().bytes()).expect("written");
    let truth = streamrip.folder().join("truth.mkv");
    // Through the same muxer, so that payloads compare.
    let made =
        Command::new("ffmpeg").args(["-v", "quiet", "-y", "-i"]).arg(&ts).args(["-c", "copy"]).arg(&truth).status();
    assert!(made.expect("ffmpeg").success());
    for kind in ["v", "a"] {
        let (truth, ours) = (packets(&truth, kind), packets(file, kind));
        let places: HashMap<&String, usize> = truth.iter().zip(0..).collect();
        assert!(ours.len() > 100, "{} packets", ours.len());
        let got: Vec<usize> = ours.iter().map(|p| *places.get(p).expect("one of the encoder's")).collect();
        for w in got.windows(2) {
            assert_eq!(w[0] + 1, w[1], "{kind}: {} is followed by {}", w[0], w[1]);
        }
    }
}

/// Nothing comes between these seconds of a talk that begins at `start`.
fn outage(start: i64, from: i64, to: i64) -> [(Duration, Act); 3] {
    let after =
        |seconds: i64| Duration::from_millis(u64::try_from(start + seconds * 1000 - now_ms()).expect("still to come"));
    [
        (after(from), Act::Always(Answer::Status(503))),
        (after(from), Act::Cut(End::Rst)),
        (after(to), Act::Always(Answer::stream())),
    ]
}

#[test]
fn two_mirrors_that_fail_at_different_times_leave_no_gap() {
    let encoder = Recipe::new(Format::MpegTs).start().ready();
    let servers = [FaultServer::start(), FaultServer::start()];
    let routes: Vec<Route> =
        servers.iter().map(|s| s.live("/live.ts", Format::MpegTs.kind(), encoder.live())).collect();
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    fs::create_dir_all(streamrip.data_dir()).expect("a data directory");
    fs::write(streamrip.data_dir().join("streamrip.toml"), SETTINGS).expect("settings");
    let urls: Vec<String> = routes.iter().map(Route::url).collect();
    streamrip.write("congress.toml", halls_file(2, 2, &[("Saal 1", &urls, 2)]));
    let start = in_seconds(LEAD);
    let talk = Talk::new("Saal 1", "Both mirrors fail", start, 30);
    streamrip.ok(&["import", &streamrip.write("congress.ics", calendar(&[talk]))]);

    routes[0].script(outage(start, 5, 8));
    routes[1].script(outage(start, 18, 20));
    let mut daemon = streamrip.spawn(&["run", "--until-done"]);
    wait_until("both mirrors", PATIENCE, || now_ms() > start && routes.iter().all(|r| r.open() > 0));
    let status = streamrip.json(&["status", "--json"]);
    assert_eq!(status["tapes"][0]["lanes"].as_array().map(Vec::len), Some(2), "{status}");
    let status = daemon.wait(Duration::from_secs(120));
    assert_eq!(status.code(), Some(0), "{}", daemon.said());

    let shown = streamrip.json(&["show", "1", "--json"]);
    assert_eq!((&shown["state"], &shown["gaps"]), (&"complete".into(), &Value::Array(Vec::new())), "{shown}");
    let file = streamrip.data_dir().join(shown["assembly"]["path"].as_str().expect("a file"));
    check_whole(&file, &encoder, &streamrip);
    let length = shown["assembly"]["seconds"].as_f64().expect("seconds");
    // It begins at a key picture, and there is one a second.
    assert!((32.8..36.5).contains(&length), "{length} s of 34 s");
    // It says which second came from where: from both, one after the other, without a hole.
    let parts = shown["parts"].as_array().expect("parts");
    assert!(parts.len() >= 2, "{shown}");
    for url in &urls {
        assert!(parts.iter().any(|p| p["stream"] == *url), "nothing of {url}: {shown}");
    }
    for pair in parts.windows(2) {
        let hole = pair[1]["from_seconds"].as_f64().zip(pair[0]["to_seconds"].as_f64()).map(|(a, b)| (a - b).abs());
        assert!(hole.is_some_and(|s| s < 0.7), "{shown}");
    }
    let text = streamrip.ok(&["show", "1"]).stdout;
    assert!(text.contains("Made of") && urls.iter().all(|u| text.contains(u)), "{text}");
    // Never twice on one of them.
    for route in &routes {
        let connections = route.connections();
        let overlaps = connections.iter().enumerate().filter(|(n, c)| {
            connections[n + 1..].iter().any(|later| c.closed_ms.is_none_or(|closed| later.opened_ms + 500 < closed))
        });
        // The daemon looks at each stream before it begins.
        assert!(overlaps.count() <= 1, "{connections:#?}");
    }
}

#[test]
fn two_recorders_that_fail_at_different_times_are_merged_into_a_file_without_a_gap() {
    let encoder = Recipe::new(Format::MpegTs).start().ready();
    let start = in_seconds(LEAD);
    let servers = [FaultServer::start(), FaultServer::start()];
    let machines = [(5, 8), (18, 20)].map(|_| Streamrip::new(env!("CARGO_BIN_EXE_streamrip")));
    let mut daemons = Vec::new();
    for ((streamrip, server), (from, to)) in machines.iter().zip(&servers).zip([(5, 8), (18, 20)]) {
        let route = server.live("/live.ts", Format::MpegTs.kind(), encoder.live());
        fs::create_dir_all(streamrip.data_dir()).expect("a data directory");
        let settings = SETTINGS.replace("redundancy = 2\n", "");
        fs::write(streamrip.data_dir().join("streamrip.toml"), settings).expect("settings");
        streamrip.write("congress.toml", halls_file(2, 2, &[("Saal 1", &[route.url()], 2)]));
        let talk = Talk::new("Saal 1", "Both recorders fail", start, 30);
        streamrip.ok(&["import", &streamrip.write("congress.ics", calendar(&[talk]))]);
        route.script(outage(start, from, to));
        daemons.push(streamrip.spawn(&["run", "--until-done"]));
    }
    for daemon in &mut daemons {
        // Something is missing.
        assert_eq!(daemon.wait(Duration::from_secs(120)).code(), Some(4), "{}", daemon.said());
    }
    let [ours, theirs] = &machines;
    let gaps = |streamrip: &Streamrip| streamrip.json(&["show", "1", "--json"])["gaps"].as_array().map(Vec::len);
    assert_eq!((gaps(ours), gaps(theirs)), (Some(1), Some(1)));

    let other = theirs.data_dir().to_string_lossy().into_owned();
    let planned = ours.json(&["merge", &other, "--dry-run", "--json"]);
    assert_eq!((planned["segments"].as_array().map(Vec::len), gaps(ours)), (Some(1), Some(1)), "{planned}");
    assert!(planned["segments"][0]["shared_packets"].as_i64().is_some_and(|n| n > 100), "{planned}");
    let done = ours.json(&["merge", &other, "--json"]);
    assert_eq!((&done["taken"], &done["refused"]), (&1.into(), &Value::Array(Vec::new())), "{done}");

    let shown = ours.json(&["show", "1", "--json"]);
    assert_eq!((&shown["state"], &shown["gaps"]), (&"complete".into(), &Value::Array(Vec::new())), "{shown}");
    let merged: Vec<bool> =
        shown["parts"].as_array().expect("parts").iter().map(|part| !part["merged_from"].is_null()).collect();
    // Who began first is a matter of milliseconds.
    assert!(merged.contains(&true) && merged.contains(&false), "a part of each: {shown}");
    assert!(ours.ok(&["show", "1"]).stdout.contains(&other), "it says where from");
    check_whole(&ours.data_dir().join(shown["assembly"]["path"].as_str().expect("a file")), &encoder, ours);
    for streamrip in &machines {
        streamrip.ok(&["verify"]);
    }
    // Again there is nothing to do.
    let again = ours.ok(&["merge", &other]).stdout;
    assert!(again.contains("nothing there"), "{again}");
    assert_eq!(gaps(theirs), Some(1), "it stayed as it was");
}
