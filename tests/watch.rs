//! Watching while it is recorded: every picture once, in order, across reconnects, to the talk's end.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use streamrip_lab::schedule::{Talk, calendar, halls_file, in_seconds};
use streamrip_lab::{
    Act, Encoder, End, FaultServer, Format, Icecast, PATIENCE, Recipe, Relay, Route, Streamrip, wait_until,
};

const SETTINGS: &str = "\
[record]
recorder = \"mplayer\"
[prune]
min_segment = \"0B\"
[assemble]
settle = \"1s\"
[disk]
reserve = \"100MiB\"
";

const TALK_SECONDS: i64 = 20;

fn congress() -> (Streamrip, Encoder, FaultServer, Route) {
    let encoder = Recipe::new(Format::MpegTs).start().ready();
    let server = FaultServer::start();
    let route = server.live("/live.ts", Format::MpegTs.kind(), encoder.live());
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    fs::create_dir_all(streamrip.data_dir()).expect("a data directory");
    fs::write(streamrip.data_dir().join("streamrip.toml"), SETTINGS).expect("settings");
    streamrip.write("congress.toml", halls_file(3, 3, &[("Saal 1", &[route.url()], 2)]));
    let talks = [Talk::new("Saal 1", "Opening", in_seconds(8), TALK_SECONDS)];
    let file = streamrip.write("congress.ics", calendar(&talks));
    streamrip.ok(&["import", &file]);
    (streamrip, encoder, server, route)
}

/// Presentation times of the pictures of a file, in its order of decoding, from its first key picture on: what
/// stands before it cannot be shown.
fn pictures(path: &Path) -> Vec<i64> {
    let arguments = ["-v", "error", "-select_streams", "v", "-show_entries", "packet=pts,flags", "-of", "csv=p=0"];
    let output = Command::new("ffprobe").args(arguments).arg(path).stdin(Stdio::null()).output().expect("ffprobe");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let packets = text.lines().filter_map(|line| line.split_once(',')).skip_while(|(_, flags)| !flags.starts_with('K'));
    packets.filter_map(|(pts, _)| pts.parse().ok()).collect()
}

#[test]
fn a_talk_is_watched_from_its_start_across_reconnects_to_its_end() {
    let (streamrip, _encoder, _server, route) = congress();
    let mut daemon = streamrip.spawn(&["run", "--no-check", "--until-done"]);
    daemon.expect("recording http", PATIENCE);

    let watched = streamrip.folder().join("watched.ts");
    let out = File::create(&watched).expect("a file");
    let mut watch = streamrip.command(&["watch", "Saal 1", "-o", "-"]).stdout(out).spawn().expect("it starts");
    let grown = |bytes: u64| fs::metadata(&watched).map_or(0, |m| m.len()) > bytes;
    wait_until("something to be watched", PATIENCE, || grown(10_000));
    route.act(Act::Cut(End::Fin));
    let before = fs::metadata(&watched).expect("its size").len();
    wait_until("more after the first cut", PATIENCE, || grown(before + 100_000));
    route.act(Act::Cut(End::Rst));
    assert!(watch.try_wait().expect("asked").is_none(), "it goes on while the talk does");

    let ended = wait_for(&mut watch);
    assert!(ended.success(), "{ended}");
    assert!(daemon.wait(PATIENCE).code().is_some_and(|code| code == 0 || code == 4), "{}", daemon.said());

    let talk = &streamrip.json(&["show", "Opening", "--json"]);
    let seen = pictures(&watched);
    let unique: BTreeSet<i64> = seen.iter().copied().collect();
    assert_eq!(unique.len(), seen.len(), "a picture was shown twice");
    let recorded: BTreeSet<i64> = segments(talk).flat_map(|path| pictures(&streamrip.data_dir().join(path))).collect();
    assert!(segments(talk).count() >= 3, "{talk}");
    let first = *unique.first().expect("pictures");
    let missing: Vec<i64> = recorded.range(first..).filter(|pts| !unique.contains(pts)).copied().collect();
    // A torn picture at the end of a connection may be one for ffprobe in the segment and none here.
    assert!(missing.len() <= 2, "{} of {} were not shown: {missing:?}", missing.len(), recorded.len());
    let seconds = unique.len() as f64 / 25.0;
    assert!(seconds > TALK_SECONDS as f64 - 4.0, "{seconds} s of {TALK_SECONDS}");

    // Afterwards it is the joined file.
    let joined = streamrip.command(&["watch", "Opening", "-o", "-"]).output().expect("it runs");
    let path = streamrip.data_dir().join(talk["assembly"]["path"].as_str().expect("a file"));
    assert!(joined.stdout == fs::read(path).expect("the file"), "not the joined file");
    let later = streamrip.run(&["watch", "Closing", "-o", "-"]);
    assert_eq!(later.code, Some(6), "{later:?}");
}

/// Hashes of the packets of a file's first pictures (or sound, where `stream` is `a`), in their order, and their times.
fn packets(path: &Path, stream: &str) -> Vec<(i64, String)> {
    let map = format!("0:{stream}:0");
    let arguments = ["-c", "copy", "-copyinkf", "-copyts", "-f", "framemd5", "-"];
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-map", &map])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg");
    // A segment may end torn; what is shown is asked below.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let fields = text.lines().filter(|line| !line.starts_with('#'));
    fields
        .map(|line| {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            (fields[2].parse().expect("a time"), fields[5].to_owned())
        })
        .collect()
}

