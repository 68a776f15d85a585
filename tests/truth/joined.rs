//! Indexes, plans and joins files as if they had been recorded one after the other, and reads what the joined file shows.

use std::path::{Path, PathBuf};

use streamrip::domain::ids::{EventId, HallId, SegmentId, StreamId, TalkId};
use streamrip::domain::interval::Interval;
use streamrip::domain::media::MediaIndex;
use streamrip::domain::segment::{Container, Mark, Segment, Verdict};
use streamrip::domain::talk::{Talk, TalkStatus};
use streamrip::domain::time::{Ms, SECOND};
use streamrip::media::CancellationToken;
use streamrip::media::index::index;
use streamrip::media::join::{JoinJob, join};
use streamrip::plan::assembly::{AssemblyInputs, EditList, plan};
use streamrip_lab::truth::{Shown, what_the_file_shows};

/// What came of it.
pub struct Joined {
    pub indexes: Vec<MediaIndex>,
    pub plan: EditList,
    pub file: PathBuf,
    pub shown: Shown,
}

impl Joined {
    /// What to print where a test fails.
    pub fn story(&self) -> String {
        let seams: Vec<_> = self.plan.seams.iter().map(|(a, b, s)| format!("{a}|{b}: {s:?}")).collect();
        let tracks: Vec<_> = self.indexes.iter().map(|i| (&i.tracks, &i.spans, &i.clock_ranges, &i.problem)).collect();
        format!("{}\n{}\n{tracks:#?}", self.plan.describe().join("\n"), seams.join("\n"))
    }
}

/// Joins recordings: their bytes, and the seconds between which they came at an even rate.
pub fn joined(dir: &Path, extension: &str, recordings: &[(Vec<u8>, f64, f64)]) -> Joined {
    let cancel = CancellationToken::new();
    let paths: Vec<_> = (0..recordings.len()).map(|n| dir.join(format!("segment{n}.{extension}"))).collect();
    let (mut indexes, mut segments) = (Vec::new(), Vec::new());
    for (n, ((bytes, from, to), path)) in recordings.iter().zip(&paths).enumerate() {
        std::fs::write(path, bytes).expect("written");
        let earlier: Vec<PathBuf> = paths[..n].iter().rev().cloned().collect();
        let at = |share: f64| Ms(1_300_000_000_000 + ((from + (to - from) * share) * 1000.0) as i64);
        let marks: Vec<Mark> = (0..=40_u32)
            .map(|n| f64::from(n) / 40.0)
            .map(|share| Mark { at: at(share), offset: ((bytes.len() as f64 * share) as u64).max(1) })
            .collect();
        let index = index(path, &marks, &earlier, &cancel).expect("indexed");
        assert!(!index.spans.is_empty(), "segment {n} of {} bytes: {:?}", bytes.len(), index.problem);
        let start = index.spans.iter().map(|s| s.wall().start).min().expect("spans");
        let end = index.spans.iter().map(|s| s.wall().end).max().expect("spans");
        segments.push(Segment {
            id: SegmentId(n as i64 + 1),
            uuid: uuid::Uuid::nil(),
            hall: HallId(1),
            connection: None,
            stream: Some(StreamId(1)),
            path: path.clone(),
            container: Container::Unknown,
            at: Interval::new(start, end),
            opened: start,
            closed: Some(end),
            bytes: bytes.len() as u64,
            lost_bytes: 0,
            sha256: None,
            media_ms: Some(index.media_ms()),
            verdict: Verdict::Media,
            verdict_reason: None,
            end_reason: None,
            spans: index.spans.clone(),
            tracks: Vec::new(),
        });
        indexes.push(index);
    }
    let start = segments.iter().map(|s| s.at.start).min().expect("some");
    let end = segments.iter().map(|s| s.at.end).max().expect("some");
    let slot = Interval::new(start.minus(SECOND), end.plus(SECOND));
    let talk = Talk {
        id: TalkId(1),
        event: EventId(1),
        hall: HallId(1),
        match_key: String::new(),
        uid: None,
        title: "What is said".into(),
        speakers: Vec::new(),
        slot,
        status: TalkStatus::Scheduled,
        opted_out: false,
        known_since: Ms(0),
        follows: None,
    };
    let plan = plan(&AssemblyInputs {
        talk: &talk,
        event: "27c3",
        hall: "Saal 1",
        zone: chrono_tz::Tz::Europe__Berlin,
        window: slot,
        segments: segments.iter().zip(&indexes).map(|(s, i)| (s, Some(i))).collect(),
        gaps: &[],
        chapters: true,
    });
    let file = dir.join("joined.mkv");
    let sources = segments.iter().zip(&indexes).map(|(s, i)| (s.id, (s.path.clone(), i.clone()))).collect();
    join(&JoinJob { plan: plan.clone(), sources, target: file.clone() }, &mut |_| (), &cancel).expect("joined");
    let shown = what_the_file_shows(&file);
    Joined { indexes, plan, file, shown }
}
