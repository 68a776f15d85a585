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
