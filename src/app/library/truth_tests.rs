//! What is said of a talk against what its file shows: frames that carry their number, a tone a second.

use streamrip_lab::truth::{FPS, Numbered, Shown, TONE_MS, what_the_file_shows};

use super::assemble::tests::Site;
use super::assemble::{AssembleOutcome, assemble_talk, no_progress};
use super::index::index_segment;
use super::{report, retention};
use crate::domain::gap::{GapCause, Lacks};
use crate::domain::ids::TalkId;
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::segment::Verdict;
use crate::domain::time::{HOUR, Ms, SECOND};
use crate::plan::coverage::TalkReport;

/// Seconds of media, of which the first two lie before the talk.
const LENGTH: f64 = 24.0;

/// Length of the talk in seconds.
const TALK: i64 = 20;

/// The stream's rate is constant, so that a byte tells its time.
const MUX: &str = "-c:v libx264 -preset ultrafast -b:v 250k -maxrate 300k -bufsize 100k -c:a aac -b:a 64k -f mpegts \
                   -muxrate 700k -muxdelay 0.2 -muxpreload 0";

/// PIDs that ffmpeg's MPEG-TS muxer gives the first video and the first audio stream.
const VIDEO_PID: u16 = 256;
const AUDIO_PID: u16 = 257;

fn stream(gop: u32) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("a.ts");
    Numbered::seconds(LENGTH).make(&path, &format!("{MUX} -g {gop} -keyint_min {gop} -sc_threshold 0"));
    std::fs::read(path).expect("made")
}

fn pid(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff
}

/// The audio comes so many seconds later in the file than the video that is shown with it.
fn askew(bytes: &[u8], seconds: f64) -> Vec<u8> {
    let packets: Vec<&[u8]> = bytes.chunks_exact(188).collect();
    let later = (packets.len() as f64 / LENGTH * seconds) as usize;
    let mut order: Vec<(usize, &[u8])> =
        packets.iter().enumerate().map(|(n, p)| (n + if pid(p) == AUDIO_PID { later } else { 0 }, *p)).collect();
    order.sort_by_key(|(n, _)| *n);
    order.iter().flat_map(|(_, p)| p.iter().copied()).collect()
}

/// Without the packets of a PID between these seconds of the talk.
fn without(bytes: &[u8], gone: u16, from: f64, to: f64) -> Vec<u8> {
    let second = |n: usize| (n * 188) as f64 / bytes.len() as f64 * LENGTH - 2.0;
    let keep = |(n, p): &(usize, &[u8])| !(pid(p) == gone && (from..to).contains(&second(*n)));
    bytes.chunks_exact(188).enumerate().filter(keep).flat_map(|(_, p)| p.iter().copied()).collect()
}

/// Records these stretches (seconds of the talk), joins the talk, and compares.
async fn truth(bytes: Vec<u8>, visits: &[(f64, f64)]) -> (Site, TalkReport, Shown) {
    let site = Site::of(bytes);
    for (from, to) in visits {
        let segment = site.tape(*from, *to).await;
        index_segment(&site.env, &site.reader, &site.writer, segment).await.expect("indexed");
    }
    let before = view(&site);
    let made = assemble_talk(&site.env, &site.reader, &site.writer, TalkId(7), false, no_progress()).await;
    let Ok(AssembleOutcome::Made { path, .. }) = made else { panic!("not made: {made:?}") };
    let shown = what_the_file_shows(&site.env.data_dir.join(path));
    let said = view(&site);
    assert!(shown.in_order() && shown.repeated().is_empty(), "frames stand twice, or fall back");
    compare(&said, &shown, &before);
    (site, said, shown)
}

fn view(site: &Site) -> TalkReport {
    site.query(|db| report::by_id(db, &site.env, 7)).expect("a talk").report
}

/// Each second of the talk, both ways, and all of it to a second.
fn compare(said: &TalkReport, shown: &Shown, before: &TalkReport) {
    let numbers = shown.numbers();
    let frames =
        |second: i64| numbers.iter().filter(|n| i64::from(**n / FPS) == second + 2).count() as f64 / f64::from(FPS);
    let heard = shown.seconds_heard();
    let tone = |second: i64| heard.get(&u32::try_from(second + 2).expect("small")).copied().unwrap_or(0.0);
    let start = Ms(1_293_478_200_000);
    let share = |walls: &Option<IntervalSet>, second: i64| {
        let at = Interval::new(start.plus(second * SECOND), start.plus((second + 1) * SECOND));
        walls.as_ref().map_or(0.0, |w| w.clip(at).total_ms() as f64 / 1000.0)
    };
    type Track<'a> = (&'a str, &'a Option<IntervalSet>, &'a dyn Fn(i64) -> f64);
    let tracks: [Track<'_>; 2] = [("video", &said.presence.video, &frames), ("audio", &said.presence.audio, &tone)];
    for (name, walls, is_shown) in tracks {
        let (mut told, mut seen) = (0.0, 0.0);
        for second in 0..TALK {
            let (says, shows) = (share(walls, second), is_shown(second));
            told += says;
            seen += shows;
            let agrees = !(says > 0.95 && shows < 0.4 || says < 0.05 && shows > 0.6);
            assert!(agrees, "{name}, second {second}: said {says:.2}, shown {shows:.2}\n{:#?}", said.gaps);
        }
        // A step in which one tone changes into the next is neither.
        let changes = shown.audio.iter().flat_map(|steps| steps.windows(3));
        let changes = changes.filter(|w| w[0].tone.is_some() && w[1].tone.is_none() && w[2].tone.is_some()).count();
        seen += if name == "audio" { changes as f64 * f64::from(TONE_MS) / 1000.0 } else { 0.0 };
        assert!((told - seen).abs() <= 1.0, "{name}: {told:.1} s are said and {seen:.1} s are shown\n{:#?}", said.gaps);
    }
    let off = (said.recorded_ms - before.recorded_ms).abs();
    assert!(off <= 1500, "before it was joined {} ms were said, then {}", before.recorded_ms, said.recorded_ms);
}

