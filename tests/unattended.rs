//! What a day without anyone in front of it has to get over: schedules that change and servers that fail while the
//! daemon runs, joins that fail beside a tape, talks that turn out not to be recorded.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use serde_json::Value;
use streamrip_lab::schedule::{Talk, calendar, halls_file, in_seconds};
use streamrip_lab::{FaultServer, Format, PATIENCE, Recipe, Streamrip, now_ms, wait_until};

fn streamrip(settings: &str) -> Streamrip {
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    fs::create_dir_all(streamrip.data_dir()).expect("a data directory");
    fs::write(streamrip.data_dir().join("streamrip.toml"), settings).expect("settings");
    streamrip
}

fn catalog(streamrip: &Streamrip) -> Connection {
    let db = Connection::open(streamrip.data_dir().join("catalog.db")).expect("the catalog");
    db.busy_timeout(PATIENCE).expect("set");
    db
}

/// Rows as text.
fn rows(streamrip: &Streamrip, sql: &str) -> Vec<String> {
    let db = catalog(streamrip);
    let mut query = db.prepare(sql).expect(sql);
    let columns = query.column_count();
    let text = |r: &rusqlite::Row<'_>| {
        let cells = (0..columns).map(|n| r.get::<_, rusqlite::types::Value>(n).map(|v| format!("{v:?}")));
        Ok(cells.collect::<rusqlite::Result<Vec<_>>>()?.join(" "))
    };
    query.query_map([], text).expect(sql).collect::<rusqlite::Result<_>>().expect(sql)
}

fn number(streamrip: &Streamrip, sql: &str) -> i64 {
    catalog(streamrip).query_row(sql, [], |r| r.get(0)).expect(sql)
}

/// An answer of the schedule's server.
#[derive(Clone, Debug)]
enum Answer {
    /// 200 with this, and 304 to who knows it.
    Whole(String),
    /// The half of what was promised.
    Torn(String),
    /// More than 50 MB, without saying so first.
    Endless,
    Status(&'static str),
    /// None, for as long as this stands.
    Silence,
}

/// A server whose answer can be changed, and that notes what was asked of it.
struct Server {
    at: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    /// Heads of requests, and the status each got.
    log: Arc<Mutex<Vec<(String, &'static str)>>>,
}

impl Server {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        let server = Self { at, answer: Arc::new(Mutex::new(answer)), log: Arc::default() };
        let (answer, log) = (server.answer.clone(), server.log.clone());
        // It ends with the test's process.
        std::thread::spawn(move || {
            for peer in listener.incoming().flatten() {
                let (answer, log) = (answer.clone(), log.clone());
                std::thread::spawn(move || {
                    let _ = serve(&peer, &answer, &log);
                });
            }
        });
        server
    }

    fn set(&self, answer: Answer) {
        *self.answer.lock().expect("lock") = answer;
    }