#[test]
fn what_does_not_join_by_bytes_is_watched_while_it_is_recorded_across_a_reconnect() {
    const HALLS: [(&str, Format, &str); 3] =
        [("/saal1.webm", Format::WebM, "v"), ("/saal2.ogg", Format::Ogg, "v"), ("/saal3.mp3", Format::Mp3, "a")];
    let icecast = Icecast::start(32 << 10);
    let relay = Relay::to(icecast.port());
    let encoders = HALLS.map(|(mount, format, _)| {
        let encoder = Recipe::new(format).start().ready();
        icecast.mount(mount, &encoder);
        encoder
    });
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    fs::create_dir_all(streamrip.data_dir()).expect("a data directory");
    fs::write(streamrip.data_dir().join("streamrip.toml"), SETTINGS).expect("settings");
    let urls = HALLS.map(|(mount, ..)| [relay.url(mount)]);
    let halls: Vec<(&str, &[String], u32)> =
        HALLS.iter().zip(&urls).map(|((mount, ..), url)| (*mount, &url[..], 2)).collect();
    streamrip.write("congress.toml", halls_file(3, 3, &halls));
    let start = in_seconds(8);
    let talks = HALLS.map(|(mount, ..)| Talk::new(mount, &format!("Talk {mount}"), start, TALK_SECONDS));
    let file = streamrip.write("congress.ics", calendar(&talks));
    streamrip.ok(&["import", &file]);
    let mut daemon = streamrip.spawn(&["run", "--no-check", "--until-done"]);
    daemon.expect("recording http", PATIENCE);

    let files = [0, 1, 2].map(|n| streamrip.folder().join(format!("watched-{n}")));
    let mut watches: Vec<_> = HALLS
        .iter()
        .zip(&files)
        .map(|((mount, ..), file)| {
            let title = format!("Talk {mount}");
            wait_until("the talk to begin", PATIENCE, || {
                streamrip.json(&["show", &title, "--json"])["segments"].as_array().is_some_and(|s| !s.is_empty())
            });
            let out = File::create(file).expect("a file");
            streamrip.command(&["watch", &title, "-o", "-"]).stdout(out).spawn().expect("it starts")
        })
        .collect();
    let sizes = || files.each_ref().map(|file| fs::metadata(file).map_or(0, |m| m.len()));
    wait_until("all to be watched", PATIENCE, || sizes().iter().all(|size| *size > 10_000));
    relay.cut();
    let before = sizes();
    wait_until("more after the cut", PATIENCE, || {
        sizes().iter().zip(before).all(|(now, before)| *now > before + 30_000)
    });
    for watch in &mut watches {
        let ended = wait_for(watch);
        assert!(ended.success(), "{ended}");
    }
    assert!(daemon.wait(PATIENCE).code().is_some_and(|code| code == 0 || code == 4), "{}", daemon.said());
    drop(encoders);

    for ((mount, _, stream), file) in HALLS.iter().zip(&files) {
        let talk = streamrip.json(&["show", &format!("Talk {mount}"), "--json"]);
        assert!(segments(&talk).count() >= 2, "{talk}");
        let seen = packets(file, stream);
        let times: Vec<i64> = seen.iter().map(|(at, _)| *at).collect();
        assert!(times.windows(2).all(|w| w[0] < w[1]), "{mount}: {times:?}");
        let shown: BTreeSet<&String> = seen.iter().map(|(_, hash)| hash).collect();
        // A frame of MP3 may be torn where a connection ends or begins.
        let torn = if *stream == "a" { 4 } else { 0 };
        assert!(seen.len() - shown.len() <= torn, "{mount}: of {} packets {} are different", seen.len(), shown.len());
        let recorded: Vec<(i64, String)> =
            segments(&talk).flat_map(|path| packets(&streamrip.data_dir().join(path), stream)).collect();
        let first = recorded.iter().position(|(_, hash)| shown.contains(hash)).expect("something recorded is shown");
        // From the first key picture on, and of sound some blocks that came before; how much an encoder makes on a busy
        // machine is another matter.
        let early = if *stream == "a" { 250 } else { 60 };
        assert!(first <= early, "{mount}: the first {first} of {} were not shown", recorded.len());
        let missing = recorded[first..].iter().filter(|(_, hash)| !shown.contains(hash)).count();
        // After a gap it goes on at a key picture, of which there is one a second.
        assert!(missing <= 26, "{mount}: {missing} of {} were not shown", recorded.len() - first);
        let decoded = Command::new("ffmpeg")
            .args(["-v", "error", "-xerror", "-i"])
            .arg(file)
            .args(["-f", "null", "-"])
            .stdin(Stdio::null())
            .output()
            .expect("ffmpeg");
        let words = String::from_utf8_lossy(&decoded.stderr).into_owned();
        assert!(*stream == "a" || (decoded.status.success() && words.is_empty()), "{mount}: {words}");
    }
}

fn segments(talk: &Value) -> impl Iterator<Item = &str> {
    talk["segments"].as_array().into_iter().flatten().filter_map(|s| s["path"].as_str())
}

fn wait_for(child: &mut std::process::Child) -> std::process::ExitStatus {
    let mut status = None;
    wait_until("watch to end with the talk", PATIENCE + Duration::from_secs(30), || {
        status = child.try_wait().expect("asked");
        status.is_some()
    });
    status.expect("it ended")
}
