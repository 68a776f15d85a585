//! What a tape makes of a stream whose chunks, playlists and troubles the test decides.

use std::time::Duration;

use streamrip::app::clock::SystemClock;
use streamrip::domain::clock::Clock as _;
use streamrip::domain::segment::{Container, EndReason};
use streamrip_lab::{PATIENCE, Trouble, eventually};

use crate::bench::{Bench, CHUNK, Channel, assert_same};

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
    assert!(lines.iter().any(|l| l.contains("numbers began anew at 0")), "{lines:?}");
    assert!(lines.iter().any(|l| l.contains("chunk 2 is left out")), "{lines:?}");
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
    tokio::time::sleep(Duration::from_millis(300)).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    assert_same(&segments[0].content, &live.chunks(5..10), "from 13 s ago");
    for n in 1..=5 {
        let made = now.minus(13_000).plus(n * 2000);
        let offset = n as u64 * CHUNK as u64;
        let told = segments[0].marks.iter().any(|m| m.offset == offset && m.at == made);
        assert!(told || n == 5, "{n}: {:?}", segments[0].marks);
    }
    assert!(segments[0].marks.windows(2).all(|w| w[0].offset <= w[1].offset), "{:?}", segments[0].marks);
}