fn lost(said: &TalkReport, lacks: Lacks) -> i64 {
    said.gaps.iter().filter(|g| g.lacks == lacks).map(|g| g.at.len_ms()).sum()
}

#[tokio::test]
async fn a_reconnect_that_overlaps_loses_nothing() {
    let (_, said, shown) = truth(stream(25), &[(-2.0, 9.0), (7.5, 22.0)]).await;
    assert!(said.recorded_ms > 19_900, "{:#?}", said.gaps);
    assert!(shown.worst_skew() < 0.12, "{}", shown.worst_skew());
}

#[tokio::test]
async fn an_outage_costs_video_until_the_next_keyframe() {
    // Keyframes 8 s apart: at -2, 6, 14 s of the talk.
    let (_, said, shown) = truth(stream(200), &[(-2.0, 7.0), (9.2, 22.0)]).await;
    let video = lost(&said, Lacks::Video);
    assert!((3500..5500).contains(&video), "{:#?}", said.gaps);
    assert!(said.gaps.iter().any(|g| g.cause == GapCause::WaitsForKeyframe), "{:#?}", said.gaps);
    assert!((1500..3000).contains(&lost(&said, Lacks::All)), "{:#?}", said.gaps);
    assert!(shown.worst_skew() < 0.2, "{}", shown.worst_skew());
}

#[tokio::test]
async fn audio_that_lies_later_in_the_multiplex_is_missing_in_its_own_place() {
    let bytes = askew(&stream(25), 2.5);
    let (_, said, shown) = truth(bytes, &[(-2.0, 8.0), (11.0, 22.0)]).await;
    // Each track lost three seconds, and half a second of it is common.
    assert!(said.recorded_ms < 15_500, "{:#?}", said.gaps);
    assert!(lost(&said, Lacks::Audio) > 1000 && lost(&said, Lacks::Video) > 1000, "{:#?}", said.gaps);
    // At the edges of a hole the nearest frame of a second is a little away; audio from behind the gap would be 2.5 s away.
    assert!(shown.worst_skew() < 0.5, "the audio runs ahead of the video: {}", shown.worst_skew());
}

#[tokio::test]
async fn many_short_outages_add_up() {
    let visits: Vec<(f64, f64)> = (0..12).map(|n| (f64::from(n) * 2.0 - 2.0, f64::from(n) * 2.0 - 0.5)).collect();
    let (_, said, _) = truth(stream(25), &visits).await;
    assert!(said.recorded_ms < 16_000, "{:#?}", said.gaps);
}

#[tokio::test]
async fn what_one_track_loses_inside_a_connection_is_missing() {
    let bytes = without(&without(&stream(25), VIDEO_PID, 4.0, 7.0), AUDIO_PID, 12.0, 16.0);
    let (_, said, _) = truth(bytes, &[(-2.0, 22.0)]).await;
    assert!((2000..4500).contains(&lost(&said, Lacks::Video)), "{:#?}", said.gaps);
    assert!((3000..5000).contains(&lost(&said, Lacks::Audio)), "{:#?}", said.gaps);
}

#[tokio::test]
async fn what_prune_deletes_is_shown_by_the_file() {
    for (gop, visits) in [(25, vec![(-2.0, 9.0), (8.0, 15.0), (16.0, 22.0)]), (200, vec![(-2.0, 7.0), (9.2, 22.0)])] {
        let (mut site, _, shown) = truth(stream(gop), &visits).await;
        let segments = site.query(|db| report::by_id(db, &site.env, 7)).expect("a talk").segments;
        let media: Vec<_> =
            segments.iter().map(|s| (s.id, what_the_file_shows(&site.env.data_dir.join(&s.path)).numbers())).collect();
        site.env.settings.prune.keep_segments_ms = Some(SECOND);
        site.clock.step(HOUR);
        let gone = retention::retain(&site.env, &site.reader, &site.writer, false).await.expect("pruned");
        let file = shown.numbers();
        for (id, numbers) in media.iter().filter(|(id, _)| gone.iter().any(|g| g.segment == Some(*id))) {
            let lost: Vec<_> = numbers.iter().filter(|n| !file.contains(n)).collect();
            // Frames before the talk and after it are nobody's.
            let asked_for = |n: &&&u32| (2 * FPS + 8..(2 + 20) * FPS - 8).contains(**n);
            let lost: Vec<_> = lost.iter().filter(asked_for).collect();
            assert!(lost.is_empty(), "segment {id}: {lost:?}");
        }
        let after = site.query(|db| report::by_id(db, &site.env, 7)).expect("a talk");
        assert!(after.segments.iter().any(|s| s.verdict == Verdict::Pruned) || gone.is_empty());
    }
}
