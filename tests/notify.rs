//! A real daemon calls people: what it tells, and that nobody who is called can harm a tape.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;
use streamrip_lab::schedule::{Talk, calendar, halls_file, in_seconds};
use streamrip_lab::{Encoder, FaultServer, Format, PATIENCE, Recipe, Streamrip, wait_for, wait_until};

fn settings(streamrip: &Streamrip, notify: &str) {
    let text = format!(
        "[assemble]\nsettle = \"1s\"\n[list]\ncomplete_tolerance = \"1s\"\n\
         [disk]\nreserve = \"100MiB\"\nwarn = \"0B\"\n[notify]\n{notify}\n"
    );
    fs::create_dir_all(streamrip.data_dir()).expect("a data directory");
    fs::write(streamrip.data_dir().join("streamrip.toml"), text).expect("settings");
}

fn congress(title: &str, talk_seconds: i64, start: i64) -> (Streamrip, Encoder, FaultServer) {
    let encoder = Recipe::new(Format::MpegTs).start().ready();
    let server = FaultServer::start();
    let route = server.live("/live.ts", Format::MpegTs.kind(), encoder.live());
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    streamrip.write("congress.toml", halls_file(2, 2, &[("Saal 1", &[route.url()], 2)]));
    let talks = [Talk::new("Saal 1", title, in_seconds(start), talk_seconds)];
    let file = streamrip.write("congress.ics", calendar(&talks));
    streamrip.ok(&["import", &file]);
    (streamrip, encoder, server)
}

/// An argument list that appends the message to a file.
fn appending(file: &Path) -> String {
    format!("[\"sh\", \"-c\", \"cat >> \\\"$0\\\"\", {:?}]", file.to_str().expect("text"))
}

