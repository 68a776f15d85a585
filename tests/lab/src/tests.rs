//! The laboratory itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::*;

/// A plain HTTP client that reads to the end, or until `most` bytes of the body are there.
fn get(route: &Route, most: usize) -> (String, Vec<u8>, std::io::Result<()>) {
    let url = route.url();
    let rest = url.strip_prefix("http://").expect("http");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(host).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(stream, "GET /{path} HTTP/1.0\r\nUser-Agent: lab-test\r\n\r\n").expect("it reads");
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    let mut end = Ok(());
    let body_at = |all: &[u8]| all.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
    while body_at(&all).is_none_or(|at| all.len() - at < most) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&buffer[..n]),
            Err(e) => {
                end = Err(e);
                break;
            }
        }
    }
    let at = body_at(&all).unwrap_or(all.len());
    (String::from_utf8_lossy(&all[..at]).into_owned(), all[at..].to_vec(), end)
}

fn counting(live: &Live, from: u32, to: u32) {
    for n in from..to {
        live.push(&n.to_be_bytes());
    }
}

#[test]
fn every_client_gets_the_same_live_bytes_and_the_log_says_which() {
    let server = FaultServer::start();
    let live = Live::new(4);
    counting(&live, 0, 100);
    let route = server.live("/a", "video/mp2t", &live);
    let (reader, log) = (route.clone(), route.clone());
    let client = std::thread::spawn(move || get(&reader, 40));
    wait_until("the client", PATIENCE, || log.open() == 1);
    counting(&live, 100, 200);
    let (head, body, _) = client.join().expect("a client");
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n") && head.contains("video/mp2t"), "{head}");
    assert_eq!(body[..4], 100_u32.to_be_bytes());
    wait_until("the client to leave", PATIENCE, || {
        // A server notices when it looks or writes.
        live.push(&[0; 4]);
        route.open() == 0
    });
    let log = &route.connections()[0];
    assert_eq!((log.number, log.from, log.cut, log.user_agent.as_str()), (1, 400, None, "lab-test"));
    assert!(log.sent >= 40);
    assert_eq!(live.slice(log.from, log.from + 40), body[..40]);
}

#[test]
fn a_burst_gives_the_past_first_and_a_reconnect_repeats_it() {
    let server = FaultServer::start();
    let live = Live::new(4);
    counting(&live, 0, 10);
    let plain = server.live("/plain", "x/y", &live).repeat_on_reconnect(Duration::from_secs(600));
    plain.act(Act::Next(vec![Answer::cut(Limit::Time(Duration::from_millis(50)), End::Fin)]));
    live.finish();
    assert_eq!(get(&plain, 1000).1, b"");
    assert_eq!(get(&plain, 1000).1, live.bytes());
    let burst = server.live("/burst", "x/y", &live).burst(Duration::from_secs(600));
    assert_eq!(get(&burst, 1000).1, live.bytes());
}

#[test]
fn answers_and_cuts() {
    let server = FaultServer::start();
    let route = server.file("/f", "x/y", vec![7; 10_000], 1_000_000);
    assert_eq!(get(&route, 20_000).1.len(), 10_000);
    route.act(Act::Next(vec![
        Answer::Status(503),
        Answer::html(),
        Answer::cut(Limit::Bytes(1234), End::Fin),
        Answer::HangUp(End::Rst),
        Answer::asx("http://x/y"),
    ]));
    assert!(get(&route, 20_000).0.starts_with("HTTP/1.0 503 Service Unavailable"));
    assert!(get(&route, 20_000).1.starts_with(b"<!DOCTYPE html>"));
    assert_eq!(get(&route, 20_000).1.len(), 1234);
    let (head, _, end) = get(&route, 20_000);
    assert_eq!((head.as_str(), end.map_err(|e| e.kind())), ("", Err(std::io::ErrorKind::ConnectionReset)));
    assert!(get(&route, 20_000).1.starts_with(b"<asx"));
    assert_eq!(get(&route, 20_000).1.len(), 10_000);
    assert_eq!(route.connections().len(), 7);
    assert_eq!(route.connections()[4].cut, Some(End::Rst));
}

#[test]
fn silence_holds_bytes_back_and_a_cut_ends_it() {
    let server = FaultServer::start();
    let live = Live::new(1);
    let route = server.live("/a", "x/y", &live);
    let reader = route.clone();
    let client = std::thread::spawn(move || get(&reader, 1000));
    wait_until("the client", PATIENCE, || route.open() == 1);
    live.push(b"one");
    wait_until("the first bytes", PATIENCE, || route.connections()[0].sent == 3);
    route.act(Act::Silence);
    live.push(b"two");
    route.act(Act::SkipAhead);
    route.act(Act::Resume);
    live.push(b"three");
    wait_until("the last bytes", PATIENCE, || route.connections()[0].sent == 8);
    route.act(Act::Cut(End::Fin));
    let (_, body, end) = client.join().expect("a client");
    assert!(end.is_ok());
    assert_eq!(body, b"onethree");
    // The client may hear of it before the log does.
    wait_until("the log", PATIENCE, || route.open() == 0);
    assert_eq!(route.connections()[0].cut, Some(End::Fin));
}

#[test]
fn a_connection_that_is_abandoned_is_not_even_ended() {
    let server = FaultServer::start();
    let live = Live::new(1);
    let route = server.live("/a", "x/y", &live);
    let (old, new) = (route.clone(), route.clone());
    let first = std::thread::spawn(move || get(&old, 3));
    wait_until("the first client", PATIENCE, || route.open() == 1);
    route.act(Act::Abandon);
    live.push(b"old");
    let second = std::thread::spawn(move || get(&new, 3));
    wait_until("the second client", PATIENCE, || route.open() == 2);
    live.push(b"new");
    assert_eq!(second.join().expect("a client").1, b"new");
    route.act(Act::Cut(End::Fin));
    live.push(b"x");
    wait_until("only the abandoned one to be open", PATIENCE, || route.open() == 1);
    let log = route.connections();
    assert_eq!((log[0].sent, log[0].closed_ms), (0, None));
    drop(server);
    assert_eq!(first.join().expect("a client").1, b"");
}

