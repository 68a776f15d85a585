//! Second connections beside silent ones.

use super::*;

/// Media for so long, then silence for so long, and again.
fn bursts(media: u64, silence: u64, times: usize) -> Vec<Step> {
    (0..times).flat_map(|_| [Media(media), Silence(silence)]).collect()
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_gets_a_second_one_beside_it_after_about_a_second() {
    let bench = Bench::new(&[("a", &[&[Media(20_000), Silence(LONG)], &[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 60));
    bench.at(24_000).await;
    let status = tape.status();
    let (_, reason, detail) = status.last_trouble.expect("trouble");
    assert_eq!((status.state, status.connections, reason), (TapeState::Taping, 2, EndReason::Stalled));
    assert!(detail.as_deref().is_some_and(|d| d.starts_with("no media for 1.")), "{detail:?}");
    tape.finished().await;
    assert_eq!(bench.connections(), [(1, EndReason::Stalled), (1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
    let opened = bench.opened_ms()[1];
    assert!((20_900..21_300).contains(&opened), "{opened}");
    assert_eq!(bench.fake.most_open.load(Ordering::SeqCst), 2);
    // The catalog hears how long it was silent: until it was given up.
    let events = bench.events();
    let told = events.iter().find_map(|e| match e {
        TapeEvent::ConnectionClosed { reason: EndReason::Stalled, detail, .. } => detail.clone(),
        _ => None,
    });
    assert_eq!(told.as_deref(), Some("no byte for 10.0 s"));
}

#[tokio::test(start_paused = true)]
async fn with_one_connection_allowed_the_stall_timeout_rules() {
    let bench = Bench::new(&[("a", &[&[Media(20_000), Silence(LONG)], &[Media(LONG)]])]);
    bench.run(TapeOrder { max_connections: 1, ..bench.order(&["a"], 60) }).await;
    assert_eq!(bench.connections(), [(1, EndReason::Stalled), (1, EndReason::WindowEnd)]);
    assert!((29_800..30_300).contains(&bench.opened_ms()[1]), "{:?}", bench.opened_ms());
    assert_eq!(bench.fake.most_open.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn the_old_one_goes_on_where_it_delivers_first() {
    let bench = Bench::new(&[(
        "a",
        &[&[Media(20_000), Silence(3000), Media(LONG)], &[Silence(5000), Media(LONG)], &[Media(LONG)]],
    )]);
    bench.run(bench.order(&["a"], 60)).await;
    assert_eq!(bench.connections(), [(1, EndReason::WindowEnd), (1, EndReason::HedgeLost)]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn what_a_silent_connection_still_delivers_is_kept_though_another_went_on() {
    let bench = Bench::new(&[("a", &[&[Media(20_000), Silence(4000), Media(LONG)], &[Silence(500), Media(LONG)]])]);
    bench.run(bench.order(&["a"], 60)).await;
    assert_eq!(bench.connections(), [(1, EndReason::Stalled), (1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
    let first = bench.segments()[0].1.len();
    // Two seconds more, for the seam.
    assert!((218 * 1880..230 * 1880).contains(&first), "{first}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_bursts_is_known_by_its_bursts() {
    let life = bursts(300, 6000, 30);
    let bench = Bench::new(&[("a", &[&life, &[Silence(LONG)]])]);
    bench.run(bench.order(&["a"], 120)).await;
    let lost = bench.connections().iter().filter(|(_, r)| *r == EndReason::HedgeLost).count();
    // The first of its silences is news.
    assert_eq!((bench.connections().len(), lost), (2, 1), "{:?}", bench.connections());
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn hedges_go_to_the_next_mirror_and_come_back_at_the_next_boundary() {
    let bench = Bench::new(&[
        ("a", &[&[Media(20_000), Silence(LONG)], &[Media(LONG)]]),
        ("b", &[&[failed(EndReason::Refused)]]),
        ("c", &[&[Media(LONG)]]),
    ]);
    let mut order = bench.order(&["a", "b", "c"], 90);
    order.boundaries = vec![START.plus(60_000)];
    bench.run(order).await;
    let want = [(1, EndReason::Stalled), (2, EndReason::Refused), (3, EndReason::Handover), (1, EndReason::WindowEnd)];
    assert_eq!(bench.connections(), want);
    assert!(bench.opened_ms()[2] < 21_500, "{:?}", bench.opened_ms());
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn hedges_that_are_refused_become_rare_and_the_connection_itself_is_tried_as_ever() {
    let refused = [failed(EndReason::Refused)];
    let mut lives: Vec<&[Step]> = vec![&[Media(20_000), Silence(LONG)]];
    lives.extend([&refused[..]; 8]);
    lives.push(&[Media(LONG)]);
    let bench = Bench::new(&[("a", &lives)]);
    bench.run(bench.order(&["a"], 60)).await;
    let opened = bench.opened_ms();
    // At 21 s, then after 1, 2 and 4 s; at 30 s the stall is called and the tape tries as it always does.
    let hedges: Vec<_> = opened.iter().filter(|at| (20_500..29_500).contains(*at)).collect();
    assert!((3..=4).contains(&hedges.len()), "{opened:?}");
    let reasons: Vec<_> = bench.connections().into_iter().map(|(_, r)| r).collect();
    assert_eq!(reasons[0], EndReason::Stalled);
    assert!(opened.iter().filter(|at| (29_800..31_500).contains(*at)).count() >= 3, "{opened:?}");
    assert_eq!(reasons.last(), Some(&EndReason::WindowEnd));
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn a_second_silence_while_the_first_connection_still_hangs_is_hedged_too_and_there_are_never_three() {
    let bench = Bench::new(&[(
        "a",
        &[&[Media(20_000), Silence(LONG)], &[Media(6000), Silence(LONG)], &[Media(3000), eof()], &[Media(LONG)]],
    )]);
    bench.run(bench.order(&["a"], 60)).await;
    let reasons: Vec<_> = bench.connections().into_iter().map(|(_, r)| r).collect();
    use EndReason::{Eof, Stalled, WindowEnd};
    assert_eq!(reasons, [Stalled, Stalled, Eof, WindowEnd]);
    let opened = bench.opened_ms();
    assert!((26_900..28_700).contains(&opened[2]) && opened[3] < 32_000, "{opened:?}");
    assert!(bench.fake.most_open.load(Ordering::SeqCst) <= 2);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn a_handover_under_way_takes_over_at_once_from_one_that_falls_silent() {
    let bench = Bench::new(&[("a", &[&[Media(57_000), Silence(LONG)], &[Silence(2500), Media(LONG)]])]);
    let mut order = bench.order(&["a"], 90);
    order.boundaries = vec![START.plus(59_500)];
    bench.run(order).await;
    assert_eq!(bench.connections(), [(1, EndReason::Stalled), (1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
}
