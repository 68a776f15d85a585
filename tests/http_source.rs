//! Tapes on the built-in HTTP source: real sockets on loopback, servers that behave badly, a real Icecast.

mod bench;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use streamrip::app::support::clock::SystemClock;
use streamrip::domain::clock::Clock as _;
use streamrip::domain::hall::Recorder;
use streamrip::domain::segment::{Container, EndReason};
use streamrip::domain::settings::Record;
use streamrip::domain::stream_request::StreamRequest;
use streamrip::domain::stream_url::StreamUrl;
use streamrip::source::http::{Http, Setup};
use streamrip::source::log::NoLog;
use streamrip::source::{Source as _, Sources};
use streamrip::tape::TapeOrder;
use streamrip_lab::{
    Act, Answer, End, FaultServer, Feed, Format, Icecast, Limit, Live, PATIENCE, Recipe, Route, Streaming, eventually,
    packet,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use bench::tls::{connect_proxy, tls_server, trusting};
use bench::{Bench, Segment};

fn source(setup: &Setup) -> Sources {
    Sources::of(vec![Arc::new(Http::with(Arc::new(NoLog), setup))])
}

/// With the built-in source alone.
fn new_bench() -> Bench {
    let mut bench = Bench::new();
    bench.sources = source(&Setup::default());
    bench.record = Record { first_byte_timeout_ms: 3000, ..Record::default() };
    bench
}

fn order_of(url: &str) -> TapeOrder {
    TapeOrder { recorder: Recorder::Http, ..Bench::order(url) }
}

#[tokio::test]
async fn cut_reset_and_handed_over_it_leaves_pieces_of_the_stream_and_comes_back_at_once() {
    let (server, feed, bench) = (FaultServer::start(), Feed::start(14), new_bench());
    let route = server.live("/saal1", "video/mp2t", &feed.live);
    let mut order = order_of(&route.url());
    let mut tape = bench.start(order.clone());
    bench.flows(&tape, 1).await;
    route.act(Act::Cut(End::Fin));
    bench.flows(&tape, 2).await;
    route.act(Act::Cut(End::Rst));
    bench.flows(&tape, 3).await;
    order.boundaries = vec![SystemClock.now().plus(200)];
    tape.retarget(order);
    bench.flows(&tape, 4).await;
    bench.stop(&mut tape).await;

    let ends = bench.ends();
    assert_eq!(ends[0], (EndReason::Eof, "the server closed the connection".to_owned()));
    assert_eq!(ends[1].0, EndReason::Network, "{ends:?}");
    assert_eq!((ends[2].0, ends[3].0), (EndReason::Handover, EndReason::Shutdown));
    let segments = bench.segments();
    let places: Vec<_> = segments.iter().map(|s| feed.place(&s.content)).collect();
    assert!(places[3].0 < places[2].1, "no overlap at the handover: {places:?}");
    assert!(segments.iter().all(|s| (s.container, s.not_media) == (Container::MpegTs, false)));
    // After a proper end it had all that was sent, and nothing of the stream was missed by the next one: both
    // begin where the server put them.
    let log = route.connections();
    assert_eq!(places[0].1 - places[0].0, log[0].sent);
    assert_eq!(places[1].0, log[1].from);
}

/// Both may be read at once, before anybody has heard of the end: then too the reader must not wait for its next turn.
#[tokio::test]
async fn an_end_that_is_read_together_with_the_last_bytes_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}/saal1", listener.local_addr().expect("address"));
    let (go_on, told) = mpsc::channel();
    let (tell, ended) = mpsc::channel();
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut request = BufReader::new(client.try_clone().expect("the same socket")).lines();
        while request.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").and_then(|()| client.write_all(&[0x47; 188])).expect("written");
        told.recv().expect("told");
        client.write_all(&[0x47; 188]).expect("written");
        drop(client);
        tell.send(()).expect("somebody waits");
    });

    let source = Http::with(Arc::new(NoLog), &Setup::default());
    let mut running = source.open(&StreamUrl::parse(&url).expect("an address"), "saal1").expect("opened");
    let mut packet = [0; 188];
    running.bytes.read_exact(&mut packet).await.expect("the first");
    assert!(!running.over.is_cancelled());
    // No task of this thread's runtime runs meanwhile.
    go_on.send(()).expect("the server waits");
    ended.recv().expect("the end was sent");
    let mut rest = [0; 4096];
    assert_eq!(running.bytes.read(&mut rest).await.expect("the last"), packet.len());
    tokio::time::timeout(PATIENCE, running.over.cancelled()).await.expect("the end is known");
    server.join().expect("the server");
}

