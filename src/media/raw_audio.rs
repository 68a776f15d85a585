//! Audio without a container: MP3, MP2, AAC with ADTS heads, AC-3 and E-AC-3, as Icecast sends them. Frames have no times,
//! so they are counted from zero; where their format changes, a track of its own begins.

use super::mpegts::{AudioFrame, AudioSplitter, Codec, FrameHead, TICKS, TsPacket, TsTrack};
use super::track::{TrackEntry, TrackLabel};

/// The stream is fed in pieces of this, bytes: as exactly is known when a frame came.
const STEP: usize = 1024;

/// So many frames in a row of one format are no coincidence.
const SURE: usize = 4;

/// More formats than this are damage.
const MOST_TRACKS: usize = 16;

/// Reads a file from its start.
#[derive(Debug)]
pub struct RawAudio {
    /// Name of the format, as ffmpeg has it.
    format: &'static str,
    splitter: AudioSplitter,
    tracks: Vec<TsTrack>,
    /// Bytes taken so far.
    taken: u64,
    /// Bytes of a tag at the start that are still to be passed over.
    skip: usize,
}

impl RawAudio {
    /// For a file that begins with these bytes; `None`: it is none of these formats.
    #[must_use]
    pub fn of(begin: &[u8]) -> Option<Self> {
        let skip = tag_bytes(begin);
        let begin = begin.get(skip..)?;
        let codec = [Codec::AdtsAac, Codec::MpegAudio, Codec::Ac3, Codec::Eac3]
            .into_iter()
            .find(|codec| (0..begin.len().min(1 << 16)).any(|at| in_step(*codec, &begin[at..])))?;
        let first = (0..begin.len()).find(|at| in_step(codec, &begin[*at..]))?;
        let format = match FrameHead::read(codec, &begin[first..])?.format.codec {
            "A_AAC" => "aac",
            "A_AC3" => "ac3",
            "A_EAC3" => "eac3",
            _ => "mp3",
        };
        Some(Self {
            format,
            splitter: AudioSplitter::new(codec).counting_from_zero(),
            tracks: Vec::new(),
            taken: 0,
            skip,
        })
    }

    /// Name of the format, as ffmpeg has it.
    #[must_use]
    pub fn format(&self) -> &'static str {
        self.format
    }

    /// The tracks so far: one for each format, in the order in which they began.
    #[must_use]
    pub fn tracks(&self) -> &[TsTrack] {
        &self.tracks
    }

    /// Takes the bytes that follow.
    pub fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(&[TsTrack], TsPacket)) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.taken += skipped as u64;
        for piece in bytes[skipped..].chunks(STEP) {
            let mut frames = Vec::new();
            self.splitter.push(self.taken, None, piece, |frame| frames.push(frame));
            self.taken += piece.len() as u64;
            self.frames(frames, &mut take);
        }
    }

    /// Nothing follows: what is left.
    pub fn finish(&mut self, mut take: impl FnMut(&[TsTrack], TsPacket)) {
        let mut frames = Vec::new();
        self.splitter.finish(|frame| frames.push(frame));
        self.frames(frames, &mut take);
    }

    fn frames(&mut self, frames: Vec<AudioFrame>, take: &mut impl FnMut(&[TsTrack], TsPacket)) {
        for AudioFrame { byte, pts, ticks, head, payload } in frames {
            // What a file begins with that says how long it is: no audio.
            if payload.get(..64.min(payload.len())).is_some_and(|b| b.windows(4).any(|w| w == b"Xing" || w == b"Info"))
                && pts == 0
            {
                continue;
            }
            let entry = TrackEntry::audio(&head.format, &TrackLabel::default());
            let hash = entry.format_hash();
            let track = match self.tracks.iter().position(|t| t.hash == hash) {
                Some(track) => track,
                None if self.tracks.len() < MOST_TRACKS => {
                    self.tracks.push(TsTrack::new(entry, hash));
                    self.tracks.len() - 1
                }
                None => continue,
            };
            let ms = |ticks: i64| (ticks + TICKS / 2000).div_euclid(TICKS / 1000);
            let packet = TsPacket { track, byte, pts_ms: ms(pts), duration_ms: ms(ticks), key: true, payload };
            take(&self.tracks, packet);
        }
    }
}

/// Length of an ID3v2 tag at the start; 0: there is none.
fn tag_bytes(begin: &[u8]) -> usize {
    match begin {
        [b'I', b'D', b'3', _, _, flags, a, b, c, d, ..] => {
            let size = [a, b, c, d].iter().fold(0, |size, byte| size << 7 | usize::from(**byte & 0x7f));
            size + if flags & 0x10 != 0 { 20 } else { 10 }
        }
        _ => 0,
    }
}

/// True where frames of one format follow each other from the start of these bytes on.
fn in_step(codec: Codec, bytes: &[u8]) -> bool {
    let mut at = 0;
    let mut format = None;
    for _ in 0..SURE {
        let Some(head) = bytes.get(at..).and_then(|bytes| FrameHead::read(codec, bytes)) else { return false };
        if *format.get_or_insert(head.format) != head.format {
            return false;
        }
        at += head.bytes;
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Frames of MPEG audio, layer II, 64 kbit/s: 48 kHz stereo (192 bytes of 24 ms), 44.1 kHz mono (208 bytes).
    fn frames(rate_bits: u8, mono: bool, count: usize) -> Vec<u8> {
        let bytes = if rate_bits == 4 { 192 } else { 208 };
        let frame = [&[0xff, 0xfd, 0x40 | rate_bits, if mono { 0xc4 } else { 4 }][..], &vec![9; bytes - 4]].concat();
        frame.repeat(count)
    }

    #[test]
    fn each_format_is_a_track_and_times_go_on() {
        let tag = [&b"ID3\x04\0\0\0\0\0\x05"[..], &[0xff; 5]].concat();
        let bytes = [tag, frames(4, false, 50), frames(0, true, 50), frames(4, false, 5)].concat();
        for step in [100, 5000, bytes.len()] {
            let mut reader = RawAudio::of(&bytes).expect("MPEG audio");
            assert_eq!(reader.format(), "mp3");
            let mut got = Vec::new();
            for piece in bytes.chunks(step) {
                reader.feed(piece, |_, p| got.push((p.track, p.pts_ms)));
            }
            reader.finish(|_, p| got.push((p.track, p.pts_ms)));
            assert_eq!(reader.tracks().len(), 2);
            assert_eq!(got.len(), 105);
            assert_eq!((got[0], got[50], got[100]), ((0, 0), (1, 1200), (0, 2506)), "{step}");
        }
        assert!(RawAudio::of(&[7; 4000]).is_none());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let _ = RawAudio::of(&bytes);
            let mut reader = RawAudio::of(&frames(4, false, 5)).expect("MPEG audio");
            reader.feed(&bytes, |_, _| ());
            reader.finish(|_, _| ());
        }
    }
}
