use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc as std_mpsc};

use serde_json::Value;

use super::*;
use crate::domain::ids::TalkId;
use crate::domain::message::TalkNews;
use crate::domain::settings::Secret;

const PATIENCE: Duration = Duration::from_secs(60);

fn sender(dir: &Path) -> Sender {
    Sender { host: "recorder".to_owned(), data_dir: dir.to_owned() }
}

fn done(title: &str) -> Message {
    let news = TalkNews {
        id: TalkId(7),
        title: title.to_owned(),
        state: "complete".to_owned(),
        coverage: 1.0,
        path: Some(PathBuf::from("/talks/7.mkv")),
        assembly: Some(AssemblyId(9)),
    };
    let text = format!("{title}: done");
    Message { talk: Some(news), ..Message::new(Topic::TalkDone, Phase::News, text, Ms(1_293_440_400_000)) }
}

/// A request's head and body.
fn read_request(peer: &mut TcpStream) -> (String, String) {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = peer.read(&mut buffer).unwrap_or(0);
        all.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.to_lowercase().split("content-length: ").nth(1).and_then(|l| l.lines().next()?.parse().ok());
            if n == 0 || body.len() >= length.unwrap_or(0) {
                return (head.to_owned(), body.to_owned());
            }
        } else if n == 0 {
            return (text, String::new());
        }
    }
}

