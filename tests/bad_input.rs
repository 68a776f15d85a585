//! Bad input: each gets an error that names the place and what to do, the exit code that is documented, and
//! changes nothing.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use streamrip_lab::schedule::{Talk, calendar, halls_file, in_seconds};
use streamrip_lab::{Output, Streamrip};

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const BAD_INPUT: i32 = 3;
const INCOMPLETE: i32 = 4;
const BUSY: i32 = 5;
const NOT_FOUND: i32 = 6;
const CATALOG: i32 = 7;

fn streamrip() -> Streamrip {
    Streamrip::new(env!("CARGO_BIN_EXE_streamrip"))
}

fn talk(title: &str) -> Talk {
    Talk::new("Saal 1", title, in_seconds(86_400), 3600)
}

/// One good import.
fn with_a_talk() -> Streamrip {
    let streamrip = streamrip();
    let file = streamrip.write("good.ics", calendar(&[talk("A talk")]));
    streamrip.ok(&["import", &file]);
    streamrip
}

/// Failed with this code, said all of these words, and printed no data.
#[track_caller]
fn refused(output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.code, Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "an error is no data: {output:?}");
    assert!(output.stderr.starts_with("error: "), "{output:?}");
    for word in words {
        assert!(output.stderr.contains(word), "{word:?} is not in: {}", output.stderr);
    }
    assert!(!output.stderr.contains("panicked"), "{output:?}");
}

#[test]
fn what_is_no_calendar_is_refused_and_changes_nothing() {
    let streamrip = with_a_talk();
    let before = streamrip.json(&["list", "--json"]);
    let whole = calendar(&[talk("Another talk"), talk("And one more")]);
    let html = "<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1></body></html>\n";
    for (what, content) in [
        ("a page", html.as_bytes().to_vec()),
        ("nothing", Vec::new()),
        ("a truncated download", whole.as_bytes()[..whole.len() * 2 / 3].to_vec()),
        ("bytes", (0..=255_u8).cycle().take(5000).collect()),
    ] {
        let file = streamrip.write("good.ics", content);
        refused(&streamrip.run(&["import", &file]), BAD_INPUT, &["good.ics"]);
        assert_eq!(streamrip.json(&["list", "--json"]), before, "{what} changed the catalog");
    }
    refused(&streamrip.run(&["import", "missing.ics"]), BAD_INPUT, &["missing.ics"]);
    assert_eq!(streamrip.json(&["list", "--json"]), before);
}

#[test]
fn a_wrong_halls_file_is_refused_with_line_and_column() {
    for (halls, words) in [
        ("time_zone = \"UTC\"\n[[hall]]\nname = \"Saal 1\nstreams = []\n", vec!["good.toml", "line 3"]),
        ("[[hall]]\nname = \"Saal 1\"\nstraems = []\n", vec!["good.toml", "line 3, column 1", "streams"]),
        ("[[hall]]\nname = \"Saal 1\"\nstreams = [\"file:///etc/passwd\"]\n", vec!["good.toml", "line 3", "file"]),
        ("[[hall]]\nname = \"Saal 1\"\nstreams = [\"-dumpfile\"]\n", vec!["good.toml", "line 3", "-dumpfile"]),
        ("time_zone = \"Europe-Berlin\"\n", vec!["good.toml", "line 1", "Europe/Berlin"]),
        ("pre_padding = \"soon\"\n", vec!["good.toml", "line 1", "soon"]),
    ] {
        let streamrip = streamrip();
        let file = streamrip.write("good.ics", calendar(&[talk("A talk")]));
        streamrip.write("good.toml", halls);
        refused(&streamrip.run(&["import", &file]), BAD_INPUT, &words);
        assert!(!streamrip.run(&["list"]).stdout.contains("A talk"), "{halls:?} was half imported");
    }
}

#[test]
fn a_stream_given_on_the_command_line_passes_the_same_gate() {
    let streamrip = with_a_talk();
    for url in ["file:///etc/passwd", "dvd://1", "http://"] {
        let output = streamrip.run(&["halls", "set", "Saal 1", url]);
        assert!(matches!(output.code, Some(USAGE | BAD_INPUT)), "{url}: {output:?}");
    }
    let output = streamrip.run(&["halls", "set", "Saal 1", "-dumpfile"]);
    assert_eq!(output.code, Some(USAGE), "{output:?}");
    assert!(!streamrip.ok(&["halls"]).stdout.contains("passwd"));
}

#[test]
fn titles_and_halls_of_any_text_are_data() {
    let streamrip = streamrip();
    let long = "x".repeat(300);
    let titles = [
        "../../../etc/passwd",
        "a/b/c",
        "nul\0byte",
        long.as_str(),
        "🎉 party 🎉",
        "\u{202e}right to left\u{202c}",
        "$(reboot)",
        "-rf",
        "\u{1b}[31mred",
    ];
    let start = in_seconds(86_400);
    let talks: Vec<_> = titles
        .iter()
        .enumerate()
        .map(|(n, title)| Talk {
            uid: format!("{n}@lab"),
            ..Talk::new(title, title, start + n as i64 * 3_600_000, 1800)
        })
        .collect();
    let file = streamrip.write("odd.ics", calendar(&talks));
    let imported = streamrip.json(&["import", &file, "--json"]);
    assert_eq!(imported["added"], titles.len(), "{imported}");
    let list = streamrip.ok(&["list"]).stdout;
    for bad in ['\u{1b}', '\0', '\u{202e}'] {
        assert!(!list.contains(bad), "{bad:?} reaches the terminal: {list:?}");
    }
    for line in list.lines() {
        assert!(line.chars().count() <= 80, "{line:?}");
    }
    assert_eq!(streamrip.json(&["list", "--json"]).as_array().map(Vec::len), Some(titles.len()));
}

