//! Whether an assembly holds what the encoder made.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use streamrip::domain::ids::{EventId, HallId, SegmentId, TalkId};
use streamrip::domain::interval::Interval;
use streamrip::domain::media::MediaIndex;
use streamrip::domain::segment::{Container, Segment, Verdict};
use streamrip::domain::talk::{Talk, TalkStatus};
use streamrip::domain::time::{Ms, SECOND};
use streamrip::media::CancellationToken;
use streamrip::media::index::index;
use streamrip::media::join::{JoinJob, join};
use streamrip::plan::assembly::{AssemblyInputs, EditList, plan};
use streamrip_lab::Format;

use super::taking::Dump;

/// What was made, and what was taken of it.
pub struct Case {
    pub format: Format,
    pub truth: Vec<u8>,
    pub dumps: Vec<Dump>,
}

/// A packet as ffprobe sees it.
#[derive(Clone, Debug)]
pub struct Probed {
    pub hash: String,
    pub key: bool,
    pub pts: f64,
    pub dts: f64,
    pub duration: f64,
}

pub fn run(program: &str, args: &[&str]) -> (Vec<u8>, String) {
    let out = Command::new(program).args(args).output().expect("it starts");
    let err = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{program} {args:?}: {err}");
    (out.stdout, err)
}

/// Packets of the pictures (0) or the sound (1) of a file, through ffmpeg's own Matroska muxer where it
/// is not Matroska yet, so that payloads compare.
pub fn packets(file: &Path) -> [Vec<Probed>; 2] {
    let name = file.to_str().expect("a plain path");
    let mkv = if name.ends_with(".mkv") {
        name.to_owned()
    } else {
        let mkv = format!("{name}.judge.mkv");
        run(
            "ffmpeg",
            &[
                "-v",
                "quiet",
                "-y",
                "-copyts",
                "-i",
                name,
                "-map",
                "0:v?",
                "-map",
                "0:a?",
                "-c",
                "copy",
                "-copyinkf",
                &mkv,
            ],
        );
        mkv
    };
    ["v", "a"].map(|kind| {
        let (out, _) = run(
            "ffprobe",
            &[
                "-v",
                "quiet",
                "-select_streams",
                kind,
                "-show_data_hash",
                "CRC32",
                "-show_entries",
                "packet=pts_time,dts_time,duration_time,flags,data_hash",
                "-of",
                "compact",
                &mkv,
            ],
        );
        String::from_utf8(out)
            .expect("text")
            .lines()
            .filter(|l| l.starts_with("packet|"))
            .map(|line| {
                let field = |key: &str| line.split('|').find_map(|f| f.strip_prefix(key)).unwrap_or("0");
                let number = |key: &str| field(key).parse().unwrap_or(f64::NAN);
                Probed {
                    hash: field("data_hash=").to_owned(),
                    key: field("flags=").starts_with('K'),
                    pts: number("pts_time="),
                    dts: number("dts_time="),
                    duration: number("duration_time="),
                }
            })
            .collect()
    })
}

/// Positions of packets in what the encoder made.
pub fn places(truth: &[Probed], list: &[Probed]) -> Vec<Option<usize>> {
    let known: HashMap<&str, usize> = truth.iter().enumerate().map(|(n, p)| (p.hash.as_str(), n)).collect();
    list.iter().map(|p| known.get(p.hash.as_str()).copied()).collect()
}

pub struct Made {
    pub plan: EditList,
    pub file: PathBuf,
    pub indexes: Vec<MediaIndex>,
    pub dropped: u64,
}

/// Indexes, plans and joins everything.
pub fn assemble(dir: &Path, dumps: &[Dump], extension: &str) -> Made {
    assemble_window(dir, dumps, extension, None)
}

