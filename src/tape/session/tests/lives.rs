//! Connections: what ends them, and that the next one comes.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_good_stream_is_one_connection_and_one_file_until_the_window_ends() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 60));
    bench.at(30_000).await;
    let status = tape.status();
    assert_eq!((status.state, status.connections), (TapeState::Taping, 1));
    assert!((status.bytes_per_second - 18_800.0).abs() < 1000.0, "{status:?}");
    assert!(status.silence().expect("bytes") < Duration::from_secs(1));
    tape.finished().await;
    assert_eq!(tape.status().state, TapeState::Ended);
    assert!((60_000..61_000).contains(&bench.clock.now().since(START)), "{:?}", bench.clock.now());
    assert_eq!(bench.connections(), [(1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
    let (path, content, _) = bench.segments().remove(0);
    assert_eq!(path, Path::new("segments/27c3/saal-1/2010-12-27/saal-1_2010-12-27_12-00-00.000_0001.ts"));
    assert!(content.len() >= 599 * 1880);
    let mut words: Vec<_> = bench.events().iter().map(word).collect();
    words.dedup();
    assert_eq!(words, ["opened", "first", "segment", "progress", "segment-closed", "closed"]);
}

#[tokio::test(start_paused = true)]
async fn whatever_ends_a_connection_the_next_one_comes_and_no_byte_is_lost() {
    let html = b"<!DOCTYPE html><html><body>later</body></html>".to_vec();
    let bench = Bench::new(&[(
        "a",
        &[
            &[Media(90_000), eof()],
            &[Silence(300), failed(EndReason::Refused)],
            &[Silence(LONG)],
            &[Media(70_000), Silence(LONG)],
            &[Bytes(html.clone()), eof()],
            &[failed(EndReason::Http(503))],
            &[Media(100), failed(EndReason::SourceFailed)],
            &[Media(LONG)],
        ],
    )]);
    // One at a time: a second one beside the silent one is tested elsewhere.
    bench.run(TapeOrder { max_connections: 1, ..bench.order(&["a"], 600) }).await;
    let reasons: Vec<_> = bench.connections().into_iter().map(|(_, reason)| reason).collect();
    use EndReason::{Eof, Http, NoFirstByte, NotMedia, Refused, SourceFailed, Stalled, WindowEnd};
    assert_eq!(reasons, [Eof, Refused, NoFirstByte, Stalled, NotMedia, Http(503), SourceFailed, WindowEnd]);
    bench.assert_nothing_lost();
    let kinds: Vec<_> = bench
        .segments()
        .into_iter()
        .map(|(path, content, closed)| {
            let TapeEvent::SegmentClosed { container, not_media, reason, .. } = closed else { unreachable!() };
            let end = path.extension().expect("one").to_string_lossy().into_owned();
            (end, container, not_media, reason, content.is_empty())
        })
        .collect();
    let ts = |reason| ("ts".to_owned(), Container::MpegTs, false, reason, false);
    let page = ("bin".to_owned(), Container::Unknown, true, NotMedia, false);
    assert_eq!(kinds, [ts(Eof), ts(Stalled), page, ts(SourceFailed), ts(WindowEnd)]);
    assert_eq!(bench.fake.most_open.load(Ordering::SeqCst), 1, "one connection at a time");
    // After media: at once. The first failure: at once. The second: half a second. After media: at once ...
    let opened = bench.opened_ms();
    let gap = |n: usize, after: u128| opened[n] - opened[n - 1] - after;
    assert!(gap(1, 90_000) < 200, "{opened:?}");
    assert!(gap(2, 300) < 200, "{opened:?}");
    assert!((370..700).contains(&gap(3, 15_000)), "{opened:?}");
    assert!(gap(4, 79_800) < 900, "{opened:?}");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_comes_again_and_again_is_silence() {
    let html = b"<!DOCTYPE html><html><body>moved</body></html>".to_vec();
    let page: &[Step] = &[Bytes(html), eof()];
    let bench = Bench::new(&[("a", &[page])]);
    let mut tape = bench.start(bench.order(&["a"], 300));
    bench.at(200_000).await;
    assert_eq!(tape.status().silence(), None, "no media has ever come");
    tape.stop(EndReason::Shutdown);
    tape.finished().await;
    // After media its silence goes on through all the pages.
    let bench = Bench::new(&[("a", &[&[Media(10_000), eof()], page])]);
    let mut tape = bench.start(bench.order(&["a"], 300));
    bench.at(200_000).await;
    let silent = tape.status().silence().expect("media came").as_secs();
    assert!((189..=190).contains(&silent), "{silent}");
    tape.stop(EndReason::Shutdown);
    tape.finished().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recognised_is_no_media() {
    let noise: Vec<u8> = (0..70_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let bench =
        Bench::new(&[("a", &[&[Bytes(noise.clone()), Silence(5000), Bytes(noise[..100].to_vec()), Silence(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 300));
    bench.at(8000).await;
    assert_eq!(tape.status().silence(), None, "no media has ever come");
    tape.stop(EndReason::Shutdown);
    tape.finished().await;
}

#[tokio::test(start_paused = true)]
async fn a_trickle_is_no_stall() {
    let mut life = vec![Media(200)];
    for _ in 0..20 {
        life.extend([Silence(9000), Media(100)]);
    }
    let bench = Bench::new(&[("a", &[&life])]);
    bench.run(TapeOrder { max_connections: 1, ..bench.order(&["a"], 150) }).await;
    assert_eq!(bench.connections(), [(1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn between_two_segments_of_hls_there_is_no_stall() {
    let life = [Media(1000), Silence(12_000), Media(1000), Silence(12_000), Media(1000), Silence(LONG)];
    let bench = Bench::new(&[("a.m3u8", &[&life])]);
    let mut order = bench.order(&["a.m3u8"], 62);
    order.recorder = Recorder::Mplayer;
    order.max_connections = 1;
    bench.run(order).await;
    let reasons: Vec<_> = bench.connections().into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, [EndReason::Stalled, EndReason::WindowEnd]);
    assert!((55_000..60_000).contains(&bench.opened_ms()[1]), "{:?}", bench.opened_ms());
}

#[tokio::test(start_paused = true)]
async fn a_missing_program_is_said_and_tried_again() {
    let bench = Bench::new(&[("a", &[&[Missing], &[Missing], &[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 10));
    bench.at(500).await;
    let (_, reason, detail) = tape.status().last_trouble.expect("trouble");
    assert_eq!((reason, detail.as_deref()), (EndReason::SourceMissing, Some("apt")));
    tape.finished().await;
    let reasons: Vec<_> = bench.connections().into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, [EndReason::SourceMissing, EndReason::SourceMissing, EndReason::WindowEnd]);
}

#[tokio::test(start_paused = true)]
async fn the_next_mirror_is_tried_at_once() {
    let bench = Bench::new(&[("a", &[&[failed(EndReason::Refused)]]), ("b", &[&[Media(LONG)]])]);
    bench.run(bench.order(&["a", "b"], 20)).await;
    assert_eq!(bench.connections(), [(1, EndReason::Refused), (2, EndReason::WindowEnd)]);
    assert!(bench.opened_ms()[1] < 100, "{:?}", bench.opened_ms());
}

#[tokio::test(start_paused = true)]
async fn every_connection_cut_after_half_a_second_costs_nothing_for_seconds() {
    let cut = [Media(500), eof()];
    let first = [Media(20_000), eof()];
    let mut lives: Vec<&[Step]> = vec![&first];
    lives.extend([&cut[..]; 10]);
    lives.push(&[Media(LONG)]);
    let bench = Bench::new(&[("a", &lives)]);
    bench.run(bench.order(&["a"], 60)).await;
    let opened = bench.opened_ms();
    assert!(opened[11] < 20_000 + 10 * 620, "{opened:?}");
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recognised_is_kept_under_a_plain_name() {
    let noise: Vec<u8> = (0..3000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let bench = Bench::new(&[("a", &[&[Bytes(noise), Silence(2000), eof()]])]);
    bench.run(bench.order(&["a"], 1)).await;
    let (path, content, closed) = bench.segments().remove(0);
    assert_eq!((path.extension().and_then(|e| e.to_str()), content.len()), (Some("bin"), 3000));
    let TapeEvent::SegmentClosed { not_media, .. } = closed else { unreachable!() };
    assert!(!not_media);
}

#[tokio::test(start_paused = true)]
async fn the_clock_may_be_set_back_and_forth() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 100));
    bench.at(10_000).await;
    bench.clock.step(-3_600_000);
    bench.at(200_000).await;
    assert!(!tape.is_finished(), "its end is a wall time");
    bench.clock.step(3_600_000);
    tape.finished().await;
    assert_eq!(bench.connections(), [(1, EndReason::WindowEnd)]);
}
