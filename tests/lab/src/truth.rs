//! Ground truth: media whose every frame carries its number and every second of audio its tone, and a reader that says
//! which of them a file shows. So a test can compare what the program says of a recording with what is in the file.
//!
//! # Media
//! [`Numbered`] makes them with ffmpeg. The picture has [`BARS`] vertical bars side by side: in the upper half the bits of
//! the frame's number (lowest bit first, white is 1), in the lower half their complement, so that a damaged picture is not
//! taken for another number. Frame `n` belongs to second `n / 25` of the source, whose tone has the frequency of
//! [`tone_hz`]; tones repeat after [`TONES`] seconds.
//!
//! ```no_run
//! use streamrip_lab::truth::{Numbered, what_the_file_shows};
//! let dir = std::path::Path::new("/tmp");
//! Numbered::seconds(12.0).make(&dir.join("a.ts"), "-c:v libx264 -g 25 -bf 2 -c:a aac -f mpegts");
//! let shown = what_the_file_shows(&dir.join("a.ts"));
//! assert_eq!(shown.numbers(), (0..300).collect::<Vec<_>>());
//! assert!(shown.missing(0..300).is_empty() && shown.repeated().is_empty());
//! assert!(shown.worst_skew() < 0.1);
//! ```
//!
//! # What a file shows
//! [`what_the_file_shows`] decodes the whole file: `video[k]` has what the k-th video track shows, `audio[k]` what is heard
//! in the k-th audio track, a [`Tone`] each [`TONE_MS`]. Times are those that a player uses, seconds from the file's
//! start. [`Shown::numbers`], [`Shown::missing`], [`Shown::repeated`] and [`Shown::seconds_heard`] are over the tracks
//! together, since a frame is shown wherever it stands; [`Shown::worst_skew`] compares first with first.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};

/// Frames a second of all numbered media.
pub const FPS: u32 = 25;

/// Bars of a picture: 65,536 frames, that is 43 minutes.
pub const BARS: u32 = 16;

/// So many tones there are; second `s` of the source has tone `s % TONES`.
pub const TONES: u32 = 64;

/// Audio is judged in steps of this, milliseconds.
pub const TONE_MS: u32 = 100;

/// Frequency of a tone, hertz. The distance to the next one is 50 Hz, five times the resolution of a step.
#[must_use]
pub fn tone_hz(tone: u32) -> u32 {
    300 + 50 * (tone % TONES)
}

/// Numbered media that are to be made.
#[derive(Clone, Debug)]
pub struct Numbered {
    seconds: f64,
    first: u32,
    size: (u32, u32),
}

impl Numbered {
    /// Media of this length, which begins with frame 0, of 128x64 pixels.
    #[must_use]
    pub fn seconds(seconds: f64) -> Self {
        Self { seconds, first: 0, size: (128, 64) }
    }

    /// Begins with this frame, which should be one at which a second begins: the tones follow it.
    #[must_use]
    pub fn first(mut self, frame: u32) -> Self {
        self.first = frame;
        self
    }

    /// Another size; a width that [`BARS`] divides.
    #[must_use]
    pub fn size(mut self, width: u32, height: u32) -> Self {
        self.size = (width, height);
        self
    }

