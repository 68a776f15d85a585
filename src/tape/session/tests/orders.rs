//! What a tape is told while it runs.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_later_end_counts_and_an_earlier_one_does_not_stop_what_flows() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 30));
    bench.at(10_000).await;
    tape.retarget(bench.order(&["a"], 60));
    bench.at(40_000).await;
    assert!(!tape.is_finished());
    tape.retarget(bench.order(&["a"], 20));
    bench.at(59_000).await;
    assert!(!tape.is_finished());
    tape.finished().await;
    assert!((60_000..61_000).contains(&bench.clock.now().since(START)));
    assert_eq!(bench.connections(), [(1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn other_streams_are_taken_without_losing_a_byte_of_the_old_one() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]]), ("b", &[&[Media(LONG)]]), ("c", &[&[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 60));
    bench.at(10_000).await;
    // Still listed: nothing happens.
    tape.retarget(bench.order(&["b", "a"], 60));
    bench.at(20_000).await;
    assert_eq!(tape.status().connections, 1);
    tape.retarget(bench.order(&["c"], 60));
    bench.at(30_000).await;
    let status = tape.status();
    assert_eq!(status.stream.map(|s| s.path().to_owned()).as_deref(), Some("/c"));
    tape.finished().await;
    assert_eq!(bench.connections(), [(1, EndReason::Handover), (1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn a_hall_without_streams_waits_for_one() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&[], 60));
    bench.at(10_000).await;
    assert_eq!(tape.status().state, TapeState::NoStream);
    tape.retarget(bench.order(&["a"], 60));
    tape.finished().await;
    assert_eq!(bench.connections(), [(1, EndReason::WindowEnd)]);
    assert!(bench.opened_ms()[0] < 10_200);
}

#[tokio::test(start_paused = true)]
async fn news_of_streams_end_a_long_wait() {
    let bench = Bench::new(&[("a", &[&[failed(EndReason::Refused)]]), ("b", &[&[Media(LONG)]])]);
    let mut tape = bench.start(bench.order(&["a"], 300));
    bench.at(100_000).await;
    assert!(matches!(tape.status().state, TapeState::Waiting(_)), "{:?}", tape.status());
    tape.retarget(bench.order(&["b"], 300));
    bench.at(102_000).await;
    assert_eq!(tape.status().state, TapeState::Taping);
    tape.stop(EndReason::Shutdown);
    tape.finished().await;
}

#[tokio::test(start_paused = true)]
async fn stops_are_prompt_and_keep_what_was_still_to_come_unless_unwanted() {
    for reason in [EndReason::Shutdown, EndReason::Unwanted] {
        let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
        let mut tape = bench.start(bench.order(&["a"], 600));
        bench.at(10_050).await;
        tape.stop(reason);
        tape.stop(EndReason::WindowEnd);
        tape.finished().await;
        assert!(bench.clock.now().since(START) < 16_000);
        assert_eq!(bench.connections(), [(1, reason)]);
        let file = bench.segments().remove(0).1.len();
        let given = bench.fake.given.lock().expect("lock")[0].bytes.lock().expect("lock").len();
        if reason == EndReason::Shutdown {
            assert_eq!((file, given), (102 * 1880, 102 * 1880));
        } else {
            assert!((95 * 1880..=101 * 1880).contains(&file), "{file}: the rest is not wanted");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_handle_stops_the_tape() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let tape = bench.start(bench.order(&["a"], 600));
    bench.at(10_000).await;
    drop(tape);
    bench.at(20_000).await;
    assert_eq!(bench.connections(), [(1, EndReason::Shutdown)]);
    bench.assert_nothing_lost();
}
