//! The daemon as a service: what systemd is told, a clock that is set, and the catalog's check, backup and
//! restore with the real program.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a skipped test says why")]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use streamrip_lab::schedule::{Talk, calendar, in_seconds};
use streamrip_lab::{PATIENCE, Streamrip, has_program, wait_for, wait_until};

const INCOMPLETE: i32 = 4;
const BUSY: i32 = 5;

/// One talk tomorrow: nothing to record today.
fn with_a_talk() -> Streamrip {
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    let file = streamrip.write("good.ics", calendar(&[Talk::new("Saal 1", "A talk", in_seconds(86_400), 3600)]));
    streamrip.ok(&["import", &file]);
    streamrip
}

fn catalog(streamrip: &Streamrip) -> Connection {
    let db = Connection::open(streamrip.data_dir().join("catalog.db")).expect("the catalog");
    db.busy_timeout(PATIENCE).expect("set");
    db
}

#[test]
fn systemd_is_told_ready_alive_and_stopping_in_this_order() {
    let mut streamrip = with_a_talk();
    let path = streamrip.folder().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bound");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    streamrip.env("NOTIFY_SOCKET", path.to_str().expect("text"));
    streamrip.env("WATCHDOG_USEC", "1000000");
    let told = || {
        let mut buffer = [0; 200];
        let n = socket.recv(&mut buffer).expect("told something in time");
        String::from_utf8_lossy(&buffer[..n]).lines().next().unwrap_or_default().to_owned()
    };
    let mut daemon = streamrip.spawn(&["run", "--no-check"]);
    assert_eq!(told(), "READY=1");
    assert_eq!((told(), told(), told()), ("WATCHDOG=1".into(), "WATCHDOG=1".into(), "WATCHDOG=1".into()));
    daemon.term();
    let last = wait_for("STOPPING=1", PATIENCE, || Some(told()).filter(|word| word != "WATCHDOG=1"));
    assert_eq!(last, "STOPPING=1");
    assert!(daemon.wait(PATIENCE).success());
}

/// With a stand-in for systemd-inhibit, which notes how it is called and what its number is.
#[test]
fn the_machine_is_kept_awake_as_long_as_the_daemon_lives_and_no_longer() {
    let mut streamrip = with_a_talk();
    streamrip.ok(&["halls", "set", "Saal 1", "http://127.0.0.1:9/saal1"]);
    let (log, bin) = (streamrip.folder().join("inhibited"), streamrip.folder().join("bin"));
    let script = format!("#!/bin/sh\necho \"$$ $*\" >>{}\nshift 4\nexec \"$@\"\n", log.display());
    let source = streamrip.write("inhibit.sh", script);
    fs::create_dir(&bin).expect("made");
    // By another program: a file that we had open for writing might be busy when it is started.
    let installed = Command::new("install").args(["-m", "755", &source]).arg(bin.join("systemd-inhibit")).status();
    assert!(installed.expect("started").success());
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    streamrip.env("PATH", &path);
    let calls = || fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    let is_running = |call: &str| {
        let pid = call.split(' ').next().unwrap_or_default();
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    };
    let mut daemon = streamrip.spawn(&["run", "--no-check"]);
    wait_until("it is asked for", PATIENCE, || !calls().is_empty());
    let call = calls().remove(0);
    assert!(call.contains("--what=sleep:idle --who=streamrip ") && call.ends_with("--mode=block cat"), "{call}");
    assert!(is_running(&call), "{call}");
    daemon.kill();
    daemon.wait(PATIENCE);
    wait_until("it ends with a daemon that is killed", PATIENCE, || !is_running(&call));

    // Switched off, it is not asked for.
    fs::write(streamrip.data_dir().join("streamrip.toml"), "[record]\nkeep_awake = false\n").expect("written");
    let socket = UnixDatagram::bind(streamrip.folder().join("notify")).expect("bound");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    streamrip.env("NOTIFY_SOCKET", streamrip.folder().join("notify").to_str().expect("text"));
    let mut daemon = streamrip.spawn(&["run", "--no-check"]);
    socket.recv(&mut [0; 200]).expect("ready");
    wait_until("it works", PATIENCE, || streamrip.data_dir().join("status.json").exists());
    daemon.term();
    assert!(daemon.wait(PATIENCE).success());
    assert_eq!(calls().len(), 1);
}

