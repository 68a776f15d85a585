//! The page in a real browser: the grid says what `list --json` says, and a talk plays while it is recorded.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use streamrip_lab::schedule::{Talk, calendar, halls_file, in_seconds};
use streamrip_lab::{
    Act, Answer, Browser, End, FaultServer, Format, Icecast, PATIENCE, Recipe, Relay, Streamrip, wait_for, wait_until,
};

const SETTINGS: &str = "\
[record]
recorder = \"mplayer\"
[disk]
reserve = \"100MiB\"
";

/// Starting a browser and playing take a while on a busy machine.
const LONG: Duration = PATIENCE.saturating_mul(3);

/// The page's player, and what it is at.
const PLAYER: &str = "const v = document.querySelector('video'); if (v.paused && v.readyState > 1) v.play().catch(() => {}); \
                      return { at: v.currentTime, end: v.seekable.length ? v.seekable.end(0) : 0, width: v.videoWidth, \
                      marks: document.querySelectorAll('.seek .gap').length, failed: v.error && v.error.message };";

/// Pictures for people to look at: `STREAMRIP_SCREENSHOTS=folder`.
fn picture(browser: &mut Browser, name: &str) {
    if let Some(folder) = std::env::var_os("STREAMRIP_SCREENSHOTS").map(PathBuf::from) {
        fs::create_dir_all(&folder).expect("a folder");
        browser.screenshot(&folder.join(name));
    }
}

/// Where the page's player is when it is where it is wanted: at so many seconds, of so many.
fn player(browser: &mut Browser, what: &str, wanted: &dyn Fn(f64, f64) -> bool) -> Value {
    wait_for(what, LONG, || {
        let player = browser.run(PLAYER);
        assert!(player["failed"].is_null(), "{what}: {player}");
        let (at, end) = (player["at"].as_f64()?, player["end"].as_f64()?);
        wanted(at, end).then_some(player)
    })
}

#[test]
fn talks_in_webm_and_in_mp3_play_in_the_page_while_they_are_recorded_across_a_reconnect() {
    const HALLS: [(&str, Format, bool); 2] = [("/saal1.webm", Format::WebM, true), ("/saal2.mp3", Format::Mp3, false)];
    let icecast = Icecast::start(32 << 10);
    let relay = Relay::to(icecast.port());
    let _encoders = HALLS.map(|(mount, format, _)| {
        let encoder = Recipe::new(format).start().ready();
        icecast.mount(mount, &encoder);
        encoder
    });
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    fs::create_dir_all(streamrip.data_dir()).expect("a data directory");
    fs::write(streamrip.data_dir().join("streamrip.toml"), SETTINGS).expect("settings");
    let urls = HALLS.map(|(mount, ..)| [relay.url(mount)]);
    let halls: Vec<(&str, &[String], u32)> =
        HALLS.iter().zip(&urls).map(|((mount, ..), url)| (*mount, &url[..], 2)).collect();
    streamrip.write("congress.toml", halls_file(2, 2, &halls));
    let start = in_seconds(4);
    let talks = HALLS.map(|(mount, ..)| Talk::new(mount, &format!("Talk {mount}"), start, 600));
    let file = streamrip.write("congress.ics", calendar(&talks));
    streamrip.ok(&["import", &file]);
    let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let mut daemon = streamrip.spawn(&["run", "--no-check", "--listen", &address.to_string()]);
    daemon.expect("recording http", PATIENCE);
    let mut browser = Browser::start(1280, 900);
    for (mount, _, has_pictures) in HALLS {
        let talk = streamrip.json(&["show", &format!("Talk {mount}"), "--json"]);
        browser.open(&format!("http://{address}/talks/{}", talk["id"]));
        let shown = player(&mut browser, &format!("{mount} to play"), &|at, _| at > 3.0);
        assert_eq!(shown["width"].as_u64() > Some(0), has_pictures, "{mount}: {shown}");
        let before = shown["end"].as_f64().unwrap_or_default();
        relay.cut();
        // Past all that was there before the cut, and back again.
        let shown = player(&mut browser, &format!("{mount} to play on after the cut"), &|at, _| at > before + 3.0);
        picture(&mut browser, &format!("talk{}.png", mount.replace('/', "-")));
        let now = shown["at"].as_f64().unwrap_or_default();
        let _ = browser.run("document.querySelector('video').currentTime = 1;");
        let back = |at: f64, _| (1.5..now - 2.0).contains(&at);
        player(&mut browser, &format!("{mount} to play on from where it was sought back to"), &back);
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{mount}");
    }
    daemon.term();
    assert!(daemon.wait(PATIENCE).success());
}

