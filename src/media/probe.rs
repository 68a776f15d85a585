//! What ffprobe says of a file: its streams, and where in the file each packet begins.

use std::io::{BufRead, BufReader};
use std::path::Path;

use super::child;
use super::{CancellationToken, MediaError, Result};
use crate::domain::media::{ClockRange, TrackKind};

/// A stream of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbedStream {
    /// Index in the file, from 0.
    pub index: u32,
    /// Video frames or audio.
    pub kind: TrackKind,
    /// ffmpeg's name of the codec, empty where it knows none.
    pub codec: String,
    /// The container or the parser gave the decoder's configuration.
    pub has_extradata: bool,
    /// Its video frames have a size, or its audio a rate: Matroska needs that.
    pub has_format: bool,
    /// A cover video frame, no stream of video frames.
    pub cover: bool,
    /// Language of ISO 639-2; empty where none is named.
    pub language: String,
    /// What it is called, for people; empty where nothing is said.
    pub title: String,
}

/// A packet without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketPlace {
    /// Index of its stream.
    pub stream: u32,
    /// Presentation time, milliseconds, in the clock of the file.
    pub pts_ms: Option<i64>,
    /// Decoding time, likewise.
    pub dts_ms: Option<i64>,
    /// Duration, milliseconds, 0 where unknown.
    pub duration_ms: i64,
    /// Byte at which it (or what it is wrapped in) begins; `None` where it shares a wrapping with the
    /// packet before, or the container has no positions.
    pub pos: Option<u64>,
}

/// Everything ffprobe found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// ffprobe's name of the container, empty where it knows none.
    pub format: String,
    /// In the order of their indices.
    pub streams: Vec<ProbedStream>,
    /// Packets of all streams, in file order.
    pub places: Vec<PacketPlace>,
    /// Its last complaint where it failed.
    pub complaint: Option<String>,
}

/// Lists streams and packets of a file, which is read behind `prefix`: what begins in that is none of its packets. What is
/// no media gives an empty list and a complaint.
///
/// # Errors
/// When ffprobe is missing, cannot be run or dies, or on cancellation.
pub fn probe(path: &Path, prefix: &[u8], cancel: &CancellationToken) -> Result<Probe> {
    probe_range(path, ClockRange { from_byte: 0, to_byte: None, shift_ms: 0, start_ms: 0 }, prefix, cancel)
}

/// As [`probe`], of a part of the file only; positions are those in the file.
///
/// # Errors
/// As [`probe`].
pub fn probe_range(path: &Path, range: ClockRange, prefix: &[u8], cancel: &CancellationToken) -> Result<Probe> {
    let mut args: Vec<std::ffi::OsString> = [
        "-v",
        "error",
        "-show_entries",
        "format=format_name:stream=index,codec_type,codec_name,extradata_size,width,sample_rate:\
         stream_disposition=attached_pic:stream_tags=language,title:packet=stream_index,pts_time,dts_time,duration_time,pos",
        "-of",
        "compact",
    ]
    .map(Into::into)
    .into();
    args.extend(child::input(path, range, prefix));
    let (child, stdout) = child::spawn_on("ffprobe", &args, path, range, prefix)?;
    let mut out = Probe::default();
    let mut lines = BufReader::with_capacity(1 << 16, stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line);
        if cancel.is_cancelled() {
            return Err(MediaError::Cancelled);
        }
        match read {
            Ok(0) => break,
            Ok(_) => out.take(&String::from_utf8_lossy(&line)),
            Err(source) => return Err(MediaError::File { path: path.to_owned(), source }),
        }
    }
    let (status, words) = child.wait();
    child::died("ffprobe", status)?;
    if !status.is_some_and(|s| s.success()) {
        out.complaint = Some(if words.is_empty() { "ffprobe failed".to_owned() } else { words });
    }
    let behind = prefix.len() as u64;
    out.places.retain_mut(|place| match place.pos {
        Some(pos) => {
            place.pos = pos.checked_sub(behind).map(|pos| pos + range.from_byte);
            place.pos.is_some()
        }
        None => true,
    });
    Ok(out)
}