    fn asked(&self) -> Vec<(String, &'static str)> {
        self.log.lock().expect("lock").clone()
    }
}

fn serve(
    mut peer: &TcpStream,
    answer: &Mutex<Answer>,
    log: &Mutex<Vec<(String, &'static str)>>,
) -> std::io::Result<()> {
    let head: Vec<String> = BufReader::new(peer).lines().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
    let head = head.join("\n").to_lowercase();
    let note = |status| log.lock().expect("lock").push((head.clone(), status));
    let now = answer.lock().expect("lock").clone();
    match now {
        Answer::Whole(text) => {
            let tag =
                format!("\"{:x}\"", text.bytes().fold(0_u64, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into())));
            if head.contains(&format!("if-none-match: {tag}")) {
                note("304");
                return write!(peer, "HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\nConnection: close\r\n\r\n");
            }
            note("200");
            let length = text.len();
            write!(
                peer,
                "HTTP/1.1 200 OK\r\nETag: {tag}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
            )
        }
        Answer::Torn(text) => {
            note("200");
            let (length, half) = (text.len(), &text[..text.len() / 2]);
            write!(peer, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{half}")
        }
        Answer::Endless => {
            note("200");
            write!(peer, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nBEGIN:VCALENDAR\r\n")?;
            let line = [b'\n'; 1 << 16];
            // Ends when the other side has had enough.
            (0..2000).try_for_each(|_| peer.write_all(&line))
        }
        Answer::Status(status) => {
            note("5xx");
            write!(peer, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
        Answer::Silence => {
            note("none");
            while matches!(*answer.lock().expect("lock"), Answer::Silence) {
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        }
    }
}

/// Our 27C3, as if it began tomorrow.
fn tomorrow() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schedules/27c3.ics");
    let mut text = fs::read_to_string(file).expect("our calendar");
    let today = chrono::DateTime::from_timestamp_millis(now_ms()).expect("now").date_naive();
    // From the last: a new date must not be taken for an old one.
    for day in (26..=31).rev() {
        let date = today + chrono::Days::new(day - 26);
        text = text.replace(&format!(":201012{day}T"), &format!(":{}T", date.format("%Y%m%d")));
    }
    assert!(!text.contains(":2010122"), "a date was left");
    text
}

#[test]
fn a_schedule_that_changes_and_a_server_that_fails_while_the_daemon_runs() {
    let streamrip = streamrip("[refresh]\ncron = \"* * * * * *\"\n");
    let good = tomorrow();
    let server = Server::start(Answer::Whole(good.clone()));
    let streams = |n: u32| [format!("http://192.0.2.1/{n}")];
    let (one, two, three) = (streams(1), streams(2), streams(3));
    let halls = streamrip
        .write("halls.toml", halls_file(60, 60, &[("Saal 1", &one, 2), ("Saal 2", &two, 2), ("Saal 3", &three, 2)]));
    let url = format!("http://{}/27c3.ics", server.at);
    let imported = streamrip.json(&["import", &url, "--event", "27c3", "--halls", &halls, "--json"]);
    assert_eq!(imported["added"], 72, "{imported}");
    let talks = || rows(&streamrip, "SELECT id, hall_id, title, start_ms, end_ms, status FROM talk ORDER BY id");
    let known = talks();
    let mut daemon = streamrip.spawn(&["run", "--no-check"]);

    let told = |status| server.asked().iter().filter(|(_, said)| *said == status).count();
    wait_until("two refreshes of what has not changed", PATIENCE, || told("304") >= 2);
    assert_eq!(told("200"), 2, "the import and the first refresh: {:?}", server.asked());

    let refused = |answer: Answer, why: &str| {
        server.set(answer);
        wait_until(why, PATIENCE, || {
            rows(&streamrip, "SELECT coalesce(refresh_problem, '') FROM event")[0].contains(why)
        });
        assert_eq!(talks(), known, "{why}");
    };
    let events: Vec<&str> = good.split("BEGIN:VEVENT").collect();
    let third = format!("{}END:VCALENDAR\r\n", events[..24].join("BEGIN:VEVENT"));
    refused(Answer::Torn(good.clone()), "cannot fetch");
    refused(Answer::Endless, "larger than 50");
    refused(Answer::Status("503 Busy"), "503");
    refused(Answer::Whole("<html><title>Gone</title></html>".to_owned()), "Gone");
    refused(Answer::Whole(third), "of 72 talks to come");
    refused(Answer::Whole(good[..good.len() / 2].to_owned()), "END:VCALENDAR");

    // It says nothing for seconds: the daemon works on.
    server.set(Answer::Silence);
    wait_until("a question without an answer", PATIENCE, || told("none") > 0);
    let written = || fs::metadata(streamrip.data_dir().join("status.json")).and_then(|m| m.modified()).ok();
    for _ in 0..3 {
        let before = written();
        wait_until("another second of the daemon", PATIENCE, || written() > before);
    }
    assert_eq!(talks(), known);

    // Every UID new: the same talks.
    server.set(Answer::Whole(good.replace("UID:", "UID:9-")));
    wait_until("the new UIDs", PATIENCE, || number(&streamrip, "SELECT count(*) FROM talk WHERE uid LIKE '9-%'") == 72);
    assert_eq!(talks(), known);
    assert_eq!(number(&streamrip, "SELECT count(*) FROM event WHERE refresh_problem IS NOT NULL"), 0);

    // And a change that is meant is there within seconds.
    server.set(Answer::Whole(good.replace("UID:", "UID:9-").replace("27C3 Keynote", "The Keynote")));
    wait_until("the new title", PATIENCE, || {
        number(&streamrip, "SELECT count(*) FROM talk WHERE title LIKE 'The Keynote%'") == 1
    });
    assert!(daemon.is_running(), "{}", daemon.said());
    daemon.term();
    assert!(daemon.wait(PATIENCE).success());
}

/// A program that stands before the real one in PATH; what it does can be changed while others call it.
fn stand_in(folder: &Path, program: &str, script: &str) {
    let (new, at) = (folder.join(format!("{program}.new")), folder.join(program));
    // Written by another process: what this one has open for writing cannot be run.
    let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 755 \"$2\" && mv \"$2\" \"$3\"";
    let status = Command::new("sh").args(["-c", write, "sh", script]).arg(&new).arg(&at).status();
    assert!(status.expect("a shell").success());
}

fn state<'a>(list: &'a Value, title: &str) -> &'a Value {
    let talks = list.as_array().expect("talks");
    talks.iter().find(|t| t["title"] == title).unwrap_or_else(|| panic!("no {title} in {list}"))
}

#[test]
fn a_tape_goes_on_while_ffmpeg_dies_and_its_talks_are_joined_when_it_lives_again() {
    let encoder = Recipe::new(Format::MpegTs).start().ready();
    let server = FaultServer::start();
    let route = server.live("/live.ts", Format::MpegTs.kind(), encoder.live());
    let mut streamrip =
        streamrip("[assemble]\nsettle = \"0s\"\n[disk]\nreserve = \"10MiB\"\n[list]\ncomplete_tolerance = \"2s\"\n");
    let programs = streamrip.folder().join("programs");
    fs::create_dir(&programs).expect("a folder");
    let path = std::env::var("PATH").expect("a PATH");
    // As of a machine that is short of memory.
    for program in ["ffmpeg", "ffprobe"] {
        stand_in(&programs, program, "kill -KILL $$");
    }
    streamrip.env("PATH", &format!("{}:{path}", programs.display()));
    let start = in_seconds(4);
    let talks = [Talk::new("Saal 1", "First", start, 5), Talk::new("Saal 1", "Second", start + 6000, 14)];
    let file = streamrip.write("congress.ics", calendar(&talks));
    streamrip.write("congress.toml", halls_file(1, 1, &[("Saal 1", &[route.url()], 2)]));
    streamrip.ok(&["import", &file]);
    let mut daemon = streamrip.spawn(&["run", "--no-check", "--until-done"]);
    daemon.expect("cannot be joined: ffmpeg died", PATIENCE);
    // The tape that is still to go on.
    let sent = || route.connections().last().map_or(0, |c| c.sent);
    let before = (route.connections().len(), sent());
    wait_until("more bytes", PATIENCE, || sent() > before.1 + 50_000);
    assert_eq!(route.connections().len(), before.0, "the tape was interrupted: {}", daemon.said());
    assert_eq!(number(&streamrip, "SELECT count(*) FROM segment WHERE verdict = 'not-media'"), 0, "nobody looked");
    for program in ["ffmpeg", "ffprobe"] {
        stand_in(&programs, program, &format!("PATH='{path}' exec {program} \"$@\""));
    }
    let status = daemon.wait(Duration::from_secs(120));
    let list = streamrip.json(&["list", "--json"]);
    for title in ["First", "Second"] {
        let talk = state(&list, title);
        assert_eq!(talk["state"], "complete", "{talk}\n{}", daemon.said());
        assert!(talk["assembly"]["bytes"].as_u64() > Some(100_000), "{talk}");
    }
    assert_eq!(status.code(), Some(0), "{}", daemon.said());
}

/// Segment files of these talks (10 s each), with two seconds before and behind, as an untouched disk would have
/// them; no row knows them. Their paths.
fn recorded(streamrip: &Streamrip, talks: &[Talk]) -> Vec<PathBuf> {
    let media = Recipe::new(Format::MpegTs).video_kbit(100).seconds(14.0).bytes();
    let mut segments = Vec::new();
    for (n, talk) in talks.iter().enumerate() {
        let from = chrono::DateTime::from_timestamp_millis(talk.start_ms - 2000).expect("a time");
        let folder = format!("segments/congress/saal-1/{}", from.format("%Y-%m-%d"));
        fs::create_dir_all(streamrip.data_dir().join(&folder)).expect("made");
        let path =
            streamrip.data_dir().join(format!("{folder}/saal-1_{}_000{n}.ts", from.format("%Y-%m-%d_%H-%M-%S%.3f")));
        fs::write(&path, &media).expect("written");
        let end = SystemTime::UNIX_EPOCH + Duration::from_millis(talk.end_ms().unsigned_abs() + 2000);
        fs::File::options().append(true).open(&path).and_then(|f| f.set_modified(end)).expect("set");
        segments.push(path);
    }
    segments
}

#[test]
fn what_was_taped_of_an_opted_out_talk_is_put_aside_and_deleted_when_asked() {
    let streamrip = streamrip("[assemble]\nsettle = \"0s\"\n[disk]\nreserve = \"10MiB\"\n");
    let start = in_seconds(0) - 3_600_000;
    let talks = [Talk::new("Saal 1", "Private", start, 10), Talk::new("Saal 1", "Public", start + 1_200_000, 10)];
    let file = streamrip.write("congress.ics", calendar(&talks));
    streamrip.write("congress.toml", halls_file(1, 1, &[("Saal 1", &["http://192.0.2.1/x".to_owned()], 2)]));
    streamrip.ok(&["import", &file]);
    let segments = recorded(&streamrip, &talks);
    let run = || {
        let mut daemon = streamrip.spawn(&["run", "--no-check", "--until-done"]);
        daemon.wait(Duration::from_secs(120));
        streamrip.json(&["list", "--json"])
    };
    let made = |list: &Value, title: &str| {
        state(list, title)["assembly"]["path"].as_str().map(|path| streamrip.data_dir().join(path))
    };
    let list = run();
    let (private, public) = (made(&list, "Private").expect("joined"), made(&list, "Public").expect("joined"));
    assert!(private.is_file() && public.is_file());

    // Too late for the tape: the schedule says so only now.
    let xml = "<schedule><day><room><event id='private'><recording><optout>true</optout></recording></event>\
               <event id='public'/></room></day></schedule>";
    let xml = streamrip.write("schedule.xml", xml);
    streamrip.ok(&["import", &file, "--schedule-xml", &xml]);
    let list = run();
    assert_eq!(state(&list, "Private")["state"], "opted-out", "{list}");
    assert_eq!((made(&list, "Private"), private.exists()), (None, false), "it is shown to nobody");
    assert_eq!(made(&list, "Public").as_ref(), Some(&public));
    let aside: Vec<_> = fs::read_dir(streamrip.data_dir().join("quarantine")).expect("put aside").flatten().collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(segments[0].exists(), "nothing is deleted unasked");
    assert_eq!(
        rows(&streamrip, "SELECT verdict FROM segment ORDER BY start_ms"),
        ["Text(\"quarantined\")", "Text(\"media\")"]
    );

    // An ordinary prune leaves it, a dry run too.
    streamrip.ok(&["prune"]);
    let dry = streamrip.ok(&["prune", "--opted-out", "--dry-run"]).stdout;
    assert!(segments[0].exists() && aside[0].path().exists());
    assert!(dry.contains(segments[0].file_name().and_then(|n| n.to_str()).expect("a name")), "{dry}");
    streamrip.ok(&["prune", "--opted-out"]);
    assert!(!segments[0].exists() && !aside[0].path().exists());
    assert!(segments[1].exists() && public.is_file(), "the other talk has lost nothing");
    let tombstone =
        rows(&streamrip, "SELECT verdict, sha256 IS NOT NULL, bytes > 0 FROM segment ORDER BY start_ms LIMIT 1");
    assert_eq!(tombstone, ["Text(\"pruned\") Integer(1) Integer(1)"]);
    assert_eq!(streamrip.run(&["verify"]).code, Some(0), "the catalog is true about the disk");
    // And a second time there is nothing left to do.
    let before = rows(&streamrip, "SELECT * FROM segment");
    streamrip.ok(&["prune", "--opted-out"]);
    assert_eq!(rows(&streamrip, "SELECT * FROM segment"), before);
}

/// As after a catalog that was lost: what was pruned since is only in the joined file.
#[test]
fn a_joined_file_that_no_catalog_knows_is_taken_in_at_the_start_and_not_replaced_by_less() {
    let streamrip = streamrip("[assemble]\nsettle = \"0s\"\n[disk]\nreserve = \"10MiB\"\n");
    let talks = [Talk::new("Saal 1", "Keynote", in_seconds(0) - 3_600_000, 10)];
    let file = streamrip.write("congress.ics", calendar(&talks));
    streamrip.write("congress.toml", halls_file(1, 1, &[("Saal 1", &["http://192.0.2.1/x".to_owned()], 2)]));
    streamrip.ok(&["import", &file]);
    let segments = recorded(&streamrip, &talks);
    let run = || {
        let mut daemon = streamrip.spawn(&["run", "--no-check", "--until-done"]);
        daemon.wait(Duration::from_secs(120));
        daemon.said()
    };
    run();
    let joined = || {
        let list = streamrip.json(&["list", "--json"]);
        let assembly = &state(&list, "Keynote")["assembly"];
        (assembly["path"].as_str().map(str::to_owned), assembly["sha256"].as_str().map(str::to_owned))
    };
    let before = joined();
    assert!(before.1.is_some(), "{before:?}");
    for file in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = fs::remove_file(streamrip.data_dir().join(file));
    }
    // A third of it is still there.
    let bytes = fs::read(&segments[0]).expect("its segment");
    fs::write(&segments[0], &bytes[..bytes.len() / 3 / 188 * 188]).expect("written");
    streamrip.ok(&["import", &file]);
    let said = run();
    assert!(said.contains("1 joined file(s) found that were not in the catalog; added"), "{said}");
    assert_eq!(joined(), before);
    let path = streamrip.data_dir().join(before.0.expect("a path"));
    assert!(fs::metadata(path).expect("its file").len() > bytes.len() as u64 / 2);
    assert!(!run().contains("taken in"), "once is enough");
}
