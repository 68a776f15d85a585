//! Halls and their streams: the halls file, the schedule, the command.

use streamrip::app::schedule::halls;
use streamrip::app::schedule::halls_import::{self, HallsImport};
use streamrip::app::schedule::import::ImportRequest;
use streamrip::app::support::failure::Kind;
use streamrip::catalog::schedule::{TalkFilter, snapshot};

use streamrip_lab::WebServer;

use crate::support::{MORNING, World, calendar, changes, counts, event, warned, wrap};

const TALKS: &str = "
    a|Saal 1|27 11:00|60|A
    b|saal2|27 11:00|60|B
    c||27 11:00|60|C";

const HALLS: &str = r#"
pre_padding = "2m"
[[hall]]
name = "Saal 1"
streams = ["http://h/1", "http://mirror/1"]
[[hall]]
name = "Great Hall"
aliases = ["Saal 2"]
streams = ["http://h/2"]
recorder = "ffmpeg"
quality = "720p"
max_connections = 1
"#;

#[tokio::test]
async fn the_halls_file_beside_the_calendar() {
    let mut world = World::new();
    world.file("congress.toml", HALLS);
    let report = world.import(calendar(TALKS)).await;
    assert_eq!(world.streams(), ["(no hall): -", "Great Hall: http://h/2", "Saal 1: http://h/1 http://mirror/1"]);
    assert_eq!(warned(&report), ["unmapped-hall"]);
    assert_eq!(world.number("SELECT pre_padding_ms FROM event"), 120_000);
    assert_eq!(
        world.number(
            "SELECT max_connections FROM hall WHERE name = 'Great Hall' AND recorder = 'ffmpeg' AND quality = '720p'"
        ),
        1
    );
    let writes = world.db.total_changes();
    assert_eq!(counts(&world.import(calendar(TALKS)).await), [0, 0, 0, 3]);
    assert_eq!(world.db.total_changes(), writes);
    // It is remembered, also when the next calendar has another name; and it is read again.
    world.file("congress.toml", HALLS.replace("http://mirror/1", "http://mirror/new"));
    let other = world.file("export.ics", calendar(TALKS));
    let request = ImportRequest {
        source: other.to_string_lossy().into_owned(),
        event: Some("congress".to_owned()),
        ..ImportRequest::default()
    };
    world.try_import(request).await.expect("imported");
    assert_eq!(world.streams()[2], "Saal 1: http://h/1 http://mirror/new");
    assert_eq!(world.number("SELECT count(*) FROM stream WHERE removed_ms IS NOT NULL"), 1);
    assert_eq!(world.number("SELECT count(*) FROM stream WHERE url = 'http://h/1'"), 1, "it stayed the same row");
}

#[tokio::test]
async fn what_is_to_be_said_to_a_stream_is_stored_changed_and_taken_away() {
    let halls = |stream: &str| format!("[[hall]]\nname = \"Saal 1\"\nstreams = [{stream}, \"http://h/2\"]\n");
    let mut world = World::new();
    let asked = |world: &World| {
        let snapshot = snapshot(&world.db, TalkFilter::default()).expect("read");
        let hall = snapshot.halls.into_iter().find(|h| h.name == "Saal 1").expect("there");
        assert!(hall.streams[1].url.request().is_empty());
        hall.streams[0].url.request().clone()
    };
    world.file(
        "congress.toml",
        halls("{ url = \"http://h/1\", user_agent = \"me\", headers = { X-Key = \"s3cret\" } }"),
    );
    world.import(calendar(TALKS)).await;
    let request = asked(&world);
    assert_eq!((request.user_agent(), request.headers().len()), (Some("me"), 1));
    let writes = world.db.total_changes();
    world.import(calendar(TALKS)).await;
    assert_eq!(world.db.total_changes(), writes);
    let version = world.number("SELECT schedule_version FROM meta");
    world.file("congress.toml", halls("{ url = \"http://h/1\", headers = { X-Key = \"other\" } }"));
    world.import(calendar(TALKS)).await;
    assert_eq!(asked(&world).headers(), [("x-key".to_owned(), "other".to_owned())]);
    assert!(world.number("SELECT schedule_version FROM meta") > version, "the daemon hears of it");
    world.file("congress.toml", halls("\"http://h/1\""));
    world.import(calendar(TALKS)).await;
    assert!(asked(&world).is_empty());
    assert_eq!(world.number("SELECT count(*) FROM stream WHERE url = 'http://h/1'"), 1, "it stayed the same row");
}

#[tokio::test]
async fn a_halls_file_that_comes_later_takes_over_the_halls_that_are_there() {
    let mut world = World::new();
    world.import(calendar(TALKS)).await;
    assert_eq!(world.streams(), ["(no hall): -", "Saal 1: -", "saal2: -"]);
    world.file("congress.toml", HALLS);
    let report = world.import(calendar(TALKS)).await;
    // The hall was renamed; its talks did not move.
    assert_eq!(counts(&report), [0, 0, 0, 3], "{:?}", changes(&report));
    assert_eq!(world.streams(), ["(no hall): -", "Great Hall: http://h/2", "Saal 1: http://h/1 http://mirror/1"]);
    assert_eq!(world.number("SELECT count(*) FROM hall WHERE slug = 'saal2' AND name = 'Great Hall'"), 1);
}