impl Probe {
    /// Takes one line of its output: `packet|stream_index=0|...`.
    fn take(&mut self, line: &str) {
        let mut fields = line.trim_end().split('|');
        let section = fields.next().unwrap_or_default();
        let get =
            |key: &str| line.trim_end().split('|').skip(1).find_map(|field| field.strip_prefix(key)?.strip_prefix('='));
        match section {
            "packet" => {
                let mut place = PacketPlace { stream: u32::MAX, pts_ms: None, dts_ms: None, duration_ms: 0, pos: None };
                for (key, value) in fields.filter_map(|field| field.split_once('=')) {
                    match key {
                        "stream_index" => place.stream = value.parse().unwrap_or(u32::MAX),
                        "pts_time" => place.pts_ms = ms(value),
                        "dts_time" => place.dts_ms = ms(value),
                        "duration_time" => place.duration_ms = ms(value).unwrap_or_default().max(0),
                        "pos" => place.pos = value.parse().ok(),
                        _ => {}
                    }
                }
                self.places.push(place);
            }
            // Streams of a program are listed twice.
            "stream" => {
                let Some(index) = get("index").and_then(|v| v.parse().ok()) else { return };
                if get("disposition:attached_pic").is_none() || self.streams.iter().any(|s| s.index == index) {
                    return;
                }
                let number = |key| get(key).and_then(|v| v.parse::<u64>().ok()).unwrap_or_default();
                let kind = match get("codec_type") {
                    Some("video") => TrackKind::Video,
                    Some("audio") => TrackKind::Audio,
                    _ => TrackKind::Other,
                };
                self.streams.push(ProbedStream {
                    index,
                    kind,
                    codec: get("codec_name").filter(|c| *c != "unknown").unwrap_or_default().to_owned(),
                    has_extradata: number("extradata_size") > 0,
                    has_format: number("width") > 0 || number("sample_rate") > 0,
                    cover: number("disposition:attached_pic") > 0,
                    language: get("tag:language").filter(|l| *l != "und").unwrap_or_default().to_owned(),
                    title: get("tag:title").unwrap_or_default().to_owned(),
                });
            }
            "format" => self.format = get("format_name").unwrap_or_default().to_owned(),
            _ => {}
        }
    }
}

/// Seconds with a fraction as milliseconds.
fn ms(seconds: &str) -> Option<i64> {
    let value: f64 = seconds.parse().ok()?;
    // 1e12 s is far beyond any clock and still exact in milliseconds.
    (value.abs() < 1e12).then(|| (value * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ffprobe() {
        let mut probe = Probe::default();
        for line in [
            "packet|stream_index=1|pts_time=-0.0065|dts_time=N/A|duration_time=0.020000|pos=137|side_data|\n",
            "packet|stream_index=0|pts_time=1.48|dts_time=1.4|duration_time=N/A|pos=N/A\n",
            "stream|index=0|codec_name=h264|codec_type=video|width=160\n",
            "\n",
            "stream|index=0|codec_name=h264|codec_type=video|width=160|extradata_size=36|disposition:attached_pic=0\n",
            "stream|index=1|codec_name=aac|codec_type=audio|sample_rate=0|disposition:attached_pic=0\n",
            "format|format_name=mov,mp4,m4a,3gp,3g2,mj2\n",
            "packet|pts_time=nan|dts_time=1e99|duration_time=-1|pos=-1\n",
        ] {
            probe.take(line);
        }
        assert_eq!(
            probe.places[..2],
            [
                PacketPlace { stream: 1, pts_ms: Some(-7), dts_ms: None, duration_ms: 20, pos: Some(137) },
                PacketPlace { stream: 0, pts_ms: Some(1480), dts_ms: Some(1400), duration_ms: 0, pos: None },
            ]
        );
        assert_eq!(
            probe.places[2],
            PacketPlace { stream: u32::MAX, pts_ms: None, dts_ms: None, duration_ms: 0, pos: None }
        );
        assert_eq!(probe.streams.len(), 2);
        assert!(probe.streams[0].has_extradata && probe.streams[0].has_format);
        assert!(!probe.streams[1].has_extradata && !probe.streams[1].has_format);
        assert_eq!(probe.format, "mov,mp4,m4a,3gp,3g2,mj2");
    }
}
