//! Disks that are full, slow, or say no, in simulated time.

use std::path::Path;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::*;

#[derive(Debug)]
struct Wall(Instant);

impl Clock for Wall {
    fn now(&self) -> Ms {
        Ms(self.0.elapsed().as_millis() as i64)
    }
}

#[derive(Debug, Default)]
struct Told(Mutex<Vec<TapeEvent>>);

impl TapeSink for Told {
    fn send(&self, event: TapeEvent) -> oneshot::Receiver<()> {
        self.0.lock().expect("lock").push(event);
        oneshot::channel().1
    }
}

/// A disk with so much room, whose files are kept in memory.
#[derive(Clone, Debug, Default)]
struct Small {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    room: usize,
    refuses_files: bool,
    /// Someone else is faster by so many files.
    stolen: u32,
    files: Vec<(PathBuf, Vec<u8>)>,
    syncs: usize,
}

struct SmallFile {
    state: Arc<Mutex<State>>,
    number: usize,
}

impl Disk for Small {
    fn exists(&self, _: &Path, path: &Path) -> bool {
        self.state.lock().expect("lock").files.iter().any(|(p, _)| p == path)
    }

    fn create(&self, _: &Path, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock().expect("lock");
        if state.stolen > 0 {
            state.stolen -= 1;
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.refuses_files {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        state.files.push((path.to_owned(), Vec::new()));
        Ok(Box::new(SmallFile { state: self.state.clone(), number: state.files.len() - 1 }))
    }
}

impl DiskFile for SmallFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state.lock().expect("lock");
        // A short write before the refusal, as a real disk does.
        let n = bytes.len().min(state.room);
        if n == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.room -= n;
        state.files[self.number].1.extend(&bytes[..n]);
        Ok(n)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.state.lock().expect("lock").syncs += 1;
        Ok(())
    }
}

struct Bench {
    disk: Small,
    told: Arc<Told>,
    store: Arc<SegmentStore>,
    began: Instant,
}

impl Bench {
    fn new(room: usize, buffer_bytes: usize) -> Self {
        let (disk, told, began) = (Small::default(), Arc::new(Told::default()), Instant::now());
        disk.state.lock().expect("lock").room = room;
        let store = Arc::new(SegmentStore {
            clock: Arc::new(Wall(began)),
            sink: told.clone(),
            disk: Arc::new(disk.clone()),
            data_dir: PathBuf::from("/data"),
            buffer_bytes,
            memory: Arc::new(Budget::of(ALL)),
            count: AtomicU32::new(0),
            full: AtomicBool::new(false),
            hurry: CancellationToken::new(),
        });
        Self { disk, told, store, began }
    }

    fn segment(&self) -> SegmentFile {
        let owner = SegmentOwner {
            hall: HallId(1),
            event_slug: "../27C3".to_owned(),
            hall_slug: "saal/1".to_owned(),
            zone: Tz::UTC,
            connection: Uuid::nil(),
        };
        SegmentFile::start(self.store.clone(), owner, Container::MpegTs, self.now())
    }

    fn now(&self) -> Ms {
        Ms(self.began.elapsed().as_millis() as i64)
    }

    fn room(&self, room: usize) {
        self.disk.state.lock().expect("lock").room = room;
    }

    fn content(&self, n: usize) -> Vec<u8> {
        self.disk.state.lock().expect("lock").files[n].1.clone()
    }

    fn full_and_free(&self) -> Vec<bool> {
        let events = self.told.0.lock().expect("lock");
        let full =
            events.iter().filter_map(|e| if let TapeEvent::DiskFull { full, .. } = e { Some(*full) } else { None });
        full.collect()
    }