/// Answers each request with the next of these states (then 200), and tells what was asked.
fn server(states: Vec<&'static str>) -> (String, std_mpsc::Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("port");
    let url = format!("http://{}/secret-path", listener.local_addr().expect("address"));
    let (tell, asked) = std_mpsc::channel();
    std::thread::spawn(move || {
        let mut states = states.into_iter();
        while let Ok((mut peer, _)) = listener.accept() {
            if tell.send(read_request(&mut peer)).is_err() {
                return;
            }
            let state = states.next().unwrap_or("200 OK");
            let _ = write!(peer, "HTTP/1.1 {state}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (url, asked)
}

#[tokio::test]
async fn a_command_gets_the_message_and_no_shell_reads_it() {
    let dir = tempfile::tempdir().expect("dir");
    let out = dir.path().join("out");
    let script =
        r#"{ cat; echo "$STREAMRIP_TITLE|$STREAMRIP_TOPIC|$STREAMRIP_PATH|$1|${NOTIFY_SOCKET-none}"; } > "$2""#;
    let command = ["sh", "-c", script, "x", "$(touch pwned)", out.to_str().expect("text")].map(str::to_owned);
    let title = "`touch pwned`; $(touch pwned) \"'\0 -rf\nü";
    program::run(&command, &done(title), &sender(dir.path()), PATIENCE).await.expect("works");
    let said = std::fs::read_to_string(&out).expect("written");
    let (json, rest) = said.split_once("}\n").expect("JSON first");
    let json: Value = serde_json::from_str(&format!("{json}}}")).expect("JSON");
    assert_eq!(json["talk"]["title"], title);
    assert_eq!((json["host"].as_str(), json["phase"].as_str()), (Some("recorder"), Some("news")));
    assert_eq!(json["at"], "2010-12-27T09:00:00Z");
    let shown = title.replace('\0', " ");
    assert_eq!(rest, format!("{shown}|talk-done|/talks/7.mkv|$(touch pwned)|none\n"));
    let names: Vec<_> = std::fs::read_dir(dir.path()).expect("dir").flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, ["out"]);
}

#[tokio::test]
async fn a_command_that_fails_hangs_or_is_missing_is_said() {
    let dir = tempfile::tempdir().expect("dir");
    let pid = dir.path().join("pid");
    let run = async |words: &[&str], most| {
        let words: Vec<_> = words.iter().map(|w| (*w).to_owned()).collect();
        program::run(&words, &done("x"), &sender(dir.path()), most).await
    };
    let failed = run(&["sh", "-c", "echo no mail today >&2; exit 3"], PATIENCE).await.expect_err("fails");
    assert!(failed.contains("exit status: 3") && failed.contains("no mail today"), "{failed}");
    let missing = run(&["/nonexistent/tell"], PATIENCE).await.expect_err("missing");
    assert!(missing.contains("cannot start"), "{missing}");
    // It and its child ignore TERM.
    let script = "trap '' TERM; sh -c 'trap \"\" TERM; sleep 1000' & echo $! > \"$0\"; wait";
    let hangs = run(&["sh", "-c", script, pid.to_str().expect("text")], Duration::from_secs(2)).await;
    assert!(hangs.expect_err("hangs").contains("killed after 2 s"));
    let child: u32 = std::fs::read_to_string(&pid).expect("written").trim().parse().expect("a number");
    let gone = || match std::fs::read_to_string(format!("/proc/{child}/stat")) {
        Ok(stat) => stat.contains(") Z "),
        Err(_) => true,
    };
    let until = Instant::now() + PATIENCE;
    while !gone() {
        assert!(Instant::now() < until, "its child still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A child in the background is not waited for.
    run(&["sh", "-c", "sleep 5 &"], PATIENCE).await.expect("works");
}

#[tokio::test]
async fn a_webhook_is_tried_again_until_it_takes_the_message() {
    let (url, asked) = server(vec!["503 Busy", "429 Too Many", "204 No Content", "404 Not Found"]);
    let dir = tempfile::tempdir().expect("dir");
    let body = json(&done("x"), &sender(dir.path()));
    web::post(&url, &body).await.expect("taken at last");
    for _ in 0..3 {
        let (head, body) = asked.recv_timeout(PATIENCE).expect("asked");
        assert!(head.starts_with("POST /secret-path ") && head.contains("application/json"), "{head}");
        assert_eq!(serde_json::from_str::<Value>(&body).expect("JSON")["text"], "x: done");
    }
    let refused = web::post(&url, &body).await.expect_err("not there");
    assert!(refused.contains("404") && !refused.contains("secret"), "{refused}");
    let nobody = web::once("http://127.0.0.1:1/secret", &body).await.expect_err("nobody there");
    assert!(!nobody.for_good && !nobody.why.contains("secret"), "{nobody:?}");
}

#[tokio::test]
async fn a_webhook_that_never_answers_keeps_nothing_from_the_command() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("port");
    let dir = tempfile::tempdir().expect("dir");
    let (talks, hooks) = (dir.path().join("talks"), dir.path().join("hooks"));
    let appending = |file: &Path| {
        let script = "echo \"$STREAMRIP_TEXT\" >> \"$0\"";
        ["sh", "-c", script, file.to_str().expect("text")].map(str::to_owned).to_vec()
    };
    let settings = Notify {
        command: appending(&talks),
        webhook: Some(Secret(format!("http://{}/", silent.local_addr().expect("address")))),
        on_talk_done: appending(&hooks),
        ..Notify::default()
    };
    let post = Dispatcher::start(&settings, &sender(dir.path()), || Duration::ZERO, mpsc::unbounded_channel().0)
        .expect("started");
    for n in 0..2 * QUEUE_LENGTH {
        post.send(&Message::new(Topic::HallSilent, Phase::Raised, format!("message {n}"), Ms(0)));
    }
    post.send(&done("hooked"));
    let until = Instant::now() + PATIENCE;
    let lines = |file: &Path| std::fs::read_to_string(file).unwrap_or_default().lines().count();
    // Ten at once, as the pace allows; the hook is not paced.
    while lines(&talks) < 10 || lines(&hooks) < 1 {
        assert!(Instant::now() < until, "{} messages, {} hooks", lines(&talks), lines(&hooks));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    post.flush(Duration::from_millis(100)).await;
}

#[test]
fn many_messages_become_one() {
    let all: Vec<_> =
        (0..60).map(|n| Message::new(Topic::HallSilent, Phase::Raised, format!("no {n}"), Ms(n))).collect();
    let one = together(&all);
    assert!(one.text.starts_with("60 messages:\nno 0\nno 1\n") && one.text.ends_with("no 49\nand 10 more"), "{one:?}");
    assert_eq!((one.at, one.since, one.topic), (Ms(59), Ms(0), Topic::Several));
    assert_eq!(together(&all[..1]), all[0]);
}

#[tokio::test]
async fn what_the_hook_has_taken_is_told_and_what_it_refused_is_not() {
    let dir = tempfile::tempdir().expect("dir");
    let refuses_one = ["sh", "-c", "test \"$STREAMRIP_TITLE\" != refused"].map(str::to_owned).to_vec();
    let settings = Notify { on_talk_done: refuses_one, ..Notify::default() };
    let (tell, mut taken) = mpsc::unbounded_channel();
    let post = Dispatcher::start(&settings, &sender(dir.path()), || Duration::ZERO, tell).expect("started");
    post.send(&done("refused"));
    post.hand_over(&done("good"));
    let file = tokio::time::timeout(PATIENCE, taken.recv()).await.expect("in time").expect("taken");
    assert_eq!(file.assembly, AssemblyId(9));
    assert_eq!(
        post.flush(Duration::ZERO).await,
        Undelivered { messages: 0, files: 1 },
        "not before it is written down"
    );
    drop(file);
    tokio::time::timeout(PATIENCE, post.files_taken()).await.expect("nothing is left");
    assert!(taken.try_recv().is_err(), "one was refused");
}

#[tokio::test]
async fn the_hook_gets_every_file_however_many_wait() {
    let dir = tempfile::tempdir().expect("dir");
    let settings = Notify { on_talk_done: vec!["true".to_owned()], ..Notify::default() };
    let (tell, mut taken) = mpsc::unbounded_channel();
    let post = Dispatcher::start(&settings, &sender(dir.path()), || Duration::ZERO, tell).expect("started");
    let many = QUEUE_LENGTH + 40;
    (0..many).for_each(|n| post.hand_over(&done(&format!("no {n}"))));
    tokio::time::timeout(PATIENCE, async {
        for _ in 0..many {
            drop(taken.recv().await.expect("taken"));
        }
    })
    .await
    .expect("all of them");
}

#[test]
fn the_heart_beats_only_while_the_daemon_works() {
    let (url, asked) = server(vec!["500 Oh", "200 OK"]);
    let works = Arc::new(AtomicBool::new(true));
    let looks = Arc::new(AtomicUsize::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let (seen, counted) = (Arc::clone(&works), Arc::clone(&looks));
    let age = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        if seen.load(Ordering::SeqCst) { Duration::ZERO } else { MAX_RECONCILE_AGE }
    };
    runtime.block_on(async move {
        let beating = tokio::spawn(beat(url, age));
        let until = std::time::Instant::now() + PATIENCE;
        let mut heard = 0;
        let mut hear = async |beats: usize| {
            while heard < beats {
                heard += usize::from(asked.try_recv().is_ok_and(|(head, _)| head.starts_with("GET /secret-path ")));
                assert!(std::time::Instant::now() < until, "no heartbeat");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            heard += asked.try_iter().count();
            heard
        };
        assert_eq!(hear(1).await, 1);
        works.store(false, Ordering::SeqCst);
        // Minutes pass in no time, while nothing is sent.
        tokio::time::pause();
        let before = looks.load(Ordering::SeqCst);
        while looks.load(Ordering::SeqCst) < before + 3 {
            assert!(std::time::Instant::now() < until, "it does not look");
            tokio::time::advance(HEARTBEAT_INTERVAL / 4).await;
        }
        works.store(true, Ordering::SeqCst);
        tokio::time::advance(HEARTBEAT_INTERVAL).await;
        tokio::time::resume();
        assert_eq!(hear(2).await, 2, "it does not work, and its heart beats");
        beating.abort();
    });
}
