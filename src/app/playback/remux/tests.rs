use std::sync::mpsc;

use super::*;
use crate::app::support::clock::TestClock;
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
        self.start_and(|| ())
    }

    /// Starts watching as `start` does; `then` is called by the watching thread before each write.
    fn start_and(&self, mut then: impl FnMut() + Send + 'static) -> Watching {
        let (env, (give, given)) = (self.env(), mpsc::channel());
        let thread = std::thread::spawn(move || {
            remux(&env, 7, StartAt::Start, &mut |bytes: &[u8]| {
                then();
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

/// So many seconds of audio, each unlike the others. Its bytes are 1000 a second.
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
fn what_a_short_connection_gave_is_not_given_again_by_the_next_one() {
    let bench = Bench::at(SECONDS);
    mp3(&bench, 1, 0, Some(20), (0, 20));
    mp3(&bench, 2, 30, Some(33), (30, 33));
    mp3(&bench, 3, 33, Some(40), (31, 40));
    assert_eq!(bench.watch(), [sound(0, 20), sound(30, 40)].concat());
}

#[test]
fn bytes_that_come_again_are_found() {
    assert_eq!(find_last(b"abcabcx", b"abc"), Some(6));
    assert_eq!(find_last(b"abx", b"abc"), None);
    assert_eq!(find_last(b"a", b"abc"), None);
}

/// The first `init` bytes of fragmented MP4, and its fragments of a second each.
fn mp4(seconds: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let arguments = "-v error -f lavfi -i testsrc2=size=64x36:rate=5 -pix_fmt yuv420p -c:v libx264 -preset ultrafast \
                     -tune zerolatency -g 5 -f mp4 -movflags frag_keyframe+empty_moov+default_base_moof";
    let made = std::process::Command::new("ffmpeg")
        .args(arguments.split_whitespace())
        .args(["-t", &seconds.to_string(), "pipe:1"])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("ffmpeg");
    assert!(made.status.success(), "{made:?}");
    let (mut head, mut fragments, mut rest) = (Vec::new(), Vec::new(), &made.stdout[..]);
    while let Some((length, kind)) = rest.first_chunk::<4>().zip(rest.get(4..8)) {
        let (one, more) = rest.split_at(u32::from_be_bytes(*length) as usize);
        match kind {
            b"moof" => fragments.push(one.to_vec()),
            b"mdat" => fragments.last_mut().expect("moof comes first").extend(one),
            b"mfra" => {}
            _ => head.extend(one),
        }
        rest = more;
    }
    assert_eq!(fragments.len(), seconds);
    (head, fragments)
}

/// Hashes of a stream's video frames.
fn pictures(bytes: &[u8]) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    let made = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file.path())
        .args("-c copy -copyts -f framemd5 -".split(' '))
        .stdin(std::process::Stdio::null())
        .output()
        .expect("ffmpeg");
    let text = String::from_utf8(made.stdout).expect("text");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().expect("a hash").trim().to_owned()).collect()
}

/// A segment of these seconds of media. Of `burst` the first come with the first byte, then one a second.
fn channel(bench: &Bench, id: i64, from_to: (usize, usize), opened: i64, burst: usize, all: &(Vec<u8>, Vec<Vec<u8>>)) {
    let (mut bytes, mut marks) = (all.0.clone(), Vec::new());
    for (nth, fragment) in all.1[from_to.0..from_to.1].iter().enumerate() {
        bytes.extend(fragment);
        marks.push((opened + (nth + 1).saturating_sub(burst) as i64, bytes.len()));
    }
    let closed = marks.last().expect("a second").0;
    bench.segment(id, Container::Mp4, opened, Some(closed), Some(&bytes));
    bench.marks(id, &marks);
}

#[test]
fn a_connection_that_reaches_back_is_shown_where_it_was_made_and_the_next_one_goes_on() {
    let bench = Bench::at(SECONDS + 1);
    let media = mp4(100);
    // A minute from before the talk at once; then a connection that brings two seconds again, to half a minute before the end.
    channel(&bench, 1, (0, 80), 0, 60, &media);
    channel(&bench, 2, (78, 100), 20, 2, &media);
    let shown = pictures(&bench.watch());
    // The beginning may be a keyframe's some seconds before.
    let all = pictures(&[media.0.clone(), media.1[57..].concat()].concat());
    assert_eq!(shown, all);
}

#[test]
fn all_that_a_server_held_ends_no_talk_before_its_time() {
    // The recorder was started again shortly before the end, and got two minutes at once.
    let bench = Bench::at(SECONDS + 1);
    let media = mp4(150);
    channel(&bench, 1, (0, 150), SECONDS - 30, 120, &media);
    let shown = pictures(&bench.watch());
    assert_eq!(shown, pictures(&[media.0.clone(), media.1.concat()].concat()));
}

/// Where watching begins, seconds of the media, which the server held from the talk's first second on and gave at 150 s;
/// for `silent` seconds after that nothing came. Another talk, which must not be shown, overlaps the first minute.
fn begins_after_what_must_not_be_shown(silent: i64) -> usize {
    let bench = Bench::at(SECONDS + 1);
    bench.sql(&format!(
        "INSERT INTO talk (id, event_id, hall_id, match_key, title, speakers, start_ms, end_ms, opted_out, known_since_ms)
           VALUES (8, 1, 1, 'y', 'Not to be seen', '[]', {} - 600000, {0} + 60000, 1, 0);",
        START.0
    ));
    let media = mp4(200);
    channel(&bench, 1, (0, 200), 150, 150, &media);
    if silent > 0 {
        bench.sql(&format!("UPDATE segment SET closed_ms = closed_ms + {silent} * 1000; DELETE FROM mark_chunk"));
        let offset = |to: usize| media.0.len() + media.1[..to].iter().map(Vec::len).sum::<usize>();
        bench.marks(1, &[(150, offset(150)), (150 + silent, offset(151)), (199 + silent, offset(200))]);
    }
    let shown = pictures(&bench.watch());
    let all = pictures(&[media.0.clone(), media.1.concat()].concat());
    let first = all.iter().position(|hash| *hash == shown[0]).expect("one of them") / 5;
    assert_eq!(shown, all[first * 5..]);
    first
}

#[test]
fn of_all_that_a_server_held_what_must_not_be_shown_is_not() {
    // It is known to a second or so; while nobody has looked into the segment a minute more is left out.
    for silent in [0, 100] {
        let first = begins_after_what_must_not_be_shown(silent);
        assert!((120..=125).contains(&first), "after {silent} s without a byte it begins at second {first}");
    }
}

/// Kills the children of the thread that asks.
fn kill_children() {
    let children = std::fs::read_to_string("/proc/thread-self/children").expect("the kernel tells");
    let all: Vec<i32> = children.split_whitespace().map(|pid| pid.parse().expect("a number")).collect();
    assert!(!all.is_empty(), "no ffmpeg");
    for pid in all {
        let pid = rustix::process::Pid::from_raw(pid).expect("a child");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    }
}

#[test]
fn of_a_segment_whose_ffmpeg_died_everything_is_shown_once() {
    let bench = Bench::at(100);
    let media = mp4(80);
    let bytes = [media.0.clone(), media.1.concat()].concat();
    let half = media.0.len() + media.1[..40].iter().map(Vec::len).sum::<usize>();
    bench.segment(1, Container::Mp4, 0, None, Some(&bytes[..half]));
    bench.marks(1, &[(0, 0), (40, half)]);
    let mut lives = true;
    let watching = bench.start_and(move || {
        if std::mem::take(&mut lives) {
            kill_children();
        }
    });
    let first = watching.given.recv_timeout(streamrip_lab::PATIENCE).expect("the first picture");
    std::fs::write(bench.path(1), &bytes).expect("more of it");
    bench.sql("UPDATE segment SET closed_ms = opened_ms + 80000, verdict = 'unchecked'");
    bench.clock.step(SECONDS * SECOND);
    let shown = pictures(&[first, watching.rest()].concat());
    assert_eq!(shown, pictures(&bytes));
}
