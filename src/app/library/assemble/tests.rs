use std::time::Duration;

use rusqlite::Connection;
use streamrip_lab::{Format, Recipe};
use uuid::Uuid;

use super::*;
use crate::app::library::index::index_segment;
use crate::app::library::prune::{PruneRequest, prune};
use crate::app::library::report;
use crate::app::support::clock::TestClock;
use crate::catalog::segments::{self, ClosedSegment, close_segment, open_segment};
use crate::domain::ids::HallId;
use crate::domain::segment::{Container, EndReason, Mark, Verdict};
use crate::domain::settings::Settings;
use crate::domain::time::{HOUR, MINUTE, Ms};
use crate::plan::assembly::{Clip, MissingMedia};

/// Start of the talk.
const START: Ms = Ms(1_293_478_200_000);

/// A catalog and files of one talk.
pub(in crate::app) struct Site {
    pub(in crate::app) env: Env,
    pub(in crate::app) reader: Reader,
    pub(in crate::app) writer: Writer,
    pub(in crate::app) clock: TestClock,
    /// 24 s of stream whose first byte is made 2 s before the talk.
    stream: Vec<u8>,
    _dir: tempfile::TempDir,
}

impl Site {
    /// A talk of 20 s without padding, and nothing recorded.
    pub(in crate::app) fn new() -> Self {
        Self::of(Recipe::new(Format::MpegTs).video_kbit(100).seconds(24.0).bytes())
    }

