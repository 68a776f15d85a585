use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use streamrip_lab::{Format, PATIENCE, Recipe, wait_for, wait_until};

use super::*;
use crate::app::library::assemble::tests::Site;
use crate::app::library::assemble::{AssembleOutcome, assemble_talk, no_progress};
use crate::app::support::clock::TestClock;
use crate::catalog::open_writer;
use crate::domain::segment::Mark;
use crate::domain::settings::Settings;
use crate::domain::time::SECOND;

const START: Ms = Ms(1_293_478_200_000);

/// A hall with a talk of ten minutes (1), and one right after it that is opted out (2).
struct Hall {
    dir: tempfile::TempDir,
    db: Db,
    env: Env,
    clock: TestClock,
    scans: KeyframeCache,
}

impl Hall {
    /// Its talk is over, or begins.
    fn new(now: Ms) -> Self {
        let dir = tempfile::tempdir().expect("works");
        let db = open_writer(dir.path()).expect("works");
        db.execute_batch(&format!(
            "INSERT INTO event (id, name, slug, time_zone) VALUES (1, '27c3', '27c3', 'Europe/Berlin');
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');
             INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, status, opted_out, known_since_ms, speakers)
               VALUES (1, 1, 1, 'a', 'Opening', {start}, {end}, 'scheduled', 0, 0, '[]'),
                      (2, 1, 1, 'b', 'Closing', {end}, {later}, 'scheduled', 1, 0, '[]');",
            start = START.0,
            end = START.plus(10 * MINUTE).0,
            later = START.plus(20 * MINUTE).0,
        ))
        .expect("works");
        let clock = TestClock::starting_at(now);
        let mut settings = Settings::default();
        // Whatever this machine's disk is.
        settings.disk.reserve_bytes = 0;
        let env = Env { clock: Arc::new(clock.clone()), ..Env::real(dir.path().to_owned(), settings) };
        Self { dir, db, env, clock, scans: KeyframeCache::for_browsers() }
    }

    fn over() -> Self {
        Self::new(START.plus(HOUR))
    }

    /// A segment that was opened and closed so many seconds after the talk's start; `None`: it grows.
    fn segment(&self, id: i64, container: Container, opened: i64, closed: Option<i64>, bytes: &[u8]) {
        let path = format!("{id}.{}", container.extension());
        std::fs::write(self.dir.path().join(&path), bytes).expect("works");
        let (opened, closed) = (START.plus(opened * SECOND).0, closed.map(|s| START.plus(s * SECOND).0));
        let row = (
            id,
            format!("d6c7b0c0-0000-7000-8000-{id:012}"),
            path,
            container.as_str(),
            opened,
            closed.unwrap_or(opened),
            closed,
        );
        let verdict = if closed.is_some() { "unchecked" } else { "open" };
        let sql = format!(
            "INSERT INTO segment (id, uuid, hall_id, path, container, start_ms, opened_ms, end_ms, closed_ms, bytes, verdict)
             VALUES (?1, ?2, 1, ?3, ?4, ?5, ?5, ?6, ?7, 1, '{verdict}')"
        );
        self.db.execute(&sql, row).expect("works");
    }

    fn close(&self, id: i64, at: i64) {
        let sql = "UPDATE segment SET closed_ms = ?2, end_ms = ?2, verdict = 'unchecked' WHERE id = ?1";
        self.db.execute(sql, (id, START.plus(at * SECOND).0)).expect("works");
    }

    fn set_clock(&self, to: Ms) {
        self.clock.step(to.since(self.env.clock.now()));
    }

    fn shift(&self) -> TalkPlaylist {
        talk_playlist(&self.db, &self.env, &self.scans, 1).expect("works")
    }

    /// What can be watched when everything is ready.
    fn ready(&self) -> TalkPlaylist {
        wait_for("all to be ready", PATIENCE, || Some(self.shift()).filter(|shift| !shift.catching_up))
    }

    fn bytes(&self, shift: &TalkPlaylist, chunk: &PlaylistEntry) -> Vec<u8> {
        let mut piece = open(&self.env, &self.scans, shift, chunk).expect("works");
        std::iter::from_fn(|| piece.block().expect("works")).flatten().collect()
    }
}

