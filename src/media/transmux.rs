//! Recordings in a form that browsers play, without encoding anything anew: MPEG-TS for what hls.js takes apart, WebM for
//! what browsers take in WebM only. Both can be cut into pieces that play by themselves.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout};

use super::child::{self, Child};
use super::demux::{Demux, Demuxed, TrackSelection};
use super::live_mux::LiveMux;
use super::mpegts::{Cut, TICKS};
use super::mux::Block;
use super::track::TrackEntry;
use super::{CancellationToken, MediaError, Result};
use crate::domain::media::{ClockRange, Packet, TrackKind};
use crate::plan::anchor::{CLOCK_JUMP_MS, PacketSteps, is_jump};

/// What a recording is turned into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetFormat {
    /// MPEG transport stream (ISO 13818-1).
    MpegTs,
    /// WebM, and the type that a browser is told: `video/webm; codecs="vp8,vorbis"`.
    WebM(String),
}

/// What the first bytes of a recording say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbedHead {
    /// What browsers play it as; or why they do not.
    pub target_format: std::result::Result<TargetFormat, String>,
    /// Presentation time of the first packet, milliseconds.
    pub first_ms: i64,
    /// Where the media of these bytes ends, milliseconds.
    pub end_ms: i64,
}

/// Two pieces of WebM begin at least so far apart, milliseconds: each keyframe may begin one, and each block of audio.
const MIN_SLICE_MS: i64 = 500;