#[test]
fn a_catalog_that_cannot_be_used() {
    let streamrip = with_a_talk();
    let catalog = streamrip.data_dir().join("catalog.db");

    let newer = Connection::open(&catalog).expect("the catalog");
    let version: i64 = newer.pragma_query_value(None, "user_version", |row| row.get(0)).expect("its version");
    newer.pragma_update(None, "user_version", 9999).expect("a new version");
    for command in [&["list"][..], &["run"], &["import", "good.ics"]] {
        refused(&streamrip.run(command), CATALOG, &["9999", "newer"]);
    }
    newer.pragma_update(None, "user_version", version).expect("the old version");

    // A writer elsewhere: reading goes on, writing gives up after its patience.
    newer.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    streamrip.ok(&["list"]);
    let other = streamrip.write("good.ics", calendar(&[talk("Another title")]));
    refused(&streamrip.run(&["import", &other]), BUSY, &["locked"]);
    newer.execute_batch("ROLLBACK").expect("the lock back");
    drop(newer);

    fs::write(&catalog, "this is no database, and it is long enough to be looked at as if it were one")
        .expect("garbage");
    let _ = fs::remove_file(streamrip.data_dir().join("catalog.db-wal"));
    for command in [&["list"][..], &["import", "good.ics"]] {
        refused(&streamrip.run(command), CATALOG, &["catalog.db"]);
    }
    let garbage = |path: &Path| fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"this is no database"));
    assert!(garbage(&catalog));
    // A recorder begins all the same, with a sound catalog, and keeps the damaged one.
    let mut daemon = streamrip.spawn(&["run", "--no-check"]);
    daemon.expect("is kept as", streamrip_lab::PATIENCE);
    daemon.term();
    daemon.wait(streamrip_lab::PATIENCE);
    let kept = fs::read_dir(streamrip.data_dir()).expect("the folder").flatten().any(|file| garbage(&file.path()));
    assert!(kept && !garbage(&catalog));
}

#[test]
fn a_data_directory_that_cannot_be_made() {
    let streamrip = streamrip();
    let calendar = streamrip.write("good.ics", calendar(&[talk("A talk")]));
    let file = streamrip.write("file", "no directory");
    let inside = format!("{file}/data");
    refused(&streamrip.run(&["--data-dir", &inside, "import", &calendar]), FAILED, &[&inside]);
}

#[test]
fn nothing_there_yet_and_nothing_by_that_name() {
    let streamrip = streamrip();
    for command in [&["list"][..], &["run"], &["show", "1"], &["status"]] {
        let output = streamrip.run(command);
        assert!(matches!(output.code, Some(INCOMPLETE | NOT_FOUND)), "{command:?}: {output:?}");
        assert!(!streamrip.data_dir().join("catalog.db").exists(), "{command:?} made a catalog");
    }
    let streamrip = with_a_talk();
    refused(&streamrip.run(&["show", "no such talk"]), NOT_FOUND, &["no such talk"]);
    refused(&streamrip.run(&["show", "4711"]), NOT_FOUND, &["4711"]);
    refused(&streamrip.run(&["list", "--hall", "Saal 9"]), NOT_FOUND, &["Saal 9", "Saal 1"]);
    refused(&streamrip.run(&["list", "--event", "28c3"]), NOT_FOUND, &["28c3"]);
    refused(&streamrip.run(&["extend", "no such talk", "10m"]), NOT_FOUND, &["no such talk"]);
}

#[test]
fn wrong_settings_are_refused_with_a_suggestion() {
    let streamrip = with_a_talk();
    for (settings, words) in [
        ("[record]\nstal_timeout = \"5s\"\n", vec!["streamrip.toml:2:1", "stall_timeout"]),
        ("[record]\nstall_timeout = 5\n", vec!["streamrip.toml:2:", "stall_timeout"]),
        ("[record\n", vec!["streamrip.toml:1:"]),
    ] {
        fs::write(streamrip.data_dir().join("streamrip.toml"), settings).expect("settings");
        refused(&streamrip.run(&["list"]), USAGE, &words);
    }
}

#[test]
fn a_missing_program_is_told_before_the_congress_starts() {
    let mut streamrip = streamrip();
    let file = streamrip.write("good.ics", calendar(&[talk("A talk")]));
    streamrip.write("good.toml", halls_file(1, 1, &[("Saal 1", &["http://127.0.0.1:9/a".to_owned()], 2)]));
    streamrip.ok(&["import", &file]);
    let empty = streamrip.folder().join("no-programs");
    fs::create_dir(&empty).expect("a folder");
    streamrip.env("PATH", &empty.to_string_lossy());
    let output = streamrip.run(&["check"]);
    assert_eq!(output.code, Some(INCOMPLETE), "{output:?}");
    assert!(output.stdout.contains("mplayer") && output.stdout.contains("apt"), "{output:?}");
    let mut daemon = streamrip.spawn(&["run"]);
    daemon.expect("apt", streamrip_lab::PATIENCE);
    assert!(daemon.said().contains("mplayer"), "{}", daemon.said());
}

#[test]
fn a_closed_output_is_no_failure() {
    let streamrip = streamrip();
    let talks: Vec<_> =
        (0..3000).map(|n| Talk::new("Saal 1", &format!("Talk {n}"), in_seconds(86_400 + n * 3600), 1800)).collect();
    let file = streamrip.write("large.ics", calendar(&talks));
    streamrip.ok(&["import", &file]);
    let mut child = streamrip
        .command(&["list"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("streamrip starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