#[tokio::test]
async fn silence_is_hedged_after_about_a_second() {
    let (server, feed, bench) = (FaultServer::start(), Feed::start(14), new_bench());
    let route = server.live("/saal1", "video/mp2t", &feed.live);
    let mut tape = bench.start(order_of(&route.url()));
    eventually("a known stream", PATIENCE, || feed.live.len() > 14 * 188 * 20 * 7).await;
    bench.flows(&tape, 1).await;
    route.act(Act::SilenceOpen);
    bench.flows(&tape, 2).await;
    eventually("the old one to be given up", PATIENCE, || !bench.ends().is_empty()).await;
    bench.stop(&mut tape).await;
    let ends = bench.ends();
    assert_eq!(ends[0].0, EndReason::Stalled);
    assert_eq!(ends.len(), 2, "{ends:?}");
    let log = route.connections();
    let silent_ms = log[1].opened_ms - feed.live.arrival_of(log[0].from + log[0].sent).expect("sent");
    // Not before a second; how much later, the machine decides: long before the stall timeout.
    assert!((500..20_000).contains(&silent_ms), "{silent_ms}");
    for segment in bench.segments() {
        feed.place(&segment.content);
    }
}

#[tokio::test]
async fn how_it_ended_is_said_exactly() {
    let server = FaultServer::start();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("address");
    let live = Live::new(188);
    live.push(&[0x47; 188 * 50]);
    let raw = |text: &str| Some(Answer::Raw(text.as_bytes().to_vec()));
    let media = String::from_utf8(vec![0x47; 188 * 50]).expect("ascii");
    let all = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{media}", media.len());
    let short = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{media}", media.len() + 1);
    let chunks =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{media}\r\n0\r\n\r\n", media.len());
    let broken = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{media}", media.len() + 9);
    let gzip = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nx";
    let cases = [
        ("/404", Some(Answer::Status(404)), EndReason::Http(404), "404"),
        ("/503", Some(Answer::Status(503)), EndReason::Http(503), "503"),
        ("/html", Some(Answer::html()), EndReason::NotMedia, "web page"),
        ("/gone", Some(Answer::HangUp(End::Rst)), EndReason::Network, ""),
        ("/bye", Some(Answer::HangUp(End::Fin)), EndReason::Network, "before its answer"),
        ("/silence", Some(Answer::Silence), EndReason::NoFirstByte, ""),
        ("/body", Some(Answer::SilentBody), EndReason::NoFirstByte, ""),
        ("/refused", None, EndReason::Refused, ""),
        ("/all", raw(&all), EndReason::Eof, "all bytes that the server announced"),
        ("/short", raw(&short), EndReason::Eof, "before the end that it had announced"),
        ("/chunks", raw(&chunks), EndReason::Eof, "said that this is all"),
        ("/broken", raw(&broken), EndReason::Eof, "before the end that it had announced"),
        ("/empty", raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), EndReason::Eof, "all bytes"),
        ("/gzip", raw(gzip), EndReason::NotMedia, "gzip"),
        ("/ssh", raw("SSH-2.0-OpenSSH_9.2\r\n"), EndReason::NotMedia, "no answer of a web server"),
        ("/loop", Some(Answer::redirect(302, "/loop")), EndReason::Http(302), "more than 10 redirects"),
        ("/nowhere", raw("HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n"), EndReason::Http(301), "nowhere"),
        ("/file", Some(Answer::redirect(302, "file:///etc/passwd")), EndReason::Http(302), "not followed"),
        ("/mms", Some(Answer::redirect(302, "mms://127.0.0.1/x")), EndReason::Http(302), "only http and https"),
        ("/hls", raw("HTTP/1.1 200 OK\r\n\r\n#EXTM3U\n#EXT-X-VERSION:3\n"), EndReason::NotMedia, "playlist"),
        ("/m3u", Some(Answer::m3u("file:///etc/passwd")), EndReason::NotMedia, "not followed"),
        ("/rings.m3u", Some(Answer::m3u("/rings.m3u")), EndReason::NotMedia, "3 deep"),
        ("/none.pls", raw("HTTP/1.1 200 OK\r\n\r\n[playlist]\n"), EndReason::NotMedia, "without an address"),
    ];
    let mut running = Vec::new();
    for (path, answer, want, words) in cases {
        let url = match answer {
            Some(answer) => {
                let route = server.live(path, "video/mp2t", &live);
                route.act(Act::Always(answer));
                route.url()
            }
            None => format!("http://{nobody}{path}"),
        };
        let bench = new_bench();
        let tape = bench.start(order_of(&url));
        running.push((path, bench, tape, want, words));
    }
    running.push({
        let bench = new_bench();
        let tape = bench.start(order_of(&format!("https://{}/x", plain_speaker())));
        ("https", bench, tape, EndReason::Tls, "")
    });
    for (path, bench, mut tape, want, words) in running {
        eventually(path, PATIENCE, || !bench.ends().is_empty()).await;
        bench.stop(&mut tape).await;
        let (reason, detail) = bench.ends().remove(0);
        assert_eq!(reason, want, "{path}: {detail}");
        assert!(detail.contains(words), "{path}: {detail}");
    }
}

