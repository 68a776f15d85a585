//! Nothing is written, read or deleted outside the data directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use streamrip_lab::schedule::{Talk, calendar, in_seconds};
use streamrip_lab::{Format, Output, PATIENCE, Recipe, Streamrip, wait_until};

use crate::server::Server;

fn streamrip() -> Streamrip {
    Streamrip::new(env!("CARGO_BIN_EXE_streamrip"))
}

/// Everything below a folder, but for the data directory.
fn files(folder: &Path, skip: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path == skip {
            continue;
        }
        if path.is_dir() {
            files(&path, skip, out);
        }
        out.push(path);
    }
    out.sort();
}

/// A second of media for whoever asks.
fn media() -> Server {
    let bytes = Recipe::new(Format::MpegTs).seconds(2.0).flat_out().bytes();
    Server::start(vec![("/a", "200 OK\r\nContent-Type: video/mp2t".to_owned(), bytes)])
}

#[test]
fn names_of_strangers_lead_nowhere_else() {
    let (streamrip, server) = (streamrip(), media());
    let hall = "../../../../tmp/evil";
    let talks = [Talk::new(hall, "../../../etc/cron.d/evil", in_seconds(0) - 1000, 5)];
    let file = streamrip.write("odd.ics", calendar(&talks));
    streamrip.write(
        "odd.toml",
        format!(
            "pre_padding = \"0s\"\npost_padding = \"0s\"\n[[hall]]\nname = {hall:?}\nstreams = [{:?}]\n",
            server.url("/a")
        ),
    );
    streamrip.ok(&["import", "--event", "../../evil/../x", &file]);
    let mut before = Vec::new();
    files(streamrip.folder(), &streamrip.data_dir(), &mut before);
    let mut daemon = streamrip.spawn(&["run", "--until-done"]);
    daemon.wait(PATIENCE * 2);
    let mut after = Vec::new();
    files(streamrip.folder(), &streamrip.data_dir(), &mut after);
    assert_eq!(before, after, "{}", daemon.said());
    let mut made = Vec::new();
    files(&streamrip.data_dir(), Path::new("-"), &mut made);
    let media = |p: &&PathBuf| p.extension().is_some_and(|e| e == "ts" || e == "mkv");
    assert!(made.iter().any(|p| media(&p)), "nothing was made: {made:?}\n{}", daemon.said());
    for path in made {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(
            name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && name.len() <= 200,
            "{name:?}"
        );
    }
}

#[track_caller]
fn refused_for(output: &Output, link: &Path) {
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains(&format!("{} is a symbolic link", link.display())), "{output:?}");
    assert!(output.stderr.contains("--data-dir"), "no way out is named: {output:?}");
}

#[test]
fn links_in_the_data_directory_are_refused() {
    for link in
        ["segments/good", "segments", "talks", "talks/good", "log", "daemon.lock", "status.json", "assemble.lock"]
    {
        let streamrip = streamrip();
        let file = streamrip.write("good.ics", calendar(&[Talk::new("Saal 1", "A talk", in_seconds(-60), 3600)]));
        streamrip.ok(&["import", &file]);
        let outside = streamrip.folder().join("outside");
        fs::create_dir(&outside).expect("made");
        fs::write(outside.join("kept"), "as it was").expect("written");
        let link = streamrip.data_dir().join(link);
        fs::create_dir_all(link.parent().expect("a folder")).expect("made");
        symlink(if link.extension().is_some() { outside.join("kept") } else { outside.clone() }, &link).expect("link");
        for command in [&["run"][..], &["assemble"], &["prune"], &["dump", "--for", "1s", "http://192.0.2.1/x"]] {
            refused_for(&streamrip.run(command), &link);
        }
        let mut left = Vec::new();
        files(&outside, Path::new("-"), &mut left);
        assert_eq!(left, [outside.join("kept")]);
        assert_eq!(fs::read_to_string(outside.join("kept")).expect("there"), "as it was");
    }
}

/// One that is put there while the daemon runs.
#[test]
fn a_link_in_the_place_of_a_folder_is_not_followed_by_a_tape() {
    let (streamrip, server) = (streamrip(), media());
    let talks = [Talk::new("Saal 1", "A talk", in_seconds(4), 60)];
    let file = streamrip.write("good.ics", calendar(&talks));
    streamrip.write(
        "good.toml",
        format!("pre_padding = \"0s\"\n[[hall]]\nname = \"Saal 1\"\nstreams = [{:?}]\n", server.url("/a")),
    );
    streamrip.ok(&["import", &file]);
    let outside = streamrip.folder().join("outside");
    fs::create_dir(&outside).expect("made");
    let mut daemon = streamrip.spawn(&["run"]);
    wait_until("the daemon", PATIENCE, || streamrip.data_dir().join("status.json").exists());
    fs::create_dir_all(streamrip.data_dir().join("segments")).expect("made");
    symlink(&outside, streamrip.data_dir().join("segments/good")).expect("link");
    daemon.expect("good is a symbolic link or no directory", PATIENCE);
    assert_eq!(fs::read_dir(&outside).expect("there").count(), 0);
}

#[test]
fn paths_in_the_catalog_do_not_lead_out() {
    let streamrip = streamrip();
    let file = streamrip.write("good.ics", calendar(&[Talk::new("Saal 1", "A talk", in_seconds(-7200), 3600)]));
    streamrip.ok(&["import", &file]);
    let outside = streamrip.folder().join("precious");
    fs::write(&outside, "precious").expect("written");
    let db = Connection::open(streamrip.data_dir().join("catalog.db")).expect("catalog");
    let start = in_seconds(-7200);
    for (path, verdict) in [
        ("../precious".to_owned(), "pruned"),
        // An absolute path is refused by the schema.
        ("segments/../../precious".to_owned(), "unchecked"),
        ("../precious".to_owned(), "open"),
    ] {
        db.execute("DELETE FROM segment", []).expect("emptied");
        let open = verdict == "open";
        db.execute(
            "INSERT INTO segment (uuid, hall_id, path, container, start_ms, end_ms, opened_ms, closed_ms, bytes, sha256, verdict, end_reason)
             SELECT 'b54adc00-67f9-11d9-9669-0800200c9a66', hall_id, ?1, 'mpegts', ?2, ?2 + 1000, ?2, ?3, 8, ?4, ?5, ?6 FROM talk",
            (&path, start, (!open).then_some(start + 1000), (!open).then(|| vec![0_u8; 32]), verdict, (!open).then_some("eof")),
        )
        .expect("a row");
        for command in [&["prune"][..], &["assemble", "--force"], &["list", "--json"], &["prune", "--opted-out"]] {
            let output = streamrip.run(command);
            assert!(!output.stderr.contains("panicked"), "{command:?}: {output:?}");
            assert_eq!(fs::read_to_string(&outside).expect("it is there"), "precious", "{command:?}");
        }
        // Recovery, and the daemon's own prune.
        let mut daemon = streamrip.spawn(&["run"]);
        wait_until("the daemon", PATIENCE, || {
            streamrip.data_dir().join("status.json").exists() || !daemon.is_running()
        });
        daemon.term();
        daemon.wait(PATIENCE);
        assert_eq!(fs::read_to_string(&outside).expect("it is there"), "precious", "{}", daemon.said());
    }
}
