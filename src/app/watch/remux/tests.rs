use std::sync::mpsc;

use super::*;
use crate::app::clock::TestClock;
use crate::catalog::open_writer;
use crate::domain::settings::Settings;

/// Start of the talk.
const START: Ms = Ms(1_293_478_200_000);

/// Its length, seconds.
const SECONDS: i64 = 600;

/// A catalog and files of one talk; times are in seconds of the talk.
struct Bench {
    dir: tempfile::TempDir,
    clock: TestClock,
}

impl Bench {
    fn at(now: i64) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let db = open_writer(dir.path()).expect("catalog");
        db.execute_batch(&format!(
            "INSERT INTO event (id, name, slug, time_zone, pre_padding_ms, post_padding_ms)
               VALUES (1, '27c3', '27c3', 'Europe/Berlin', 0, 0);
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');
             INSERT INTO talk (id, event_id, hall_id, match_key, title, speakers, start_ms, end_ms, known_since_ms)
               VALUES (7, 1, 1, 'x', 'We come in Peace', '[]', {start}, {start} + {SECONDS} * 1000, 0);",
            start = START.0
        ))
        .expect("rows");
        std::fs::create_dir(dir.path().join("segments")).expect("a folder");
        Self { dir, clock: TestClock::starting_at(START.plus(now * SECOND)) }
    }

    fn sql(&self, text: &str) {
        open_writer(self.dir.path()).expect("catalog").execute_batch(text).expect("rows");
    }

    fn path(&self, id: i64) -> std::path::PathBuf {
        self.dir.path().join(format!("segments/{id}"))
    }

    /// The row of a segment; `bytes`: its file, where there is one.
    fn segment(&self, id: i64, container: Container, opened: i64, closed: Option<i64>, bytes: Option<&[u8]>) {
        let at = |second: i64| START.plus(second * SECOND).0;
        self.sql(&format!(
            "INSERT INTO segment (id, uuid, hall_id, path, container, start_ms, end_ms, opened_ms, closed_ms, verdict)
               VALUES ({id}, '{uuid}', 1, 'segments/{id}', '{}', {opened}, {end}, {opened}, {closed}, '{verdict}');",
            container.as_str(),
            uuid = uuid::Uuid::from_u128(id.unsigned_abs().into()),
            opened = at(opened),
            end = at(closed.unwrap_or(opened)),
            closed = closed.map_or("NULL".to_owned(), |closed| at(closed).to_string()),
            verdict = if closed.is_some() { "unchecked" } else { "open" },
        ));
        if let Some(bytes) = bytes {
            std::fs::write(self.path(id), bytes).expect("a file");
        }
    }

    /// When so many bytes had come.
    fn marks(&self, id: i64, all: &[(i64, usize)]) {
        let all: Vec<Mark> =
            all.iter().map(|(at, offset)| Mark { at: START.plus(at * SECOND), offset: *offset as u64 }).collect();
        marks::append(&open_writer(self.dir.path()).expect("catalog"), SegmentId(id), &all).expect("marks");
    }

    fn env(&self) -> Env {
        Env { clock: Arc::new(self.clock.clone()), ..Env::real(self.dir.path().to_owned(), Settings::default()) }
    }

    /// Starts to watch from the talk's start; what is given comes in pieces, which end with the talk.
    fn start(&self) -> Watching {
        let (env, (give, given)) = (self.env(), mpsc::channel());
        let thread = std::thread::spawn(move || {
            remux(&env, 7, From::Start, &mut |bytes: &[u8]| {
                give.send(bytes.to_vec()).expect("somebody watches");
                Ok(())
            })
        });
        Watching { given, thread }
    }

    fn watch(&self) -> Vec<u8> {
        self.start().rest()
    }
}

struct Watching {
    given: mpsc::Receiver<Vec<u8>>,
    thread: std::thread::JoinHandle<Result<()>>,
}