    /// A talk of 20 s of this stream of 24 s, whose first byte is made 2 s before it.
    pub(in crate::app) fn of(stream: Vec<u8>) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let db = catalog::open_writer(dir.path()).expect("catalog");
        db.execute_batch(&format!(
            "INSERT INTO event (id, name, slug, time_zone, pre_padding_ms, post_padding_ms)
               VALUES (1, '27c3', '27c3', 'Europe/Berlin', 0, 0);
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');
             INSERT INTO talk (id, event_id, hall_id, match_key, title, speakers, start_ms, end_ms, known_since_ms)
               VALUES (7, 1, 1, 'x', 'We come in Peace', '[\"Rop\"]', {start}, {start} + 20000, 0);",
            start = START.0
        ))
        .expect("rows");
        let (writer, _) = Writer::start(db).expect("writer");
        let reader = Arc::new(Mutex::new(catalog::open_reader(dir.path()).expect("reader")));
        let clock = TestClock::starting_at(START.plus(MINUTE));
        let env = Env {
            data_dir: dir.path().to_owned(),
            settings: Settings::default(),
            clock: Arc::new(clock.clone()),
            engine: Arc::new(crate::media::engine::Ffmpeg),
        };
        Self { env, reader, writer, clock, stream, _dir: dir }
    }

    /// Records the stream between these seconds of the talk, as a tape would. Its id.
    pub(in crate::app) async fn tape(&self, from: f64, to: f64) -> SegmentId {
        let per_second = self.stream.len() as f64 / 24.0;
        let at = |s: f64| ((((s + 2.0) * per_second) as usize).min(self.stream.len())) / 188 * 188;
        self.tape_bytes(self.stream[at(from)..at(to)].to_vec(), from, to).await
    }

    async fn tape_bytes(&self, bytes: Vec<u8>, from: f64, to: f64) -> SegmentId {
        let uuid = Uuid::now_v7();
        let path = Path::new("segments").join(format!("{uuid}.ts"));
        let wall = |s: f64| START.plus((s * 1000.0) as i64);
        let marks = (0..=10)
            .map(|n| {
                let share = f64::from(n) / 10.0;
                Mark { at: wall(from + (to - from) * share), offset: ((bytes.len() as f64 * share) as u64).max(1) }
            })
            .collect();
        let file = self.env.data_dir.join(&path);
        std::fs::create_dir_all(file.parent().expect("folder")).expect("made");
        std::fs::write(&file, &bytes).expect("written");
        let closed = ClosedSegment {
            marks,
            bytes: bytes.len() as u64,
            lost_bytes: 0,
            sha256: [0; 32],
            container: Container::MpegTs,
            verdict: Verdict::Unchecked,
            reason: EndReason::Eof,
            at: wall(to),
        };
        self.writer
            .call(move |db| {
                open_segment(db, uuid, None, HallId(1), &path, Container::MpegTs, wall(from))?;
                close_segment(db, uuid, &closed)?;
                Ok(SegmentId(db.last_insert_rowid()))
            })
            .await
            .expect("rows");
        self.query(move |db| {
            SegmentId(
                db.query_row("SELECT id FROM segment WHERE uuid = ?1", [uuid.to_string()], |r| r.get(0)).expect("row"),
            )
        })
    }

    pub(in crate::app) fn query<T>(&self, f: impl FnOnce(&Connection) -> T) -> T {
        f(&self.reader.lock().expect("reader"))
    }

    pub(in crate::app) async fn sql(&self, sql: &'static str) {
        self.writer.call(move |db| Ok(db.execute_batch(sql)?)).await.expect("sql");
    }

    async fn assemble(&self) -> AssembleOutcome {
        let outcome = assemble_talk(&self.env, &self.reader, &self.writer, TalkId(7), false, no_progress()).await;
        outcome.expect("no failure")
    }

    pub(in crate::app) fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.env.data_dir.join("talks/27c3"))
            .into_iter()
            .flatten()
            .map(|e| e.expect("entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_file_does_not_hold_what_is_missing_in_the_middle_of_a_segment() {
    let clip = |out: (i64, i64), shift_ms, before| Clip {
        segment: SegmentId(1),
        tracks: Vec::new(),
        shift_ms,
        offset_ms: 1_000_000,
        out_start_ms: out.0,
        complete_from_ms: out.0,
        out_end_ms: out.1,
        before,
    };
    // Its own clock has 300 s, a hole of 20 s, and 580 s.
    let hole = MissingMedia { ms: 20_000, cause: None };
    let plan = EditList {
        clips: vec![clip((0, 300_000), 0, None), clip((300_000, 880_000), -20_000, Some(hole))],
        ..EditList::default()
    };
    let holds: Vec<_> = parts(&plan).iter().map(|part| (part.place, part.wall)).collect();
    let wall = |from: i64, to: i64| Some(Interval::new(Ms(1_000_000 + from), Ms(1_000_000 + to)));
    let want = [(Some((0, 300_000)), wall(0, 300_000)), (Some((300_000, 880_000)), wall(320_000, 900_000))];
    assert_eq!(holds, want);
}

fn made_ms(outcome: &AssembleOutcome) -> i64 {
    match outcome {
        AssembleOutcome::Made { duration_ms, .. } => *duration_ms,
        other => panic!("not made: {other:?}"),
    }
}

const NAME: &str = "2010-12-27_2030_saal-1_we-come-in-peace.mkv";

#[tokio::test]
async fn a_talk_becomes_one_file_and_stays_as_it_is() {
    let site = Site::new();
    assert!(matches!(site.assemble().await, AssembleOutcome::Nothing(_)));
    let first = site.tape(-1.0, 9.0).await;
    let second = site.tape(7.0, 21.5).await;
    let ms = made_ms(&site.assemble().await);
    assert!((19_000..21_500).contains(&ms), "{ms}");
    assert_eq!(site.files(), [NAME]);
    assert!(matches!(site.assemble().await, AssembleOutcome::UpToDate(_)));
    let assembly = site.query(|db| assemblies::current(db, TalkId(7)).expect("read")).expect("there");
    let (bytes, sha256) =
        join::hash(&site.env.data_dir.join(&assembly.path), &crate::media::CancellationToken::new()).expect("read");
    assert_eq!((bytes, sha256), (assembly.bytes, assembly.sha256));
    let parts = site.query(|db| assemblies::parts(db, assembly.id).expect("read"));
    assert_eq!(
        parts.iter().map(|p| (p.segment, p.place.is_some())).collect::<Vec<_>>(),
        [(first, true), (second, true)]
    );
    let seams = site.query(|db| {
        let all =
            segments::segments_of_hall(db, HallId(1), crate::domain::interval::Interval::new(START, START.plus(HOUR)));
        crate::catalog::seams::between(db, &all.expect("read")).expect("read")
    });
    assert!(seams.len() == 1 && seams[0].kind == "overlap" && seams[0].matched_packets > 50, "{seams:?}");

    // A new title: a new name, and the old one is gone.
    site.sql("UPDATE talk SET title = 'Peace, we come' WHERE id = 7").await;
    assert!(matches!(site.assemble().await, AssembleOutcome::Made { .. }));
    assert_eq!(site.files(), ["2010-12-27_2030_saal-1_peace-we-come.mkv"]);

    // A talk that is cancelled afterwards keeps its file.
    site.sql("UPDATE talk SET status = 'cancelled' WHERE id = 7").await;
    assert!(matches!(site.assemble().await, AssembleOutcome::Nothing(_)));
    assert_eq!(site.files().len(), 1);
}

#[tokio::test]
async fn more_media_replaces_a_file_and_less_never_does() {
    let site = Site::new();
    site.tape(-1.0, 9.0).await;
    let short = made_ms(&site.assemble().await);
    let late = site.tape(11.0, 21.5).await;
    let longer = made_ms(&site.assemble().await);
    assert!(longer > short + 5_000, "{short} then {longer}");
    // Its file vanishes: the assembly is now the only copy.
    let path = site.query(|db| segments::segment(db, late).expect("read")).expect("there").path;
    std::fs::remove_file(site.env.data_dir.join(path)).expect("removed");
    site.sql("UPDATE segment SET verdict = 'lost' WHERE id = 2").await;
    site.sql("UPDATE talk SET title = 'New' WHERE id = 7").await;
    let AssembleOutcome::Kept(path) = site.assemble().await else { panic!("replaced") };
    // It has the new name all the same.
    assert_eq!(site.files(), [path.file_name().expect("name").to_string_lossy()]);
    assert!(path.to_string_lossy().ends_with("_new.mkv"));
    assert!(matches!(site.assemble().await, AssembleOutcome::UpToDate(_)));
    // The user deleted the file: then what is left is made.
    std::fs::remove_file(site.env.data_dir.join(&path)).expect("removed");
    assert_eq!(made_ms(&site.assemble().await), short);
}

#[tokio::test]
async fn pruning_waits_for_the_assembly_and_does_not_undo_it() {
    let site = Site::new();
    let fragment = site.tape(-0.4, 1.5).await;
    site.tape(3.0, 21.5).await;
    let inside = site.tape(5.0, 6.0).await;
    let page = site.tape_bytes(b"<html><body>Not found</body></html>".repeat(9), 2.0, 2.5).await;
    let mut env = site.env.clone();
    env.settings.prune.min_segment_bytes = 150_000;
    let gone = async |dry| {
        let request = PruneRequest { dry_run: dry, opted_out: false };
        let all = prune(&env, &site.reader, &site.writer, request).await.expect("pruned");
        let mut gone: Vec<_> = all.into_iter().filter_map(|l| l.segment).collect();
        gone.sort();
        gone
    };
    for id in [fragment, inside, page] {
        index_segment(&site.env, &site.reader, &site.writer, id).await.expect("indexed");
    }
    assert_eq!(gone(false).await, []);
    let ms = made_ms(&site.assemble().await);
    assert_eq!(gone(true).await, [fragment, inside, page]);
    // Something changed since: the file may be wrong about them.
    site.sql("UPDATE talk SET title = title").await;
    assert_eq!(gone(true).await, []);
    assert!(matches!(site.assemble().await, AssembleOutcome::UpToDate(_)));
    assert_eq!(gone(true).await, [fragment, inside, page]);
    assert_eq!(site.query(|db| segments::segment(db, page).expect("read")).expect("row").verdict, Verdict::NotMedia);
    assert_eq!(gone(false).await, [fragment, inside, page]);
    assert_eq!(gone(false).await, []);
    let row = site.query(|db| segments::segment(db, fragment).expect("read")).expect("row");
    assert_eq!(row.verdict, Verdict::Pruned);
    assert!(row.sha256.is_some() && row.bytes > 0 && row.verdict_reason.is_some_and(|r| r.contains("fragment")));
    let file = site.env.data_dir.join(&row.path);
    assert!(!file.exists());
    // Another recording under its name, written while the catalog did not answer, is nothing to delete.
    std::fs::write(&file, b"another recording").expect("written");
    assert_eq!(gone(false).await, []);
    assert!(file.exists());
    // A new segment may have that name.
    let name = row.path.clone();
    site.writer
        .call(move |db| open_segment(db, Uuid::new_v4(), None, HallId(1), &name, Container::MpegTs, Ms(0)))
        .await
        .expect("opened");
    let renamed = site.query(|db| segments::segment(db, fragment).expect("read")).expect("row");
    assert_eq!((renamed.verdict, renamed.sha256), (Verdict::Pruned, row.sha256));
    assert_ne!(renamed.path, row.path);
    site.sql("DELETE FROM segment WHERE verdict = 'open'").await;
    // The assembly holds what was pruned: it is not made again without it.
    assert!(matches!(site.assemble().await, AssembleOutcome::Kept(_)), "pruned media was thrown away");
    let assembly = site.query(|db| assemblies::current(db, TalkId(7)).expect("read")).expect("there");
    assert_eq!(assembly.duration_ms, ms);
}

#[tokio::test]
async fn a_segment_whose_index_an_older_version_wrote_is_looked_at_anew() {
    let site = Site::new();
    site.tape(-1.0, 9.0).await;
    site.tape(7.0, 21.5).await;
    let ms = made_ms(&site.assemble().await);
    site.sql("UPDATE media_index SET format = format - 1 WHERE segment_id = 2").await;
    let again = assemble_talk(&site.env, &site.reader, &site.writer, TalkId(7), true, no_progress()).await;
    assert_eq!(made_ms(&again.expect("made")), ms);
    // One that cannot be looked at leaves the others as they are.
    site.sql("UPDATE media_index SET format = format - 1 WHERE segment_id = 1").await;
    let file = site.query(|db| segments::segment(db, SegmentId(1)).expect("read")).expect("there").path;
    let file = site.env.data_dir.join(file);
    std::fs::remove_file(&file).expect("removed");
    std::fs::create_dir(&file).expect("made");
    let again = assemble_talk(&site.env, &site.reader, &site.writer, TalkId(7), true, no_progress()).await;
    assert!(made_ms(&again.expect("made")) > 11_000);
}

#[tokio::test]
async fn failures_leave_nothing_half_made() {
    let site = Site::new();
    let id = site.tape(-1.0, 21.5).await;
    index_segment(&site.env, &site.reader, &site.writer, id).await.expect("indexed");
    let file = site.query(|db| segments::segment(db, id).expect("read")).expect("there").path;
    let file = site.env.data_dir.join(file);
    // Another stream under the name: its packets are not those of the index.
    let mut other = site.stream.clone();
    other.truncate(std::fs::metadata(&file).expect("there").len() as usize / 188 * 188);
    std::fs::write(&file, &other[188 * 40..]).expect("written");
    // It is indexed anew, and what it holds is joined.
    assert!(made_ms(&site.assemble().await) > 15_000);
    assert_eq!(site.files(), [NAME]);

    // A future that is dropped stops its children and removes its file.
    let mut env = site.env.clone();
    env.settings.assemble.chapters = false;
    site.sql("UPDATE talk SET title = 'Other' WHERE id = 7").await;
    let work = assemble_talk(&env, &site.reader, &site.writer, TalkId(7), false, no_progress());
    let _ = tokio::time::timeout(Duration::from_millis(300), work).await;
    streamrip_lab::eventually("no half-made file", streamrip_lab::PATIENCE, || {
        !site.files().iter().any(|name| name.ends_with(join::TEMP_SUFFIX))
    })
    .await;

    // What a kill leaves goes at the next start.
    let half = site.env.data_dir.join("talks/27c3/x.mkv.part");
    std::fs::write(&half, b"x").expect("written");
    remove_half_made(&site.env.data_dir);
    assert!(!half.exists() && !site.files().is_empty());
    // A segment whose file is gone is marked so, and the rest is joined: here nothing is left.
    std::fs::remove_file(&file).expect("removed");
    std::fs::remove_dir_all(site.env.data_dir.join("talks")).expect("removed");
    let outcome = site.assemble().await;
    assert!(!matches!(outcome, AssembleOutcome::Made { .. }), "{outcome:?}");
    assert_eq!(site.query(|db| segments::segment(db, id).expect("read")).expect("row").verdict, Verdict::Lost);
    site.clock.step(1);
}

#[tokio::test]
async fn two_talks_of_one_name_get_two_files() {
    let site = Site::new();
    site.tape(-1.0, 21.5).await;
    site.assemble().await;
    site.sql(
        "INSERT INTO talk (id, event_id, hall_id, match_key, title, start_ms, end_ms, known_since_ms)
         SELECT 8, 1, 1, 'y', title, start_ms, end_ms, 0 FROM talk WHERE id = 7",
    )
    .await;
    let outcome = assemble_talk(&site.env, &site.reader, &site.writer, TalkId(8), false, no_progress()).await;
    made_ms(&outcome.expect("made"));
    assert_eq!(site.files(), ["2010-12-27_2030_saal-1_we-come-in-peace-8.mkv", NAME]);
    assert!(matches!(site.assemble().await, AssembleOutcome::UpToDate(_)));
}

#[tokio::test]
async fn a_burst_that_reaches_back_closes_the_gap_before_it_is_joined() {
    let site = Site::new();
    site.tape(-1.0, 8.0).await;
    // Connected again at 12 s, and the server begins with the last 5 s: all of these come at once.
    let per_second = site.stream.len() as f64 / 24.0;
    let at = |s: f64| ((((s + 2.0) * per_second) as usize).min(site.stream.len())) / 188 * 188;
    let second = site.tape_bytes(site.stream[at(7.0)..at(21.0)].to_vec(), 12.0, 21.0).await;
    let burst = (at(12.0) - at(7.0)) as u64;
    let marks: Vec<Mark> = (0..=9)
        .map(|n| {
            let bytes = burst + ((at(12.0 + f64::from(n)) - at(12.0)) as u64);
            Mark { at: START.plus(12_000 + i64::from(n) * 1000), offset: bytes.max(1) }
        })
        .collect();
    site.writer
        .call(move |db| {
            db.execute("DELETE FROM mark_chunk WHERE segment_id = ?1", [second.0])?;
            catalog::marks::append(db, second, &marks)
        })
        .await
        .expect("marks");
    for id in [SegmentId(1), second] {
        index_segment(&site.env, &site.reader, &site.writer, id).await.expect("indexed");
    }
    // Before anything is joined: where the media lies says that nothing is missing.
    let view = site.query(|db| report::one(db, &site.env, "7").expect("talk"));
    assert!(view.report.gaps.is_empty(), "{:#?}", view.report.gaps);
    assert!(view.segments[1].at.start < START.plus(8_000), "{:?}", view.segments[1].at);
    let outcome = site.assemble().await;
    assert!(matches!(outcome, AssembleOutcome::Made { gaps: 0, .. }), "{outcome:?}");
    let view = site.query(|db| report::one(db, &site.env, "7").expect("talk"));
    let seams = site.query(|db| catalog::seams::between(db, &view.segments).expect("seams"));
    assert_eq!((seams.len(), seams[0].kind.as_str(), seams[0].method.as_str()), (1, "overlap", "packets"));
    assert!(view.report.gaps.is_empty());
}

#[tokio::test]
async fn a_piece_without_a_key_picture_is_joined_by_what_the_one_before_says() {
    let site = Site::new();
    let mut scan = crate::media::mpegts::Scan::default();
    scan.feed(&site.stream);
    let key = |n: usize| scan.cuts()[n].byte as usize;
    // From the middle of a second to the next key picture.
    let cuts = [0, usize::midpoint(key(8), key(9)) / 188 * 188, key(9), site.stream.len()];
    let at = |byte: usize| byte as f64 * 24.0 / site.stream.len() as f64 - 2.0;
    let mut clips = Vec::new();
    for pair in cuts.windows(2) {
        clips.push(site.tape_bytes(site.stream[pair[0]..pair[1]].to_vec(), at(pair[0]), at(pair[1])).await);
    }
    site.sql(
        "INSERT INTO stream (id, hall_id, url, priority, origin, added_ms)
           VALUES (3, 1, 'http://a/', 0, 'command', 0), (4, 1, 'http://b/', 1, 'command', 0);
         INSERT INTO connection (id, uuid, hall_id, stream_id, source, opened_ms)
           VALUES (1, 'a', 1, 3, 'http', 0), (2, 'b', 1, 3, 'http', 0), (3, 'c', 1, 3, 'http', 0);
         UPDATE segment SET connection_id = id;",
    )
    .await;
    let path = |id| site.query(|db| segments::segment(db, id).expect("read")).expect("there").path;
    let before = |id| site.query(|db| segments::before(db, id).expect("read"));
    assert_eq!(before(clips[2]), [path(clips[1]), path(clips[0])], "the last one first");
    assert_eq!(before(clips[0]), Vec::<PathBuf>::new());
    let AssembleOutcome::Made { duration_ms, gaps, .. } = site.assemble().await else { panic!("not made") };
    assert!(gaps == 0 && (19_900..21_500).contains(&duration_ms), "{gaps} gaps in {duration_ms} ms");
    let index = |id| site.query(|db| crate::catalog::media_index::of_segment(db, id).expect("read")).expect("there");
    assert!(index(clips[1]).keys_ms.is_empty() && index(clips[1]).tracks.len() == 2);
    assert!(!index(clips[1]).prefix.is_empty() && index(clips[2]).prefix.is_empty());

    // Another stream's pictures may be others; what must not be kept lends nothing.
    for other in [
        "UPDATE connection SET stream_id = 4 WHERE id = 1",
        "UPDATE connection SET stream_id = 3; UPDATE segment SET verdict = 'quarantined' WHERE id = 1",
    ] {
        site.sql(other).await;
        assert_eq!(before(clips[1]), Vec::<PathBuf>::new(), "{other}");
    }
}
