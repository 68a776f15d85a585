use std::path::Path;

use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RANGE};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use streamrip_lab::{Format, Recipe};
use tower::ServiceExt as _;

use super::*;
use crate::app::daemon::status::{Flow, Tape};
use crate::app::support::clock::TestClock;
use crate::catalog::open_writer;
use crate::domain::settings::Settings;
use crate::domain::time::Ms;

/// 2010-12-27 20:30 in Berlin.
const START: i64 = 1_293_478_200_000;

const MINUTE: i64 = 60_000;

/// A catalog with one talk that is over and joined, one that runs, one opted out; and a page on it.
struct Place {
    dir: tempfile::TempDir,
    app: Router,
    tell: watch::Sender<Status>,
}

impl Place {
    fn new(access: Access) -> Self {
        let dir = tempfile::tempdir().expect("works");
        let db = open_writer(dir.path()).expect("works");
        db.execute_batch(&format!(
            "INSERT INTO event (id, name, slug, time_zone) VALUES (1, '27c3', '27c3', 'Europe/Berlin');
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');
             INSERT INTO hall (id, event_id, name, slug) VALUES (2, 1, 'Saal <2>', 'saal-2');
             INSERT INTO stream (id, hall_id, url, priority, origin, added_ms) VALUES (1, 1, 'http://u:secret@h.example/x', 0, 'command', 0);
             INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, status, opted_out, known_since_ms, speakers)
               VALUES (1, 1, 1, 'a', 'Opening', {start}, {end}, 'scheduled', 0, 0, '[]'),
                      (2, 1, 2, 'b', '<script>alert(1)</script>', {end}, {later}, 'scheduled', 0, 0, '[\"<b>Eve</b>\"]'),
                      (3, 1, 1, 'c', 'Not to be seen', {end}, {later}, 'scheduled', 1, 0, '[]');
             INSERT INTO assembly (talk_id, path, bytes, sha256, duration_ms, made_ms, inputs)
               VALUES (1, 'talks/27c3/opening.mkv', 10, zeroblob(32), 60000, 0, zeroblob(32)),
                      (3, 'talks/27c3/secret.mkv', 10, zeroblob(32), 60000, 0, zeroblob(32));",
            start = START,
            end = START + 30 * MINUTE,
            later = START + 60 * MINUTE,
        ))
        .expect("works");
        std::fs::create_dir_all(dir.path().join("talks/27c3")).expect("works");
        for name in ["opening.mkv", "secret.mkv", ".hidden"] {
            std::fs::write(dir.path().join("talks/27c3").join(name), b"0123456789").expect("works");
        }
        let clock = TestClock::starting_at(Ms(START + 50 * MINUTE));
        let mut settings = Settings::default();
        // Whatever this machine's disk is.
        settings.disk.reserve_bytes = 0;
        let env = Env { clock: Arc::new(clock), ..Env::real(dir.path().to_owned(), settings) };
        let (tell, status) = watch::channel(Status { alive: true, ..Status::default() });
        Self { dir, app: router(Arc::new(WebState::new(env, KeyframeCache::for_browsers(), status)), access), tell }
    }

    fn sql(&self, text: &str) {
        open_writer(self.dir.path()).expect("works").execute_batch(text).expect("works");
    }

    async fn get(&self, path: &str, more: &[(axum::http::HeaderName, &str)]) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::get(path);
        if more.iter().all(|(name, _)| *name != HOST) {
            request = request.header(HOST, "127.0.0.1:8273");
        }
        for (name, value) in more {
            request = request.header(name, *value);
        }
        let answer = self.app.clone().oneshot(request.body(Body::empty()).expect("works")).await.expect("works");
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = to_bytes(answer.into_body(), 1 << 20).await.expect("works");
        (status, headers, String::from_utf8_lossy(&body).into_owned())
    }

    async fn json(&self, path: &str) -> Value {
        let (status, _, body) = self.get(path, &[]).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        serde_json::from_str(&body).expect("works")
    }
}