#[tokio::test]
async fn a_bad_halls_file_is_refused_with_line_and_column() {
    let mut world = World::new();
    world.import(calendar(TALKS)).await;
    for (text, want) in [
        ("[[hall]]\nnaem = \"x\"", "line 2, column 1"),
        ("[[hall]]\nname = \"x\"\nstreams = [\"file:///etc/passwd\"]", "line 3, column 12"),
        ("[[hall]]\nname = \"x\"\nstreams = [\"-vo x11\"]", "line 3, column 12"),
        ("time_zone = \"Mars/Olympus\"", "Mars/Olympus"),
        ("x", "line 1"),
    ] {
        world.file("congress.toml", text);
        let request = world.request(calendar(TALKS));
        let failure = world.refused(request).await;
        assert_eq!(failure.kind, Kind::BadInput);
        assert!(failure.to_string().contains(want), "{failure}");
        assert!(failure.to_string().contains("congress.toml"), "{failure}");
    }
    world.file("congress.toml", b"\xff\xfe");
    let request = world.request(calendar(TALKS));
    assert_eq!(world.refused(request).await.kind, Kind::BadInput);
    let request = ImportRequest { halls: Some("/nonexistent.toml".into()), ..world.request(calendar(TALKS)) };
    assert_eq!(world.refused(request).await.kind, Kind::BadInput);
}

#[tokio::test]
async fn streams_that_the_schedule_names() {
    let mut world = World::new();
    let url = |n: u32| format!("X-STREAM-URL:http://93.184.216.34/{n}\n");
    let events = [
        event("a|Saal 1|27 11:00|60|A", &url(1)),
        event("b|Saal 1|27 12:00|60|B", &url(1)),
        event("c|Saal 1|27 13:00|60|C", &url(2)),
        event("d|Saal 1|27 14:00|60|D", ""),
        event("e|Saal 2|27 11:00|60|E", "X-STREAM-URL:http://127.0.0.1/x\n"),
        event("f|Saal 2|27 12:00|60|F", "X-STREAM-URL:file:///etc/passwd\n"),
    ];
    let whole = wrap(&events.concat());
    let report = world.import(&whole).await;
    let split =
        ["Saal 1: http://93.184.216.34/1", "Saal 1 (2): http://93.184.216.34/2", "Saal 2: -"].map(str::to_owned);
    assert_eq!(world.streams(), split);
    assert_eq!(warned(&report), ["bad-stream", "unmapped-hall"]);
    let writes = world.db.total_changes();
    // Whatever comes first in the file, each stream stays with its hall.
    let mut turned = events.clone();
    turned.rotate_left(2);
    assert_eq!(counts(&world.import(wrap(&turned.concat())).await), [0, 0, 0, 6]);
    assert_eq!(world.db.total_changes(), writes);
    // Streams of the halls file win; then all talks of the hall are in one hall again.
    world
        .file("congress.toml", "allow_private_streams = true\n[[hall]]\nname = \"Saal 1\"\nstreams = [\"http://h/1\"]");
    let report = world.import(&whole).await;
    assert_eq!(changes(&report), ["hall C: Saal 1 (2) -> Saal 1"]);
    assert_eq!(world.streams(), ["Saal 1: http://h/1", "Saal 1 (2): -", "Saal 2: http://127.0.0.1/x"]);
}

#[tokio::test]
async fn streams_set_by_command_survive_imports() {
    let mut world = World::new();
    world.file("congress.toml", HALLS);
    world.import(calendar(TALKS)).await;
    let set = |world: &mut World, hall: &str, urls: &[&str]| {
        let urls: Vec<_> = urls.iter().map(|u| (*u).to_owned()).collect();
        halls::set(&mut world.db, None, hall, &urls, MORNING)
    };
    let version = "SELECT schedule_version FROM meta";
    let before = world.number(version);
    set(&mut world, "saal 2", &["rtsp://u:s3cret@h/x", "http://h/2"]).expect("set by alias");
    assert!(world.number(version) > before, "a daemon is told");
    assert_eq!(world.streams()[1], "Great Hall: rtsp://u:s3cret@h/x http://h/2");
    assert_eq!(counts(&world.import(calendar(TALKS)).await), [0, 0, 0, 3]);
    assert_eq!(world.streams()[1], "Great Hall: rtsp://u:s3cret@h/x http://h/2");
    // Forgotten: the halls file decides again.
    set(&mut world, "Great Hall", &[]).expect("cleared");
    world.import(calendar(TALKS)).await;
    assert_eq!(world.streams()[1], "Great Hall: http://h/2");
    for (hall, url, kind) in
        [("Saal 9", "http://h/", Kind::NotFound), ("Saal 1", "-x", Kind::Usage), ("Saal 1", "dvd://1", Kind::Usage)]
    {
        let dump = world.dump();
        assert_eq!(set(&mut world, hall, &[url]).expect_err("refused").kind, kind);
        assert_eq!(world.dump(), dump);
    }
}

