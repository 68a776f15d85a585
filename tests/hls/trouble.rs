//! What a server does to a tape in the middle of a talk.

use std::time::Duration;

use streamrip::domain::hall::Stream;
use streamrip::domain::ids::StreamId;
use streamrip::domain::segment::EndReason;
use streamrip::domain::stream_url::StreamUrl;
use streamrip::source::http::Setup;
use streamrip::tape::events::TapeEvent;
use streamrip_lab::{PATIENCE, Trouble, eventually};

use crate::bench::Bench;
use crate::bench::tls::{connect_proxy, tls_before, trusting};
use crate::channel::{CHUNK, Channel, assert_same};

#[tokio::test(flavor = "multi_thread")]
async fn several_chunks_that_never_come_are_left_out_and_no_other() {
    let (bench, mut live) = (Bench::new(), Channel::start(40));
    for missing in ["/2.ts", "/3.ts"] {
        live.server.trouble(missing, usize::MAX, Trouble::Status(404));
    }
    live.tags.insert(4, "#EXT-X-GAP\n".to_owned());
    live.server.trouble("/7.ts", usize::MAX, Trouble::Silence);
    live.tags.insert(8, "#EXT-X-GAP\n".to_owned());
    live.publish(10);
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 5 * CHUNK).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    assert_eq!(segments.len(), 1, "{:?}", bench.ends());
    assert_same(&segments[0].content, &live.chunks([0, 1, 5, 6, 9]), "one file");
}

