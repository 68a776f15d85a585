//! The worker on a real catalog and real files, round by round.

use super::*;
use crate::app::assemble::tests::Site;
use crate::catalog::open_reader;

fn worker(site: &Site, reserve_bytes: u64) -> Worker {
    let mut env = site.env.clone();
    env.settings.disk.reserve_bytes = reserve_bytes;
    env.settings.assemble.settle_ms = 0;
    // Nobody tells of closed segments here: each round looks by itself.
    let closed = mpsc::unbounded_channel().1;
    Worker::new(env.clone(), open_reader(&env.data_dir).expect("reader"), site.writer.clone(), None, closed).0
}

#[tokio::test]
async fn below_the_reserve_nothing_is_joined_until_there_is_space() {
    let site = Site::new();
    site.tape(-2.0, 22.0).await;
    let mut low = worker(&site, u64::MAX);
    low.round().await.expect("a round");
    low.round().await.expect("a round");
    assert!(low.disk_low && site.files().is_empty(), "{:?}", site.files());
    assert_eq!(low.doing.borrow().waiting, 1, "it waits, and is not given up");
    // What was taped is looked at all the same: that takes no space to speak of.
    let verdict: String =
        site.query(|db| db.query_row("SELECT verdict FROM segment", [], |row| row.get(0)).expect("row"));
    assert_eq!(verdict, "media");

    low.env.settings.disk.reserve_bytes = 0;
    low.round().await.expect("a round");
    assert!(!low.disk_low);
    assert_eq!(site.files().len(), 1, "joined as soon as there is space");
    assert_eq!(low.doing.borrow().waiting, 0);
}

#[tokio::test]
async fn a_panic_is_the_failure_of_one_piece_of_work() {
    let why = apart(async { assert_eq!(1, 2, "a bug") }).await.expect_err("it panics");
    assert!(why.contains("internal error"), "{why}");
    assert_eq!(apart(async { 3 }).await, Ok(3));
}

/// As the daemon's end wants it: what is half done goes with it.
#[tokio::test]
async fn work_that_nobody_waits_for_any_more_ends() {
    let (held, dropped) = tokio::sync::oneshot::channel::<()>();
    let work = apart(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    assert!(tokio::time::timeout(Duration::from_millis(1), work).await.is_err());
    assert!(dropped.await.is_err());
}
