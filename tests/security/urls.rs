//! Addresses of streams pass one gate, wherever they come from.

use rusqlite::Connection;
use streamrip_lab::Streamrip;
use streamrip_lab::schedule::{Talk, calendar, in_seconds};

const BAD: [&str; 13] = [
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "/etc/passwd",
    "concat:/etc/passwd|/etc/hostname",
    "ffmpeg://file:///etc/passwd",
    "dvd://1",
    "tv://",
    "pipe:0",
    "subfile,,start,0,end,9,,:/etc/passwd",
    "data:text/plain,x",
    "smb://h/x",
    "udp://239.0.0.1:1",
    "mf://*.jpg",
];

fn streamrip() -> Streamrip {
    Streamrip::new(env!("CARGO_BIN_EXE_streamrip"))
}

fn stream_rows(streamrip: &Streamrip) -> i64 {
    let db = Connection::open(streamrip.data_dir().join("catalog.db")).expect("catalog");
    db.query_row("SELECT count(*) FROM stream", [], |r| r.get(0)).expect("count")
}

#[test]
fn bad_addresses_are_refused_everywhere() {
    let talks = [Talk::new("Saal 1", "A talk", in_seconds(86_400), 3600)];
    let known = streamrip();
    let file = known.write("known.ics", calendar(&talks));
    known.ok(&["import", &file]);
    for bad in BAD {
        // The halls file.
        let fresh = streamrip();
        let file = fresh.write("congress.ics", calendar(&talks));
        fresh.write("congress.toml", format!("[[hall]]\nname = \"Saal 1\"\nstreams = [{bad:?}]\n"));
        let output = fresh.run(&["import", &file]);
        assert_eq!(output.code, Some(3), "{bad}: {output:?}");
        assert!(output.stderr.contains("line 3, column 12"), "{bad}: {output:?}");
        // halls set, dump: nothing is started, nothing stored.
        for command in [&["halls", "set", "Saal 1", bad][..], &["dump", "--for", "1s", bad]] {
            let output = known.run(command);
            assert!(matches!(output.code, Some(2 | 3)), "{command:?}: {output:?}");
            assert!(output.stderr.starts_with("error: "), "{command:?}: {output:?}");
        }
        // The calendar: a warning, and the talk is imported without it; so at a refresh.
        let line = format!("SUMMARY:A talk\r\nX-STREAM-URL:{bad}\r\n");
        let odd = calendar(&talks).replace("SUMMARY:A talk\r\n", &line);
        assert!(odd.contains("X-STREAM-URL"), "{odd}");
        known.write("known.ics", odd);
        known.ok(&["import", &file_of(&known)]);
    }
    assert_eq!(stream_rows(&known), 0);
    let options = ["-dumpfile", "-playlist", "--help-me", "-vo"];
    for option in options {
        assert_eq!(known.run(&["halls", "set", "Saal 1", option]).code, Some(2), "{option}");
        let output = known.run(&["halls", "set", "Saal 1", "--", option]);
        assert!(matches!(output.code, Some(2 | 3)), "{option}: {output:?}");
    }
    assert_eq!(stream_rows(&known), 0);
}

fn file_of(streamrip: &Streamrip) -> String {
    streamrip.folder().join("known.ics").to_string_lossy().into_owned()
}

/// A schedule may not make us look into the network we stand in; the user's halls file may.
#[test]
fn private_addresses_of_a_schedule_are_refused() {
    let talks = [Talk::new("Saal 1", "A talk", in_seconds(86_400), 3600)];
    for private in
        ["http://127.0.0.1/x", "http://[::1]/x", "http://10.1.2.3/", "http://localhost/", "mms://0x7f000001/x"]
    {
        let streamrip = streamrip();
        let line = format!("SUMMARY:A talk\r\nX-STREAM-URL:{private}\r\n");
        let file = streamrip.write("congress.ics", calendar(&talks).replace("SUMMARY:A talk\r\n", &line));
        streamrip.ok(&["import", &file]);
        assert_eq!(stream_rows(&streamrip), 0, "{private}");
        streamrip.write("congress.toml", format!("[[hall]]\nname = \"Saal 1\"\nstreams = [{private:?}]\n"));
        streamrip.ok(&["import", &file]);
        assert_eq!(stream_rows(&streamrip), 1, "{private}");
    }
}