#[test]
fn completions_manual_and_export_are_made() {
    let streamrip = with_a_talk();
    for (shell, words) in [("bash", "_streamrip()"), ("zsh", "#compdef streamrip"), ("fish", "complete -c streamrip")] {
        assert!(streamrip.ok(&["completions", shell]).stdout.contains(words), "{shell}");
    }
    let pages = streamrip.folder().join("man");
    streamrip.ok(&["man", pages.to_str().expect("text")]);
    for page in ["streamrip.1", "streamrip-run.1", "streamrip-halls-import.1", "streamrip.toml.5", "streamrip-halls.5"]
    {
        assert!(fs::read_to_string(pages.join(page)).is_ok_and(|text| text.contains(".SH NAME")), "{page}");
    }
    assert_eq!(streamrip.ok(&["export", "m3u"]).stdout, "#EXTM3U\n");
    assert_eq!(streamrip.json(&["export", "json"])[0]["title"], "A talk");
    assert_eq!(streamrip.ok(&["export", "csv"]).stdout.lines().count(), 2);
}

/// On a real journald, which gets a `/run` of its own in a mount namespace: `$1` is the program, `$2` its data directory, and
/// `$3` a file that stands for the journal's end of standard error.
const WITH_JOURNALD: &str = r#"
mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log/journal || exit 9
/usr/lib/systemd/systemd-journald >/dev/null 2>&1 &
trap "kill $!" EXIT
tries=0
until [ -S /run/systemd/journal/socket ]; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || exit 9
    sleep 0.1
done
: >"$3"
JOURNAL_STREAM=$(stat -c '%d:%i' "$3") "$1" --data-dir "$2" dump http://127.0.0.1:9/x --for 2s --name x >/dev/null 2>>"$3"
journalctl --sync || exit 9
journalctl -D /run/log/journal -t streamrip -o json --no-pager
"#;

