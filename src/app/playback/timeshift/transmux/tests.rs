use streamrip_lab::{Format, Recipe};
use uuid::Uuid;

use super::*;
use crate::domain::ids::HallId;
use crate::domain::interval::Interval;
use crate::domain::segment::Verdict;
use crate::domain::settings::Settings;

#[test]
fn what_is_closed_counts_as_growing_until_all_of_it_is_made() {
    let dir = tempfile::tempdir().expect("works");
    let mut env = Env::real(dir.path().to_owned(), Settings::default());
    env.settings.disk.reserve_bytes = 0;
    let opened = Ms(1_000_000_000);
    let segment = Segment {
        id: SegmentId(1),
        uuid: Uuid::nil(),
        hall: HallId(1),
        connection: None,
        stream: None,
        path: "x.flv".into(),
        container: Container::Flv,
        at: Interval::new(opened, opened),
        opened,
        closed: Some(opened.plus(4000)),
        bytes: 0,
        lost_bytes: 0,
        sha256: None,
        media_ms: None,
        verdict: Verdict::Unchecked,
        verdict_reason: None,
        end_reason: None,
        spans: Vec::new(),
        tracks: Vec::new(),
    };
    let mut scan = Scan::default();
    scan.feed(&Recipe::new(Format::MpegTs).seconds(4.0).bytes());
    let file = tempfile::tempfile().expect("works");
    let (form, clock) = (Some(Ok(TargetFormat::MpegTs)), Some((0, opened)));
    let state = State { form, clock, media: TransmuxedMedia::MpegTs(Box::new(scan)), file, done: false, broke: None };
    let transmux_job = Arc::new(Transmux {
        stop: Arc::default(),
        fed: AtomicBool::new(true),
        written: AtomicU64::new(0),
        state: state.into(),
    });
    let transmuxes = TransmuxCache::default();
    let kept = CacheEntry { asked: Instant::now(), again: false, transmux_job: Arc::clone(&transmux_job) };
    transmuxes.0.lock().expect("works").insert(segment.id, kept);
    for done in [false, true] {
        transmux_job.state().done = done;
        let Playable::As { timeline, is_ready, .. } = transmuxes.look(&env, &segment) else {
            panic!("something is there")
        };
        assert_eq!((timeline.closed.is_some(), is_ready, timeline.keys.len()), (done, done, 4));
    }
    transmuxes.tidy(&env, Duration::ZERO);
    assert!(transmux_job.stop.load(Ordering::Relaxed), "its ffmpeg ends too");
}
