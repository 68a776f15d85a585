//! Passwords in addresses are in the catalog, which is private, and on the command line of the source; they are
//! in no output, log, status or error.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use streamrip_lab::schedule::{Talk, calendar, in_seconds};
use streamrip_lab::{Output, PATIENCE, Streamrip, wait_until};

use crate::server::Server;

const SECRET: &str = "s3cret";

#[track_caller]
fn clean(what: &str, output: &Output) {
    assert!(!output.stdout.contains(SECRET) && !output.stderr.contains(SECRET), "{what}: {output:?}");
}

fn files(folder: &Path, see: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() { files(&path, see) } else { see(&path) }
    }
}

#[test]
fn a_password_is_never_printed() {
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    let talks =
        [Talk::new("Saal 1", "On now", in_seconds(-60), 3600), Talk::new("Saal 2", "Later", in_seconds(9000), 3600)];
    let line = "SUMMARY:Later\r\nX-STREAM-URL:gopher://user:s3cret@example.org/x\r\n";
    let ics = calendar(&talks).replace("SUMMARY:Later\r\n", line);
    let server = Server::start(vec![
        ("/c.ics", "200 OK\r\nContent-Type: text/calendar".to_owned(), ics.into_bytes()),
        ("/gone", "301 Moved\r\nLocation: http://user:s3cret@127.0.0.1:9/x".to_owned(), Vec::new()),
        (
            "/page",
            "200 OK\r\nContent-Type: text/html".to_owned(),
            b"<html><body>http://user:s3cret@h/</body></html>".to_vec(),
        ),
    ]);
    let with = |path: &str| format!("http://user:{SECRET}@{}{path}", server.address);
    let halls = streamrip.write(
        "halls.toml",
        format!(
            "[[hall]]\nname = \"Saal 1\"\nstreams = [{:?}, {:?}, {:?}]\n[[hall]]\nname = \"Saal 2\"\nstreams = [{:?}]\nrecorder = \"ffmpeg\"\n",
            with("/404"), with("/page"), with("/gone"), with("/404.m3u8"),
        ),
    );
    let source = with("/c.ics");
    clean("import", &streamrip.ok(&["-vv", "import", &source, "--halls", &halls]));
    clean("again", &streamrip.ok(&["import", &source, "--json", "--dry-run"]));
    for bad in [with("/none.ics"), "ftp://user:s3cret@h/x".to_owned(), with("/page")] {
        let output = streamrip.run(&["-vv", "import", "--event", "other", &bad]);
        assert!(matches!(output.code, Some(2 | 3)), "{output:?}");
        clean(&bad, &output);
        clean(&bad, &streamrip.run(&["import", &source, "--schedule-xml", &bad]));
    }
    streamrip.write("bad.toml", format!("[[hall]]\nname = \"x\"\nstreams = [{0:?}, {0:?}]\n", with("/404")));
    clean("halls file", &streamrip.run(&["import", &source, "--halls", "bad.toml"]));
    for bad in ["gopher://user:s3cret@h/", "http://user:s3cret@h h/", "//user:s3cret@h/", "http://user:s3/s3cret@h/"] {
        clean(bad, &streamrip.run(&["halls", "set", "Saal 1", bad]));
        clean(bad, &streamrip.run(&["dump", bad]));
    }
    clean("set", &streamrip.ok(&["halls", "set", "Saal 2", &with("/404")]));
    let mut daemon = streamrip.spawn(&["-vv", "run"]);
    let log = streamrip.data_dir().join("log/sources.log");
    // The first stream, the second, the third: each has failed once.
    let asked = |path: &str| server.asked().iter().any(|a| a == path);
    wait_until("its tries", PATIENCE, || asked("/404") && asked("/page") && asked("/gone"));
    wait_until("the status", PATIENCE, || streamrip.ok(&["status"]).stdout.contains("Saal 1"));
    let commands: [&[&str]; 11] = [
        &["status"],
        &["status", "--json"],
        &["halls"],
        &["halls", "--json"],
        &["list", "--gaps"],
        &["list", "--json"],
        &["show", "1"],
        &["show", "1", "--json"],
        &["-vv", "check"],
        &["check", "--json"],
        &["config"],
    ];
    for command in commands {
        clean(&format!("{command:?}"), &streamrip.run(command));
    }
    daemon.term();
    daemon.wait(PATIENCE);
    assert!(!daemon.said().contains(SECRET), "{}", daemon.said());
    assert!(fs::read_to_string(&log).expect("a log").contains("user:***@"), "the lines are about these addresses");
    clean("dump", &streamrip.run(&["-vv", "dump", "--for", "1s", &with("/404")]));
    let mut holders = Vec::new();
    files(&streamrip.data_dir(), &mut |path| {
        // What the server itself sent is kept as it was sent.
        if path.extension().is_some_and(|e| e == "bin") {
            return;
        }
        let holds = fs::read(path).expect("a file").windows(SECRET.len()).any(|w| w == SECRET.as_bytes());
        if holds {
            holders.push(path.file_name().expect("a name").to_string_lossy().into_owned());
            let mode = fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} is for its owner alone", path.display());
        }
    });
    holders.retain(|name| !name.starts_with("catalog.db"));
    assert_eq!(holders, [""; 0]);
}