/// The address of a server that answers whatever is said to it without TLS.
fn plain_speaker() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let _ = std::io::Write::write_all(&mut client, b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let _ = std::io::Read::read(&mut client, &mut [0; 4096]);
        }
    });
    address
}

/// What one tape of a route recorded in a second or so.
async fn recorded(route: &Route, until: u64) -> Vec<Segment> {
    let bench = new_bench();
    let mut tape = bench.start(order_of(&route.url()));
    eventually(&route.url(), PATIENCE, || {
        assert!(bench.ends().len() < 9, "{}: {:?}", route.url(), bench.ends());
        tape.status().bytes > until
    })
    .await;
    bench.stop(&mut tape).await;
    bench.segments()
}

#[tokio::test]
async fn chunks_shoutcast_titles_redirects_and_playlists_all_give_the_stream() {
    let (server, feed) = (FaultServer::start(), Feed::start(14));
    let stream = server.live("/stream", "video/mp2t", &feed.live);
    for (path, answer) in [
        ("/chunked", Answer::Stream(Streaming { chunked: true, ..Streaming::default() })),
        ("/icy", Answer::Headed("ICY 200 OK\r\nicy-name:Saal 1\r\nicy-br : 128\r\nContent-Type:video/mp2t\r\n\r\n")),
        ("/old", Answer::Headed("HTTP/1.0 200\r\n\r\n")),
        ("/moved/again", Answer::redirect(307, &stream.url())),
        ("/moved", Answer::redirect(301, "/moved/again")),
        ("/saal1.m3u", Answer::m3u("/stream")),
        ("/saal1.asx", Answer::asx(&stream.url())),
        (
            "/deep.pls",
            Answer::Body {
                kind: "audio/x-scpls",
                body: b"[playlist]\nFile1=http://127.0.0.1:1/nobody\nFile2=/saal1.m3u\n".to_vec(),
            },
        ),
    ] {
        let route = server.live(path, "video/mp2t", &feed.live);
        route.act(Act::Always(answer));
        let segments = recorded(&route, 30_000).await;
        assert_eq!(segments.len(), 1, "{path}");
        feed.place(&segments[0].content);
    }
    // Titles between the bytes, though none were asked for.
    let media: Vec<u8> = (0..200).flat_map(packet).collect();
    let mut answer = b"ICY 200 OK\r\nicy-metaint:1000\r\n\r\n".to_vec();
    for (n, part) in media.chunks(1000).enumerate() {
        answer.extend_from_slice(part);
        if part.len() == 1000 {
            answer.push((n % 3) as u8);
            answer.extend_from_slice(&b"StreamTitle='x';"[..16].repeat(n % 3));
        }
    }
    let route = server.live("/titles", "video/mp2t", &feed.live);
    route.act(Act::Always(Answer::Raw(answer)));
    let segments = recorded(&route, 30_000).await;
    assert!(segments[0].content == media, "the titles are still in it");
    let request = &route.connections()[0].request;
    for line in ["icy-metadata: 0", "accept-encoding: identity", "user-agent: streamrip/", "connection: close"] {
        assert!(request.to_ascii_lowercase().contains(line), "{request}");
    }
}