    /// Encodes to a file. `output` is what ffmpeg is told of it: codecs, format, `-map`, `-metadata` (split at blanks).
    /// The video is ffmpeg's input 0, the audio input 1.
    ///
    /// # Panics
    /// When ffmpeg fails.
    pub fn make(&self, path: &Path, output: &str) {
        let Self { seconds, first, size: (width, height) } = self;
        let bar = width / BARS;
        let half = height / 2;
        let bit = format!("mod(floor((N+{first})/pow(2,floor(X/{bar}))),2)");
        // A noise of its own in each picture: equal pictures would make equal packets.
        let picture = format!(
            "nullsrc=s={width}x{height}:r={FPS},geq=lum='if(lt(Y,{half}),{bit},1-{bit})*200+16+random(1)*12':cb=128:cr=128"
        );
        let second = f64::from(*first) / f64::from(FPS);
        let tone = format!("(300+50*mod(floor(t+{second}+0.0001),{TONES}))");
        let sound = format!("aevalsrc='0.5*sin(2*PI*{tone}*t)+0.01*(random(0)-0.5)':s=48000:c=mono");
        let out = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-y", "-threads", "1"])
            .args(["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &sound])
            .args(["-t", &seconds.to_string(), "-pix_fmt", "yuv420p"])
            .args(output.split_whitespace())
            .arg(path)
            .stdin(Stdio::null())
            .output()
            .expect("ffmpeg starts");
        assert!(out.status.success(), "ffmpeg {output}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

/// A picture that a file shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// When, seconds from the file's start.
    pub at: f64,
    /// Its number; `None`: it is damaged, or not of [`Numbered`].
    pub number: Option<u32>,
}

/// What is heard in a step of [`TONE_MS`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tone {
    /// Where the step begins, seconds from the file's start.
    pub at: f64,
    /// The tone; `None`: silence, or none that is known (at the change from one to the next).
    pub tone: Option<u32>,
}

/// What a file shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// Of each video track, in the order in which they are shown.
    pub video: Vec<Vec<Frame>>,
    /// Of each audio track.
    pub audio: Vec<Vec<Tone>>,
    /// What the decoders complained of, a line each.
    pub complaints: Vec<String>,
}

impl Shown {
    /// Numbers of all pictures, in the order in which they are shown, track after track; damaged ones are left out.
    #[must_use]
    pub fn numbers(&self) -> Vec<u32> {
        self.video.iter().flatten().filter_map(|frame| frame.number).collect()
    }

    /// How many pictures are damaged.
    #[must_use]
    pub fn damaged(&self) -> usize {
        self.video.iter().flatten().filter(|frame| frame.number.is_none()).count()
    }

    /// Those of these frames that no track shows, as ranges.
    #[must_use]
    pub fn missing(&self, of: Range<u32>) -> Vec<Range<u32>> {
        let shown: BTreeSet<u32> = self.numbers().into_iter().collect();
        let mut out: Vec<Range<u32>> = Vec::new();
        for n in of.filter(|n| !shown.contains(n)) {
            match out.last_mut().filter(|last| last.end == n) {
                Some(last) => last.end = n + 1,
                None => out.push(n..n + 1),
            }
        }
        out
    }

    /// Frames that are shown more than once, and how often.
    #[must_use]
    pub fn repeated(&self) -> Vec<(u32, usize)> {
        let mut count: BTreeMap<u32, usize> = BTreeMap::new();
        for n in self.numbers() {
            *count.entry(n).or_default() += 1;
        }
        count.into_iter().filter(|(_, times)| *times > 1).collect()
    }

    /// True where in each track the numbers rise.
    #[must_use]
    pub fn in_order(&self) -> bool {
        let rises = |track: &Vec<Frame>| {
            let numbers: Vec<u32> = track.iter().filter_map(|frame| frame.number).collect();
            numbers.windows(2).all(|pair| pair[0] < pair[1])
        };
        self.video.iter().all(rises)
    }

    /// For how long each tone is heard, over all tracks, seconds.
    #[must_use]
    pub fn seconds_heard(&self) -> BTreeMap<u32, f64> {
        let mut out = BTreeMap::new();
        for tone in self.audio.iter().flatten().filter_map(|step| step.tone) {
            *out.entry(tone).or_default() += f64::from(TONE_MS) / 1000.0;
        }
        out
    }

    /// Seconds of the source (from 0, below [`TONES`]) of which less than three quarters are heard.
    #[must_use]
    pub fn unheard(&self, of: Range<u32>) -> Vec<u32> {
        let heard = self.seconds_heard();
        of.filter(|second| heard.get(&(second % TONES)).copied().unwrap_or_default() < 0.75).collect()
    }

    /// How far picture and sound of the first tracks lie apart at most, seconds: for each step in which a tone is heard,
    /// the distance to the nearest instant at which a picture of a second of that tone is shown. 0 where one of the
    /// two is missing.
    #[must_use]
    pub fn worst_skew(&self) -> f64 {
        let (Some(video), Some(audio)) = (self.video.first(), self.audio.first()) else { return 0.0 };
        let mut shown: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for frame in video {
            if let Some(number) = frame.number {
                shown.entry(number / FPS % TONES).or_default().push(frame.at);
            }
        }
        let middle = f64::from(TONE_MS) / 2000.0;
        let skews = audio.iter().filter_map(|step| {
            let at = step.at + middle;
            let near = shown.get(&step.tone?)?.iter().map(|frame| (frame - at).abs());
            near.min_by(f64::total_cmp)
        });
        skews.max_by(f64::total_cmp).unwrap_or_default()
    }
}

/// Decodes a whole file and says what it shows.
///
/// # Panics
/// When ffmpeg or ffprobe cannot be started. A file that they make nothing of shows nothing, with a complaint.
#[must_use]
pub fn what_the_file_shows(path: &Path) -> Shown {
    let mut shown = Shown::default();
    for kind in streams(path) {
        if kind == "video" {
            let frames = frames(path, shown.video.len(), &mut shown.complaints);
            shown.video.push(frames);
        } else if kind == "audio" {
            let tones = tones(path, shown.audio.len(), &mut shown.complaints);
            shown.audio.push(tones);
        }
    }
    if shown.video.is_empty() && shown.audio.is_empty() {
        shown.complaints.push("no video and no audio in it".to_owned());
    }
    shown
}

fn streams(path: &Path) -> Vec<String> {
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream=index,codec_type", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .expect("ffprobe starts");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut seen = BTreeSet::new();
    let lines = text.lines().filter_map(|line| line.trim().split_once(','));
    // Streams of a programme are listed twice.
    lines
        .filter(|(index, _)| seen.insert((*index).to_owned()))
        .map(|(_, kind)| kind.trim_end_matches(',').to_owned())
        .collect()
}

fn decode(path: &Path, args: &[&str], complaints: &mut Vec<String>) -> (Vec<u8>, Vec<f64>) {
    let out = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-nostats", "-v", "info", "-threads", "1", "-copyts", "-i"])
        .arg(path)
        .args(args)
        .arg("pipe:1")
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg starts");
    let said = String::from_utf8_lossy(&out.stderr);
    let mut times = Vec::new();
    for line in said.lines() {
        if line.contains("Parsed_showinfo") {
            let time = line.split("pts_time:").nth(1).and_then(|rest| rest.split_whitespace().next());
            times.extend(time.and_then(|t| t.parse::<f64>().ok()));
        } else if ["error", "corrupt", "conceal", "missing", "invalid", "illegal", "non-existing"]
            .iter()
            .any(|word| line.to_lowercase().contains(word))
        {
            complaints.push(line.to_owned());
        }
    }
    (out.stdout, times)
}

fn frames(path: &Path, track: usize, complaints: &mut Vec<String>) -> Vec<Frame> {
    let filter = format!("scale={BARS}:2:flags=area,format=gray,showinfo");
    let map = format!("0:v:{track}");
    let (bytes, times) =
        decode(path, &["-map", &map, "-vf", &filter, "-vsync", "passthrough", "-f", "rawvideo"], complaints);
    let pictures = bytes.chunks_exact(2 * BARS as usize);
    pictures.zip(times).map(|(picture, at)| Frame { at, number: number(picture) }).collect()
}

/// The number of a picture of two lines of [`BARS`] points.
fn number(picture: &[u8]) -> Option<u32> {
    let (upper, lower) = picture.split_at(BARS as usize);
    let mut number = 0;
    for (n, (up, down)) in upper.iter().zip(lower).enumerate() {
        match (*up, *down) {
            (up, down) if up > down.saturating_add(60) => number |= 1 << n,
            (up, down) if down > up.saturating_add(60) => {}
            _ => return None,
        }
    }
    Some(number)
}

const RATE: usize = 8000;

fn tones(path: &Path, track: usize, complaints: &mut Vec<String>) -> Vec<Tone> {
    let map = format!("0:a:{track}");
    // Holes in the audio become silence, so that each sample lies at its time.
    let filter = format!("aresample={RATE}:async=1:min_hard_comp=0.03:first_pts=0");
    let (bytes, _) = decode(path, &["-map", &map, "-af", &filter, "-ac", "1", "-f", "s16le"], complaints);
    let samples: Vec<f64> = bytes.chunks_exact(2).map(|b| f64::from(i16::from_le_bytes([b[0], b[1]]))).collect();
    let step = RATE * TONE_MS as usize / 1000;
    let steps = samples.chunks_exact(step).enumerate();
    steps.map(|(n, samples)| Tone { at: n as f64 * f64::from(TONE_MS) / 1000.0, tone: tone(samples) }).collect()
}

/// The tone that has most of the energy of these samples.
fn tone(samples: &[f64]) -> Option<u32> {
    let energy: f64 = samples.iter().map(|s| s * s).sum();
    if energy / (samples.len() as f64) < 1e5 {
        return None;
    }
    let power = |tone: u32| {
        let w = 2.0 * std::f64::consts::PI * f64::from(tone_hz(tone)) / RATE as f64;
        let (mut re, mut im) = (0.0, 0.0);
        for (n, sample) in samples.iter().enumerate() {
            let phase = w * n as f64;
            re += sample * phase.cos();
            im += sample * phase.sin();
        }
        // 1 for a pure tone.
        2.0 * (re * re + im * im) / (energy * samples.len() as f64)
    };
    let best = (0..TONES).map(|tone| (power(tone), tone)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.6).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_shown_and_what_was_cut_out_is_not() {
        let dir = tempfile::tempdir().expect("dir");
        let (whole, part) = (dir.path().join("whole.mkv"), dir.path().join("part.mkv"));
        Numbered::seconds(6.0).first(250).make(&whole, "-c:v libx264 -preset ultrafast -g 25 -bf 2 -c:a aac");
        let shown = what_the_file_shows(&whole);
        assert_eq!(shown.numbers(), (250..400).collect::<Vec<_>>());
        assert!(shown.in_order() && shown.damaged() == 0 && shown.complaints.is_empty(), "{:?}", shown.complaints);
        assert!(shown.unheard(10..16).is_empty(), "{:?}", shown.seconds_heard());
        assert!(shown.worst_skew() < 0.12, "{}", shown.worst_skew());
        let cut = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-y", "-ss", "2.3", "-i"])
            .args([&whole])
            .args(["-c", "copy"])
            .arg(&part)
            .status();
        assert!(cut.expect("ffmpeg").success());
        let shown = what_the_file_shows(&part);
        assert_eq!(shown.missing(250..400), std::slice::from_ref(&(250..300)));
        assert!(shown.unheard(10..16).contains(&10), "{:?}", shown.seconds_heard());
        assert!(shown.repeated().is_empty());
    }
}