impl Watching {
    /// All that is given until the end.
    fn rest(self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match self.given.recv_timeout(streamrip_lab::PATIENCE) {
                Ok(bytes) => all.extend(bytes),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
        self.thread.join().expect("no panic").expect("no failure");
        all
    }
}

/// So many seconds of sound, each unlike the others. Its bytes are 1000 a second.
fn sound(from: i64, to: i64) -> Vec<u8> {
    (from * 1000..to * 1000).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn mp3(bench: &Bench, id: i64, opened: i64, closed: Option<i64>, content: (i64, i64)) {
    bench.segment(id, Container::Mp3, opened, closed, Some(&sound(content.0, content.1)));
    bench.marks(id, &[(closed.unwrap_or(content.1), sound(content.0, content.1).len())]);
}

#[test]
fn it_ends_with_the_talk_also_where_the_recorder_died_and_closed_nothing() {
    let bench = Bench::at(SECONDS + 21);
    mp3(&bench, 1, 0, Some(20), (0, 20));
    mp3(&bench, 2, 30, None, (30, 50));
    assert_eq!(bench.watch(), [sound(0, 20), sound(30, 50)].concat());
}

#[test]
fn what_is_not_shown_here_and_runs_on_into_the_next_talk_keeps_nobody_waiting() {
    let bench = Bench::at(SECONDS);
    mp3(&bench, 1, 0, Some(20), (0, 20));
    bench.segment(2, Container::MpegTs, 30, None, Some(b""));
    assert_eq!(bench.watch(), sound(0, 20));
}

#[test]
fn a_file_that_is_gone_is_a_gap() {
    let bench = Bench::at(SECONDS);
    mp3(&bench, 1, 0, Some(20), (0, 20));
    bench.segment(2, Container::Mp3, 20, Some(30), None);
    bench.segment(3, Container::WebM, 30, Some(40), None);
    mp3(&bench, 4, 40, Some(50), (40, 50));
    assert_eq!(bench.watch(), [sound(0, 20), sound(40, 50)].concat());
}

#[test]
fn a_file_that_is_made_after_its_row_is_waited_for() {
    let bench = Bench::at(100);
    mp3(&bench, 1, 0, Some(20), (0, 20));
    bench.segment(2, Container::Mp3, 20, None, None);
    bench.marks(2, &[(30, 10_000)]);
    let watching = bench.start();
    let mut first = Vec::new();
    while first.len() < 20_000 {
        first.extend(watching.given.recv_timeout(streamrip_lab::PATIENCE).expect("the first segment"));
    }
    // It stands before a file that is not there, or will in a moment: both must end well.
    std::fs::write(bench.path(2), sound(20, 30)).expect("a file");
    bench.clock.step(SECONDS * SECOND);
    assert_eq!([first, watching.rest()].concat(), sound(0, 30));
}

#[test]
fn bytes_that_come_again_are_found() {
    assert_eq!(find_last(b"abcabcx", b"abc"), Some(6));
    assert_eq!(find_last(b"abx", b"abc"), None);
    assert_eq!(find_last(b"a", b"abc"), None);
}

#[test]
fn what_must_not_be_shown_is_not_shown_also_where_its_time_is_unsure() {
    let at = |second: i64| Ms(1_000_000_000).plus(second * SECOND);
    let when = |late_ms| When {
        begins: at(0),
        ends: at(1000),
        forbidden: Interval::new(at(100), at(200)).into(),
        looked: at(0),
        late_ms,
    };
    let shown =
        |when: When| -> Vec<i64> { (0..300).filter(|s| matches!(when.judge(at(*s)), Judgement::Shown)).collect() };
    assert_eq!(shown(when(None)), (0..100).chain(260..300).collect::<Vec<_>>());
    assert_eq!(shown(when(Some(-10 * SECOND))), (0..100).chain(210..300).collect::<Vec<_>>());
    assert!(matches!(when(None).judge(at(1000)), Judgement::Late));
    assert!(matches!(when(None).judge(at(-10)), Judgement::Early));
}
