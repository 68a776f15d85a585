//! Tracks that come late, PIDs, languages and formats that change: what is there is in the file, on the track that it is of.

use std::process::Command;

use streamrip_lab::truth::{Numbered, Shown, TONES};

use super::joined::{Joined, joined};
use super::ts;

const H264: &str = "-c:v libx264 -preset ultrafast -g 25 -bf 2 -b:v 200k";

fn bytes(media: &Numbered, output: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("media");
    media.make(&file, output);
    std::fs::read(&file).expect("there")
}

/// Languages of the audio tracks of a file, as ffprobe says.
fn languages(made: &Joined) -> Vec<String> {
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "a", "-show_entries", "stream_tags=language", "-of", "csv=p=0"])
        .arg(&made.file)
        .output()
        .expect("ffprobe");
    String::from_utf8_lossy(&out.stdout).lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect()
}

/// Tones that are heard in a track for more than half a second.
fn tones_of(shown: &Shown, track: usize) -> Vec<u32> {
    let mut heard = vec![0; TONES as usize];
    for step in &shown.audio[track] {
        if let Some(tone) = step.tone {
            heard[tone as usize] += 1;
        }
    }
    (0..TONES).filter(|tone| heard[*tone as usize] > 5).collect()
}

/// A stream with three languages; the second one's tones are those of the first 16 steps up, the third one's 32.
fn three_languages(seconds: f64, first: u32) -> Vec<u8> {
    // Two further sources of audio: the same media that began at another second.
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("lang.ts");
    let parts = [0, 16, 32].map(|up| {
        let part = dir.path().join(format!("part{up}.mkv"));
        Numbered::seconds(seconds).first(first + up * 25).make(&part, &format!("{H264} -c:a aac -b:a 64k"));
        part
    });
    let out = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(parts.iter().flat_map(|part| ["-i".into(), part.clone().into_os_string()]))
        .args(
            "-map 0:v -map 0:a -map 1:a -map 2:a -c copy -metadata:s:a:0 language=deu -metadata:s:a:1 language=eng"
                .split(' '),
        )
        .args("-metadata:s:a:2 language=fra -disposition:a:2 visual_impaired -f mpegts".split(' '))
        .arg(&file)
        .status();
    assert!(out.expect("ffmpeg").success());
    std::fs::read(&file).expect("there")
}

#[test]
fn languages_stay_on_their_tracks_in_whatever_order_the_encoder_lists_them() {
    let whole = three_languages(12.0, 0);
    let mut packets = ts::packets(&whole);
    let middle = packets.len() / 2;
    // Two recordings with a second of overlap; in the second one German and English have changed places and PIDs.
    let first: Vec<u8> = packets[..middle + packets.len() / 12].concat();
    for packet in &mut packets {
        match ts::pid(packet) {
            0x101 | 0x102 => packet[2] ^= 3,
            0x1000 if ts::starts(packet) => ts::edit_section(packet, |section| {
                let at = |what: &[u8], section: &[u8]| section.windows(3).position(|w| w == what).expect("a language");
                let (deu, eng) = (at(b"deu", section), at(b"eng", section));
                section[deu..deu + 3].copy_from_slice(b"eng");
                section[eng..eng + 3].copy_from_slice(b"deu");
            }),
            _ => {}
        }
    }
    let second: Vec<u8> = packets[middle..].concat();
    for (overlap, second_bytes) in [(true, second), (false, packets[middle + packets.len() / 6..].concat())] {
        let dir = tempfile::tempdir().expect("dir");
        let from = if overlap { 6.0 } else { 8.0 };
        let made = joined(dir.path(), "ts", &[(first.clone(), 0.0, 7.0), (second_bytes, from, 12.0)]);
        assert_eq!(languages(&made), ["deu", "eng", "fra"], "{}", made.story());
        for (track, up) in [(0, 0), (1, 16), (2, 32)] {
            let tones = tones_of(&made.shown, track);
            assert!(
                tones.iter().all(|tone| (up..up + 12).contains(tone)),
                "track {track}: {tones:?}\n{}",
                made.story()
            );
            assert!(tones.len() >= if overlap { 11 } else { 9 }, "track {track}: {tones:?}\n{}", made.story());
        }
    }
}