#[test]
fn log_lines_reach_a_real_journal_with_hall_connection_and_reason() {
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", WITH_JOURNALD, "sh", env!("CARGO_BIN_EXE_streamrip")]);
    command.arg(streamrip.data_dir()).arg(streamrip.folder().join("stderr"));
    let Some(output) = command.output().ok().filter(|output| output.status.success()) else {
        eprintln!("skipped: no systemd-journald can be started here");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let told = |words: &str| {
        let line = lines.iter().find(|l| l["MESSAGE"].as_str().is_some_and(|m| m.contains(words)));
        line.unwrap_or_else(|| panic!("no {words:?} in {text}"))
    };
    let trouble = told("connecting again");
    assert_eq!(
        (&trouble["STREAMRIP_HALL"], &trouble["STREAMRIP_REASON"]),
        (&"x".into(), &"refused".into()),
        "{trouble}"
    );
    assert_eq!(trouble["PRIORITY"], "4", "a warning");
    let connection = trouble["STREAMRIP_CONNECTION"].as_str().expect("a connection");
    let known: i64 = catalog(&streamrip)
        .query_row("SELECT count(*) FROM connection WHERE uuid = ?1", [connection], |row| row.get(0))
        .expect("asked");
    assert_eq!(known, 1, "it is that of a row: {connection}");
    assert_eq!(told("stopping")["STREAMRIP_HALL"], Value::Null);
}

#[test]
fn fields_are_in_json_and_not_in_the_lines_for_people() {
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    let dump = ["dump", "http://127.0.0.1:9/x", "--for", "2s", "--name", "x"];
    let said = streamrip.run(&[&dump[..], &["--log-format", "json"]].concat()).stderr;
    let lines: Vec<Value> = said.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let trouble = lines.iter().find(|l| l["reason"] == "refused").unwrap_or_else(|| panic!("{said}"));
    assert!(trouble["hall"] == "x" && trouble["connection"].as_str().is_some_and(|id| id.len() == 36), "{trouble}");
    let said = streamrip.run(&dump).stderr;
    let line = said.lines().find(|l| l.contains("connecting again")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.ends_with("; connecting again") && !line.contains("connection="), "{line}");
}

#[test]
fn log_lines_are_json_where_asked_for() {
    let streamrip = with_a_talk();
    let mut daemon = streamrip.spawn(&["run", "--no-check", "--log-format", "json"]);
    wait_until("the daemon works", PATIENCE, || streamrip.data_dir().join("status.json").exists());
    daemon.term();
    daemon.wait(PATIENCE);
    let said = daemon.said();
    let lines: Vec<Value> = said.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let told = |words: &str| lines.iter().find(|l| l["message"].as_str().is_some_and(|m| m.contains(words)));
    let line = told("stopping").unwrap_or_else(|| panic!("{said}"));
    assert_eq!(line["level"], "INFO");
    assert!(line["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')), "{line}");
    assert!(streamrip.run(&["list", "--log-format", "xml"]).stderr.contains("human, json"));
}

#[test]
fn the_unit_file_is_sound() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/streamrip.service")).expect("unit");
    for line in [
        "Type=notify",
        "Restart=always",
        "KillMode=mixed",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ReadWritePaths=/var/lib/streamrip",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in the unit file");
    }
    for key in ["WatchdogSec=", "MemoryMax=", "TasksMax="] {
        assert!(text.lines().any(|l| l.starts_with(key)), "{key} is not in the unit file");
    }
    if !has_program("systemd-analyze") {
        eprintln!("skipped: systemd-analyze is not installed");
        return;
    }
    // It looks for the program, which is not installed here.
    let dir = tempfile::tempdir().expect("dir");
    let unit = dir.path().join("streamrip.service");
    fs::write(&unit, text.replace("ExecStart=streamrip ", concat!("ExecStart=", env!("CARGO_BIN_EXE_streamrip"), " ")))
        .expect("written");
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().expect("started");
    let said = String::from_utf8_lossy(&output.stderr);
    // It also complains of other units of the machine.
    let ours: Vec<_> = said.lines().filter(|line| line.contains("streamrip.service")).collect();
    assert!(ours.is_empty(), "{ours:?}");
    // In tenths; 10 is no protection at all. 1.8 as of systemd 252.
    let arguments = ["security", "--offline=true", "--threshold=25", "--no-pager"];
    let output = Command::new("systemd-analyze").args(arguments).arg(&unit).output().expect("started");
    let said = String::from_utf8_lossy(&output.stdout);
    if said.contains("exposure level") {
        assert!(output.status.success(), "{said}");
    } else {
        eprintln!("skipped: this systemd-analyze cannot judge a unit file offline");
    }
}

/// In a time namespace in which the machine seems to have slept for twenty minutes: the one thing of a sleep that
/// can be had without one. What follows from it is tested with a clock of the tests.
#[test]
fn a_sleep_of_the_machine_is_read_from_the_right_clocks() {
    use streamrip::domain::clock::Clock as _;
    let asleep = || streamrip::app::support::clock::SystemClock.asleep_ms();
    if std::env::var_os("STREAMRIP_TEST_ASLEEP").is_some() {
        println!("asleep {}", asleep());
        return;
    }
    let name = "a_sleep_of_the_machine_is_read_from_the_right_clocks";
    let inside = |root: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(root).args(["--time", "--boottime", "1200", "--fork"]);
        command.arg(std::env::current_exe().expect("this test")).args(["--exact", name, "--nocapture"]);
        command.env("STREAMRIP_TEST_ASLEEP", "1").output().ok().filter(|output| output.status.success())
    };
    // A user who is not root makes a namespace to be root in.
    let Some(output) = inside(&[]).or_else(|| inside(&["--map-root-user"])) else {
        eprintln!("skipped: no time namespaces here");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let told = said.lines().find_map(|l| l.split_once("asleep ")).and_then(|(_, ms)| ms.trim().parse::<i64>().ok());
    let more = told.unwrap_or_else(|| panic!("{said}")) - asleep();
    assert!((more - 1_200_000).abs() < 1000, "{more} ms");
}

#[test]
fn a_clock_that_is_set_under_the_daemon_is_stored_with_its_size() {
    if !has_program("faketime") {
        eprintln!("skipped: faketime is not installed");
        return;
    }
    let output = Command::new("faketime").args(["-f", "+0", "sh", "-c", "echo $LD_PRELOAD"]).output().expect("started");
    let library = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut streamrip = with_a_talk();
    let offset = streamrip.write("offset", "+0\n");
    for (name, value) in [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", &offset),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ] {
        streamrip.env(name, value);
    }
    let mut daemon = streamrip.spawn(&["run", "--no-check"]);
    wait_until("the daemon ticks", PATIENCE, || streamrip.data_dir().join("status.json").exists());
    let steps = || -> Vec<(i64, String)> {
        let db = catalog(&streamrip);
        let mut query = db
            .prepare("SELECT until_ms - from_ms, message FROM trouble WHERE kind = 'clock-set' ORDER BY id")
            .expect("query");
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
        rows.map(|row| row.expect("row")).collect()
    };
    for (n, (to, by, words)) in
        [("+3600", 3_600_000, "set: +3"), ("-3600", -7_200_000, "set: -7")].into_iter().enumerate()
    {
        streamrip.write("offset", format!("{to}\n"));
        let found = wait_for("a clock-set", PATIENCE, || steps().get(n).cloned());
        assert!((found.0 - by).abs() < 1000, "{found:?}");
        assert!(found.1.contains(words), "{found:?}");
    }
    let said = daemon.said();
    assert!(said.contains("the clock was set: +3"), "{said}");
    daemon.term();
    daemon.wait(PATIENCE);
}

/// A file that recovery takes in.
fn record(streamrip: &Streamrip, slug: &str, n: u32) -> String {
    let folder = format!("segments/{slug}/saal-1/2026-01-01");
    fs::create_dir_all(streamrip.data_dir().join(&folder)).expect("made");
    let path = format!("{folder}/saal-1_2026-01-01_10-00-0{n}.000_000{n}.ts");
    fs::write(streamrip.data_dir().join(&path), format!("recording {n}")).expect("written");
    path
}

#[test]
fn verify_backup_and_restore_with_the_real_program() {
    let streamrip = with_a_talk();
    let count =
        |db: &Connection| -> i64 { db.query_row("SELECT count(*) FROM segment", [], |row| row.get(0)).expect("read") };
    let slug: String = catalog(&streamrip).query_row("SELECT slug FROM event", [], |row| row.get(0)).expect("an event");
    assert_eq!(streamrip.json(&["verify", "--json"])["ok"], Value::Bool(true));
    let first = record(&streamrip, &slug, 1);
    let output = streamrip.run(&["verify"]);
    assert_eq!(output.code, Some(INCOMPLETE), "{output:?}");
    assert!(output.stdout.contains("unknown-file") && output.stdout.contains(&first), "{output:?}");
    let output = streamrip.ok(&["verify", "--repair"]);
    assert!(output.stdout.contains("1 unknown file(s) adopted"), "{output:?}");
    // The daemon's own backup, as its job makes it.
    let env = streamrip::app::support::env::Env {
        data_dir: streamrip.data_dir(),
        settings: streamrip::domain::settings::Settings::default(),
        clock: std::sync::Arc::new(streamrip::app::support::clock::SystemClock),
        engine: std::sync::Arc::new(streamrip::media::engine::Ffmpeg),
    };
    let backup = streamrip::app::library::backup::hourly(&env).expect("made").expect("due");
    let second = record(&streamrip, &slug, 2);
    streamrip.ok(&["verify", "--repair", "--fast"]);
    assert_eq!(count(&catalog(&streamrip)), 2);

    let mut daemon = streamrip.spawn(&["run", "--no-check"]);
    wait_until("the daemon ticks", PATIENCE, || streamrip.data_dir().join("status.json").exists());
    for refused in [["restore", ""], ["verify", "--repair"]] {
        let words: Vec<&str> = refused.into_iter().filter(|word| !word.is_empty()).collect();
        let output = streamrip.run(&words);
        assert_eq!(output.code, Some(BUSY), "{output:?}");
        assert!(output.stderr.contains("stop the daemon first"), "{output:?}");
    }
    assert_eq!(streamrip.run(&["verify"]).code, Some(0), "looking is allowed beside it");
    daemon.term();
    daemon.wait(Duration::from_secs(60));

    fs::write(streamrip.data_dir().join("catalog.db"), "broken".repeat(5000)).expect("broken");
    for companion in ["catalog.db-wal", "catalog.db-shm"] {
        let _ = fs::remove_file(streamrip.data_dir().join(companion));
    }
    assert_eq!(streamrip.run(&["list"]).code, Some(7));
    let name = backup.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(streamrip.ok(&["restore", "--list"]).stdout.contains(&name));
    let output = streamrip.ok(&["restore"]);
    assert!(output.stdout.contains("1 unknown file(s) adopted"), "{output:?}");
    let db = catalog(&streamrip);
    assert_eq!(count(&db), 2);
    let adopted: String =
        db.query_row("SELECT path FROM segment ORDER BY id DESC LIMIT 1", [], |row| row.get(0)).expect("read");
    assert_eq!(adopted, second);
    assert!(streamrip.ok(&["list"]).stdout.contains("A talk"));
}