/// As [`assemble`], with a window in seconds after the first media.
pub fn assemble_window(dir: &Path, dumps: &[Dump], extension: &str, window: Option<(f64, f64)>) -> Made {
    let cancel = CancellationToken::new();
    let paths: Vec<_> = (0..dumps.len()).map(|n| dir.join(format!("dump{n}.{extension}"))).collect();
    let mut indexes = Vec::new();
    let mut segments = Vec::new();
    for (n, (dump, path)) in dumps.iter().zip(&paths).enumerate() {
        std::fs::write(path, &dump.bytes).expect("written");
        let earlier: Vec<PathBuf> = paths[..n].iter().rev().cloned().collect();
        let index = index(path, &dump.marks, &earlier, &cancel).expect("indexed");
        assert!(!index.spans.is_empty(), "dump {n} of {} bytes: {:?}", dump.bytes.len(), index.problem);
        let start = index.spans.iter().map(|s| s.wall().start).min().expect("spans");
        let end = index.spans.iter().map(|s| s.wall().end).max().expect("spans");
        segments.push(Segment {
            id: SegmentId(n as i64 + 1),
            uuid: uuid::Uuid::nil(),
            hall: HallId(1),
            connection: None,
            stream: None,
            path: path.clone(),
            container: Container::Unknown,
            at: Interval::new(start, end),
            opened: start,
            closed: Some(end),
            bytes: dump.bytes.len() as u64,
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
    let after = |s: f64| start.plus((s * 1000.0) as i64);
    let slot = match window {
        Some((from, to)) => Interval::new(after(from), after(to)),
        None => Interval::new(start.minus(SECOND), end.plus(SECOND)),
    };
    let talk = Talk {
        id: TalkId(1),
        event: EventId(1),
        hall: HallId(1),
        match_key: String::new(),
        uid: None,
        title: "We come in peace <&> \u{1f680}".into(),
        speakers: vec!["Rop".into(), "Frank".into()],
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
    let target = dir.join("made/assembly.mkv");
    let sources = segments.iter().zip(&indexes).map(|(s, i)| (s.id, (s.path.clone(), i.clone()))).collect();
    let job = JoinJob { plan: plan.clone(), sources, target: target.clone() };
    let mut told = 0;
    let joined = join(&job, &mut |ms| told = ms, &cancel).expect("joined");
    assert_eq!(std::fs::metadata(&target).expect("there").len(), joined.bytes);
    assert!(told > 0 && !streamrip::media::join::temp_name(&target).exists());
    Made { plan, file: target, indexes, dropped: joined.dropped }
}

/// Assembles and compares.
pub fn check(case: &Case) {
    let dir = tempfile::tempdir().expect("dir");
    let extension = match case.format {
        Format::MpegTs => "ts",
        Format::WebM | Format::Vp9 => "webm",
        Format::Ogg | Format::OggAudio | Format::Opus => "ogg",
        Format::Mp3 => "mp3",
        Format::Asf => "asf",
        Format::Flv => "flv",
        Format::Mp4 => "mp4",
        Format::Adts => "aac",
    };
    let made = assemble(dir.path(), &case.dumps, extension);
    assert_eq!(made.dropped, 0);
    let describe = || {
        let seams: Vec<_> = made.plan.seams.iter().map(|(a, b, s)| format!("{a}|{b}: {s:?}")).collect();
        format!("{}\n{}", made.plan.describe().join("\n"), seams.join("\n"))
    };
    let truth_file = dir.path().join(format!("truth.{extension}"));
    std::fs::write(&truth_file, &case.truth).expect("written");
    let truth = packets(&truth_file);
    let ours = packets(&made.file);
    let dumps: Vec<_> =
        (0..case.dumps.len()).map(|n| packets(&dir.path().join(format!("dump{n}.{extension}")))).collect();
    let mut decodable: f64 = 0.0;
    let mut islands_seen = 0;
    for kind in [0, 1] {
        let what = ["picture", "sound"][kind];
        let truth = &truth[kind];
        if truth.is_empty() {
            continue;
        }
        let got: Vec<usize> = places(truth, &ours[kind])
            .iter()
            .enumerate()
            .map(|(n, place)| place.unwrap_or_else(|| panic!("{what} {n} is none of the encoder's:\n{}", describe())))
            .collect();
        assert!(!got.is_empty(), "no {what}:\n{}", describe());
        for w in got.windows(2) {
            assert!(w[0] < w[1], "{what} {} comes after {}:\n{}", w[1], w[0], describe());
        }
        // What any dump holds whole.
        let mut held = vec![false; truth.len()];
        for dump in &dumps {
            for place in places(truth, &dump[kind]).into_iter().flatten() {
                held[place] = true;
            }
        }
        let mut keyed = kind == 1;
        let mut seconds = 0.0;
        let mut islands = 0;
        for n in 0..truth.len() {
            if !held[n] {
                keyed = kind == 1;
                continue;
            }
            if n == 0 || !held[n - 1] {
                islands += 1;
            }
            keyed |= truth[n].key;
            if !keyed {
                assert!(got.binary_search(&n).is_err(), "{what} {n} stands before a key picture:\n{}", describe());
                continue;
            }
            seconds += truth[n].duration;
            // Only the very last one before a gap may be taken for a torn one.
            let last = n + 1 == truth.len() || !held[n + 1];
            assert!(last || got.binary_search(&n).is_ok(), "{what} {n} is lost:\n{}", describe());
        }
        decodable = decodable.max(seconds);
        islands_seen = islands_seen.max(islands);
        for w in ours[kind].windows(2) {
            assert!(w[0].dts < w[1].dts, "times of {what} fall at {}:\n{}", w[0].pts, describe());
        }
    }
    // Two dumps may touch without a packet in common: then nothing is missing, and the plan cannot know that.
    let gaps = || made.plan.clips.iter().filter_map(|p| p.before.as_ref());
    let (sure, all) = (gaps().filter(|m| m.ms > 0).count(), gaps().count());
    assert!((1 + sure..=1 + all).contains(&islands_seen), "{islands_seen} stretches, gaps:\n{}", describe());
    assert!(made.plan.clips.len() >= 3, "{}", describe());
    let duration = duration(&made.file);
    let tolerance = 0.3 * (made.plan.clips.len() as f64 - 1.0);
    assert!((duration - decodable).abs() <= tolerance, "{duration} s made of {decodable} s:\n{}", describe());
    assert!((duration - made.plan.duration_ms as f64 / 1000.0).abs() < 0.1, "{}", describe());
    decodes(&made.file, case.format);
    identified(&made.file, &made.plan);
    plays(&made.file, &made.plan);
}

pub fn duration(file: &Path) -> f64 {
    let (out, _) = run(
        "ffprobe",
        &["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", file.to_str().expect("plain")],
    );
    String::from_utf8(out).expect("text").trim().parse().expect("a number")
}

/// The whole file decodes, from the start and from its middle, and ffmpeg has nothing to say.
pub fn decodes(file: &Path, format: Format) {
    decodes_from(file, format, 0.0);
    decodes_from(file, format, duration(file) / 2.0);
}

/// The file decodes from so many seconds on.
pub fn decodes_from(file: &Path, format: Format, seconds: f64) {
    let name = file.to_str().expect("plain");
    let at = seconds.to_string();
    let seek = if seconds > 0.0 { &["-ss", &at][..] } else { &[] };
    let mut args = vec!["-v", "error", "-xerror"];
    args.extend_from_slice(seek);
    args.extend_from_slice(&["-i", name, "-f", "null", "-"]);
    let (_, err) = run("ffmpeg", &args);
    let complaints: Vec<_> = err.lines().filter(|l| !(format == Format::Asf && l.contains("keyframe"))).collect();
    assert!(complaints.is_empty(), "ffmpeg {args:?}: {complaints:#?}");
}

/// mkvmerge knows tracks, chapters, tags and title.
pub fn identified(file: &Path, plan: &EditList) {
    let (out, _) = run("mkvmerge", &["-J", file.to_str().expect("plain")]);
    let seen: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(seen["container"]["recognized"], true);
    assert_eq!(seen["container"]["properties"]["title"], plan.title);
    assert_eq!(seen["tracks"].as_array().map(Vec::len), Some(plan.tracks.len()));
    assert_eq!(seen["chapters"][0]["num_entries"], plan.chapters.len());
    assert_eq!(seen["global_tags"][0]["num_entries"], plan.tags.len());
    assert!(
        seen["errors"].as_array().is_some_and(Vec::is_empty) && seen["warnings"].as_array().is_some_and(Vec::is_empty),
        "{seen}"
    );
}

/// mplayer plays it: what people use, and what recorded it.
pub fn plays(file: &Path, plan: &EditList) {
    let name = file.to_str().expect("plain");
    let (out, _) = run(
        "mplayer",
        &[
            "-noconfig",
            "all",
            "-nolirc",
            "-noconsolecontrols",
            "-identify",
            "-vo",
            "null",
            "-ao",
            "null",
            "-frames",
            "50",
            "-benchmark",
            name,
        ],
    );
    let text = String::from_utf8_lossy(&out);
    let value = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_default().to_owned();
    let length: f64 = value("ID_LENGTH=").parse().unwrap_or_default();
    assert!((length - plan.duration_ms as f64 / 1000.0).abs() < 0.5, "length {length}\n{text}");
    assert_eq!(value("ID_EXIT="), "EOF", "{text}");
    assert_eq!(text.contains("ID_VIDEO_CODEC="), plan.has_video(), "{text}");
    assert!(text.contains("ID_AUDIO_CODEC="), "{text}");
}