#[test]
fn the_language_of_one_who_names_none_is_not_english() {
    let media = Numbered::seconds(4.0);
    for (extension, output) in
        [("aac", "-vn -c:a aac -f adts"), ("ts", "-c:v libx264 -preset ultrafast -c:a mp2 -f mpegts")]
    {
        let dir = tempfile::tempdir().expect("dir");
        let made = joined(dir.path(), extension, &[(bytes(&media, output), 0.0, 4.0)]);
        assert!(languages(&made).iter().all(|l| l == "und"), "{extension}: {:?}", languages(&made));
    }
}

#[test]
fn audio_that_begins_late_is_in_the_file_from_there_on() {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("late.ts");
    Numbered::seconds(14.0).make(&file, &format!("{H264} -c:a aac -b:a 64k -f mpegts"));
    // The first seven seconds: no audio, and a map that names none.
    let packets = ts::packets(&std::fs::read(&file).expect("there"));
    let half = packets.len() / 2;
    let mut late = Vec::new();
    for (n, mut packet) in packets.into_iter().enumerate() {
        if n < half && ts::pid(&packet) == 0x101 {
            continue;
        }
        if n < half && ts::pid(&packet) == 0x1000 && ts::starts(&packet) {
            ts::edit_section(&mut packet, |section| section.truncate(12 + 5));
        }
        late.extend(packet);
    }
    let made = joined(dir.path(), "ts", &[(late, 0.0, 14.0)]);
    assert!(made.shown.missing(0..349).is_empty(), "{:?}\n{}", made.shown.missing(0..350), made.story());
    assert_eq!(made.shown.audio.len(), 1, "{}", made.story());
    assert!(made.shown.unheard(8..13).is_empty(), "{:?}\n{}", made.shown.unheard(8..13), made.story());
    assert!(made.shown.worst_skew() < 0.13, "{}", made.shown.worst_skew());
}

#[test]
fn an_encoder_that_comes_back_with_other_pids_goes_on_in_the_same_tracks() {
    let first = bytes(&Numbered::seconds(6.0), &format!("{H264} -c:a aac -b:a 64k -f mpegts"));
    let second = bytes(
        &Numbered::seconds(6.0).first(150),
        &format!("{H264} -c:a aac -b:a 64k -f mpegts -mpegts_start_pid 0x1e1 -mpegts_pmt_start_pid 0x1e0"),
    );
    let dir = tempfile::tempdir().expect("dir");
    let made = joined(dir.path(), "ts", &[([first, second].concat(), 0.0, 12.0)]);
    assert_eq!((made.shown.video.len(), made.shown.audio.len()), (1, 1), "{}", made.story());
    let missing: u32 = made.shown.missing(0..299).iter().map(|r| r.end - r.start).sum();
    assert!(missing <= 1, "{:?}\n{}", made.shown.missing(0..300), made.story());
    assert!(made.shown.unheard(0..12).len() <= 1, "{:?}", made.shown.unheard(0..12));
    assert!(made.shown.in_order() && made.shown.worst_skew() < 0.13);
}

/// Times of the first packets of video and audio, seconds.
fn first_times(file: &std::path::Path) -> (f64, f64) {
    let first = |kind: &str| {
        let out = Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", kind, "-show_entries", "packet=pts_time", "-of", "csv=p=0"])
            .arg(file)
            .output()
            .expect("ffprobe");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        text.lines().next().and_then(|l| l.trim_end_matches(',').parse().ok()).expect("a time")
    };
    (first("v"), first("a"))
}

#[test]
fn opus_is_heard_when_it_was() {
    for (extension, output) in [
        ("webm", "-c:v libvpx -deadline realtime -cpu-used 8 -g 25 -c:a libopus -f webm"),
        (
            "mp4",
            "-c:v libx264 -preset ultrafast -g 25 -c:a libopus -f mp4 -movflags empty_moov+default_base_moof+frag_keyframe",
        ),
    ] {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join(format!("source.{extension}"));
        Numbered::seconds(4.0).make(&file, output);
        let made = joined(dir.path(), extension, &[(std::fs::read(&file).expect("there"), 0.0, 4.0)]);
        let ((video, audio), (own_video, own_audio)) = (first_times(&file), first_times(&made.file));
        let off = (own_audio - own_video) - (audio - video);
        assert!(off.abs() < 0.0025, "{extension}: {off} s\n{}", made.story());
    }
}