/// How many video frames (or frames of audio, where there are none) a decoder makes of it.
fn decoded(bytes: &[u8]) -> usize {
    let mut file = tempfile::NamedTempFile::new().expect("works");
    file.write_all(bytes).expect("works");
    let arguments = ["-v", "fatal", "-select_streams", "0", "-show_entries", "frame=media_type", "-of", "csv=p=0"];
    let output = Command::new("ffprobe").args(arguments).arg(file.path()).output().expect("ffprobe runs");
    String::from_utf8_lossy(&output.stdout).lines().count()
}

fn seconds(chunks: &[PlaylistEntry]) -> f64 {
    chunks.iter().map(|c| c.length_us).sum::<i64>() as f64 / 1e6
}

#[test]
fn what_is_not_mpeg_ts_is_cut_into_pieces_that_play() {
    for (format, container, webm) in [
        (Format::Flv, Container::Flv, false),
        (Format::Mp4, Container::Mp4, false),
        (Format::Mp3, Container::Mp3, false),
        (Format::Adts, Container::Adts, false),
        (Format::WebM, Container::WebM, true),
        (Format::Vp9, Container::WebM, true),
        (Format::Opus, Container::Ogg, true),
    ] {
        let hall = Hall::over();
        // Two connections of which none brings what the other has; in between 5 s are missing.
        let first = Recipe::new(format).seconds(6.0).bytes();
        let second = Recipe::new(format).black().silent().seconds(3.0).bytes();
        hall.segment(1, container, 0, Some(6), &first);
        hall.segment(2, container, 11, Some(14), &second);
        let shift = hall.ready();
        assert!(shift.ended && shift.obstacle.is_none(), "{format:?}: {shift:?}");
        assert_eq!(matches!(shift.form, Some(TargetFormat::WebM(_))), webm, "{format:?}");
        let listed: Vec<_> = shift.entries.iter().map(|c| (c.segment.0, c.breaks)).collect();
        assert_eq!(listed, [(1, false), (1, false), (2, true)], "{format:?}");
        assert!((seconds(&shift.entries) - 9.0).abs() < 0.4, "{format:?}: {:?}", shift.entries);
        let begins = shift.entries[2].wall.since(START);
        assert!((begins - 11_000).abs() < 500, "{format:?}: {begins}");
        let played: usize = shift.entries.iter().map(|chunk| decoded(&hall.bytes(&shift, chunk))).sum();
        let recorded = decoded(&first) + decoded(&second);
        // Decoders drop or add a frame of audio where a piece begins.
        assert!(
            played.abs_diff(recorded) <= if format.has_video() { 0 } else { 10 },
            "{format:?}: {played} of {recorded}"
        );
        // Nothing lies about.
        let names: Vec<_> =
            std::fs::read_dir(hall.dir.path()).expect("works").flatten().map(|e| e.file_name()).collect();
        assert!(names.iter().all(|name| !name.to_string_lossy().contains("player")), "{names:?}");
    }
}

#[test]
fn what_no_browser_plays_says_so() {
    let hall = Hall::over();
    hall.segment(1, Container::Asf, 0, Some(4), &Recipe::new(Format::Asf).seconds(4.0).bytes());
    let shift = hall.ready();
    assert_eq!(shift.obstacle.as_deref(), Some("browsers do not play Windows Media, Flash or another old video"));
    // A file in which there is no media is none of that: nothing was recorded.
    let hall = Hall::over();
    hall.segment(1, Container::Flv, 0, Some(4), b"FLV\x01\x05\0\0\0\x09\0\0\0\0 and then nothing of it");
    let shift = hall.ready();
    assert!(shift.entries.is_empty() && shift.obstacle.is_none() && shift.ended, "{shift:?}");
}

#[test]
fn containers_that_become_one_form_are_shown_in_one_list_and_others_are_gaps() {
    let hall = Hall::over();
    let bytes = |format| Recipe::new(format).seconds(4.0).bytes();
    hall.segment(1, Container::Asf, 0, Some(4), &bytes(Format::Asf));
    hall.segment(2, Container::Flv, 10, Some(14), &bytes(Format::Flv));
    hall.segment(3, Container::WebM, 20, Some(24), &bytes(Format::WebM));
    hall.segment(4, Container::MpegTs, 30, Some(34), &bytes(Format::MpegTs));
    let shown: Vec<_> = hall.ready().entries.iter().map(|c| c.segment.0).collect();
    assert_eq!(shown, [2, 4]);
    // `watch` gives MPEG-TS only: the rest is piped.
    let for_players = talk_playlist(&hall.db, &hall.env, &KeyframeCache::default(), 1).expect("works");
    assert_eq!(for_players.entries.iter().map(|c| c.segment.0).collect::<Vec<_>>(), [4]);
}