/// A master playlist of a good rendition and a small one, which has chunks of its own.
fn two_renditions(live: &Channel) -> String {
    let master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=2500000,RESOLUTION=1280x720\nindex.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=640x360\nsmall.m3u8\n";
    live.server.put("/live/master.m3u8", master);
    live.server.put("/live/small.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsmall.bin\n");
    live.server.put("/live/small.bin", live.chunk(99));
    live.server.url("/live/master.m3u8")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rendition_that_was_recorded_is_asked_for_again_and_not_changed_for_another() {
    let (bench, mut live) = (Bench::new(), Channel::start(20));
    live.publish(3);
    let url = two_renditions(&live);
    let mut tape = bench.start(Bench::order(&url));
    bench.bytes(&tape, 3 * CHUNK).await;
    bench.stop(&mut tape).await;
    live.server.trouble("index", 2, Trouble::Status(503));
    live.publish(2);
    let mut tape = bench.start(Bench::order(&url));
    bench.bytes(&tape, 3 * CHUNK).await;
    bench.stop(&mut tape).await;
    assert_same(&bench.segments()[1].content, &live.chunks(2..5), "the same rendition");
    assert!(live.server.requests("small").is_empty(), "{:?}", bench.lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_no_longer_good_is_asked_for_anew() {
    // The same playlist on another machine, as with a signature that has run out: the file goes on.
    let (bench, mut live, mut other) = (Bench::new(), Channel::start(20), Channel::start(20));
    live.publish(3);
    other.publish(5);
    let url = two_renditions(&live);
    let mut tape = bench.start(Bench::order(&url));
    bench.bytes(&tape, 3 * CHUNK).await;
    live.server.trouble("index", usize::MAX, Trouble::Status(403));
    let master = format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{}\n", other.url());
    live.server.put("/live/master.m3u8", master);
    bench.bytes(&tape, 5 * CHUNK).await;
    assert_eq!(bench.ends(), [], "it went on");
    // Under another name: another connection, which takes what is there.
    other.server.trouble("index", usize::MAX, Trouble::Status(404));
    live.server.put("/live/master.m3u8", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nsmall.m3u8\n");
    bench.bytes(&tape, 6 * CHUNK).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    assert_eq!(segments.len(), 2, "{:?}", bench.ends());
    assert_same(&segments[0].content, &live.chunks(0..5), "the first file");
    assert_same(&segments[1].content, &live.chunk(99), "the second");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_after_media_has_the_cause_that_it_had() {
    let (bench, mut live) = (Bench::new(), Channel::start(8));
    live.publish(2);
    let mut order = Bench::order(&live.url());
    // Another mirror, for which this one is given up after some seconds.
    let mirror = StreamUrl::parse(&live.server.url("/nobody/index.m3u8")).expect("valid");
    order.streams.push(Stream { id: StreamId(2), url: mirror });
    let mut tape = bench.start(order);
    bench.bytes(&tape, 2 * CHUNK).await;
    live.server.trouble("/live/", usize::MAX, Trouble::Status(503));
    let end = || {
        bench.events().into_iter().find_map(|e| match e {
            TapeEvent::ConnectionClosed { bytes: 1.., reason, .. } => Some(reason),
            _ => None,
        })
    };
    eventually("an end after bytes", PATIENCE, || end().is_some()).await;
    bench.stop(&mut tape).await;
    assert_eq!(end(), Some(EndReason::Http(503)), "{:?}", bench.ends());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_whose_date_moves_by_milliseconds_is_the_same_one() {
    let (bench, mut live) = (Bench::new(), Channel::start(20));
    live.dated_from = Some(streamrip::domain::time::Ms(1_293_480_000_000));
    live.publish(2);
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 2 * CHUNK).await;
    live.server.trouble("/2.ts", 1, Trouble::Cut(5000));
    live.server.trouble("/2.ts", 3, Trouble::Status(503));
    live.publish(1);
    for moved in 1.. {
        live.dated_from = live.dated_from.map(|from| from.plus(3));
        live.write("");
        tokio::time::sleep(Duration::from_millis(20)).await;
        if tape.status().bytes >= 3 * CHUNK as u64 || moved > 1000 {
            break;
        }
    }
    bench.stop(&mut tape).await;
    assert_same(&bench.segments()[0].content, &live.chunks(0..3), "one file");
    let ranges: Vec<_> = live.server.requests("/2.ts").iter().map(|r| r.range_from).collect();
    assert_eq!(ranges[1..], vec![Some(5000); ranges.len() - 1], "the rest only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_of_the_start_of_an_mp4_makes_no_new_file() {
    let (bench, mut live) = (Bench::new(), Channel::start(20));
    let init = [b"\0\0\0\x14ftypiso6\0\0\x02\0", [b'i'; 200].as_slice()].concat();
    live.server.put("/live/init.mp4", init.clone());
    for number in 0..6 {
        live.tags.insert(number, format!("#EXT-X-MAP:URI=\"init.mp4?token={number}\"\n"));
    }
    live.publish(3);
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 3 * CHUNK).await;
    live.publish(3);
    bench.bytes(&tape, 6 * CHUNK).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    assert_eq!(segments.len(), 1, "{:?}", bench.ends());
    assert!(segments[0].content == [init, live.chunks(0..6)].concat());
    assert_eq!(live.server.requests("init").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_server_may_name_its_neighbours() {
    let (bench, mut live) = (Bench::new(), Channel::start(20));
    live.publish(2);
    let text = live.server.url("/live/").replace("127.0.0.1", "localhost");
    live.server.put("/live/index.m3u8", format!("#EXTM3U\n#EXTINF:1,\n{text}0.ts\n#EXTINF:1,\n{text}1.ts\n"));
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 2 * CHUNK).await;
    bench.stop(&mut tape).await;
    assert_same(&bench.segments()[0].content, &live.chunks(0..2), "from the neighbour");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_at_home_is_used_and_knows_the_names() {
    let mut live = Channel::start(20);
    live.publish(2);
    // To a proxy the whole address is the path.
    for file in ["index.m3u8", "0.ts", "1.ts"] {
        let bytes = live.server.find(&format!("/live/{file}")).expect("published");
        live.server.put(&format!("http://nobody.invalid/live/{file}"), bytes);
    }
    let proxy = live.server.url("").replace("127.0.0.1", "localhost");
    let bench = Bench::behind(&proxy);
    let mut order = Bench::order("http://h/");
    order.streams[0].url = StreamUrl::parse_from_schedule("http://nobody.invalid/live/index.m3u8").expect("valid");
    let mut tape = bench.start(order);
    bench.bytes(&tape, 2 * CHUNK).await;
    bench.stop(&mut tape).await;
    assert_same(&bench.segments()[0].content, &live.chunks(0..2), "through the proxy");
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_taken_from_a_server_that_is_trusted_and_from_no_other_also_through_a_proxy() {
    let mut live = Channel::start(20);
    live.publish(2);
    let plain = live.server.url("").trim_start_matches("http://").parse().expect("an address");
    let url = format!("https://{}/live/index.m3u8", tls_before(plain));
    let stranger = Bench::new();
    let mut tape = stranger.start(Bench::order(&url));
    eventually("a refusal", PATIENCE, || !stranger.ends().is_empty()).await;
    stranger.stop(&mut tape).await;
    assert_eq!(stranger.ends()[0].0, EndReason::Tls, "{:?}", stranger.ends());
    let (proxy, asked) = connect_proxy();
    for proxy in [None, Some(format!("http://me:secret@{proxy}"))] {
        let bench = Bench::of_hls(Setup { tls: Some(trusting()), proxy, ..Setup::default() });
        let mut tape = bench.start(Bench::order(&url));
        bench.bytes(&tape, 2 * CHUNK).await;
        bench.stop(&mut tape).await;
        assert_same(&bench.segments()[0].content, &live.chunks(0..2), "over TLS");
    }
    // The proxy sees nothing but where it leads.
    let asked = asked.lock().expect("lock");
    let to = url.trim_start_matches("https://").split('/').next().expect("an address");
    assert!(!asked.is_empty() && asked.iter().all(|head| head.starts_with(&format!("CONNECT {to} HTTP/1.1\r\n"))));
    assert!(asked[0].to_ascii_lowercase().contains("proxy-authorization: basic bwu6c2vjcmv0"), "{asked:?}");
}