#[test]
fn a_server_that_refuses_keeps_its_port() {
    let server = FaultServer::start();
    let route = server.file("/f", "x/y", vec![7; 10], 1_000_000);
    for _ in 0..3 {
        route.act(Act::Refuse);
        let refused = TcpStream::connect(server.address()).map_err(|e| e.kind());
        assert_eq!(refused.err(), Some(std::io::ErrorKind::ConnectionRefused));
        route.act(Act::Accept);
        assert_eq!(get(&route, 100).1.len(), 10);
    }
}

#[test]
fn one_connection_only() {
    let server = FaultServer::start();
    let live = Live::new(1);
    let busy = server.live("/busy", "x/y", &live).allow(1, Excess::Busy);
    let oldest = server.live("/oldest", "x/y", &live).allow(1, Excess::DropOldest);
    for route in [&busy, &oldest] {
        let reader = route.clone();
        let first = std::thread::spawn(move || get(&reader, 1000));
        wait_until("the first client", PATIENCE, || route.open() == 1);
        if route.url() == busy.url() {
            assert!(get(route, 1000).0.contains(" 503 "));
            wait_until("only one to be open", PATIENCE, || route.open() == 1);
            route.act(Act::Cut(End::Fin));
        } else {
            let reader = route.clone();
            live.push(b"old");
            let second = std::thread::spawn(move || get(&reader, 1000));
            wait_until("the first client to be dropped", PATIENCE, || route.connections()[0].closed_ms.is_some());
            wait_until("the second client", PATIENCE, || route.connections().len() == 2);
            wait_until("only one to be open", PATIENCE, || route.open() == 1);
            route.act(Act::Cut(End::Fin));
            let _ = second.join().expect("a client");
        }
        let _ = first.join().expect("a client");
    }
}

#[test]
fn a_script_happens_by_itself() {
    let server = FaultServer::start();
    let route = server.live("/a", "x/y", &Live::new(1));
    route.script([(Duration::from_millis(50), Act::Cut(End::Rst)), (Duration::ZERO, Act::Always(Answer::SilentBody))]);
    wait_until("a silent answer that is reset", PATIENCE, || {
        let (head, _, end) = get(&route, 10);
        head.contains(" 200 ") && end.is_err()
    });
}

#[test]
fn live_bytes_know_when_they_came() {
    let live = Live::new(1);
    let before = now_ms();
    live.push(b"abc");
    std::thread::sleep(Duration::from_millis(5));
    let middle = now_ms();
    live.push(b"def");
    let after = now_ms() + 1;
    assert_eq!(live.between(before, middle), (0, b"abc".to_vec()));
    assert_eq!(live.between(middle, after), (3, b"def".to_vec()));
    assert!((before..middle).contains(&live.arrival_of(2).expect("it came")));
    assert!((middle..after).contains(&live.arrival_of(3).expect("it came")));
    assert_eq!(live.arrival_of(6), None);
}

#[test]
fn encoders_make_what_they_say() {
    for (format, magic) in [
        (Format::MpegTs, b"G".as_slice()),
        (Format::WebM, b"\x1a\x45\xdf\xa3"),
        (Format::Ogg, b"OggS"),
        (Format::OggAudio, b"OggS"),
        (Format::Mp3, b"\xff"),
        (Format::Asf, b"\x30\x26\xb2\x75"),
    ] {
        let bytes = Recipe::new(format).label("Saal 1").seconds(1.0).bytes();
        assert!(bytes.starts_with(magic), "{format:?}: {:?}", &bytes[..4]);
        assert!(bytes.len() > 2000, "{format:?}: {} bytes", bytes.len());
    }
    let encoder = Recipe::new(Format::MpegTs).start().ready();
    let some = encoder.live().len();
    wait_until("a live stream to grow", PATIENCE, || encoder.live().len() > some + 10_000);
}

#[test]
fn a_real_icecast_serves_an_encoder() {
    let icecast = Icecast::start(64 * 1024);
    let encoder = Recipe::new(Format::Mp3).start().ready();
    icecast.mount("/saal1.mp3", &encoder);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let url = icecast.url("/saal1.mp3");
    let fetched =
        child::quiet("ffmpeg").args(["-y", "-i", &url, "-t", "1", "-c", "copy", "-f", "mp3"]).arg(file.path()).status();
    assert!(fetched.is_ok_and(|status| status.success()), "{}", icecast.log());
    assert!(file.as_file().metadata().expect("its size").len() > 4000);
}

#[test]
fn calendars_and_halls_files() {
    let talk = schedule::Talk::new("Saal 1", "Peace, love; and\\TeX", 1_293_480_000_000, 90);
    let text = schedule::calendar(&[talk]);
    assert!(text.contains("DTSTART:20101227T200000Z\r\nDTEND:20101227T200130Z\r\n"), "{text}");
    assert!(text.contains("SUMMARY:Peace\\, love\\; and\\\\TeX\r\n"), "{text}");
    let halls = schedule::halls_file(1, 2, &[("Saal 1", &["http://127.0.0.1:1/a".to_owned()], 1)]);
    assert!(
        halls.contains("name    = \"Saal 1\"\nstreams = [\"http://127.0.0.1:1/a\"]\nmax_connections = 1\n"),
        "{halls}"
    );
}
