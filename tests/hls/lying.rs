//! Playlists that lie about numbers, stand still or are old copies by turns: each chunk stands in the files once.

use std::time::Duration;

use streamrip::domain::segment::EndReason;
use streamrip_lab::{PATIENCE, Trouble, eventually};

use crate::bench::Bench;
use crate::channel::{CHUNK, Channel, assert_same};

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_are_missing_stand_still_or_grow_too_slowly_take_and_cost_nothing() {
    let lies: [fn(u64) -> Option<u64>; 4] = [|_| None, |_| Some(0), |n| Some(n / 2), |n| Some(u64::MAX - n % 3)];
    for lie in lies {
        let (bench, mut live) = (Bench::new(), Channel::start(6));
        live.sequence = lie;
        live.publish(6);
        let mut tape = bench.start(Bench::order(&live.url()));
        bench.bytes(&tape, 6 * CHUNK).await;
        live.go_on(10).await;
        bench.bytes(&tape, 16 * CHUNK).await;
        bench.stop(&mut tape).await;
        let segments = bench.segments();
        assert_eq!(segments.len(), 1, "{:?}", bench.ends());
        assert_same(&segments[0].content, &live.chunks(0..16), "one file");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_five_chunks_behind_by_turns_gives_nothing_twice() {
    let (bench, mut live) = (Bench::new(), Channel::start(6));
    live.publish(6);
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 6 * CHUNK).await;
    let mut copies = vec![live.server.find("/live/index.m3u8").expect("a playlist")];
    for n in 0..20 {
        live.go_on(1).await;
        copies.push(live.server.find("/live/index.m3u8").expect("a playlist"));
        if n >= 5 {
            live.server.trouble("index", 1, Trouble::Body(copies[copies.len() - 6].clone()));
        }
    }
    live.server.mend();
    live.go_on(3).await;
    bench.bytes(&tape, 29 * CHUNK).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    assert_eq!(segments.len(), 1, "{:?} {:?}", bench.ends(), bench.lines());
    assert_same(&segments[0].content, &live.chunks(0..29), "one file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packager_that_counts_anew_what_it_still_lists_costs_nothing() {
    let (bench, mut live) = (Bench::new(), Channel::start(6));
    live.publish(6);
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 6 * CHUNK).await;
    live.sequence = |n| Some(1_700_000_000 + n);
    live.tags.insert(6, "#EXT-X-DISCONTINUITY\n".to_owned());
    live.go_on(6).await;
    bench.bytes(&tape, 12 * CHUNK).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    assert_eq!(segments.len(), 1, "{:?}", bench.ends());
    assert_same(&segments[0].content, &live.chunks(0..12), "one file");
    assert!(bench.lines().iter().all(|line| !line.contains("began anew")), "{:?}", bench.lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_chunk_of_a_playlist_that_stands_still_stands_in_one_file() {
    let (bench, mut live) = (Bench::new(), Channel::start(6));
    live.publish(4);
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 4 * CHUNK).await;
    bench.stop(&mut tape).await;
    // Longer than a playlist of such chunks may be quiet.
    tokio::time::sleep(Duration::from_millis(1800)).await;
    let mut tape = bench.start(Bench::order(&live.url()));
    let asked = live.server.requests("index").len();
    eventually("looks", PATIENCE, || live.server.requests("index").len() > asked + 5).await;
    assert_eq!(tape.status().bytes, 0, "nothing is new");
    live.publish(2);
    bench.bytes(&tape, 2 * CHUNK).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    assert_eq!(segments.len(), 2, "{:?}", bench.ends());
    assert_same(&segments[0].content, &live.chunks(0..4), "the first");
    assert_same(&segments[1].content, &live.chunks(4..6), "the second");
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_a_restart_deleted_are_asked_for_twice_and_cost_no_other() {
    let (bench, mut live) = (Bench::new(), Channel::start(8));
    live.publish(3);
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 3 * CHUNK).await;
    for number in 3..6 {
        live.server.trouble(&format!("/live/{number}.ts"), usize::MAX, Trouble::Status(404));
    }
    live.publish(5);
    bench.bytes(&tape, 5 * CHUNK).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    assert_eq!(segments.len(), 1, "{:?}", bench.ends());
    let asked = |number: u64| live.server.requests(&format!("/live/{number}.ts")).len();
    assert_same(&segments[0].content, &live.chunks([0, 1, 2, 6, 7]), "the rest");
    assert!([3, 4, 5].iter().all(|n| asked(*n) >= 2), "asked again: {:?}", live.server.requests(".ts"));
    assert!([6, 7].iter().all(|n| asked(*n) == 1), "the bytes of a probe are used: {:?}", live.server.requests(".ts"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_another_start_of_mp4_under_the_same_name_gets_a_file_with_that() {
    let (bench, mut live) = (Bench::new(), Channel::start(6));
    let init = |n: u8| [b"\0\0\0\x14ftypiso6\0\0\x02\0", [b'0' + n; 200].as_slice()].concat();
    live.server.put("/live/init.mp4", init(0));
    let tag = "#EXT-X-MAP:URI=\"init.mp4\"\n";
    (0..40).for_each(|n| drop(live.tags.insert(n, tag.to_owned())));
    live.publish(14);
    let mut tape = bench.start(Bench::order(&live.url()));
    bench.bytes(&tape, 6 * CHUNK + init(0).len()).await;
    let before = live.chunks(8..14);
    (live.numbers, live.life) = (0..0, 1);
    live.server.put("/live/init.mp4", init(1));
    live.publish(3);
    bench.bytes(&tape, 9 * CHUNK + 2 * init(0).len()).await;
    bench.stop(&mut tape).await;
    let segments = bench.segments();
    assert_eq!(segments.len(), 2, "{:?}", bench.ends());
    assert!(segments[0].content == [init(0), before].concat(), "the first encoder");
    assert!(segments[1].content == [init(1), live.chunks(0..3)].concat(), "the second one");
    assert_eq!(bench.ends().last().map(|(reason, _)| *reason), Some(EndReason::Shutdown));
}