#[test]
fn a_talk_plays_in_the_page_while_it_is_recorded_across_reconnects() {
    let encoder = Recipe::new(Format::MpegTs).start().ready();
    let server = FaultServer::start();
    let route = server.live("/live.ts", Format::MpegTs.kind(), encoder.live());
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    fs::create_dir_all(streamrip.data_dir()).expect("a data directory");
    fs::write(streamrip.data_dir().join("streamrip.toml"), SETTINGS).expect("settings");
    streamrip.write("congress.toml", halls_file(2, 2, &[("Saal 1", &[route.url()], 2)]));
    let talks = [
        Talk::new("Saal 1", "Opening & <em>closing</em>", in_seconds(6), 600),
        Talk::new("Saal 1", "Later", in_seconds(1200), 600),
    ];
    let file = streamrip.write("congress.ics", calendar(&talks));
    streamrip.ok(&["import", &file]);
    let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let mut daemon = streamrip.spawn(&["run", "--no-check", "--listen", &address.to_string()]);
    daemon.expect("recording http", PATIENCE);

    let mut browser = Browser::start(1280, 900);
    browser.open(&format!("http://{address}/"));
    let shown = browser.run(
        "return [...document.querySelectorAll('.talk')].map(t => [t.querySelector('strong').textContent, \
         t.querySelector('.chip').textContent.split(' ')[1], t.querySelector('.when').textContent.slice(0, 5)]);",
    );
    let list = streamrip.json(&["list", "--json"]);
    let said: Vec<Value> = list
        .as_array()
        .into_iter()
        .flatten()
        .map(|t| serde_json::json!([t["title"], t["state"], t["start"].as_str().and_then(|s| s.get(11..16))]))
        .collect();
    assert_eq!(shown, Value::Array(said));
    picture(&mut browser, "grid.png");

    // The title of a talk leads to its page, where it plays from its start.
    browser.open(&format!("http://{address}/talks/{}", list[0]["id"]));
    let at = player;
    let shown = at(&mut browser, "the talk to play", &|at, _| at > 4.0);
    assert!(shown["width"].as_u64() > Some(0), "a picture is shown: {shown}");
    for (end, name) in [(End::Fin, "first"), (End::Rst, "second")] {
        let before =
            at(&mut browser, "the player to be there", &|_, end| end > 0.0)["end"].as_f64().unwrap_or_default();
        // Long enough for a gap that is shown.
        route.act(Act::Always(Answer::Status(503)));
        route.act(Act::Cut(end));
        std::thread::sleep(Duration::from_secs(3));
        route.act(Act::Always(Answer::stream()));
        // Past the end of what was there before the cut: the next connection's pictures are played.
        at(&mut browser, &format!("it to play on after the {name} cut"), &|at, _| at > before + 3.0);
    }
    let player = wait_for("marks of the gaps", LONG, || {
        Some(browser.run(PLAYER)).filter(|player| player["marks"].as_u64() >= Some(1))
    });
    picture(&mut browser, "talk.png");
    let now = player["at"].as_f64().unwrap_or_default();
    let _ = browser.run("document.querySelector('video').currentTime = 3;");
    at(&mut browser, "it to play on from where it was sought back to", &|at, _| (3.5..now - 5.0).contains(&at));
    assert_eq!(browser.complaints(), Vec::<String>::new());

    // The page says when nobody answers any more.
    daemon.term();
    assert!(daemon.wait(PATIENCE).success());
    wait_until("the page to say that the recorder is gone", PATIENCE, || {
        browser.run("return !document.getElementById('gone').hidden;") == true
    });
}