/// A name that says nothing of where it leads, and that is looked up as an address of this machine.
fn private_name() -> Option<String> {
    use std::net::ToSocketAddrs as _;
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    ["ip6-localhost", "ip6-loopback", own.trim()].into_iter().map(str::to_owned).find(|name| {
        let looked_up = (name.as_str(), 80).to_socket_addrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
        !looked_up.is_empty() && looked_up.iter().all(|at| streamrip::domain::stream_url::is_private_ip(at.ip()))
    })
}

#[test]
fn a_public_name_of_a_schedule_that_leads_to_a_private_address_is_not_opened() {
    let Some(name) = private_name() else {
        eprintln!("skipped: no name of this machine is looked up as a private address only");
        return;
    };
    let streamrip = streamrip();
    let talks = [Talk::new("Saal 1", "A talk", in_seconds(0) - 60_000, 3600)];
    let line = format!("SUMMARY:A talk\r\nX-STREAM-URL:http://{name}:9/x\r\n");
    let file = streamrip.write("congress.ics", calendar(&talks).replace("SUMMARY:A talk\r\n", &line));
    streamrip.ok(&["import", &file]);
    assert_eq!(stream_rows(&streamrip), 1, "the name alone says nothing");
    let ends = || {
        let db = Connection::open(streamrip.data_dir().join("catalog.db")).expect("catalog");
        let mut query = db
            .prepare("SELECT DISTINCT end_reason, pid IS NOT NULL FROM connection WHERE closed_ms IS NOT NULL")
            .expect("query");
        let rows = query.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).expect("rows");
        rows.collect::<rusqlite::Result<Vec<(String, bool)>>>().expect("rows")
    };
    let mut daemon = streamrip.spawn(&["run", "--no-check"]);
    streamrip_lab::wait_until("a connection's end", streamrip_lab::PATIENCE, || !ends().is_empty());
    assert_eq!(ends(), [("private-address".to_owned(), false)], "no program was started");
    let said = streamrip.run(&["check"]).stdout;
    assert!(said.contains("private network"), "{said}");
    // The user's word is enough, also while the daemon runs.
    streamrip.write("congress.toml", "allow_private_streams = true\n");
    streamrip.ok(&["import", &file]);
    streamrip_lab::wait_until("a program that is started", streamrip_lab::PATIENCE, || {
        ends().iter().any(|(reason, started)| *started && reason != "private-address")
    });
    daemon.term();
    daemon.wait(streamrip_lab::PATIENCE);
}

/// Names that look like options stay names, on our command line and on those of our children.
#[test]
fn names_are_no_options() {
    let streamrip = streamrip();
    let talks = [Talk::new("--data-dir", "-rf /", in_seconds(86_400), 3600)];
    let file = streamrip.write("--event.ics", calendar(&talks));
    streamrip.ok(&["import", "--event=-x", &file]);
    let list = streamrip.json(&["list", "--json"]);
    assert_eq!((list[0]["event"].as_str(), list[0]["hall"].as_str()), (Some("-x"), Some("--data-dir")));
    streamrip.ok(&["halls", "set", "--", "--data-dir", "http://192.0.2.1/x"]);
    assert_eq!(stream_rows(&streamrip), 1);
}

/// A catalog may come from elsewhere.
#[test]
fn a_bad_address_in_the_catalog_is_not_opened() {
    let streamrip = streamrip();
    let talks = [Talk::new("Saal 1", "A talk", in_seconds(0) - 60_000, 3600)];
    let file = streamrip.write("congress.ics", calendar(&talks));
    streamrip.ok(&["import", &file]);
    streamrip.ok(&["halls", "set", "Saal 1", "http://192.0.2.1/x"]);
    let db = Connection::open(streamrip.data_dir().join("catalog.db")).expect("catalog");
    db.execute("UPDATE stream SET url = 'file:///etc/hostname'", []).expect("written");
    let output = streamrip.run(&["check"]);
    assert!(!output.stdout.contains("container"), "{output:?}");
    let mut daemon = streamrip.spawn(&["run"]);
    streamrip_lab::wait_until("a word about it", streamrip_lab::PATIENCE, || {
        daemon.said().contains("not allowed") || !daemon.is_running()
    });
    assert!(!streamrip.data_dir().join("segments").exists(), "{}", daemon.said());
}