/// Looks at the first `bytes` of a recording. `adts`: it is AAC without a container. `None`: there is no media in them.
///
/// # Errors
/// When ffmpeg is missing, cannot be started or dies, the file cannot be read, or on cancellation.
pub fn probe_head(path: &Path, adts: bool, bytes: u64, cancel: &CancellationToken) -> Result<Option<ProbedHead>> {
    let unreadable = |source| MediaError::File { path: path.to_owned(), source };
    if adts {
        let part = ClockRange { from_byte: 0, to_byte: Some(bytes), shift_ms: 0, start_ms: 0 };
        return match Demux::open(path, "aac", &[TrackSelection { stream: 0, adts: true }], &[part], &[], cancel) {
            Ok(mut demux) => read_opening(&mut demux),
            Err(MediaError::Content { .. }) => Ok(None),
            Err(e) => Err(e),
        };
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let (mut demux, mut pipe) = Demux::fed(path, cancel)?;
    let mut first = io::Read::take(file, bytes);
    // It ends with ffmpeg, which reads all or closes the pipe.
    let feeder = move || drop(io::copy(&mut first, &mut pipe));
    let feeder = std::thread::Builder::new().name("feeder".to_owned()).spawn(feeder).map_err(unreadable)?;
    let found = read_opening(&mut demux);
    drop(demux);
    let _ = feeder.join();
    found
}

fn read_opening(demux: &mut Demux) -> Result<Option<ProbedHead>> {
    let mut times: Option<Times> = None;
    while let Some(Demuxed { packet, .. }) = demux.next_packet()? {
        if packet.track == lead(demux) {
            times.get_or_insert_with(|| Times::begin(packet.pts_ms)).take(packet.pts_ms, packet.duration_ms);
        }
    }
    let tracks: Vec<_> = demux.entries().map(|t| (t.codec(), t.private())).collect();
    let target_format = target_format(&tracks);
    Ok(times.map(|times| ProbedHead {
        target_format,
        first_ms: times.first_ms,
        end_ms: times.first_ms + times.length_ms,
    }))
}

/// How much media packets hold: where the clock is set, it goes on right after what was before.
#[derive(Debug)]
struct Times {
    first_ms: i64,
    steps: PacketSteps,
    /// From the first one to the last.
    at_ms: i64,
    length_ms: i64,
}

impl Times {
    fn begin(pts_ms: i64) -> Self {
        Self { first_ms: pts_ms, steps: PacketSteps::default(), at_ms: 0, length_ms: 0 }
    }

    fn take(&mut self, pts_ms: i64, duration_ms: i64) {
        self.at_ms += self.steps.step(pts_ms);
        self.length_ms = self.length_ms.max(self.at_ms + duration_ms.max(0));
    }
}

/// The track at whose key packets pieces begin, counted from 1: the video frames, or the audio where there are none.
fn lead(demux: &Demux) -> u32 {
    (1..).zip(demux.entries()).find(|(_, t)| t.kind() == TrackKind::Video).map_or(1, |(n, _)| n)
}

/// What tracks of these codecs, by Matroska's names, are turned into.
fn target_format(tracks: &[(String, &[u8])]) -> std::result::Result<TargetFormat, String> {
    let mut names = Vec::new();
    let (mut in_ts, mut in_webm) = (true, true);
    for (codec, private) in tracks {
        let name = match codec.as_str() {
            "V_VP8" => "vp8".to_owned(),
            "V_VP9" => "vp9".to_owned(),
            "V_AV1" => av1(private),
            "A_VORBIS" => "vorbis".to_owned(),
            "A_OPUS" => "opus".to_owned(),
            _ => String::new(),
        };
        let ts = matches!(codec.as_str(), "V_MPEG4/ISO/AVC" | "A_AAC" | "A_MPEG/L3");
        if !ts && name.is_empty() {
            return Err(format!("browsers do not play {}", spoken(codec)));
        }
        in_ts &= ts;
        in_webm &= !name.is_empty();
        names.push(name);
    }
    match (in_ts, in_webm) {
        (true, _) => Ok(TargetFormat::MpegTs),
        (_, true) => Ok(TargetFormat::WebM(format!("video/webm; codecs=\"{}\"", names.join(",")))),
        _ => {
            let names: Vec<_> = tracks.iter().map(|(codec, _)| spoken(codec)).collect();
            Err(format!("browsers do not play {} together", names.join(" and ")))
        }
    }
}

/// AV1 as RFC 6381 wants it, from the decoder's configuration ("av1C"): profile, level, tier, depth.
fn av1(private: &[u8]) -> String {
    let byte = |at: usize| private.get(at).copied().unwrap_or_default();
    let depth = match (byte(2) & 0x40 != 0, byte(2) & 0x20 != 0) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    };
    let tier = if byte(2) & 0x80 == 0 { 'M' } else { 'H' };
    format!("av01.{}.{:02}{tier}.{depth:02}", byte(1) >> 5, byte(1) & 0x1f)
}

/// A codec's name for people.
fn spoken(codec: &str) -> &str {
    match codec {
        "V_MPEG4/ISO/AVC" => "H.264",
        "V_MPEGH/ISO/HEVC" => "HEVC",
        "V_THEORA" => "Theora",
        "V_MS/VFW/FOURCC" => "Windows Media, Flash or another old video",
        "A_MS/ACM" => "Windows Media or another old sound",
        "A_MPEG/L3" => "MP3",
        "A_MPEG/L2" => "MPEG audio layer 2",
        other => other.trim_start_matches(['V', 'A']).trim_start_matches('_'),
    }
}

/// ffmpeg as it turns what comes in by one pipe into MPEG-TS, of its first video frames and its first audio, with the
/// clock it had. The pipes must be worked at by different threads.
///
/// # Errors
/// When ffmpeg is missing or cannot be started.
pub fn to_mpegts() -> Result<(Child, ChildStdin, ChildStdout)> {
    let mut args: Vec<OsString> = ["-nostdin", "-v", "error", "-copyts"].map(Into::into).into();
    args.extend(child::fed_input());
    args.extend(["-map", "0:v:0?", "-map", "0:a:0?", "-c", "copy", "-avoid_negative_ts", "disabled"].map(Into::into));
    // As soon as it comes; times as they are.
    args.extend(["-muxdelay", "0", "-muxpreload", "0", "-mpegts_copyts", "1", "-flush_packets", "1"].map(Into::into));
    args.extend(["-f", "mpegts", "pipe:1"].map(Into::into));
    child::spawn_fed("ffmpeg", &args)
}

