//! What a tape makes of a stream whose chunks, playlists and troubles the test decides.

use std::io::{Read as _, Write as _};

use streamrip::app::support::clock::SystemClock;
use streamrip::domain::clock::Clock as _;
use streamrip::domain::ids::HallId;
use streamrip::domain::segment::{Container, EndReason};
use streamrip::tape::TapeOrder;
use streamrip_lab::{PATIENCE, Trouble, eventually};

use crate::bench::Bench;
use crate::channel::{CHUNK, Channel, assert_same};

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_fails_to_give_is_asked_for_again_and_stands_in_the_file_once() {
    let (bench, mut live) = (Bench::new(), Channel::start(8));
    live.publish(6);
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 6 * CHUNK).await;
    live.server.trouble("/6.ts", 2, Trouble::Status(404));
    live.server.trouble("/7.ts", 1, Trouble::Cut(5000));
    live.server.trouble("/7.ts", 1, Trouble::Status(503));
    live.server.trouble("/8.ts", 1, Trouble::Slow(CHUNK));
    live.server.trouble("/9.ts", 1, Trouble::Body(b"<!DOCTYPE html><html>Sorry</html>".to_vec()));
    live.server.trouble("index", 1, Trouble::Body(b"<html>Sorry</html>".to_vec()));
    live.go_on(6).await;
    bench.bytes(&tape, 12 * CHUNK).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    assert_eq!(segments.len(), 1, "{:?} {:?}", bench.ends(), bench.lines());
    assert_same(&segments[0].content, &live.chunks(0..12), "one file");
    assert_eq!((segments[0].container, segments[0].reason), (Container::MpegTs, EndReason::Shutdown));
    let ranges: Vec<_> = live.server.requests("/7.ts").iter().map(|r| r.range_from).collect();
    assert_eq!(ranges, [None, Some(5000), Some(5000)], "the rest only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_is_there_but_for_the_word_that_it_ends_is_whole() {
    let (bench, mut live) = (Bench::new(), Channel::start(8));
    live.server.trouble("/1.ts", 1, Trouble::Unended);
    live.publish(3);
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 3 * CHUNK).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    assert_eq!(segments.len(), 1, "{:?} {:?}", bench.ends(), bench.lines());
    assert_same(&segments[0].content, &live.chunks(0..3), "one file");
    let asked: Vec<_> = live.server.requests("/1.ts").iter().map(|r| (r.range_from, r.status)).collect();
    assert_eq!(asked, [(None, 200), (Some(CHUNK as u64), 416)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_halls_on_one_stream_take_nothing_from_each_other() {
    let (bench, mut live) = (Bench::new(), Channel::start(20));
    live.publish(3);
    let mut first = bench.start(Bench::order(&live.url()));
    bench.bytes(&first, 3 * CHUNK).await;
    let order = TapeOrder { hall: HallId(2), hall_slug: "saal-2".to_owned(), ..Bench::order(&live.url()) };
    let mut second = bench.start(order);
    bench.bytes(&second, 3 * CHUNK).await;
    bench.stop(&mut first).await;
    bench.stop(&mut second).await;
    for segment in bench.segments() {
        assert_same(&segment.content, &live.chunks(0..3), "each from the window's start");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_shorter_than_the_window_costs_nothing() {
    let (bench, mut live) = (Bench::new(), Channel::start(20));
    live.publish(5);
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 5 * CHUNK).await;
    live.server.trouble("/live/", usize::MAX, Trouble::Status(503));
    live.go_on(15).await;
    live.server.mend();
    live.go_on(3).await;
    bench.bytes(&tape, 23 * CHUNK).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    assert_eq!(segments.len(), 1, "{:?}", bench.ends());
    assert_same(&segments[0].content, &live.chunks(0..23), "one file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_goes_on_where_the_last_one_stopped() {
    let (bench, mut live) = (Bench::new(), Channel::start(10));
    live.publish(6);
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 6 * CHUNK).await;
    // In the middle of a chunk.
    live.server.trouble("/7.ts", 1, Trouble::Cut(9400));
    live.server.trouble("/7.ts", usize::MAX, Trouble::Silence);
    live.publish(2);
    bench.bytes(&tape, 7 * CHUNK + 9400).await;
    bench.stop(&mut tape).await;
    live.server.mend();
    live.publish(3);
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 5 * CHUNK).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    let cut = [live.chunks(0..7), live.chunk(7)[..9400].to_vec()].concat();
    assert_same(&segments[0].content, &cut, "the first");
    assert_same(&segments[1].content, &live.chunks(6..11), "the second: from the last whole chunk on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handover_overlaps_and_loses_nothing() {
    let (bench, mut live) = (Bench::new(), Channel::start(10));
    live.publish(6);
    let mut order = Bench::order(&live.url());
    let mut tape = bench.start(order.clone());
    bench.bytes(&tape, 6 * CHUNK).await;
    order.boundaries = vec![SystemClock.now()];
    tape.retarget(order);
    let feed = tokio::spawn(async move {
        live.go_on(40).await;
        live
    });
    eventually("a handover", PATIENCE, || bench.ends().iter().any(|(reason, _)| *reason == EndReason::Handover)).await;
    let live = feed.await.expect("fed");
    eventually("all of it", PATIENCE, || {
        let last = live.server.requests(&format!("/{}.ts", live.numbers.end - 1));
        !last.is_empty() && tape.status().bytes_per_second > 0.0
    })
    .await;
    bench.bytes(&tape, 47 * CHUNK).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    assert_eq!(segments.len(), 2);
    let (old, new) = (&segments[0].content, &segments[1].content);
    let begins = u64::from_be_bytes(new[4..12].try_into().expect("8 bytes"));
    assert_same(new, &live.chunks(begins..46), "the new one");
    let whole = (old.len() / CHUNK) as u64;
    assert!(begins == 5 && whole > begins, "{begins} {whole}");
    assert_same(&old[..whole as usize * CHUNK], &live.chunks(0..whole), "the old one");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_begin_anew_are_a_restarted_encoder_and_a_chunk_that_never_comes_is_left_out() {
    let (bench, mut live) = (Bench::new(), Channel::start(6));
    live.publish(12);
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 6 * CHUNK).await;
    let before = live.chunks(6..12);
    (live.numbers, live.life) = (0..0, 1);
    live.server.trouble("/2.ts", usize::MAX, Trouble::Status(404));
    live.publish(5);
    bench.bytes(&tape, 10 * CHUNK).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    assert_eq!(segments.len(), 1, "{:?}", bench.ends());
    assert_same(&segments[0].content, &[before, live.chunks([0, 1, 3, 4])].concat(), "one file");
    let lines = bench.lines();
    assert!(lines.iter().any(|l| l.contains("the encoder began anew at segment 0")), "{lines:?}");
    assert!(lines.iter().any(|l| l.contains("segment 2 is left out")), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn media_from_before_the_tape_is_wanted_is_not_taken_and_dates_become_marks() {
    let (bench, mut live) = (Bench::new(), Channel::start(10));
    let now = SystemClock.now();
    live.chunk_ms = 2000;
    // The newest chunk ended 3 s ago, the oldest began 23 s ago.
    live.dated_from = Some(now.minus(23_000));
    live.publish(10);
    let mut order = Bench::order(&live.url());
    order.from = now.minus(14_000);
    let mut tape = bench.start(order);
    bench.bytes(&tape, 5 * CHUNK).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    assert_same(&segments[0].content, &live.chunks(5..10), "from 13 s ago");
    for n in 1..=5 {
        let made = now.minus(13_000).plus(n * 2000);
        let offset = n as u64 * CHUNK as u64;
        // The last one may not have been told when it was stopped.
        let told = segments[0].marks.iter().any(|m| m.offset == offset && m.at == made);
        assert!(told || n == 5, "{n}: {:?}", segments[0].marks);
    }
    assert!(segments[0].marks.windows(2).all(|w| w[0].offset <= w[1].offset), "{:?}", segments[0].marks);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_start_of_an_mp4_begins_another_file_and_nothing_is_lost_between() {
    let (bench, mut live) = (Bench::new(), Channel::start(20));
    // The sniffer wants to see an MP4; the rest of it does not matter here.
    let init = |n: u8| [b"\0\0\0\x14ftypiso6\0\0\x02\0", [b'0' + n; 200].as_slice()].concat();
    for n in [0, 1] {
        live.server.put(&format!("/live/init{n}.mp4"), init(n));
        live.tags.insert(u64::from(n) * 4, format!("#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init{n}.mp4\"\n"));
    }
    live.tags.insert(6, "#EXT-X-DISCONTINUITY\n".to_owned());
    live.publish(8);
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 8 * CHUNK).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    let wanted = [(0, 0..4), (1, 4..6), (1, 6..8)];
    assert_eq!(segments.len(), wanted.len(), "{:?}", bench.ends());
    for (segment, (n, chunks)) in segments.iter().zip(wanted) {
        assert_eq!(segment.container, Container::Mp4);
        assert!(segment.content == [init(n), live.chunks(chunks.clone())].concat(), "{n} {chunks:?}");
    }
    assert_eq!(live.server.requests(".ts").len(), 8, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_chunks_are_decrypted_also_where_they_break_off() {
    use aes::cipher::{BlockModeEncrypt as _, KeyIvInit as _, block_padding::Pkcs7};
    let (bench, mut live) = (Bench::new(), Channel::start(20));
    let key = *b"sixteen bytes ok";
    live.server.put("/live/key", key);
    live.server.put("/live/short", b"123".as_slice());
    live.tags.insert(0, "#EXT-X-KEY:METHOD=AES-128,URI=\"key\"\n".to_owned());
    live.tags.insert(2, "#EXT-X-KEY:METHOD=AES-128,URI=\"key\",IV=0x0102030405060708090a0b0c0d0e0f10\n".to_owned());
    live.tags.insert(4, "#EXT-X-KEY:METHOD=NONE\n".to_owned());
    live.publish(5);
    for number in 0..4 {
        let iv = if number < 2 { u128::from(number) } else { 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10 };
        let mut chunk = live.chunk(number);
        chunk.resize(CHUNK + 16, 0);
        let secret = cbc::Encryptor::<aes::Aes128>::new(&key.into(), &iv.to_be_bytes().into())
            .encrypt_padded::<Pkcs7>(&mut chunk, CHUNK)
            .expect("room for the padding")
            .to_vec();
        live.server.put(&format!("/live/{number}.ts"), secret);
    }
    live.server.trouble("/2.ts", 1, Trouble::Cut(7001));
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 5 * CHUNK).await;
    bench.stop(&mut tape).await;
    assert_same(&bench.segments()[0].content, &live.chunks(0..5), "in clear");
    assert_eq!(live.server.requests("key").len(), 1, "asked for once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encryption_that_cannot_be_taken_off_is_said() {
    let (bench, mut live) = (Bench::new(), Channel::start(20));
    live.tags.insert(0, "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://x\"\n".to_owned());
    live.publish(2);
    let mut tape = bench.start(Bench::order(&live.url()));
    eventually("an end", PATIENCE, || !bench.ends().is_empty()).await;
    bench.stop(&mut tape).await;
    let (reason, words) = &bench.ends()[0];
    assert_eq!(*reason, EndReason::SourceFailed);
    assert!(words.contains("SAMPLE-AES"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wanted_rendition_is_taken_and_the_next_one_where_it_cannot_be_had() {
    let (bench, mut live) = (Bench::new(), Channel::start(20));
    live.publish(2);
    let index = live.server.url("/live/index.m3u8").replace("http://", "http://me:s3cret@");
    let master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=640x360\nsmall.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=2500000,RESOLUTION=1280x720\nindex.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=5000000,RESOLUTION=1920x1080\ngone.m3u8\n";
    live.server.put("/live/master.m3u8", master);
    live.server.trouble("/old.m3u8", 1, Trouble::Redirect("/live/master.m3u8".to_owned()));
    let mut tape = bench.start(Bench::order(&index.replace("live/index", "old")));
    bench.bytes(&tape, 2 * CHUNK).await;
    bench.stop(&mut tape).await;
    assert_same(&bench.segments()[0].content, &live.chunks(0..2), "720");
    let asked = |name: &str| live.server.requests(name).len();
    assert_eq!((asked("small"), asked("gone")), (0, 1));
    assert!(live.server.requests(".ts").iter().all(|r| r.authorization.is_some()), "the password goes along");
    let words = format!("{:?} {:?}", bench.lines(), bench.ends());
    assert!(words.contains("gone.m3u8") && !words.contains("s3cret"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_playlist_does_not_lead_to_other_machines_of_our_network() {
    let private = EndReason::PrivateAddress;
    for (kind, text, want) in [
        ("a chunk", "#EXTM3U\n#EXTINF:1,\nhttp://localhost:9/x.ts\n", private),
        ("a file", "#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", EndReason::SourceFailed),
        ("a variant", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttp://192.168.1.1/x.m3u8\n", private),
        (
            "sound that stands apart",
            "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"x\",URI=\"http://10.0.0.1/s.m3u8\"\n\
             #EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"a\"\nv.m3u8\n",
            private,
        ),
        ("a redirect", "http://10.0.0.1/x.m3u8", private),
    ] {
        // Behind a proxy, so that a server on loopback can be one of the public network.
        let live = Channel::start(2);
        let bench = Bench::behind(&live.server.url(""));
        live.server.put("http://h.example/live/v.m3u8", "#EXTM3U\n#EXTINF:1,\n0.ts\n");
        if text.starts_with('#') {
            live.server.put("http://h.example/live/index.m3u8", text);
        } else {
            live.server.trouble("index", usize::MAX, Trouble::Redirect(text.to_owned()));
        }
        let mut tape = bench.start(Bench::order("http://h.example/live/index.m3u8"));
        eventually(kind, PATIENCE, || !bench.ends().is_empty()).await;
        bench.stop(&mut tape).await;
        let (reason, words) = &bench.ends()[0];
        assert_eq!(*reason, want, "{kind}: {words}");
        assert!(words.contains("not followed"), "{kind}: {words}");
        let all = live.server.requests("");
        assert!(all.iter().all(|r| r.path.ends_with(".m3u8")), "{kind}: {all:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_hls_is_said_with_its_reason() {
    let bench = Bench::new();
    let server = Channel::start(1).server;
    server.put("/page.m3u8", b"<html>Welcome</html>".as_slice());
    server.put("/radio.m3u8", b"#EXTM3U\nhttp://h/radio.mp3\n".as_slice());
    server.put("/loop.m3u8", b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nloop.m3u8\n".as_slice());
    server.put("/big.m3u8", [b"#EXTM3U\n".as_slice(), &[b'#'; 2 << 20]].concat());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    // Knows nothing of TLS.
    let plain = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let plainly = plain.local_addr().expect("a port");
    std::thread::spawn(move || {
        for mut client in plain.incoming().map_while(Result::ok) {
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let _ = client.read(&mut [0; 4096]);
        }
    });
    for (url, want) in [
        (format!("https://{plainly}/x.m3u8"), EndReason::Tls),
        (server.url("/page.m3u8"), EndReason::NotMedia),
        (server.url("/radio.m3u8"), EndReason::NotMedia),
        (server.url("/loop.m3u8"), EndReason::NotMedia),
        (server.url("/big.m3u8"), EndReason::NotMedia),
        (server.url("/gone.m3u8"), EndReason::Http(404)),
        (format!("http://{nobody}/x.m3u8"), EndReason::Refused),
    ] {
        let ended = bench.ends().len();
        let mut tape = bench.start(Bench::order(&url));
        eventually(&url, PATIENCE, || bench.ends().len() > ended).await;
        bench.stop(&mut tape).await;
        assert_eq!(bench.ends()[ended].0, want, "{url}: {:?}", bench.ends()[ended].1);
    }
}