#[tokio::test]
async fn twenty_megabits_a_second_are_read_as_fast_as_they_come() {
    let (server, feed) = (FaultServer::start(), Feed::start(665));
    let route = server.live("/saal1", "video/mp2t", &feed.live);
    let bench = new_bench();
    let mut tape = bench.start(order_of(&route.url()));
    eventually("10 MB", PATIENCE, || tape.status().bytes > 10_000_000).await;
    // Whatever the machine is busy with: what is behind is what the sockets and one turn hold, not a growing heap.
    eventually("it to have caught up", PATIENCE, || {
        let log = &route.connections()[0];
        log.from + log.sent + 2_000_000 > feed.live.len()
    })
    .await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    assert_eq!(segments.len(), 1);
    feed.place(&segments[0].content);
    assert_eq!(bench.ends(), [(EndReason::Shutdown, String::new())]);
}

#[tokio::test]
async fn basic_auth_comes_from_the_address_and_goes_to_no_other_server() {
    let (server, other, feed) = (FaultServer::start(), FaultServer::start(), Feed::start(14));
    let stream = other.live("/stream", "video/mp2t", &feed.live);
    let route = server.live("/moved", "video/mp2t", &feed.live);
    route.act(Act::Always(Answer::redirect(302, "/here")));
    let here = server.live("/here", "video/mp2t", &feed.live);
    here.act(Act::Always(Answer::redirect(302, &stream.url())));
    let bench = new_bench();
    let url = route.url().replace("http://", "http://Aladdin:open%20sesame@");
    let mut tape = bench.start(order_of(&url));
    eventually("bytes", PATIENCE, || tape.status().bytes > 0).await;
    bench.stop(&mut tape).await;
    let has_login = |route: &Route| {
        let request = route.connections()[0].request.clone();
        assert!(!request.contains('@'), "{request}");
        request.contains("authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    };
    assert!(has_login(&route) && has_login(&here) && !has_login(&stream));
}

#[tokio::test]
async fn a_real_icecast_gives_mp3_and_ogg_with_its_burst() {
    let icecast = Icecast::start(65_536);
    for (mount, format, want) in
        [("/saal1.mp3", Format::Mp3, Container::Mp3), ("/saal1.ogg", Format::OggAudio, Container::Ogg)]
    {
        let encoder = Recipe::new(format).start();
        icecast.mount(mount, &encoder);
        let bench = new_bench();
        let mut tape = bench.start(order_of(&icecast.url(mount)));
        eventually(mount, PATIENCE, || tape.status().bytes > 20_000).await;
        bench.stop(&mut tape).await;
        let segments = bench.segments();
        assert_eq!((segments.len(), segments[0].container), (1, want), "{mount}");
        assert_eq!(segments[0].reason, EndReason::Shutdown);
    }
}

#[tokio::test]
async fn a_server_that_cuts_every_connection_after_half_a_second_costs_next_to_nothing() {
    let (server, feed, bench) = (FaultServer::start(), Feed::start(14), new_bench());
    let route = server.live("/saal1", "video/mp2t", &feed.live);
    let cut = Answer::cut(Limit::Time(Duration::from_millis(500)), End::Fin);
    route.act(Act::Next(vec![cut; 6]));
    let mut tape = bench.start(order_of(&route.url()));
    bench.flows(&tape, 7).await;
    bench.stop(&mut tape).await;
    // Server's time between an end and the next request: at once, six times in a row. A slow machine is forgiven.
    let log = route.connections();
    let waits: Vec<_> = log.windows(2).map(|w| w[1].opened_ms - w[0].closed_ms.expect("closed")).collect();
    assert!(waits.iter().sum::<i64>() < 3000, "{waits:?}");
    for segment in bench.segments() {
        feed.place(&segment.content);
    }
}

/// The request that brought the first bytes of this address.
async fn request_for(bench: &Bench, url: StreamUrl, route: &Route) -> String {
    let mut order = order_of("http://h/");
    order.streams[0].url = url;
    let mut tape = bench.start(order);
    eventually("bytes", PATIENCE, || tape.status().bytes > 0).await;
    bench.stop(&mut tape).await;
    route.connections().pop().expect("one").request
}

#[tokio::test]
async fn a_netrc_the_users_headers_and_a_proxy_are_used() {
    let (server, other, feed) = (FaultServer::start(), FaultServer::start(), Feed::start(14));
    let route = server.live("/saal1", "video/mp2t", &feed.live);
    let mut bench = new_bench();
    let netrc = bench.dir.path().join("netrc");
    std::fs::write(&netrc, "machine 127.0.0.1 login Aladdin password \"open sesame\"\n").expect("written");
    let mut setup = Setup { netrc: Some(netrc), ..Setup::default() };
    bench.sources = source(&setup);
    let url = StreamUrl::parse(&route.url()).expect("valid");
    let request = request_for(&bench, url.clone(), &route).await;
    assert!(request.contains("authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), "{request}");

    let mut asked = StreamRequest::default();
    asked.set_user_agent("NSPlayer/7.0").expect("fine");
    asked.add_header("Authorization", "Bearer s3cret").expect("fine");
    asked.add_header("X-Key", "k").expect("fine");
    let request = request_for(&bench, url.asked_with(asked.clone()), &route).await;
    for line in ["authorization: Bearer s3cret", "user-agent: NSPlayer/7.0", "x-key: k"] {
        assert!(request.contains(line), "{request}");
    }
    // Another server gets the name and nothing else.
    let moved = other.live("/moved", "video/mp2t", &feed.live);
    moved.act(Act::Always(Answer::redirect(302, &route.url())));
    setup.netrc = None;
    bench.sources = source(&setup);
    let url = StreamUrl::parse(&moved.url()).expect("valid").asked_with(asked);
    let request = request_for(&bench, url, &route).await;
    assert!(request.contains("user-agent: NSPlayer/7.0"), "{request}");
    assert!(!request.contains("s3cret") && !request.contains("x-key"), "{request}");

    setup.proxy = Some(format!("http://me:secret@{}", server.address()));
    bench.sources = source(&setup);
    let proxied = server.live("http://nowhere.invalid/saal1", "video/mp2t", &feed.live);
    let url = StreamUrl::parse("http://nowhere.invalid/saal1").expect("valid");
    let request = request_for(&bench, url, &proxied).await;
    assert!(request.starts_with("GET http://nowhere.invalid/saal1 HTTP/1.1"), "{request}");
    assert!(request.contains("proxy-authorization: Basic bWU6c2VjcmV0"), "{request}");
}

#[tokio::test]
async fn https_is_taken_from_a_server_that_is_trusted_and_from_no_other() {
    let media = Recipe::new(Format::MpegTs).seconds(2.0).flat_out().bytes();
    let bytes = media.clone();
    let address = tls_server(move |mut tls| {
        let media = bytes.clone();
        async move {
            let _ = tls.read(&mut [0; 4096]).await;
            let _ = tls.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            let _ = tls.write_all(&media).await;
            let _ = tls.shutdown().await;
        }
    });
    let mut bench = new_bench();
    let setup = Setup { tls: Some(trusting()), ..Setup::default() };
    bench.sources = source(&setup);
    let stranger = new_bench();
    let mut tape = bench.start(order_of(&format!("https://{address}/saal1")));
    let mut other = stranger.start(order_of(&format!("https://{address}/saal1")));
    eventually("it to end", PATIENCE, || !bench.ends().is_empty()).await;
    eventually("it to be refused", PATIENCE, || !stranger.ends().is_empty()).await;
    bench.stop(&mut tape).await;
    stranger.stop(&mut other).await;
    assert_eq!(bench.ends()[0].0, EndReason::Eof);
    assert!(bench.segments()[0].content == media);
    let (reason, detail) = stranger.ends().remove(0);
    assert_eq!(reason, EndReason::Tls, "{detail}");
    assert!(detail.to_lowercase().contains("certificate"), "{detail}");

    // Through a proxy, which sees nothing but where it leads.
    let (proxy, asked) = connect_proxy();
    let mut behind = new_bench();
    behind.sources = source(&Setup { proxy: Some(format!("http://me:secret@{proxy}")), ..setup });
    let mut tape = behind.start(order_of(&format!("https://{address}/saal1")));
    eventually("it to end", PATIENCE, || !behind.ends().is_empty()).await;
    behind.stop(&mut tape).await;
    assert!(behind.segments()[0].content == media, "{:?}", behind.ends());
    let head = asked.lock().expect("lock")[0].clone();
    assert!(head.starts_with(&format!("CONNECT {address} HTTP/1.1\r\n")), "{head}");
    assert!(head.to_ascii_lowercase().contains("proxy-authorization: basic bwu6c2vjcmv0"), "{head}");
}
