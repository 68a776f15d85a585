//! A disk and a catalog that do not work.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_disk_that_could_not_keep_up_costs_a_new_connection_and_no_more() {
    let bench = Bench::new(&[("a", &[&[Media(LONG)]])]);
    let mut deps = bench.deps();
    deps.buffer_bytes = 40_000;
    // Below a file nothing can be made, until it is taken away.
    let blocker = bench.dir.path().join("segments");
    std::fs::write(&blocker, b"in the way").expect("written");
    let mut tape = start(bench.order(&["a"], 60), deps);
    bench.at(20_000).await;
    assert!(tape.status().disk_full);
    assert_eq!(tape.status().connections, 1, "while the disk is full nothing is gained by it");
    std::fs::remove_file(&blocker).expect("removed");
    bench.at(30_000).await;
    assert!(!tape.status().disk_full);
    tape.finished().await;
    let reasons: Vec<_> = bench.connections().into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, [EndReason::DiskFull, EndReason::WindowEnd]);
    let (first, second) = (&bench.segments()[0].1, &bench.segments()[1].1);
    let given = bench.fake.given.lock().expect("lock");
    let bytes = |n: usize| given[n].bytes.lock().expect("lock").clone();
    assert!(!first.is_empty() && bytes(0).starts_with(first), "the first keeps its beginning");
    assert_eq!(*second, bytes(1));
    let words: Vec<_> = bench.events().iter().map(word).filter(|w| matches!(*w, "full" | "free")).collect();
    assert_eq!(words, ["full", "free"]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_full_disk_and_says_what_is_lost() {
    let bench = Bench::new(&[("a", &[&[Media(5000), eof()], &[Media(LONG)]])]);
    std::fs::write(bench.dir.path().join("segments"), b"in the way").expect("written");
    let mut tape = bench.start(bench.order(&["a"], 600));
    bench.at(20_000).await;
    tape.stop(EndReason::Shutdown);
    tape.finished().await;
    assert!(bench.clock.now().since(START) < 25_000);
    assert_eq!(bench.connections(), [(1, EndReason::Eof), (1, EndReason::Shutdown)]);
    for (n, (_, _, closed)) in bench.segments().into_iter().enumerate() {
        let given = bench.fake.given.lock().expect("lock")[n].bytes.lock().expect("lock").len();
        let TapeEvent::SegmentClosed { lost_bytes, .. } = closed else { unreachable!() };
        assert_eq!(lost_bytes, given as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_catalog_does_not_stop_a_tape() {
    let bench = Bench::new(&[("a", &[&[Media(10_000), eof()], &[Media(LONG)]])]);
    *bench.sink.dead.lock().expect("lock") = Some(Vec::new());
    bench.run(bench.order(&["a"], 60)).await;
    assert_eq!(bench.connections(), [(1, EndReason::Eof), (1, EndReason::WindowEnd)]);
    bench.assert_nothing_lost();
}
