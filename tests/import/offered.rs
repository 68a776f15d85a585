//! `halls import`: the streams of all halls from a congress' own list.

use serde_json::Value;
use streamrip_lab::Streamrip;
use streamrip_lab::schedule::{Talk, calendar, in_seconds};

const LIST: &str = include_str!("../fixtures/streams-v2.json");

fn congress(halls: &[&str]) -> (Streamrip, String) {
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    let talks: Vec<_> =
        halls.iter().map(|hall| Talk::new(hall, &format!("A talk in {hall}"), in_seconds(3600), 600)).collect();
    let file = streamrip.write("congress.ics", calendar(&talks));
    streamrip.ok(&["import", &file]);
    let list = streamrip.write("v2.json", LIST);
    (streamrip, list)
}

fn streams(streamrip: &Streamrip) -> Vec<(String, Vec<String>)> {
    let halls = streamrip.json(&["halls", "--json"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let urls = |hall: &Value| hall["streams"].as_array().expect("a list").iter().map(|s| text(&s["url"])).collect();
    halls.as_array().expect("a list").iter().map(|hall| (text(&hall["hall"]), urls(hall))).collect()
}

#[test]
fn halls_get_the_streams_of_a_list_and_doubts_are_said() {
    let (streamrip, list) = congress(&["saal 1", "Saal 2", "Saal 3", "Garden"]);
    let none = |streamrip: &Streamrip| streams(streamrip).iter().all(|(_, urls)| urls.is_empty());
    let output = streamrip.ok(&["halls", "import", &list, "--dry-run"]);
    assert!(output.stdout.contains("dry run") && none(&streamrip), "{output:?}");
    let output = streamrip.ok(&["halls", "import", &list]);
    for words in [
        "Saal 2 have the same stream, https://cdn.example/hls/s1_native_hd.m3u8",
        "Garden: it has talks, and is not in the list",
        "Saal 3: the list offers no stream of it",
    ] {
        assert!(output.stdout.contains(words), "{words} is not in {}", output.stdout);
    }
    assert!(!output.stdout.contains("s3cret"), "{}", output.stdout);
    let of = |name: &str| streams(&streamrip).into_iter().find(|(hall, _)| hall == name).expect("a hall").1;
    let want = ["https://cdn.example/hls/s1_native_hd.m3u8", "http://cdn.example/s1_native_hd.webm"];
    assert_eq!(of("saal 1"), want);
    assert_eq!(of("Saal 2"), &want[..1]);
    assert!(of("Saal 3").is_empty() && of("Garden").is_empty());
    // The same again changes nothing; another quality does.
    streamrip.ok(&["halls", "import", &list]);
    assert_eq!(of("saal 1"), want);
    streamrip.ok(&["halls", "import", &list, "--quality", "audio", "--tech", "mp3"]);
    assert_eq!(of("saal 1"), ["http://cdn.example/s1_native.mp3", "http://cdn.example/s1_native.opus"]);
}

#[test]
fn a_list_of_something_else_changes_nothing() {
    let (streamrip, list) = congress(&["Another hall"]);
    let output = streamrip.run(&["halls", "import", &list]);
    assert_eq!(output.code, Some(6), "{output:?}");
    assert!(output.stderr.contains("no hall gets a stream") && output.stderr.contains("aliases"), "{output:?}");
    let page = streamrip.write("page.html", "<html>");
    for source in [page.as_str(), "/nonexistent/v2.json", "ftp://h.example/v2.json"] {
        let output = streamrip.run(&["halls", "import", source]);
        assert_eq!(output.code, Some(3), "{output:?}");
    }
    assert_eq!(streams(&streamrip), [("Another hall".to_owned(), Vec::new())]);
}