/// WebM, as it is written from packets, and where it may be cut. A piece is its head and what lies between two cuts.
#[derive(Debug, Default)]
pub struct Webm {
    mux: Option<LiveMux>,
    head: Vec<u8>,
    cuts: Vec<Cut>,
    written: u64,
    /// Presentation time last seen of the video frames, or of the audio where there are none.
    last_ms: Option<i64>,
    /// Smallest step between two of its packets: containers of live streams do not say how long a video frame is shown.
    step_ms: i64,
    /// Since the clock was last set.
    end_ms: i64,
    /// The clock was set since the last cut, and this is where the media ended before.
    jumped: Option<i64>,
}

impl Webm {
    /// What each piece begins with.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Where pieces may begin, in order; bytes are counted without the head.
    #[must_use]
    pub fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// Where the media ends for now, in the clock of the last cut, ticks.
    #[must_use]
    pub fn end_ticks(&self) -> i64 {
        ticks(self.jumped.unwrap_or(self.end_ms))
    }

    /// Bytes so far, without the head.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Takes the next packet of `demux` and returns the bytes that follow. What comes before the first keyframe is
    /// left out.
    ///
    /// # Errors
    /// None but a bug: nothing is written anywhere here.
    pub fn take(&mut self, demux: &Demux, packet: Demuxed) -> io::Result<Vec<u8>> {
        let tracks: Vec<_> = demux.entries().collect();
        let leads = packet.packet.track == lead(demux);
        self.packet(&tracks, leads, packet)
    }

    fn packet(&mut self, tracks: &[&TrackEntry], leads: bool, packet: Demuxed) -> io::Result<Vec<u8>> {
        let Demuxed { packet, payload, discard_padding_ns, .. } = packet;
        let Packet { track, duration_ms, key, hash, .. } = packet;
        // Matroska has no time before its start; what a codec leads in with is dropped by players.
        let pts_ms = packet.pts_ms.max(0);
        let mux = match &mut self.mux {
            Some(mux) => mux,
            None => self.mux.insert(LiveMux::begin(&mut self.head, tracks)?),
        };
        let last_cut = self.cuts.last().map(|cut| cut.ticks);
        if leads {
            let step = self.last_ms.map_or(0, |last| pts_ms - last);
            if last_cut.is_some() && is_jump(step) {
                // A cut follows at the next keyframe, which need not be this one.
                self.jumped.get_or_insert(self.end_ms);
                self.end_ms = pts_ms;
            }
            if (1..CLOCK_JUMP_MS).contains(&step) && (self.step_ms == 0 || step < self.step_ms) {
                self.step_ms = step;
            }
            self.last_ms = Some(pts_ms);
            if key && (self.jumped.is_some() || last_cut.is_none_or(|last| ticks(pts_ms) >= last + ticks(MIN_SLICE_MS)))
            {
                mux.cut();
                let jump = self.jumped.take().map(ticks);
                self.cuts.push(Cut { byte: self.written, ticks: ticks(pts_ms), jump, hash });
            }
            self.end_ms = self.end_ms.max(pts_ms + duration_ms.max(self.step_ms).max(1));
        }
        let mut bytes = Vec::with_capacity(payload.len() + 32);
        if !self.cuts.is_empty() {
            mux.write(&mut bytes, &Block { track, pts_ms, duration_ms, key, discard_padding_ns, payload }, leads)?;
            bytes.flush()?;
        }
        self.written += bytes.len() as u64;
        Ok(bytes)
    }
}

fn ticks(ms: i64) -> i64 {
    ms.saturating_mul(TICKS / 1000)
}

#[cfg(test)]
mod tests;
