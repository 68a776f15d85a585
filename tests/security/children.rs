//! What a source program gets from us: a pipe, four variables, limits, and nothing else.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use streamrip::domain::stream_url::StreamUrl;
use streamrip::source::Source as _;
use streamrip::source::log::LineLog;
use streamrip::source::mplayer::Mplayer;
use streamrip_lab::{PATIENCE, Streamrip, has_program, skipped};

#[derive(Debug, Default)]
pub struct Lines(pub Mutex<Vec<String>>);

impl LineLog for Lines {
    fn line(&self, _label: &str, line: &str) {
        self.0.lock().expect("lock").push(line.to_owned());
    }
}

/// What a shell script in the place of mplayer prints, for this address.
async fn said(script: &str, url: &str) -> Vec<String> {
    let dir = tempfile::tempdir().expect("dir");
    let path: PathBuf = dir.path().join("fake-mplayer");
    // Written by another process: what this one has open for writing cannot be run.
    let status = std::process::Command::new("sh")
        .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", script])
        .arg(&path)
        .status();
    assert!(status.expect("sh").success());
    let log = Arc::new(Lines::default());
    let url = StreamUrl::parse(url).expect("allowed");
    let running = Mplayer::at(&path, log.clone()).open(&url, "test").expect("started");
    tokio::time::timeout(PATIENCE, running.ended).await.expect("it ends").expect("told");
    std::mem::take(&mut *log.0.lock().expect("lock"))
}

/// Through the real program, to which a shell has left descriptors open.
#[test]
fn a_child_has_its_pipes_and_no_other_descriptor_and_no_terminal() {
    let mut streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    let programs = streamrip.folder().join("programs");
    std::fs::create_dir(&programs).expect("a folder");
    let script = "printf '#!/bin/sh\\nexec ls -l /proc/self/fd\\n' > \"$1/mplayer\"; chmod 755 \"$1/mplayer\"";
    let status = std::process::Command::new("sh").args(["-c", script, "sh"]).arg(&programs).status();
    assert!(status.expect("sh").success());
    let path = std::env::var("PATH").expect("a PATH");
    streamrip.env("PATH", &format!("{}:{path}", programs.display()));
    let shell = "exec 5</dev/null 6>/dev/null 7</etc; exec \"$@\"";
    streamrip.under(&["sh", "-c", shell, "sh"]);
    let _ = streamrip.run(&["dump", "--for", "1s", "http://192.0.2.1/x"]);
    let log = std::fs::read_to_string(streamrip.data_dir().join("log/sources.log")).expect("a log");
    let found: Vec<_> = log.lines().filter_map(|l| l.split_once(" -> ")).collect();
    assert!(found.len() >= 4, "{log}");
    for (head, to) in found {
        let number = head.rsplit(' ').next().unwrap_or_default();
        // 3 is the directory that ls reads.
        let right = match number {
            "0" | "1" | "2" => to.starts_with("pipe:"),
            "3" => to.starts_with("/proc/"),
            _ => false,
        };
        assert!(right, "descriptor {number} -> {to} in: {log}");
    }
}

/// In a real terminal, which a child could otherwise open by name and read what its user types.
#[test]
fn a_child_cannot_open_the_terminal() {
    if !has_program("script") {
        skipped("script (package bsdutils) is not installed");
        return;
    }
    let mut streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    let programs = streamrip.folder().join("programs");
    std::fs::create_dir(&programs).expect("a folder");
    let script =
        r#"printf '#!/bin/sh\n(: </dev/tty) 2>&1 && echo a terminal\n' > "$1/mplayer"; chmod 755 "$1/mplayer""#;
    assert!(std::process::Command::new("sh").args(["-c", script, "sh"]).arg(&programs).status().expect("sh").success());
    let path = std::env::var("PATH").expect("a PATH");
    streamrip.env("PATH", &format!("{}:{path}", programs.display()));
    let command = format!(
        "(: </dev/tty) && echo we have one; exec {} dump --for 1s http://192.0.2.1/x",
        env!("CARGO_BIN_EXE_streamrip")
    );
    let mut in_terminal = streamrip.command(&[]);
    let words: Vec<_> = in_terminal.get_envs().map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned))).collect();
    in_terminal = std::process::Command::new("script");
    for (name, value) in words {
        match value {
            Some(value) => in_terminal.env(name, value),
            None => in_terminal.env_remove(name),
        };
    }
    let output = in_terminal
        .args(["-qec", &command, "/dev/null"])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("script starts");
    let screen = String::from_utf8_lossy(&output.stdout);
    assert!(screen.contains("we have one"), "the test has no terminal: {screen}");
    let log = std::fs::read_to_string(streamrip.data_dir().join("log/sources.log")).expect("a log");
    assert!(log.contains("No such device or address"), "{log}");
    assert!(!log.contains("a terminal"), "{log}");
}

#[tokio::test]
async fn a_child_has_a_minimal_environment() {
    let mut lines = said("cat /proc/$$/environ | tr '\\0' '\\n'", "http://h/x").await;
    // What the shell adds.
    lines.retain(|l| !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|name| l.starts_with(name)));
    lines.sort();
    let names: Vec<_> = lines.iter().filter_map(|l| l.split('=').next()).collect();
    assert_eq!(names, ["HOME", "LANG", "LC_ALL", "PATH"]);
    assert!(lines.contains(&"HOME=/nonexistent".to_owned()), "so no one's configuration is read: {lines:?}");
}

#[tokio::test]
async fn a_child_may_open_few_files_and_leaves_no_core() {
    // Set right after the start; a script is faster than that.
    let script = "n=0; while [ $(ulimit -n) != 256 ] && [ $n -lt 3000 ]; do n=$((n+1)); sleep 0.01; done; \
                  ulimit -n; ulimit -Hn; ulimit -c";
    assert_eq!(said(script, "http://h/x").await, ["256", "256", "0"]);
}

#[tokio::test]
async fn an_address_is_one_argument_and_the_last_whatever_is_in_it() {
    for tail in
        ["/-dumpfile", "/$(reboot)`id`;&|", "/a'b\"c", "/-playlist%20/etc/passwd", "/%0a-vo", "/?-o=/etc/passwd"]
    {
        let lines = said("for a; do echo \"arg $a\"; done", &format!("http://host{tail}")).await;
        let options = "-dumpstream -dumpfile /dev/fd/0 -noconsolecontrols -nolirc -nocache -noconfig all";
        let mut want: Vec<_> = options.split(' ').map(|o| format!("arg {o}")).collect();
        want.push(format!("arg {}", StreamUrl::parse(&format!("http://host{tail}")).expect("allowed").secret()));
        assert_eq!(lines, want);
        assert!(lines.last().is_some_and(|l| l.starts_with("arg http://host/")));
    }
}
