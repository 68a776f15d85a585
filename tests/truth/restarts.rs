//! Clocks that begin anew, and formats that change, within one connection.

use std::path::Path;
use std::process::Command;

use streamrip_lab::truth::Numbered;

use super::joined::{Joined, joined};

fn bytes(media: &Numbered, output: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("media");
    media.make(&file, output);
    std::fs::read(&file).expect("there")
}

/// All but a picture or two at each border are there, once, in order, with their sound.
fn all_but_the_borders(made: &Joined, seconds: u32, parts: u32) {
    let shown = &made.shown;
    let missing: u32 = shown.missing(0..seconds * 25 - 1).iter().map(|r| r.end - r.start).sum();
    assert!(missing <= 2 * parts, "{:?}\n{}", shown.missing(0..seconds * 25), made.story());
    assert!(shown.repeated().is_empty() && shown.in_order(), "{}", made.story());
    assert!(shown.unheard(0..seconds).len() as u32 <= parts, "{:?}\n{}", shown.unheard(0..seconds), made.story());
    assert!(shown.worst_skew() < 0.2, "{}\n{}", shown.worst_skew(), made.story());
}

const H264: &str = "-c:v libx264 -preset ultrafast -g 25 -bf 2 -b:v 200k -c:a aac -b:a 64k";

#[test]
fn a_publisher_that_comes_back_within_one_flv() {
    let [first, second] = [0, 150].map(|frame| {
        bytes(&Numbered::seconds(6.0).first(frame), &format!("{H264} -f flv -flvflags no_duration_filesize"))
    });
    // The relay sends its listeners no second head: the tags of the second file follow.
    let both = [&first[..], &second[13..]].concat();
    let dir = tempfile::tempdir().expect("dir");
    let made = joined(dir.path(), "flv", &[(both, 0.0, 12.0)]);
    assert_eq!((made.shown.video.len(), made.shown.audio.len()), (1, 1), "{}", made.story());
    all_but_the_borders(&made, 12, 2);
}

/// Where the first cluster of a WebM begins.
fn first_cluster(webm: &[u8]) -> usize {
    webm.windows(4).position(|w| w == [0x1f, 0x43, 0xb6, 0x75]).expect("a cluster")
}

#[test]
fn another_source_within_one_webm_with_and_without_a_header() {
    let vp8 = "-c:v libvpx -deadline realtime -cpu-used 8 -g 25 -b:v 300k -c:a libvorbis -b:a 64k -f webm -cluster_time_limit 1000 -live 1";
    let [first, second] = [0, 150].map(|frame| bytes(&Numbered::seconds(6.0).first(frame), vp8));
    for header in [true, false] {
        let rest = if header { &second[..] } else { &second[first_cluster(&second)..] };
        let dir = tempfile::tempdir().expect("dir");
        let made = joined(dir.path(), "webm", &[([&first[..], rest].concat(), 0.0, 12.0)]);
        assert_eq!((made.shown.video.len(), made.shown.audio.len()), (1, 1), "{}", made.story());
        all_but_the_borders(&made, 12, 2);
    }
}

/// Sizes of the video tracks of a file.
fn sizes(file: &Path) -> Vec<String> {
    let out = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "v",
            "-show_entries",
            "stream=width,height,codec_name",
            "-of",
            "csv=p=0",
        ])
        .arg(file)
        .output()
        .expect("ffprobe");
    String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn another_size_in_the_middle_is_a_gap_with_its_cause_and_stays_on_disk() {
    let ts = |frame, seconds, size: (u32, u32), audio: &str| {
        let media = Numbered::seconds(seconds).first(frame).size(size.0, size.1);
        bytes(&media, &format!("-c:v libx264 -preset ultrafast -g 25 -bf 2 -b:v 200k {audio} -f mpegts"))
    };
    let (small, large) = ((128, 64), (256, 144));
    let mono = "-c:a aac -b:a 64k -ac 1";
    let parts =
        [ts(0, 6.0, small, mono), ts(150, 3.0, large, "-c:a aac -b:a 96k -ac 2 -ar 44100"), ts(225, 6.0, small, mono)];
    let dir = tempfile::tempdir().expect("dir");
    let made = joined(dir.path(), "ts", &[(parts.concat(), 0.0, 15.0)]);
    assert_eq!(sizes(&made.file), ["h264,128,64"], "{}", made.story());
    let missing = made.shown.missing(0..374);
    let lost: u32 = missing.iter().map(|r| r.end - r.start).sum();
    assert!((75..=78).contains(&lost), "{missing:?}\n{}", made.story());
    assert!(made.shown.in_order() && made.shown.damaged() == 0, "{}", made.story());
    assert!(made.shown.worst_skew() < 0.2, "{}", made.shown.worst_skew());
    let gap = made.plan.clips.iter().find_map(|c| c.before.as_ref()).expect("a gap");
    assert_eq!(gap.cause.as_deref(), Some("format-changed"), "{}", made.story());
    assert!((2500..=4000).contains(&gap.ms), "{}", gap.ms);
    assert_eq!(made.plan.kept.len(), 1, "its segment stays");
}

#[test]
fn another_codec_is_never_put_into_the_track_of_the_first() {
    let avc = bytes(&Numbered::seconds(6.0), &format!("{H264} -f mpegts"));
    let hevc = bytes(
        &Numbered::seconds(4.0).first(150),
        "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=25:pools=1 -c:a aac -b:a 64k -f mpegts",
    );
    let dir = tempfile::tempdir().expect("dir");
    let made = joined(dir.path(), "ts", &[([avc, hevc].concat(), 0.0, 10.0)]);
    assert_eq!(sizes(&made.file), ["h264,128,64"], "{}", made.story());
    assert!(made.shown.missing(0..148).is_empty() && made.shown.damaged() == 0, "{}", made.story());
    assert_eq!(made.plan.kept.len(), 1);
}

#[test]
fn audio_of_another_rate_within_a_raw_stream_is_a_track_of_its_own() {
    let [first, second] = [("-ar 44100 -ac 2", 0), ("-ar 48000 -ac 1", 150)].map(|(how, frame)| {
        bytes(
            &Numbered::seconds(6.0).first(frame),
            &format!("-vn -c:a libmp3lame -b:a 64k {how} -write_xing 0 -id3v2_version 0 -f mp3"),
        )
    });
    let dir = tempfile::tempdir().expect("dir");
    let made = joined(dir.path(), "mp3", &[([first, second].concat(), 0.0, 12.0)]);
    assert_eq!(made.indexes[0].tracks.len(), 2, "{}", made.story());
    assert!(made.shown.unheard(0..6).len() <= 1 || made.shown.unheard(6..12).len() <= 1, "{}", made.story());
    assert_eq!(made.plan.kept.len(), 1, "{}", made.story());
}

#[test]
fn header_bytes_that_differ_after_a_reconnect_are_the_same_track() {
    let [first, second] = [("16/9", 0, 1.0), ("4/3", 150, 5.8)].map(|(aspect, frame, _)| {
        bytes(&Numbered::seconds(6.0).first(frame), &format!("{H264} -aspect {aspect} -f mpegts"))
    });
    let dir = tempfile::tempdir().expect("dir");
    let made = joined(dir.path(), "ts", &[(first, 0.0, 6.0), (second, 6.0, 12.0)]);
    all_but_the_borders(&made, 12, 3);
}