#[test]
fn a_list_grows_with_the_recording_and_what_was_told_stays() {
    for (format, container) in [(Format::Flv, Container::Flv), (Format::WebM, Container::WebM)] {
        let hall = Hall::new(START);
        let bytes = Recipe::new(format).seconds(20.0).bytes();
        hall.segment(1, container, 0, None, &[]);
        let mut file = std::fs::File::options()
            .append(true)
            .open(hall.dir.path().join(format!("1.{}", container.extension())))
            .expect("works");
        let mut before: Vec<PlaylistEntry> = Vec::new();
        // Eight seconds in the first four, then a second a second.
        let twentieth = bytes.len() / 20;
        let mut at = 0;
        for second in [4_i64, 6, 10, 16] {
            let to = if second == 16 { bytes.len() } else { twentieth * (usize::try_from(second).expect("fits") + 4) };
            file.write_all(&bytes[at..to]).expect("works");
            at = to;
            hall.set_clock(START.plus(second * SECOND));
            let mark = Mark { at: START.plus(second * SECOND), offset: to as u64 };
            marks::append(&hall.db, SegmentId(1), &[mark]).expect("works");
            let wanted = second as f64 - 4.0;
            let shift = wait_for("what was recorded to be listed", PATIENCE, || {
                let shift = hall.shift();
                assert!(shift.entries.starts_with(&before), "{before:?} became {:?}", shift.entries);
                Some(shift).filter(|shift| seconds(&shift.entries) >= wanted)
            });
            assert!(!shift.ended);
            before = shift.entries;
        }
        hall.close(1, 16);
        hall.set_clock(START.plus(HOUR));
        let shift = hall.ready();
        assert!(shift.entries.starts_with(&before) && shift.ended, "{before:?} became {:?}", shift.entries);
        assert!((seconds(&shift.entries) - 20.0).abs() < 0.3, "{:?}", shift.entries);
        // By 4 s eight had come: what was there at once was made before.
        let begins = shift.entries[0].wall.since(START);
        assert!((-5000..=-3000).contains(&begins), "{format:?}: {begins}");
        // Let go and made again it is the same.
        hall.scans.transmuxes.as_ref().expect("there").tidy(&hall.env, Duration::ZERO);
        assert!(hall.shift().catching_up);
        let again = hall.ready();
        assert_eq!(again.entries, shift.entries);
        assert!(decoded(&hall.bytes(&again, &again.entries[1])) >= 100);
    }
}

#[test]
fn nothing_of_an_opted_out_neighbour_is_listed_or_served_in_another_form() {
    for (format, container) in [(Format::Flv, Container::Flv), (Format::WebM, Container::WebM)] {
        let hall = Hall::over();
        // 10 s of each.
        hall.segment(1, container, 590, Some(610), &Recipe::new(format).seconds(20.0).bytes());
        let shift = hall.ready();
        let length = seconds(&shift.entries);
        assert!((7.5..=10.5).contains(&length), "{format:?}: {:?}", shift.entries);
        let last = *shift.entries.last().expect("pieces");
        for bytes in [last.to..last.to + 50_000, last.from..last.to + 50_000, last.from + 1..last.to] {
            let refused =
                entry_bytes(&hall.db, &hall.env, &hall.scans, 1, SegmentId(1), bytes).expect_err("not listed");
            assert_eq!(refused.kind, Kind::NotFound);
        }
        assert!(entry_bytes(&hall.db, &hall.env, &hall.scans, 1, SegmentId(1), last.from..last.to).is_ok());
        let refused =
            entry_bytes(&hall.db, &hall.env, &hall.scans, 2, SegmentId(1), last.from..last.to).expect_err("hidden");
        assert_eq!(refused.kind, Kind::NotFound);
    }
}

