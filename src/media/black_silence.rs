//! What a few seconds of a stream show: codecs, and whether there is anything to see and to hear.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;

use super::child::{self, input};
use super::probe::{PacketPlace, probe};
use super::{CancellationToken, Result};
use crate::domain::media::{ClockRange, TrackKind};

/// So much of a filter's report is read, bytes: it says a line for each change.
const REPORT: u64 = 1 << 20;

/// What a sample shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Kind and ffmpeg's name of the codec of each track.
    pub tracks: Vec<(TrackKind, String)>,
    /// No audio above -60 dB from begin to end; `None`: there is no audio track.
    pub silent: Option<bool>,
    /// Black from begin to end; `None`: there are no video frames.
    pub black: Option<bool>,
    /// Length of its longest track by its timestamps, milliseconds; 0 where they do not tell.
    pub media_ms: i64,
}

/// Looks into the file of a sample: decodes all of it, so let it be short. Blocks.
///
/// # Errors
/// When ffmpeg or ffprobe is missing, cannot be run or dies.
pub fn look(path: &Path, cancel: &CancellationToken) -> Result<Sample> {
    let probe = probe(path, &[], cancel)?;
    let streams = probe.streams.iter().filter(|s| !s.cover && s.kind != TrackKind::Other);
    let tracks: Vec<_> = streams.map(|s| (s.kind, s.codec.clone())).collect();
    let media_ms = probe.streams.iter().map(|s| length_ms(&probe.places, s.index)).max().unwrap_or_default();
    let has = |kind| tracks.iter().any(|(k, _)| *k == kind);
    let silent = has(TrackKind::Audio).then(|| {
        throughout(
            path,
            ["-map", "0:a:0", "-af"],
            "asetpts=PTS-STARTPTS,silencedetect=n=-60dB:d=0.5,ametadata",
            "silence",
        )
    });
    let black = has(TrackKind::Video).then(|| {
        throughout(
            path,
            ["-map", "0:V:0", "-vf"],
            "setpts=PTS-STARTPTS,blackdetect=d=0.5:pix_th=0.05,metadata",
            "black",
        )
    });
    Ok(Sample { silent: silent.transpose()?, black: black.transpose()?, tracks, media_ms })
}

fn length_ms(places: &[PacketPlace], stream: u32) -> i64 {
    let of_stream = || places.iter().filter(|p| p.stream == stream);
    let start = of_stream().filter_map(|p| p.pts_ms).min();
    let end = of_stream().filter_map(|p| Some(p.pts_ms?.saturating_add(p.duration_ms))).max();
    end.zip(start).map_or(0, |(end, start)| end.saturating_sub(start))
}

/// What a detector looks for may begin this much after the sample, seconds: tracks begin a little apart.
const LATE: f64 = 0.5;

/// True where a detector says that what it looks for is there from the beginning, and not that it ends.
fn throughout(path: &Path, map: [&str; 3], filter: &str, what: &str) -> Result<bool> {
    let mut args: Vec<OsString> = ["-nostdin", "-v", "error"].map(Into::into).into();
    args.extend(input(path, ClockRange { from_byte: 0, to_byte: None, shift_ms: 0, start_ms: 0 }, &[]));
    args.extend(map.map(Into::into));
    args.push(format!("{filter}=mode=print:file=-").into());
    args.extend(["-f", "null", "/dev/null"].map(Into::into));
    let (child, stdout) = child::spawn("ffmpeg", &args)?;
    let mut report = Vec::new();
    let read = stdout.take(REPORT).read_to_end(&mut report);
    let (status, _) = child.wait();
    child::died("ffmpeg", status)?;
    let report = String::from_utf8_lossy(&report);
    Ok(read.is_ok() && says_throughout(&report, what))
}

/// Reads the report of a detector: `lavfi.<what>_start=<seconds>` and `..._end=` below lines `frame:... pts_time:<seconds>`;
/// seconds count from the first frame.
fn says_throughout(report: &str, what: &str) -> bool {
    let (start, end) = (format!("lavfi.{what}_start="), format!("lavfi.{what}_end="));
    // The last packet of audio may be reported as the end of a silence.
    let starts: Vec<_> = report.lines().filter_map(|l| l.strip_prefix(&start)).collect();
    let from_the_beginning = matches!(starts.as_slice(), [at] if at.parse::<f64>().is_ok_and(|at| at <= LATE));
    from_the_beginning && !report.lines().any(|l| l.starts_with(&end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(dir: &Path, picture: &str, sound: &str) -> std::path::PathBuf {
        let path = dir.join("sample.ts");
        let status = std::process::Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound])
            .args(["-t", "3", "-c:v", "mpeg2video", "-c:a", "mp2", "-f", "mpegts"])
            .arg(&path)
            .status()
            .expect("ffmpeg");
        assert!(status.success());
        path
    }

    #[test]
    fn black_and_silence_are_seen_and_something_is_neither() {
        let dir = tempfile::tempdir().expect("dir");
        let (bars, black) = ("testsrc=s=128x96:r=25", "color=black:s=128x96:r=25");
        let (tone, none) = ("sine=f=440:r=48000", "anullsrc=r=48000");
        // A second of silence in a tone is music.
        let pause = "aevalsrc='if(between(t,1,2),0,sin(2764*t))':s=48000";
        let fades = "color=black:s=128x96:r=25,drawbox=t=fill:c=white:enable='gt(t,2)'";
        let ends = "color=black:s=128x96:r=25,drawbox=t=fill:c=white:enable='lt(t,1.5)'";
        let stops = "aevalsrc='if(lt(t,1.5),sin(2764*t),0)':s=48000";
        for (picture, sound, is_black, is_silent) in [
            (bars, tone, false, false),
            (black, none, true, true),
            (black, tone, true, false),
            (bars, none, false, true),
            (fades, pause, false, false),
            // What is black or silent only at the end was not so before.
            (ends, stops, false, false),
        ] {
            let sample = look(&made(dir.path(), picture, sound), &CancellationToken::new()).expect("looked");
            let codecs: Vec<_> = sample.tracks.iter().map(|(_, codec)| codec.as_str()).collect();
            assert_eq!(codecs, ["mpeg2video", "mp2"]);
            assert!((2900..=3200).contains(&sample.media_ms), "{}", sample.media_ms);
            assert_eq!((sample.black, sample.silent), (Some(is_black), Some(is_silent)), "{picture} {sound}");
        }
        std::fs::write(dir.path().join("x"), "no media").expect("written");
        let nothing = look(&dir.path().join("x"), &CancellationToken::new()).expect("looked");
        assert_eq!(nothing, Sample::default());
    }
}