#[tokio::test]
async fn two_halls_with_one_stream_are_told() {
    let mut world = World::new();
    world.file(
        "congress.toml",
        HALLS.replace("http://h/2", "http://u:s3cret@h/1").replace("http://h/1\"", "http://u:s3cret@h/1\""),
    );
    let report = world.import(calendar(TALKS)).await;
    assert_eq!(warned(&report), ["unmapped-hall", "shared-stream"]);
    assert!(report.warnings.iter().all(|w| !w.message.contains("s3cret")));
}

#[tokio::test]
async fn redundancy_is_kept_and_told_where_there_is_no_second_mirror() {
    let mut world = World::new();
    world.file("congress.toml", HALLS.replace("max_connections = 1", "redundancy = 2"));
    let report = world.import(calendar(TALKS)).await;
    assert_eq!(warned(&report), ["unmapped-hall", "few-mirrors"]);
    assert_eq!(world.number("SELECT redundancy FROM hall WHERE name = 'Great Hall'"), 2);
    // Another number is a change that a running daemon is told of.
    let version = world.number("SELECT schedule_version FROM meta");
    world.file("congress.toml", HALLS.replace("max_connections = 1", "redundancy = 1"));
    assert_eq!(warned(&world.import(calendar(TALKS)).await), ["unmapped-hall"]);
    assert_eq!(world.number("SELECT redundancy FROM hall WHERE name = 'Great Hall'"), 1);
    assert!(world.number("SELECT schedule_version FROM meta") > version);
}

/// `halls import` of a list that a server on this machine gives.
#[tokio::test]
async fn a_list_from_a_server_sets_all_halls_or_none_and_its_names_stay_those_of_strangers() {
    let room = |name: &str| {
        format!(
            "{{\"slug\": \"{name}\", \"schedulename\": \"{name}\", \"streams\": [{{\"slug\": \"x\", \"type\": \"video\", \"isTranslated\": false,
               \"videoSize\": [1280, 720], \"urls\": {{\"webm\": {{\"url\": \"http://names.example/{name}.webm\"}}}}}}]}}"
        )
    };
    let list = format!("[{{\"slug\": \"x\", \"groups\": [{{\"rooms\": [{}, {}]}}]}}]", room("saal1"), room("saal2"));
    let server = WebServer::start();
    server.put("/v2.json", list);
    let mut world = World::new();
    world.import(calendar("a|saal1|27 11:00|60|A\nb|saal2|27 11:00|60|B")).await;
    let request = |allow_private| HallsImport {
        source: server.url("/v2.json"),
        event: None,
        quality: "best".parse().expect("a quality"),
        tech: "webm".parse().expect("a technique"),
        allow_private,
        dry_run: false,
    };
    let guarded = |world: &World| -> Vec<bool> {
        let halls = snapshot(&world.db, TalkFilter::default()).expect("read").halls;
        halls.iter().flat_map(|hall| &hall.streams).map(|stream| stream.url.is_public_only()).collect()
    };
    // The second hall cannot be written: then the first is not either.
    world
        .db
        .execute_batch(
            "CREATE TRIGGER bad BEFORE INSERT ON stream WHEN NEW.url LIKE '%saal2%' BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        .expect("a trigger");
    halls_import::import(&world.env, &request(false)).await.expect_err("refused");
    assert_eq!(world.streams(), ["saal1: -", "saal2: -"]);
    world.db.execute_batch("DROP TRIGGER bad").expect("dropped");
    halls_import::import(&world.env, &request(false)).await.expect("imported");
    let want = ["saal1: http://names.example/saal1.webm", "saal2: http://names.example/saal2.webm"];
    assert_eq!(world.streams(), want);
    assert_eq!(guarded(&world), [true, true], "what its names lead to is not known yet");
    // The user's own word counts, and so does the list's next time.
    let url = ["http://names.example/saal1.webm".to_owned()];
    halls::set(&mut world.db, None, "saal1", &url, MORNING).expect("set");
    assert_eq!(guarded(&world), [false, true]);
    halls_import::import(&world.env, &request(false)).await.expect("imported");
    assert_eq!(guarded(&world), [true, true]);
    // An import of the schedule leaves it.
    world.import(calendar("a|saal1|27 11:00|60|A\nb|saal2|27 11:00|60|B2")).await;
    assert_eq!(guarded(&world), [true, true]);
    halls_import::import(&world.env, &request(true)).await.expect("imported");
    assert_eq!(guarded(&world), [false, false]);
}