#[test]
fn a_talk_whose_fragments_were_pruned_plays_what_is_left() {
    for (format, container) in [(Format::MpegTs, Container::MpegTs), (Format::Flv, Container::Flv)] {
        let hall = Hall::over();
        let long = Recipe::new(format).seconds(8.0).bytes();
        let tiny = Recipe::new(format).black().seconds(1.0).bytes();
        hall.segment(1, container, 0, Some(8), &long);
        hall.segment(2, container, 20, Some(21), &tiny);
        // Another encoder: the same video frames once more are left out.
        let other = Recipe::new(format).video_kbit(900).seconds(8.0).bytes();
        hall.segment(3, container, 30, Some(38), &other);
        assert_eq!(hall.ready().entries.iter().filter(|c| c.segment.0 == 2).count(), 1);
        hall.db.execute("UPDATE segment SET verdict = 'pruned' WHERE id = 2", ()).expect("works");
        std::fs::remove_file(hall.dir.path().join(format!("2.{}", container.extension()))).expect("works");
        let shift = hall.ready();
        let listed: Vec<_> = shift.entries.iter().map(|c| (c.segment.0, c.breaks)).collect();
        assert_eq!(listed, [(1, false), (1, false), (3, true), (3, false)]);
        assert!(shift.ended);
        let played: Vec<usize> = shift.entries.iter().map(|chunk| decoded(&hall.bytes(&shift, chunk))).collect();
        assert!(played.iter().sum::<usize>().abs_diff(400) <= 2, "{format:?}: {played:?}");
        assert!(entry_bytes(&hall.db, &hall.env, &hall.scans, 1, SegmentId(2), 0..tiny.len() as u64).is_err());
    }
}

#[test]
fn only_so_many_are_made_at_once_and_what_nobody_watches_makes_way() {
    let hall = Hall::over();
    let bytes = [Recipe::new(Format::Flv), Recipe::new(Format::Flv).black()].map(|recipe| recipe.seconds(2.0).bytes());
    for (id, bytes) in (1..=12).zip(bytes.iter().cycle()) {
        hall.segment(id, Container::Flv, id * 10, Some(id * 10 + 2), bytes);
    }
    assert_eq!(hall.ready().entries.len(), 12);
    // With too little space for the tapes nothing is made, and what there is goes.
    let mut env = hall.env.clone();
    env.settings.disk.reserve_bytes = u64::MAX;
    hall.scans.tidy(&env);
    let shift = talk_playlist(&hall.db, &env, &hall.scans, 1).expect("works");
    assert!(shift.entries.is_empty() && shift.catching_up, "{shift:?}");
    wait_until("it to be there again", PATIENCE, || hall.shift().entries.len() == 12);
}

#[tokio::test]
async fn a_talk_that_is_over_plays_its_joined_file_also_without_its_segments() {
    let mut site = Site::new();
    site.env.settings.disk.reserve_bytes = 0;
    site.tape(-2.0, 9.0).await;
    site.tape(12.0, 22.0).await;
    let talk = crate::domain::ids::TalkId(7);
    let made = assemble_talk(&site.env, &site.reader, &site.writer, talk, false, no_progress()).await;
    let Ok(AssembleOutcome::Made { duration_ms, .. }) = made else { panic!("not made: {made:?}") };
    site.clock.step(HOUR);
    std::fs::remove_dir_all(site.env.data_dir.join("segments")).expect("deleted");
    let scans = KeyframeCache::for_browsers();
    let shift = wait_for("all to be ready", PATIENCE, || {
        let shift = site.query(|db| talk_playlist(db, &site.env, &scans, 7)).expect("works");
        Some(shift).filter(|shift| !shift.catching_up)
    });
    assert!(shift.ended && shift.obstacle.is_none());
    assert!(
        (seconds(&shift.entries) - duration_ms as f64 / 1000.0).abs() < 1.5,
        "{} of {duration_ms}",
        seconds(&shift.entries)
    );
    assert!(shift.entries.iter().all(|c| joined::is_one(c.segment)));
    // What stands behind the gap is shown at the time it was made.
    let last = shift.entries.last().expect("some");
    let end = last.wall.plus(last.length_us / 1000).since(START);
    assert!((18_500..21_500).contains(&end), "{end}");
    let first = shift.entries[0];
    let piece = site.query(|db| entry_bytes(db, &site.env, &scans, 7, first.segment, first.from..first.to));
    let bytes: Vec<u8> = {
        let mut piece = piece.expect("there");
        std::iter::from_fn(|| piece.block().expect("works")).flatten().collect()
    };
    assert!(decoded(&bytes) > 50);
}
