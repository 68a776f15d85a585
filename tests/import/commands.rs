//! What `import` and `halls` print and how they exit, through the program itself.

use assert_cmd::Command;
use serde_json::Value;

use crate::support::{World, calendar, event, wrap};

const TALKS: &str = "
    a|Saal 1|27 11:00|60|A
    b|Saal 1|27 12:00|60|B";

fn streamrip(world: &World, args: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("streamrip")
        .expect("the program")
        .arg("--data-dir")
        .arg(&world.env.data_dir)
        .args(args)
        .output()
        .expect("run");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("code"), text(output.stdout), text(output.stderr))
}

#[test]
fn import_prints_what_changed() {
    let world = World::new();
    let path = world.file("congress.ics", calendar(TALKS));
    let path = path.to_str().expect("text");
    let (code, out, err) = streamrip(&world, &["import", path]);
    assert_eq!((code, out.as_str()), (0, "congress: new, 2 talks in 1 hall, times in Europe/Berlin\n"));
    assert_eq!(err, "warning: unmapped-hall: hall \"Saal 1\" has no stream: 2 talks will not be recorded\n");
    assert_eq!(streamrip(&world, &["import", path]).1, "congress: unchanged, 2 talks\n");
    world.file("congress.ics", calendar(&TALKS.replace("27 12:00", "27 13:00")));
    let (code, out, _) = streamrip(&world, &["import", path, "--json"]);
    let json: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(code, 0);
    let keys: Vec<_> = json.as_object().expect("object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["event", "talks", "added", "changed", "removed", "unchanged", "warnings", "changes"]);
    assert_eq!(json["changed"], 1);
    assert_eq!(json["changes"][0]["kind"], "moved");
    assert_eq!(json["changes"][0]["talk"], 2);
    assert_eq!(json["warnings"][0]["kind"], "unmapped-hall");
    world.file("congress.ics", wrap(&event("a|Saal 1|27 11:30|60|A", "")));
    let (_, out, _) = streamrip(&world, &["import", path, "--force"]);
    let want = "congress: 1 changed, 1 removed, times in Europe/Berlin\n\
                \x20 moved          1  A\n\
                \x20                   2026-12-27 11:00-12:00 -> 2026-12-27 11:30-12:30\n\
                \x20 removed        2  B\n\
                \x20                   2026-12-27 13:00-14:00, Saal 1\n";
    assert_eq!(out, want);
}

#[test]
fn faults_have_their_exit_codes() {
    let world = World::new();
    let page = world.file("page.ics", "<html><title>404</title></html>");
    let page = page.to_str().expect("text");
    for (args, want, words) in [
        (&["import", page][..], 3, "web page"),
        (&["import", "/nonexistent.ics"], 3, "no such file"),
        (&["import", "ftp://h/x.ics"], 2, "http"),
        (&["import", "http://127.0.0.1:1/x.ics"], 1, "127.0.0.1"),
        (&["import", "-"], 2, "--event"),
        (&["import", page, "--tz", "Europe/Berln"], 2, "Europe/Berlin"),
        (&["halls", "set", "Saal 9", "http://h/"], 6, "Saal 9"),
        (&["halls", "set", "Saal 9"], 2, "URL"),
        (&["halls", "--event", "nope"], 6, "nope"),
    ] {
        let (code, out, err) = streamrip(&world, args);
        assert_eq!((code, out.as_str()), (want, ""), "{args:?}: {err}");
        assert!(err.contains(words), "{args:?}: {err}");
    }
}

#[test]
fn a_refused_import_makes_no_catalog_and_standard_input_works() {
    let dir = tempfile::tempdir().expect("folder");
    let data = dir.path().join("data");
    let import = |input: &str, args: &[&str]| {
        Command::cargo_bin("streamrip")
            .expect("the program")
            .arg("--data-dir")
            .arg(&data)
            .args(["import", "-", "--event", "piped"])
            .args(args)
            .write_stdin(input)
            .output()
            .expect("run")
    };
    assert_eq!(import("<html>", &[]).status.code(), Some(3));
    assert_eq!(import(&calendar(TALKS), &["--dry-run"]).status.code(), Some(0));
    assert!(!data.exists(), "nothing was made");
    assert_eq!(import(&calendar(TALKS), &[]).status.code(), Some(0));
    assert!(data.exists());
}

#[test]
fn halls_lists_and_sets() {
    let world = World::new();
    let path = world.file("congress.ics", calendar(TALKS));
    streamrip(&world, &["import", path.to_str().expect("text")]);
    let (_, out, _) = streamrip(&world, &["halls"]);
    assert_eq!(out, "congress\n  Saal 1: 2 talks\n    no stream: its talks will not be recorded\n");
    let (code, out, _) = streamrip(&world, &["halls", "set", "saal1", "http://me:s3cret@h/a", "mmsh://h/b"]);
    assert_eq!(code, 0);
    assert_eq!(out, "congress\n  Saal 1: 2 talks\n    http://me:***@h/a (command)\n    mmsh://h/b (command)\n");
    let (_, out, _) = streamrip(&world, &["halls", "--json"]);
    let json: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(json[0]["streams"][0]["url"], "http://me:***@h/a");
    assert_eq!(streamrip(&world, &["halls", "set", "Saal 1", "--clear"]).0, 0);
}