    /// Bytes, lost bytes and hash of the last closed segment.
    fn closed(&self) -> (u64, u64, [u8; 32]) {
        let events = self.told.0.lock().expect("lock");
        let closed = events.iter().rev().find_map(|e| match e {
            TapeEvent::SegmentClosed { bytes, lost_bytes, sha256, .. } => Some((*bytes, *lost_bytes, *sha256)),
            _ => None,
        });
        closed.expect("closed")
    }

    /// One chunk of 1000 bytes every 100 ms, each with its number.
    async fn feed(&self, segment: &SegmentFile, numbers: std::ops::Range<u8>) {
        for n in numbers {
            segment.push(Bytes::from(vec![n; 1000]), self.now());
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// What all segments of a bench may hold.
const ALL: usize = 100_000;

fn chunks(numbers: std::ops::Range<u8>) -> Vec<u8> {
    numbers.flat_map(|n| vec![n; 1000]).collect()
}

const END: Ending = Ending { reason: EndReason::Eof, container: Container::MpegTs, not_media: false };

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_full_for_a_while_costs_nothing_while_the_buffer_lasts() {
    let bench = Bench::new(10_500, BUFFER_BYTES);
    let segment = bench.segment();
    bench.feed(&segment, 0..50).await;
    assert_eq!(bench.full_and_free(), [true]);
    assert!(bench.store.full.load(Ordering::Relaxed));
    bench.room(1 << 20);
    bench.feed(&segment, 50..100).await;
    assert!(!segment.broken().is_cancelled());
    segment.close(END).await;
    assert_eq!(bench.full_and_free(), [true, false]);
    assert_eq!(bench.content(0), chunks(0..100));
    assert_eq!(bench.closed(), (100_000, 0, hash(&chunks(0..100))));
}

#[tokio::test(start_paused = true)]
async fn when_the_buffer_is_full_too_the_file_keeps_what_it_has_and_the_rest_is_counted() {
    let bench = Bench::new(10_500, 20_000);
    let segment = bench.segment();
    bench.feed(&segment, 0..100).await;
    assert!(!segment.broken().is_cancelled(), "nothing is gained while the disk is full");
    bench.room(1 << 20);
    tokio::time::timeout(Duration::from_secs(10), segment.broken().cancelled()).await.expect("told to begin anew");
    // There is room again, but what comes now does not follow what is in the file.
    bench.feed(&segment, 100..110).await;
    segment.close(END).await;
    // What is in the file is the stream without a hole, up to where bytes were lost.
    let content = bench.content(0);
    assert!((30_000..=31_000).contains(&content.len()), "{}", content.len());
    assert_eq!(content, chunks(0..100)[..content.len()]);
    assert_eq!(bench.closed(), (content.len() as u64, 110_000 - content.len() as u64, hash(&content)));
    assert_eq!(bench.full_and_free(), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn at_a_shutdown_a_full_disk_is_not_waited_for() {
    let bench = Bench::new(10_500, BUFFER_BYTES);
    let segment = bench.segment();
    bench.feed(&segment, 0..30).await;
    let before = Instant::now();
    segment.close(Ending { reason: EndReason::Shutdown, ..END }).await;
    assert!(before.elapsed() < Duration::from_secs(3));
    assert_eq!(bench.closed(), (10_500, 19_500, hash(&chunks(0..30)[..10_500])));
}

#[tokio::test(start_paused = true)]
async fn what_waits_when_a_connection_ends_is_written_when_there_is_room() {
    let bench = Bench::new(10_500, BUFFER_BYTES);
    let segment = bench.segment();
    bench.feed(&segment, 0..30).await;
    let closing = tokio::spawn(segment.close(END));
    sleep(Duration::from_secs(100)).await;
    assert!(!closing.is_finished());
    bench.room(1 << 20);
    closing.await.expect("closed");
    assert_eq!(bench.closed(), (30_000, 0, hash(&chunks(0..30))));
    assert_eq!(bench.full_and_free(), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_wait_for_room() {
    let bench = Bench::new(10_500, BUFFER_BYTES);
    let segment = bench.segment();
    bench.feed(&segment, 0..30).await;
    let closing = tokio::spawn(segment.close(END));
    sleep(Duration::from_secs(10)).await;
    let before = Instant::now();
    bench.store.hurry.cancel();
    closing.await.expect("closed");
    assert!(before.elapsed() < Duration::from_secs(3));
    assert_eq!(bench.closed(), (10_500, 19_500, hash(&chunks(0..30)[..10_500])));
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_given_up_after_some_minutes() {
    let bench = Bench::new(10_500, BUFFER_BYTES);
    let segment = bench.segment();
    bench.feed(&segment, 0..30).await;
    let before = Instant::now();
    segment.close(END).await;
    assert!((290..320).contains(&before.elapsed().as_secs()), "{:?}", before.elapsed());
    assert_eq!(bench.closed(), (10_500, 19_500, hash(&chunks(0..30)[..10_500])));
}

#[tokio::test(start_paused = true)]
async fn all_segments_together_hold_no_more_than_they_may_and_give_it_back() {
    let bench = Bench::new(10_500, BUFFER_BYTES);
    let segments = [bench.segment(), bench.segment(), bench.segment()];
    for segment in &segments {
        bench.feed(segment, 0..50).await;
    }
    assert_eq!(bench.store.memory.free(), 500, "the disk took 10,500 bytes of 150,000");
    assert!(segments.iter().take(2).all(|s| s.shared.queue().lost == 0));
    assert!(segments[2].shared.queue().lost > 0);
    bench.room(1 << 20);
    for segment in segments {
        segment.close(END).await;
    }
    assert_eq!(bench.store.memory.free(), ALL);
    // What is given up is given back too.
    bench.room(0);
    let segment = bench.segment();
    bench.feed(&segment, 0..5).await;
    assert_eq!(bench.store.memory.free(), ALL - 5000);
    segment.close(Ending { reason: EndReason::Shutdown, ..END }).await;
    assert_eq!((bench.store.memory.free(), bench.closed().1), (ALL, 5000));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_made_is_tried_again() {
    let bench = Bench::new(1 << 20, BUFFER_BYTES);
    bench.disk.state.lock().expect("lock").refuses_files = true;
    let segment = bench.segment();
    bench.feed(&segment, 0..50).await;
    bench.disk.state.lock().expect("lock").refuses_files = false;
    bench.feed(&segment, 50..90).await;
    segment.close(END).await;
    assert_eq!(bench.content(0), chunks(0..90));
    assert_eq!(bench.full_and_free(), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_is_left_alone() {
    let bench = Bench::new(1 << 20, BUFFER_BYTES);
    let name = |n| PathBuf::from(format!("segments/27c3/saal-1/1970-01-01/saal-1_1970-01-01_00-00-00.000_{n:04}.ts"));
    {
        let mut state = bench.disk.state.lock().expect("lock");
        state.files.push((name(1), b"old".to_vec()));
        state.stolen = 1;
    }
    let segment = bench.segment();
    bench.feed(&segment, 0..5).await;
    segment.close(END).await;
    assert_eq!(bench.content(0), b"old");
    // 0001 was there, 0002 was made by someone else between our look and our making.
    assert_eq!(bench.disk.state.lock().expect("lock").files[1].0, name(3));
    assert_eq!(bench.content(1), chunks(0..5));
}

#[tokio::test(start_paused = true)]
async fn files_are_synced_every_ten_seconds_also_when_nothing_follows() {
    let bench = Bench::new(1 << 20, BUFFER_BYTES);
    let segment = bench.segment();
    bench.feed(&segment, 0..5).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.disk.state.lock().expect("lock").syncs, 1, "once: nothing followed");
    bench.feed(&segment, 0..250).await;
    let syncs = bench.disk.state.lock().expect("lock").syncs;
    assert!((3..=5).contains(&syncs), "{syncs}");
    segment.close(END).await;
}
