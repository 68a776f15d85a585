//! The worker on a real catalog and real files, round by round.

use std::path::{Path, PathBuf};

use super::*;
use crate::app::library::assemble::tests::Site;
use crate::catalog::open_reader;
use crate::domain::media::{MediaIndex, PacketWindow};
use crate::domain::segment::Mark;
use crate::media::engine::{Ffmpeg, MediaEngine};
use crate::media::join::{JoinJob, Joined};
use crate::media::unheld::Unheld;
use crate::media::{self, MediaError};

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

/// ffmpeg, but for one file.
#[derive(Debug)]
struct Trouble {
    with: PathBuf,
    panics: bool,
}

impl MediaEngine for Trouble {
    fn index(
        &self,
        path: &Path,
        marks: &[Mark],
        donors: &[PathBuf],
        cancel: &CancellationToken,
    ) -> media::Result<MediaIndex> {
        if path.ends_with(&self.with) {
            assert!(!self.panics, "a bug");
            let source = std::io::ErrorKind::PermissionDenied.into();
            return Err(MediaError::File { path: path.to_owned(), source });
        }
        Ffmpeg.index(path, marks, donors, cancel)
    }

    fn windows(
        &self,
        path: &Path,
        index: &MediaIndex,
        stretches: &[(i64, i64)],
        cancel: &CancellationToken,
    ) -> media::Result<Vec<PacketWindow>> {
        Ffmpeg.windows(path, index, stretches, cancel)
    }

    fn join(&self, job: &JoinJob, progress: &mut dyn FnMut(u64), cancel: &CancellationToken) -> media::Result<Joined> {
        Ffmpeg.join(job, progress, cancel)
    }

    fn unheld(
        &self,
        path: &Path,
        index: &MediaIndex,
        files: &[PathBuf],
        cancel: &CancellationToken,
    ) -> media::Result<Unheld> {
        Ffmpeg.unheld(path, index, files, cancel)
    }
}

#[tokio::test]
async fn a_segment_that_cannot_be_looked_at_holds_up_no_other() {
    for panics in [false, true] {
        let site = Site::new();
        let bad = site.tape(-2.0, 5.0).await;
        let good = site.tape(8.0, 22.0).await;
        let with = site.query(|db| segments::segment(db, bad).expect("read")).expect("a row").path;
        let mut worker = worker(&site, 0);
        worker.env.engine = Arc::new(Trouble { with, panics });
        let verdict = |id| site.query(|db| segments::segment(db, id).expect("read")).expect("a row").verdict;
        for tries in 1..=MAX_ATTEMPTS {
            worker.round().await.expect("a round");
            assert_eq!(verdict(good), Verdict::Media, "it comes after the bad one, and is looked at all the same");
            assert_eq!(verdict(bad), Verdict::Unchecked);
            let hard = worker.hard.get_mut(&bad).expect("put off");
            assert_eq!(hard.tries, tries);
            hard.again = Instant::now();
        }
        assert_eq!(site.files().len(), 1, "the talk has what there is, once the bad segment is given up");
        assert_eq!(verdict(bad), Verdict::Unchecked, "it is tried again, now and then");
    }
}

#[tokio::test]
async fn what_is_older_than_the_user_keeps_it_goes_once_all_is_joined() {
    let site = Site::new();
    site.tape(0.0, 20.0).await;
    let mut worker = worker(&site, 0);
    worker.env.settings.prune.keep_segments_ms = Some(0);
    worker.round().await.expect("a round");
    let verdict = || site.query(|db| db.query_row("SELECT verdict FROM segment", [], |row| row.get(0)).expect("row"));
    assert_eq!((site.files().len(), verdict()), (1, "pruned".to_owned()));
    // Its talk is looked at once more, and its file stays what it is.
    worker.round().await.expect("a round");
    assert_eq!((site.files().len(), worker.doing.borrow().waiting), (1, 0));
}