fn messages(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn a_command_that_hangs_and_a_webhook_that_never_answers_cost_no_second() {
    let (streamrip, _encoder, _server) = congress("We come; touch `pwned`", 8, 8);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let hooked = streamrip.folder().join("hooked");
    settings(
        &streamrip,
        &format!(
            "command = [\"sh\", \"-c\", \"sleep 1000\"]\nwebhook = \"http://{address}/hook\"\n\
             heartbeat = \"http://{address}/beat\"\non_talk_done = {}",
            appending(&hooked)
        ),
    );
    let mut daemon = streamrip.spawn(&["run", "--no-check", "--until-done"]);
    // The heartbeat is asked for at once, and gets no answer.
    let (mut peer, _) = silent.accept().expect("somebody");
    let mut head = [0; 9];
    peer.set_read_timeout(Some(PATIENCE)).expect("set");
    peer.read_exact(&mut head).expect("a request");
    assert_eq!(&head, b"GET /beat");
    let status = daemon.wait(PATIENCE * 2);
    assert!(status.success(), "{}", daemon.said());
    let list = streamrip.json(&["list", "--json"]);
    assert_eq!(list[0]["state"], "complete", "{list}");
    assert_eq!(list[0]["segments"].as_array().map(Vec::len), Some(1), "one connection for the whole talk: {list}");
    let told = wait_for("the hook", PATIENCE, || messages(&hooked).first().cloned());
    assert_eq!((told["topic"].as_str(), told["phase"].as_str()), (Some("talk-done"), Some("news")));
    assert_eq!(told["talk"]["title"], "We come; touch `pwned`");
    assert_eq!((told["talk"]["coverage"].as_f64(), told["talk"]["state"].as_str()), (Some(1.0), Some("complete")));
    let path = told["talk"]["path"].as_str().expect("a path");
    let made = list[0]["assembly"]["path"].as_str().expect("a file");
    assert_eq!(Path::new(path), streamrip.data_dir().join(made));
    assert!(Path::new(path).exists() && !streamrip.data_dir().join("pwned").exists());
}

/// Three talks end together and the first upload takes long; then the machine is restarted.
#[test]
fn joined_files_that_the_hook_has_not_taken_are_handed_over_after_a_restart() {
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    let talks = ["First", "Second", "Third"].map(|title| Talk::new(title, title, in_seconds(-7200), 600));
    let file = streamrip.write("past.ics", calendar(&talks));
    streamrip.ok(&["import", &file]);
    fs::create_dir_all(streamrip.data_dir().join("talks")).expect("a folder");
    let db = Connection::open(streamrip.data_dir().join("catalog.db")).expect("the catalog");
    db.busy_timeout(PATIENCE).expect("set");
    for id in 1..=3 {
        let path = format!("talks/{id}.mkv");
        fs::write(streamrip.data_dir().join(&path), "x").expect("a file");
        db.execute(
            "INSERT INTO assembly (talk_id, path, bytes, sha256, duration_ms, made_ms, inputs, told_ms)
             VALUES (?1, ?2, 1, zeroblob(32), 0, 0, zeroblob(32), iif(?1 = 3, 1, NULL))",
            (id, path),
        )
        .expect("a row");
    }
    let [begun, go, taken] = ["begun", "go", "taken"].map(|name| streamrip.folder().join(name));
    let script = format!("echo x >> {begun:?}; [ -e {go:?} ] || exec sleep 30; echo \"$STREAMRIP_TITLE\" >> {taken:?}");
    settings(&streamrip, &format!("on_talk_done = [\"sh\", \"-c\", {script:?}]"));
    let lines = |file: &Path| {
        let mut lines: Vec<_> = fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };

    let mut first = streamrip.spawn(&["run", "--no-check"]);
    wait_until("the hook to begin", PATIENCE, || !lines(&begun).is_empty());
    first.term();
    assert!(first.wait(PATIENCE).success());
    assert!(first.said().contains("has not taken 2 joined file(s) yet"), "{}", first.said());

    fs::write(&go, "").expect("written");
    // It ends only when the hook has taken what there is.
    let mut second = streamrip.spawn(&["run", "--no-check", "--until-done"]);
    second.wait(PATIENCE);
    assert_eq!(lines(&taken), ["First", "Second"], "{}", second.said());
    let mut third = streamrip.spawn(&["run", "--no-check", "--until-done"]);
    third.wait(PATIENCE);
    assert_eq!(lines(&taken), ["First", "Second"], "each once: {}", third.said());
}

#[test]
fn a_daemon_that_was_killed_and_a_schedule_that_changes_are_told() {
    let (streamrip, _encoder, _server) = congress("A talk", 600, 86_400);
    let told = streamrip.folder().join("told");
    settings(&streamrip, &format!("command = {}", appending(&told)));
    let run = || {
        let _ = fs::remove_file(streamrip.data_dir().join("status.json"));
        let daemon = streamrip.spawn(&["run", "--no-check"]);
        wait_until("the daemon works", PATIENCE, || streamrip.data_dir().join("status.json").exists());
        daemon
    };
    let mut first = run();
    assert_eq!(messages(&told), Vec::<Value>::new(), "the first start is no restart");
    first.kill();
    first.wait(PATIENCE);
    let mut second = run();
    let message = wait_for("the restart", PATIENCE, || messages(&told).first().cloned());
    assert_eq!(message["topic"], "daemon-restarted", "{message}");
    assert!(message["text"].as_str().is_some_and(|text| text.contains("killed, crashed")), "{message}");
    let talks = [Talk::new("Saal 1", "Another talk", in_seconds(90_000), 600)];
    let file = streamrip.write("congress.ics", calendar(&talks));
    streamrip.ok(&["import", "--force", &file]);
    let message = wait_for("the change", PATIENCE, || messages(&told).get(1).cloned());
    assert_eq!(message["topic"], "schedule-changed", "{message}");
    assert!(message["text"].as_str().is_some_and(|text| text.contains("Another talk")), "{message}");
    second.term();
    second.wait(PATIENCE);
}

#[test]
fn check_sends_a_test_message_reads_the_schedule_again_and_names_codecs() {
    let (streamrip, _encoder, _server) = congress("A talk", 600, 1200);
    let told = streamrip.folder().join("told");
    settings(&streamrip, &format!("command = {}\nwebhook = \"http://127.0.0.1:1/s3cret\"", appending(&told)));
    let findings = |kind: &str| -> Vec<(String, String)> {
        let output = streamrip.run(&["check", "--json"]);
        assert!(!output.stdout.contains("s3cret"), "{output:?}");
        let all: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
        let findings = all["findings"].as_array().expect("findings").iter().filter(|f| f["kind"] == kind);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        findings.map(|f| (text(&f["level"]), text(&f["message"]))).collect()
    };
    let notify = findings("notify");
    assert_eq!(notify.iter().map(|(level, _)| level.as_str()).collect::<Vec<_>>(), ["ok", "warning"], "{notify:?}");
    assert_eq!(messages(&told)[0]["topic"], "test");
    fs::remove_file(streamrip.folder().join("congress.ics")).expect("removed");
    let output = streamrip.run(&["check"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let said = output.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let forecast = " x 2 (1 stream as recorded, and the joined files) = ";
    for words in ["mpegts of ", "begins in 1", forecast, "warning refresh congress its schedule cannot be read again"] {
        assert!(said.contains(words), "{words} is not in {}", output.stdout);
    }
}

#[test]
fn an_event_is_meant_by_its_short_name_too() {
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    let talks = [Talk::new("Saal 1", "A talk", in_seconds(86_400), 600)];
    let file = streamrip.write("congress.ics", calendar(&talks));
    streamrip.ok(&["import", "--event", "The Congress", &file]);
    let output = streamrip.run(&["check", "--json", "--event", "the-congress"]);
    let said: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    let refreshed = |f: &Value| f["kind"] == "refresh" && f["what"] == "The Congress";
    assert!(said["findings"].as_array().is_some_and(|all| all.iter().any(refreshed)), "{said}");
    assert_eq!(streamrip.json(&["halls", "--json", "--event", "the-congress"])[0]["event"], "The Congress");
}