#[tokio::test]
async fn the_grid_shows_the_day_with_what_strangers_wrote_as_text() {
    let place = Place::new(Access::default());
    let (status, headers, page) = place.get("/", &[]).await;
    assert_eq!(status, StatusCode::OK);
    for text in [
        "Opening",
        "Saal 1",
        "Saal &lt;2&gt;",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&lt;b&gt;Eve",
        "missed",
        "opted-out",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
    assert!(!page.contains("<script>alert"), "{page}");
    assert!(!page.contains("style="), "the policy allows no style attributes");
    assert!(headers["content-security-policy"].to_str().expect("works").starts_with("default-src 'none'"));
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert!(!headers.contains_key("access-control-allow-origin"));
    let (status, _, page) = place.get("/?day=2010-12-28", &[]).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("No talks on this day"), "{page}");
    assert_eq!(place.get("/?event=28c3", &[]).await.0, StatusCode::NOT_FOUND);
    assert_eq!(place.get("/?day=yesterday", &[]).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_api_says_what_list_and_show_say() {
    let place = Place::new(Access::default());
    let all = place.json("/api/v1/talks").await;
    assert_eq!(all.as_array().map(Vec::len), Some(3));
    assert_eq!(place.json("/api/v1/talks?state=missed").await[0]["title"], "Opening");
    let one = place.json("/api/v1/talks/1").await;
    assert_eq!((&one["title"], &one["seams"]), (&all[0]["title"], &Value::Array(Vec::new())));
    assert_eq!(place.json("/api/v1/status").await["alive"], true);
    let (status, _, body) = place.get("/api/v1/talks?state=fine", &[]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("use one of"), "{body}");
    assert_eq!(place.get("/api/v1/talks/99", &[]).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_document_of_the_api_names_what_there_is() {
    let place = Place::new(Access::default());
    let document = place.json("/api/v1/openapi.json").await;
    let paths = document["paths"].as_object().expect("works");
    for path in paths.keys() {
        let (status, ..) = place.get(&path.replace("{id}", "1"), &[]).await;
        assert_eq!(status, StatusCode::OK, "{path}");
    }
    // What the shapes require is there.
    let talk = place.json("/api/v1/talks/1").await;
    for field in document["components"]["schemas"]["Talk"]["required"].as_array().expect("works") {
        assert!(talk.get(field.as_str().expect("works")).is_some(), "{field}");
    }
    let known = document["components"]["schemas"]["Talk"]["properties"].as_object().expect("works");
    for field in talk.as_object().expect("works").keys() {
        assert!(known.contains_key(field), "{field} is not documented");
    }
}

#[tokio::test]
async fn a_file_is_sent_whole_or_in_ranges() {
    let place = Place::new(Access::default());
    let (status, headers, body) = place.get("/talks/1/file", &[]).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "0123456789"));
    assert_eq!(headers[CONTENT_TYPE], "video/x-matroska");
    assert_eq!(headers["content-disposition"], "attachment; filename=\"opening.mkv\"");
    let (status, headers, body) = place.get("/talks/1/file", &[(RANGE, "bytes=2-4")]).await;
    assert_eq!((status, body.as_str()), (StatusCode::PARTIAL_CONTENT, "234"));
    assert_eq!(headers["content-range"], "bytes 2-4/10");
    assert_eq!(place.get("/talks/1/file", &[(RANGE, "bytes=50-")]).await.0, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(place.get("/talks/2/file", &[]).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nothing_of_an_opted_out_talk_is_served_and_no_path_leads_elsewhere() {
    let place = Place::new(Access::default());
    let (status, _, body) = place.get("/talks/3/file", &[]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(!body.contains("0123"), "{body}");
    let (_, _, page) = place.get("/talks/3", &[]).await;
    assert!(page.contains("opted out") && !page.contains("/talks/3/file"), "{page}");
    assert!(place.dir.path().join("catalog.db").exists(), "there is something to find");
    for path in [
        "/static/../catalog.db",
        "/static/..%2fcatalog.db",
        "/static/%2e%2e/%2e%2e/catalog.db",
        "/talks/..%2f..%2fcatalog.db/file",
        "/talks/27c3/opening.mkv",
        "/static/",
        "/catalog.db",
        "/talks/1/file/../../../catalog.db",
    ] {
        let (status, _, body) = place.get(path, &[]).await;
        assert!(status.is_client_error(), "{path}: {status}");
        assert!(!body.contains("SQLite format"), "{path}");
    }
}

#[tokio::test]
async fn passwords_of_streams_are_not_shown() {
    let place = Place::new(Access::default());
    place.sql(&format!(
        "INSERT INTO connection (id, uuid, hall_id, stream_id, source, opened_ms, first_byte_ms, closed_ms, bytes, end_reason)
           VALUES (1, '00000000-0000-7000-8000-000000000001', 1, 1, 'http', {START}, {START}, {START} + 60000, 1000, 'eof');
         INSERT INTO segment (id, uuid, hall_id, connection_id, path, container, start_ms, end_ms, opened_ms, closed_ms, bytes, verdict, end_reason)
           VALUES (1, '00000000-0000-7000-8000-000000000002', 1, 1, 'segments/27c3/saal-1/x.ts', 'mpegts', {START}, {START} + 60000, {START}, {START} + 60000, 1000, 'media', 'eof');
         INSERT INTO assembly_part (assembly_id, seq, segment_id, used, redundant, out_start_ms, out_end_ms) VALUES (1, 0, 1, 1, 1, 0, 60000);"
    ));
    let flow = Flow {
        state: "recording".to_owned(),
        stream: Some(crate::domain::stream_url::redact_text("http://u:secret@h.example/x")),
        bytes: 1,
        bytes_per_second: 1,
        connections: 1,
        last_trouble: None,
        last_trouble_at: None,
        silent_seconds: None,
    };
    place.tell.send_replace(recording(flow.clone(), vec![flow]));
    for path in ["/", "/talks/1", "/api/v1/talks", "/api/v1/talks/1", "/api/v1/status"] {
        let (status, _, body) = place.get(path, &[]).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        assert!(body.contains("h.example"), "{path} shows the stream: {body}");
        assert!(!body.contains("secret@"), "{path}");
    }
    assert_eq!(place.json("/api/v1/talks/1").await["parts"][0]["to_seconds"], 60.0);
}

/// A status of a second ago with one tape.
fn recording(flow: Flow, lanes: Vec<Flow>) -> Status {
    let tape = Tape {
        event: "27c3".to_owned(),
        hall: "Saal 1".to_owned(),
        talks: Vec::new(),
        titles: Vec::new(),
        since: "2010-12-27T20:30:00+01:00".to_owned(),
        until: "2010-12-27T21:30:00+01:00".to_owned(),
        flow,
        lanes,
    };
    Status { alive: true, written_ms: START + 50 * MINUTE - 1000, tapes: vec![tape], ..Status::default() }
}

#[tokio::test]
async fn each_mirror_that_is_taped_is_shown_with_its_trouble() {
    let flow = |host: &str, silent: f64| Flow {
        state: "recording".to_owned(),
        stream: Some(format!("http://{host}.example/x")),
        bytes: 5_000_000,
        bytes_per_second: 100_000,
        connections: 1,
        last_trouble: (silent > 1.0).then(|| "stalled: <nothing>".to_owned()),
        last_trouble_at: (silent > 1.0).then(|| "2010-12-27T21:19:30+01:00".to_owned()),
        silent_seconds: Some(silent),
    };
    let place = Place::new(Access::default());
    place.tell.send_replace(recording(flow("one", 0.1), vec![flow("one", 0.1), flow("two", 29.6)]));
    let page = place.get("/", &[]).await.2;
    for text in [
        "http://one.example/x",
        "http://two.example/x",
        "silent for 30 s",
        "last trouble 21:19:30: stalled: &lt;nothing&gt;",
        "800 kbit/s",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
}

#[tokio::test]
async fn a_recorder_that_hangs_is_not_shown_as_recording_and_one_that_starts_is_not_gone() {
    let place = Place::new(Access::default());
    let page = place.get("/", &[]).await.2;
    assert!(page.contains("The recorder is starting") && !page.contains("No recorder"), "{page}");
    assert_eq!(place.json("/api/v1/status").await["alive"], true);
    let status = |age: i64| Status { alive: true, written_ms: START + 50 * MINUTE - age, ..Status::default() };
    place.tell.send_replace(status(9_000));
    let page = place.get("/", &[]).await.2;
    assert!(page.contains("Nothing is being recorded") && !page.contains("has written no status"), "{page}");
    place.tell.send_replace(status(11_000));
    let said = "the daemon has written no status for 11 s";
    let page = place.get("/", &[]).await.2;
    assert!(page.contains(said), "{page}");
    assert_eq!(place.json("/api/v1/status").await["problems"][0], said);
}

#[tokio::test]
async fn a_talk_without_a_file_says_why() {
    let place = Place::new(Access::default());
    let says = async |talk: i64, text: &str| {
        let page = place.get(&format!("/talks/{talk}"), &[]).await.2;
        assert!(page.contains(text), "{text} in {page}");
    };
    says(2, "it is made when the window is over, at 21:45").await;
    place.sql("UPDATE talk SET status = 'cancelled' WHERE id = 2");
    says(2, "There is no file: the talk is cancelled.").await;
    place.sql(&format!(
        "UPDATE talk SET status = 'scheduled', start_ms = {START} - 7200000, end_ms = {START} - 3600000 WHERE id = 2"
    ));
    says(2, "nothing of this talk was recorded").await;
    place.sql(&format!(
        "INSERT INTO segment (id, uuid, hall_id, path, container, start_ms, end_ms, opened_ms, closed_ms, bytes, verdict)
           VALUES (1, '00000000-0000-7000-8000-000000000003', 2, 'segments/x.ts', 'mpegts', {START} - 7200000, {START} - 7100000, {START} - 7200000, {START} - 7100000, 1, 'media')"
    ));
    says(2, "the talk waits to be joined").await;
    place.sql("UPDATE assembly_todo SET problem = 'ffmpeg died' WHERE talk_id = 2");
    says(2, "joining failed and is tried again (ffmpeg died)").await;
    place.sql("DELETE FROM assembly_todo");
    says(2, "nothing of what was recorded can be joined").await;
}

#[tokio::test]
async fn no_proxy_keeps_news_back() {
    let place = Place::new(Access::default());
    let request = Request::get("/live").header(HOST, "127.0.0.1").body(Body::empty()).expect("works");
    let answer = place.app.clone().oneshot(request).await.expect("works");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    assert_eq!(answer.headers()[CONTENT_TYPE], "text/event-stream");
}

#[tokio::test]
async fn a_strangers_name_and_a_missing_token_are_turned_away() {
    let place = Place::new(Access { token: Some("0123456789abcdef".to_owned()), hosts: Vec::new() });
    let token = (AUTHORIZATION, "Bearer 0123456789abcdef");
    assert_eq!(place.get("/", &[(HOST, "evil.example"), token.clone()]).await.0, StatusCode::MISDIRECTED_REQUEST);
    for path in ["/", "/api/v1/talks", "/talks/1/file", "/live", "/static/page.js"] {
        assert_eq!(place.get(path, &[]).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(place.get("/", std::slice::from_ref(&token)).await.0, StatusCode::OK);
    let (status, headers, _) = place.get("/talks/1?token=0123456789abcdef", &[]).await;
    assert_eq!((status, &headers["location"]), (StatusCode::SEE_OTHER, &"/talks/1".parse().expect("works")));
    assert!(headers["set-cookie"].to_str().expect("works").contains("HttpOnly; SameSite=Strict"));
}

#[tokio::test]
async fn a_catalog_that_is_gone_is_an_answer_not_a_panic() {
    let place = Place::new(Access::default());
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(place.dir.path().join(name));
    }
    let (status, _, page) = place.get("/", &[]).await;
    assert!(status.is_client_error() || status.is_server_error(), "{status}: {page}");
    assert!(!Path::new("catalog.db").exists());
}

/// 40 s of stream in the hall of talks 1 and 3, in one file: 20 s before and 20 s after the change. Returns the
/// addresses of the pieces that are listed for talk 1.
async fn shared_segment(place: &Place) -> Vec<String> {
    let bytes = Recipe::new(Format::MpegTs).video_kbit(2000).seconds(40.0).bytes();
    let change = START + 30 * MINUTE;
    open_writer(place.dir.path())
        .expect("works")
        .execute(
            "INSERT INTO segment (id, uuid, hall_id, path, container, start_ms, end_ms, opened_ms, closed_ms, bytes, verdict)
             VALUES (5, 'd6c7b0c0-0000-7000-8000-000000000005', 1, 'both.ts', 'mpegts', ?1, ?2, ?1, ?2, ?3, 'unchecked')",
            (change - 20_000, change + 20_000, bytes.len() as i64),
        )
        .expect("works");
    std::fs::write(place.dir.path().join("both.ts"), &bytes).expect("works");
    let (status, _, list) = place.get("/talks/1/play.m3u8", &[]).await;
    assert_eq!(status, StatusCode::OK, "{list}");
    list.lines().filter(|line| line.starts_with("chunks/")).map(|line| format!("/talks/1/{line}")).collect()
}

#[tokio::test]
async fn only_pieces_that_are_listed_are_served_so_nothing_of_a_neighbour_that_is_opted_out() {
    let place = Place::new(Access::default());
    let listed = shared_segment(&place).await;
    assert_eq!(listed.len(), 5, "20 s in pieces of 4 s: {listed:?}");
    let place_of = |path: &str| -> (u64, u64) {
        let numbers = path.trim_end_matches(".ts").rsplit('-').map(|n| n.parse().expect("a number"));
        let two: Vec<u64> = numbers.take(2).collect();
        (two[1], two[0])
    };
    let (from, to) = place_of(&listed[4]);
    let status = async |path: String| {
        place
            .app
            .clone()
            .oneshot(Request::get(path).header(HOST, "127.0.0.1:8273").body(Body::empty()).expect("works"))
            .await
            .expect("works")
            .status()
    };
    for path in &listed {
        assert_eq!(status(path.clone()).await, StatusCode::OK, "{path}");
    }
    // To any later byte; from the neighbour's first cut, which is where the last piece ends; two pieces at once.
    let earlier = place_of(&listed[3]).0;
    for path in [(from, to + 188), (from, to + 500_000), (to, to + 500_000), (earlier, to), (from, from + 188)] {
        let path = format!("/talks/1/chunks/5-{}-{}.ts", path.0, path.1);
        assert_eq!(status(path.clone()).await, StatusCode::NOT_FOUND, "{path}");
    }
    for path in [format!("/talks/3/chunks/5-{from}-{to}.ts"), format!("/talks/3/chunks/5-{to}-{}.ts", to + 9400)] {
        assert_eq!(status(path.clone()).await, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_talk_in_webm_is_given_in_pieces_of_webm_and_not_as_hls() {
    let place = Place::new(Access::default());
    let bytes = Recipe::new(Format::WebM).seconds(9.0).bytes();
    std::fs::write(place.dir.path().join("one.webm"), &bytes).expect("works");
    place.sql(&format!(
        "INSERT INTO segment (id, uuid, hall_id, path, container, start_ms, end_ms, opened_ms, closed_ms, bytes, verdict)
           VALUES (5, 'd6c7b0c0-0000-7000-8000-000000000005', 1, 'one.webm', 'webm', {START}, {START} + 9000, {START}, {START} + 9000, 1, 'unchecked')"
    ));
    let told = place.json("/talks/1/pieces").await;
    let pieces = told["pieces"].as_array().expect("a list");
    assert_eq!((pieces.len(), &told["ended"]), (3, &Value::Bool(true)), "{told}");
    assert_eq!(pieces[0]["type"], "video/webm; codecs=\"vp8,vorbis\"");
    assert_eq!((pieces[0]["at"].as_f64(), pieces[1]["at"].as_f64()), (Some(0.0), Some(4.0)));
    assert_eq!(place.json("/talks/1/pieces?from=2").await["pieces"][0], pieces[2], "what was told stays");
    let name = format!("/talks/1/{}", pieces[1]["name"].as_str().expect("a name"));
    let (status, headers, body) = place.get(&name, &[]).await;
    assert_eq!((status, &headers[CONTENT_TYPE]), (StatusCode::OK, &"video/webm".parse().expect("works")));
    assert!(body.len() > 10_000);
    let timeline = place.json("/talks/1/timeline").await;
    assert_eq!((&timeline["webm"], &timeline["begun"]), (&Value::Bool(true), &Value::Bool(true)), "{timeline}");
    assert_eq!(place.get("/talks/1/play.m3u8", &[]).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn of_a_piece_that_nobody_reads_on_only_one_block_is_in_memory() {
    use http_body_util::BodyExt as _;
    let place = Place::new(Access::default());
    let listed = shared_segment(&place).await;
    let request = Request::get(&listed[1]).header(HOST, "127.0.0.1:8273").body(Body::empty()).expect("works");
    let mut body = place.app.clone().oneshot(request).await.expect("works").into_body();
    let mut sizes = Vec::new();
    while let Some(frame) = body.frame().await {
        sizes.push(frame.expect("works").into_data().expect("bytes").len());
    }
    assert!(sizes.iter().all(|size| *size <= 128 << 10), "{sizes:?}");
    assert!(sizes.iter().sum::<usize>() > 500_000, "{sizes:?}");
    // The file is read when it is asked for: what was not asked for is not there.
    let request = Request::get(&listed[1]).header(HOST, "127.0.0.1:8273").body(Body::empty()).expect("works");
    let mut body = place.app.clone().oneshot(request).await.expect("works").into_body();
    assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
    let file = std::fs::File::options().write(true).open(place.dir.path().join("both.ts")).expect("works");
    file.set_len(0).expect("works");
    assert!(body.frame().await.is_none());
}
