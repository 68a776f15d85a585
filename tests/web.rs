//! The page of a real daemon: it says what the commands say, and nobody who looks can harm a tape.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;
use streamrip_lab::schedule::{Talk, calendar, halls_file, in_seconds};
use streamrip_lab::{Encoder, FaultServer, Format, PATIENCE, Recipe, Streamrip, get, wait_until};

const SETTINGS: &str = "\
[assemble]
settle = \"1s\"
[list]
complete_tolerance = \"1s\"
[disk]
reserve = \"100MiB\"
";

/// More than a page answers at once: the others wait, and the tape must not notice.
const SLOW_CLIENTS: usize = 300;

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port")
}

fn json(address: SocketAddr, path: &str) -> Value {
    let answer = get(address, path, "");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    serde_json::from_str(body).unwrap_or_else(|e| panic!("{path}: {e}: {answer}"))
}

/// Opens the page's news, and never reads them.
fn slow_client(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.write_all(format!("GET /live HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).ok()?;
    Some(stream)
}

fn congress(talk_seconds: i64) -> (Streamrip, Encoder, FaultServer) {
    let encoder = Recipe::new(Format::MpegTs).start().ready();
    let server = FaultServer::start();
    let route = server.live("/live.ts", Format::MpegTs.kind(), encoder.live());
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    fs::create_dir_all(streamrip.data_dir()).expect("a data directory");
    fs::write(streamrip.data_dir().join("streamrip.toml"), SETTINGS).expect("settings");
    streamrip.write("congress.toml", halls_file(2, 2, &[("Saal 1", &[route.url()], 2)]));
    let start = in_seconds(8);
    let talks = [Talk::new("Saal 1", "Opening & <closing>", start, talk_seconds)];
    let file = streamrip.write("congress.ics", calendar(&talks));
    streamrip.ok(&["import", &file]);
    (streamrip, encoder, server)
}

#[test]
fn three_hundred_slow_clients_cost_no_second() {
    let (streamrip, _encoder, _server) = congress(8);
    let address = free_address();
    let mut daemon = streamrip.spawn(&["run", "--no-check", "--until-done", "--listen", &address.to_string()]);
    daemon.expect("web page: http://", PATIENCE);
    let answers = || get(address, "/api/v1/status", "").starts_with("HTTP/1.1 200");
    wait_until("the page to answer", PATIENCE, answers);
    let page = get(address, "/", "");
    assert!(page.contains("Opening &amp; &lt;closing&gt;"), "{page}");
    assert_eq!(json(address, "/api/v1/talks")[0]["title"], "Opening & <closing>");
    let clients: Vec<_> = (0..SLOW_CLIENTS).filter_map(|_| slow_client(address)).collect();
    assert!(clients.len() > SLOW_CLIENTS / 2, "{} connected", clients.len());
    let status = daemon.wait(PATIENCE * 2);
    drop(clients);
    assert!(status.success(), "{}", daemon.said());
    let list = streamrip.json(&["list", "--json"]);
    assert_eq!(list[0]["state"], "complete", "{list}");
    assert_eq!(list[0]["segments"].as_array().map(Vec::len), Some(1), "one connection for the whole talk: {list}");

    // What the page's API says of it is what the command says.
    let mut daemon = streamrip.spawn(&["run", "--no-check", "--listen", &address.to_string()]);
    daemon.expect("web page: http://", PATIENCE);
    wait_until("the page to answer", PATIENCE, answers);
    let shown = streamrip.json(&["show", "1", "--json"]);
    assert_eq!(shown["parts"].as_array().map(Vec::len), Some(1), "{shown}");
    assert_eq!(json(address, "/api/v1/talks/1"), shown);
    assert_eq!(json(address, "/api/v1/talks"), list);
    daemon.term();
    assert!(daemon.wait(PATIENCE).success());
}

#[test]
fn others_need_a_token_and_a_taken_address_stops_no_tape() {
    let (mut streamrip, _encoder, _server) = congress(600);
    let refused = streamrip.run(&["run", "--listen", "0.0.0.0:1"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("token") && refused.stderr.contains("hint"), "{refused:?}");

    let token = "0123456789abcdef";
    streamrip.env("STREAMRIP_WEB_TOKEN", token);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    let mut daemon = streamrip.spawn(&["run", "--no-check", "--listen", &address.to_string()]);
    daemon.expect("the page cannot listen", PATIENCE);
    daemon.expect("recording http", PATIENCE);
    drop(taken);
    daemon.expect("web page: http://", PATIENCE);
    assert!(get(address, "/", "").starts_with("HTTP/1.1 401"));
    assert!(get(address, "/", &format!("Authorization: Bearer {token}\r\n")).starts_with("HTTP/1.1 200"));
    assert!(!daemon.said().contains(token), "{}", daemon.said());
    daemon.term();
    assert!(daemon.wait(PATIENCE).success());
}

/// The address stands in the settings, the token that belonged to it was lost: that costs the page, not the talks.
#[test]
fn a_setting_that_allows_no_page_stops_no_daemon() {
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    let file = streamrip.write("good.ics", calendar(&[Talk::new("Saal 1", "A talk", in_seconds(86_400), 3600)]));
    streamrip.ok(&["import", &file]);
    fs::write(streamrip.data_dir().join("streamrip.toml"), "[web]\nlisten = \"0.0.0.0:1\"\n").expect("settings");
    let mut daemon = streamrip.spawn(&["run", "--no-check"]);
    let problem =
        || streamrip.run(&["status"]).stdout.contains("! web.listen: there is no page: others can reach 0.0.0.0:1");
    wait_until("the status says so", PATIENCE, problem);
    assert!(daemon.said().contains("web.token"), "the log says what to do: {}", daemon.said());
    daemon.term();
    assert!(daemon.wait(PATIENCE).success());
}
