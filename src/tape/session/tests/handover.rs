//! Handovers at boundaries.

use super::*;

#[tokio::test(start_paused = true)]
async fn at_a_boundary_the_new_connection_flows_for_two_seconds_before_the_old_one_stops() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let mut order = bench.order(&["a"], 120);
    order.boundaries = vec![START, START.plus(60_000)];
    bench.run(order).await;
    assert_eq!(bench.connections(), [(1, EndReason::Handover), (1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
    // 3 s before the boundary.
    assert!((57_000..57_200).contains(&bench.opened_ms()[1]), "{:?}", bench.opened_ms());
    let segments = bench.segments();
    let last_of_old = marks_of(&bench.events(), id_of(&segments[0].2)).last().expect("marks").at;
    let first_of_new = marks_of(&bench.events(), id_of(&segments[1].2))[0].at;
    assert!((2000..2600).contains(&last_of_old.since(first_of_new)), "{last_of_old:?} {first_of_new:?}");
    assert!(segments[1].0.to_string_lossy().contains("_12-00-57.0"), "{:?}", segments[1].0);
}

#[tokio::test(start_paused = true)]
async fn a_handover_that_does_not_become_good_costs_nothing() {
    let html = b"<html>busy</html>".to_vec();
    for (life, want) in [
        (vec![Silence(LONG)], EndReason::NoFirstByte),
        (vec![Silence(14_000), Bytes(vec![1; 200]), Silence(LONG)], EndReason::HandoverFailed),
        (vec![failed(EndReason::Http(503))], EndReason::Http(503)),
        (vec![Bytes(html), eof()], EndReason::NotMedia),
        (vec![Media(1500), eof()], EndReason::Eof),
    ] {
        let bench = Bench::new(&[("a", &[&[Media(LONG)], &life, &[Media(LONG)]])]);
        let mut order = bench.order(&["a"], 120);
        order.boundaries = vec![START.plus(60_000)];
        bench.run(order).await;
        assert_eq!(bench.connections(), [(1, EndReason::WindowEnd), (1, want)]);
        bench.assert_nothing_lost();
        let segments = bench.segments();
        assert!(segments[0].1.len() >= 1190 * 1880, "the old one went on");
    }
}

#[tokio::test(start_paused = true)]
async fn with_one_connection_allowed_there_is_no_handover() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let mut order = bench.order(&["a"], 60);
    order.boundaries = vec![START.plus(30_000)];
    order.max_connections = 1;
    bench.run(order).await;
    assert_eq!(bench.connections(), [(1, EndReason::WindowEnd)]);
}

#[tokio::test(start_paused = true)]
async fn a_boundary_that_moved_is_kept_again_and_one_that_is_long_past_is_not() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let mut order = bench.order(&["a"], 120);
    let mut tape = bench.start(order.clone());
    bench.at(40_000).await;
    order.boundaries = vec![START.plus(20_000)];
    tape.retarget(order.clone());
    bench.at(50_000).await;
    assert_eq!(tape.status().connections, 1);
    order.boundaries = vec![START.plus(60_000)];
    tape.retarget(order.clone());
    bench.at(70_000).await;
    assert_eq!(tape.status().connections, 2);
    order.boundaries = vec![START.plus(60_000), START.plus(90_000)];
    tape.retarget(order);
    tape.finished().await;
    let reasons: Vec<_> = bench.connections().into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, [EndReason::Handover, EndReason::Handover, EndReason::WindowEnd]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn where_the_old_connection_breaks_during_a_handover_the_new_one_takes_over() {
    let bench = Bench::new(&[("a", &[&[Media(58_000), eof()], &[Silence(3000), Media(LONG)]])]);
    let mut order = bench.order(&["a"], 120);
    order.boundaries = vec![START.plus(60_000)];
    bench.run(order).await;
    assert_eq!(bench.connections(), [(1, EndReason::Eof), (1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn a_cut_of_both_connections_of_a_handover_does_not_forget_how_good_the_first_one_was() {
    let refused: &[Step] = &[failed(EndReason::Refused)];
    let (long, short): (&[Step], &[Step]) = (&[Media(45_000), eof()], &[Media(500), eof()]);
    let lives = [refused, refused, refused, refused, refused, long, short, &[Media(LONG)]];
    let bench = Bench::new(&[("a", &lives)]);
    let mut tape = bench.start(bench.order(&["a"], 200));
    while tape.status().connections < 6 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let flows = bench.opened_ms()[5];
    bench.at(u64::try_from(flows).expect("small") + 44_700).await;
    let mut order = bench.order(&["a"], 200);
    order.boundaries = vec![bench.clock.now()];
    tape.retarget(order);
    tape.finished().await;
    let opened = bench.opened_ms();
    assert_eq!(opened.len(), 8);
    let cut = flows + 45_000;
    assert!(opened[6] < cut && opened[7] - cut < 3000, "{opened:?}");
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn a_boundary_in_a_broken_time_means_nothing() {
    let bench =
        Bench::new(&[("a", &[&[Media(57_000), eof()], &[failed(EndReason::Refused)], &[Silence(5000), Media(LONG)]])]);
    let mut order = bench.order(&["a"], 120);
    order.boundaries = vec![START.plus(60_200)];
    bench.run(order).await;
    let reasons: Vec<_> = bench.connections().into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, [EndReason::Eof, EndReason::Refused, EndReason::WindowEnd]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn the_preferred_mirror_is_taken_up_again_at_a_boundary() {
    let bench = Bench::new(&[("a", &[&[failed(EndReason::Refused)], &[Media(LONG)]]), ("b", &[&[Media(LONG)]])]);
    let mut order = bench.order(&["a", "b"], 60);
    order.boundaries = vec![START.plus(30_000)];
    bench.run(order).await;
    let want = [(1, EndReason::Refused), (2, EndReason::Handover), (1, EndReason::WindowEnd)];
    assert_eq!(bench.connections(), want);
    bench.assert_nothing_lost();
}
