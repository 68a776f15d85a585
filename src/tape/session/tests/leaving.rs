//! Streams that are taken off a hall's list while they are taped.

use super::*;

fn path(tape: &TapeHandle) -> Option<String> {
    tape.status().stream.map(|stream| stream.path().to_owned())
}

fn reasons(bench: &Bench) -> Vec<EndReason> {
    bench.connections().into_iter().map(|(_, reason)| reason).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_taken_away_while_it_connects_is_left_at_once() {
    for max_connections in [1, 2] {
        let bench = Bench::new(&[("a", &[&[Silence(4000), Media(LONG)]]), ("b", &[&[Media(LONG)]])]);
        let order = |url| TapeOrder { max_connections, ..bench.order(&[url], 30) };
        let mut tape = bench.start(order("a"));
        bench.at(2000).await;
        tape.retarget(order("b"));
        bench.at(3000).await;
        assert_eq!((tape.status().state, path(&tape).as_deref()), (TapeState::Taping, Some("/b")));
        tape.finished().await;
        assert_eq!(reasons(&bench), [EndReason::Handover, EndReason::WindowEnd]);
        assert!(bench.fake.most_open.load(Ordering::SeqCst) <= max_connections);
        bench.assert_nothing_lost();
    }
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_is_under_way_does_not_put_off_leaving_a_stream() {
    let lives: [&[Step]; 2] = [&[Media(20_000), Silence(3000), Media(LONG)], &[Silence(5000), Media(LONG)]];
    let bench = Bench::new(&[("a", &lives), ("b", &[&[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 60));
    bench.at(22_000).await;
    assert_eq!(tape.status().connections, 2);
    tape.retarget(bench.order(&["b"], 60));
    bench.at(30_000).await;
    assert_eq!(path(&tape).as_deref(), Some("/b"));
    tape.finished().await;
    assert_eq!(reasons(&bench), [EndReason::Handover, EndReason::HedgeLost, EndReason::WindowEnd]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_allows_one_connection_is_left_all_the_same() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]]), ("b", &[&[Media(LONG)]])]);
    let order = |url| TapeOrder { max_connections: 1, ..bench.order(&[url], 60) };
    let mut tape = bench.start(order("a"));
    bench.at(10_000).await;
    tape.retarget(order("b"));
    bench.at(12_000).await;
    assert_eq!((tape.status().state, path(&tape).as_deref()), (TapeState::Taping, Some("/b")));
    tape.finished().await;
    assert_eq!(reasons(&bench), [EndReason::Handover, EndReason::WindowEnd]);
    assert_eq!(bench.fake.most_open.load(Ordering::SeqCst), 1, "the server allows no more");
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn where_the_next_stream_is_another_servers_the_one_connection_is_left_by_a_handover() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]]), ("b", &[&[Silence(3000), Media(LONG)]])]);
    let order = |url| TapeOrder { max_connections: 1, ..bench.order(&[url], 60) };
    let mut tape = bench.start(order("a"));
    bench.at(10_000).await;
    let mut other = order("b");
    other.streams[0].url = StreamUrl::parse("http://other/b").expect("valid");
    tape.retarget(other);
    bench.at(12_000).await;
    assert_eq!(
        (tape.status().connections, path(&tape).as_deref()),
        (2, Some("/a")),
        "it flows until the next one does"
    );
    bench.at(20_000).await;
    assert_eq!(path(&tape).as_deref(), Some("/b"));
    tape.finished().await;
    assert_eq!(reasons(&bench), [EndReason::Handover, EndReason::WindowEnd]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_comes_and_goes_does_not_make_the_tries_endless() {
    let refused: &[Step] = &[failed(EndReason::Refused)];
    let bench = Bench::new(&[("a", &[refused]), ("b", &[refused]), ("c", &[&[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 400));
    for second in 1..300 {
        let urls: &[&str] = if second % 2 == 0 { &["a"] } else { &["a", "b"] };
        tape.retarget(bench.order(urls, 400));
        bench.at(second * 1000).await;
    }
    // Each second a try at once, then half a second later: 600 of them.
    let tries = bench.opened_ms().len();
    assert!((15..60).contains(&tries), "{tries}");
    // One that was never tried is tried at once.
    tape.retarget(bench.order(&["a", "c"], 400));
    bench.at(299_500).await;
    assert_eq!(path(&tape).as_deref(), Some("/c"));
    tape.stop(EndReason::Shutdown);
    tape.finished().await;
}

#[tokio::test(start_paused = true)]
async fn a_boundary_waits_until_the_place_of_a_silent_connection_is_free() {
    // It ends 400 ms after it was told to.
    let silent = [Media(20_000), Deaf(4400)];
    let bench = Bench::new(&[("a", &[&silent, &[Media(LONG)]])]);
    let mut order = bench.order(&["a"], 60);
    order.boundaries = vec![START.plus(27_000)];
    bench.run(order).await;
    assert_eq!(reasons(&bench), [EndReason::Stalled, EndReason::Handover, EndReason::WindowEnd]);
    assert!((24_300..25_500).contains(&bench.opened_ms()[2]), "{:?}", bench.opened_ms());
    assert_eq!(bench.fake.most_open.load(Ordering::SeqCst), 2, "never three");
    bench.assert_nothing_lost();
}
