//! Which pictures of a stream are in a recording: by content, not by what headers or clocks say.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Length of an MPEG-TS packet, and its first byte.
const PACKET: usize = 188;
const SYNC: u8 = 0x47;

/// Pictures a second of what the lab's encoder makes.
const RATE: f64 = 25.0;

/// Types of slices: of all pictures, and of those that need no other one.
const ALL: &str = "1-5";
const KEYS: &str = "5";

/// The hash of each picture of a file in its order, whatever its container: of its slices alone, since containers
/// frame them differently. What cannot be read has none.
pub fn of(file: &Path) -> Vec<String> {
    hashes(file, ALL)
}

fn hashes(file: &Path, types: &str) -> Vec<String> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "quiet", "-copyts", "-i"])
        .arg(file)
        .args(["-map", "0:v:0", "-c", "copy", "-copyinkf"])
        .args(["-bsf:v", &format!("filter_units=pass_types={types}"), "-f", "framemd5", "-"])
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        // stream, dts, pts, duration, size, hash, then side data.
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(',').nth(5).map(|hash| hash.trim().to_owned()))
        .collect()
}

/// What was there to be recorded.
pub struct Offered {
    /// In order.
    pictures: Vec<String>,
    /// Those that need no other one.
    keys: HashSet<String>,
}

impl Offered {
    /// The pictures of an MPEG-TS stretch of so many seconds that are whole: what it begins and ends with may not be.
    pub fn of(bytes: &[u8], seconds: i64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("offered.ts");
        fs::write(&file, &bytes[..bytes.len() / PACKET * PACKET]).expect("a file");
        let all = of(&file);
        let pictures = all.get(1..all.len().saturating_sub(1)).unwrap_or_default().to_vec();
        let expected = seconds as f64 * RATE;
        assert!((pictures.len() as f64 - expected).abs() < RATE, "{} pictures instead of {expected}", pictures.len());
        Self { pictures, keys: hashes(&file, KEYS).into_iter().collect() }
    }
}

/// The pictures of several MPEG-TS files, one after the other. They are joined first, because a file of half a second
/// often has no keyframe, without which ffmpeg does not know what it holds. Each one begins with a whole packet, and
/// what it ends with of one is left out; a file that begins otherwise is a web page.
pub fn of_all(files: &[PathBuf]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let joined = folder.path().join("joined.ts");
    let mut all = Vec::new();
    for file in files {
        let bytes = fs::read(file).unwrap_or_default();
        if bytes.first() == Some(&SYNC) {
            all.extend_from_slice(&bytes[..bytes.len() / PACKET * PACKET]);
        }
    }
    fs::write(&joined, all).expect("a file");
    of(&joined)
}

/// What a recording has of what was offered. Seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Is missing.
    pub lost: f64,
    /// Is missing, or cannot be shown as it was because of what is missing before it: all up to the next picture that
    /// needs no other one.
    pub spoilt: f64,
    /// Stands there more than once.
    pub twice: f64,
    /// Where something is missing: from the first picture offered, and how long.
    pub holes: Vec<(f64, f64)>,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s lost, {:.2} s spoilt, {:.2} s twice;", self.lost, self.spoilt, self.twice)?;
        self.holes.iter().try_for_each(|(at, length)| write!(f, " {length:.2} at {at:.2}"))
    }
}

/// Compares them.
pub fn compare(offered: &Offered, recorded: &[String]) -> Account {
    let pictures = &offered.pictures;
    let mut times: HashMap<&str, usize> = pictures.iter().map(|hash| (hash.as_str(), 0)).collect();
    for hash in recorded {
        times.entry(hash).and_modify(|times| *times += 1);
    }
    let is_lost = |hash: &String| times[hash.as_str()] == 0;
    let seconds = |pictures: usize| pictures as f64 / RATE;
    let (mut holes, mut at) = (Vec::new(), 0);
    for stretch in pictures.chunk_by(|a, b| is_lost(a) == is_lost(b)) {
        if is_lost(&stretch[0]) {
            holes.push((seconds(at), seconds(stretch.len())));
        }
        at += stretch.len();
    }
    let (mut spoilt, mut broken) = (0, false);
    for hash in pictures {
        broken = is_lost(hash) || broken && !offered.keys.contains(hash);
        spoilt += usize::from(broken);
    }
    let lost = pictures.iter().filter(|hash| is_lost(hash)).count();
    let again: usize = times.values().map(|times| times.saturating_sub(1)).sum();
    Account { lost: seconds(lost), spoilt: seconds(spoilt), twice: seconds(again), holes }
}
