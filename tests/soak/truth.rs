//! What a hall really sent, packet by packet, and which of it is in a file.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::process::{Command, Stdio};

use streamrip_lab::Live;

/// Pictures, sound: the letters that ffprobe knows them by.
const TRACKS: [&str; 2] = ["v", "a"];

/// A packet that the encoder made.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Of its payload.
    pub hash: String,
    /// Its media time on the wall clock, ms since the epoch: as if it had never come late.
    pub at: i64,
    /// When it really came to the server, ms since the epoch.
    pub came: i64,
    /// Seconds until the next one.
    pub seconds: f64,
    /// Where it begins in the stream.
    pub place: u64,
}

/// Pictures and sound of a live stream, each in order.
pub fn of_stream(live: &Live, folder: &Path) -> [Vec<Packet>; 2] {
    let file = folder.join("truth.ts");
    std::fs::write(&file, live.bytes()).expect("the truth is written");
    let mkv = folder.join("truth.mkv");
    let map = ["-map", "0:v", "-map", "0:a", "-c", "copy", "-copyinkf"];
    let status = Command::new("ffmpeg")
        .args(["-v", "quiet", "-nostdin", "-y", "-copyts", "-i"])
        .arg(&file)
        .args(map)
        .arg(&mkv)
        .stdin(Stdio::null())
        .status();
    assert!(status.expect("ffmpeg starts").success());
    let both = TRACKS.map(|track| {
        let mut places: BTreeMap<i64, u64> = BTreeMap::new();
        let mut last = 0;
        for line in probe(&file, track, "packet=pts_time,pos") {
            // Several packets of sound share one piece of the stream; only the first one names its place.
            last = field(&line, "pos=").parse().unwrap_or(last);
            places.insert(ms(field(&line, "pts_time=")), last);
        }
        let found = probe(&mkv, track, "packet=pts_time,data_hash");
        let packets: Vec<(String, i64, u64)> = found
            .iter()
            .filter_map(|line| {
                let pts = ms(field(line, "pts_time="));
                // Matroska rounds to milliseconds.
                let place = places.range(pts - 2..=pts + 2).next().map(|(_, place)| *place)?;
                Some((field(line, "data_hash=").to_owned(), pts, place))
            })
            .collect();
        assert!(packets.len() + 2 >= found.len(), "{} of {} packets have a place", packets.len(), found.len());
        packets
    });
    let came = |place: u64| live.arrival_of(place).unwrap_or(i64::MAX);
    let offset = both.iter().flatten().map(|(_, pts, place)| came(*place) - pts).min().unwrap_or_default();
    both.map(|packets| {
        let next = packets.iter().skip(1).map(|(_, pts, _)| Some(*pts)).chain([None]);
        let all = packets.iter().zip(next).map(|((hash, pts, place), next)| Packet {
            hash: hash.clone(),
            at: pts + offset,
            came: came(*place),
            seconds: next.map_or(0.0, |next| (next - pts).clamp(0, 100) as f64 / 1000.0),
            place: *place,
        });
        all.collect()
    })
}

/// Hashes of the pictures and of the sound in a joined file, in order.
pub fn of_file(file: &Path) -> [Vec<String>; 2] {
    TRACKS.map(|track| {
        probe(file, track, "packet=data_hash").iter().map(|line| field(line, "data_hash=").to_owned()).collect()
    })
}

/// For each packet of the stream, whether it is in the file; and what of the file is none of the stream's,
/// or stands in it twice or at a wrong place.
pub fn compare(stream: &[Packet], file: &[String]) -> (Vec<bool>, usize) {
    let here: HashSet<&str> = file.iter().map(String::as_str).collect();
    let present: Vec<bool> = stream.iter().map(|p| here.contains(p.hash.as_str())).collect();
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (n, packet) in stream.iter().enumerate() {
        places.entry(&packet.hash).or_default().push(n);
    }
    let (mut wrong, mut last) = (0, None);
    for hash in file {
        // Equal packets may stand at several places: the first one that comes after the last.
        let next = places.get(hash.as_str()).and_then(|at| at.iter().find(|n| last.is_none_or(|last| **n > last)));
        match next {
            Some(n) => last = Some(*n),
            None => wrong += 1,
        }
    }
    (present, wrong)
}

fn probe(file: &Path, track: &str, entries: &str) -> Vec<String> {
    let out = Command::new("ffprobe")
        .args(["-v", "quiet", "-select_streams", track, "-show_data_hash", "MD5", "-show_entries", entries])
        .args(["-of", "compact"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .expect("ffprobe starts");
    assert!(out.status.success(), "ffprobe of {}", file.display());
    String::from_utf8_lossy(&out.stdout).lines().filter(|l| l.starts_with("packet|")).map(str::to_owned).collect()
}

fn field<'a>(line: &'a str, key: &str) -> &'a str {
    line.split('|').find_map(|f| f.strip_prefix(key)).unwrap_or_default()
}

fn ms(seconds: &str) -> i64 {
    (seconds.parse::<f64>().unwrap_or(f64::NAN) * 1000.0).round() as i64
}
