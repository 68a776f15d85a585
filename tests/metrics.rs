//! What a real daemon tells Prometheus, checked by Prometheus' own tool; and the rules and the dashboard that use it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use streamrip_lab::schedule::{Talk, calendar, halls_file, in_seconds};
use streamrip_lab::{Encoder, FaultServer, Format, PATIENCE, Recipe, Streamrip, get, has_program, skipped, wait_for};

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

/// The body; empty where there is no answer of 200.
fn body(address: SocketAddr, path: &str) -> String {
    let answer = get(address, path, "");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    if head.starts_with("HTTP/1.1 200") { body.to_owned() } else { String::new() }
}

/// Runs promtool, with `input` on its standard input; what it says where it objects.
fn promtool(arguments: &[&str], input: &str) -> Result<(), String> {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // What it objects to only in words is an objection as well.
    let words = arguments.contains(&"metrics") && !said.trim().is_empty();
    if output.status.success() && !words { Ok(()) } else { Err(said) }
}

/// What a text names that looks like a metric of ours.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|w| w.starts_with("streamrip_")).map(str::to_owned).collect()
}

#[test]
fn promtool_has_no_objection_and_rules_and_dashboard_ask_for_what_there_is() {
    let encoder: Encoder = Recipe::new(Format::MpegTs).start().ready();
    let server = FaultServer::start();
    let route = server.live("/live.ts", Format::MpegTs.kind(), encoder.live());
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    let (url, refused) = ([route.url()], ["http://127.0.0.1:1/none".to_owned()]);
    streamrip.write("congress.toml", halls_file(2, 2, &[("Saal 1", &url, 2), ("Saal \"2\"", &refused, 2)]));
    let talk = |hall, title| Talk::new(hall, title, in_seconds(-1), 600);
    let file = streamrip.write("congress.ics", calendar(&[talk("Saal 1", "A talk"), talk("Saal \"2\"", "Another")]));
    streamrip.ok(&["import", &file]);
    let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let mut daemon = streamrip.spawn(&["run", "--no-check", "--listen", &address.to_string()]);
    let text = wait_for("bytes of the hall", PATIENCE, || {
        let text = body(address, "/metrics");
        let recording = "streamrip_hall_recording{event=\"congress\",hall=\"Saal 1\"} 1\n";
        let gap = "streamrip_talk_gap_seconds{event=\"congress\",hall=\"Saal 1\"";
        (text.contains(recording) && text.contains(gap)).then_some(text)
    });
    daemon.term();
    assert!(text.contains("streamrip_hall_recording{event=\"congress\",hall=\"Saal \\\"2\\\"\"} 0\n"), "{text}");
    let served = names(&text);
    for (file, least) in [("prometheus-alerts.yml", 8), ("grafana-dashboard.json", 10)] {
        let asked = names(&fs::read_to_string(docs(file)).expect("the file"));
        let unknown: Vec<_> = asked.difference(&served).collect();
        assert!(unknown.is_empty() && asked.len() >= least, "{file} asks for {unknown:?}, of {asked:?}");
    }
    let dashboard = fs::read_to_string(docs("grafana-dashboard.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = panels.iter().map(|p| p["id"].as_i64()).collect();
    assert_eq!(ids.len(), panels.len());
    daemon.wait(PATIENCE);
    if !has_program("promtool") {
        skipped("promtool is not installed");
        return;
    }
    promtool(&["check", "metrics"], &text).unwrap_or_else(|said| panic!("{said}\n{text}"));
    promtool(&["check", "metrics"], "# TYPE streamrip_x counter\nstreamrip_x 1\n").expect_err("it looks");
    let rules = docs("prometheus-alerts.yml");
    promtool(&["check", "rules", rules.to_str().expect("text")], "").expect("sound rules");
    for panel in panels {
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("an expression");
            check_expression(expression).unwrap_or_else(|said| panic!("{expression}: {said}"));
        }
    }
}

/// Whether Prometheus can read an expression: as a rule, since Debian's promtool has no other way.
fn check_expression(expression: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("rule.yml");
    let rule = serde_json::json!({"groups": [{"name": "x", "rules": [{"record": "x:x", "expr": expression}]}]});
    fs::write(&file, rule.to_string()).expect("written");
    promtool(&["check", "rules", file.to_str().expect("text")], "")
}
