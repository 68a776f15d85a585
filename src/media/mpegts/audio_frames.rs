//! Frames of coded audio: where each begins, how long it is and what it is, for AAC with ADTS heads, MPEG audio, AC-3 and
//! E-AC-3. They say their own length, so a torn one at an end is never taken for a whole one.

use super::psi::Codec;
use crate::media::adts;
use crate::media::track::AudioFormat;

/// What begins a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of the frame, its head included.
    pub bytes: usize,
    /// Bytes of the head that are not kept.
    pub head_bytes: usize,
    /// Samples a second.
    pub rate: u32,
    /// Samples of each channel; 0: it belongs to the frame before it (E-AC-3, a dependent substream).
    pub samples: u32,
    /// Number of channels.
    pub channels: u8,
    /// What the frame is coded as.
    pub format: AudioFormat,
}

impl FrameHead {
    /// Reads the head at the start of `bytes`; `None`: there is none, or it is cut off.
    #[must_use]
    pub fn read(codec: Codec, bytes: &[u8]) -> Option<Self> {
        match codec {
            Codec::AdtsAac => {
                let head = adts::AdtsHeader::read(bytes)?;
                let channels = [2, 1, 2, 3, 4, 5, 6, 8][usize::from(head.channels & 7)];
                let format = AudioFormat { codec: "A_AAC", rate: head.rate, channels, config: head.config() };
                Some(Self {
                    bytes: head.frame_bytes(),
                    head_bytes: head.head_bytes(),
                    rate: head.rate,
                    samples: head.samples(),
                    channels,
                    format,
                })
            }
            Codec::MpegAudio => mpeg_audio(bytes),
            Codec::Ac3 | Codec::Eac3 => ac3(bytes),
            _ => None,
        }
    }
}

/// ISO/IEC 11172-3, 2.4.1.3, and 13818-3.
fn mpeg_audio(bytes: &[u8]) -> Option<FrameHead> {
    const V1: [[u32; 15]; 3] = [
        [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    ];
    const V2: [[u32; 15]; 2] = [
        [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    let [first, second, third, fourth, ..] = *bytes else { return None };
    if first != 0xff || second & 0xe0 != 0xe0 {
        return None;
    }
    let (version, layer) = (second >> 3 & 3, 4 - (second >> 1 & 3));
    let (rate_index, bitrate_index) = (third >> 2 & 3, usize::from(third >> 4));
    if version == 1 || layer == 4 || rate_index == 3 || !(1..15).contains(&bitrate_index) {
        return None;
    }
    let rate = [44_100, 48_000, 32_000][usize::from(rate_index)]
        >> match version {
            3 => 0,
            2 => 1,
            _ => 2,
        };
    let table = match (version, layer) {
        (3, _) => &V1[usize::from(layer) - 1],
        (_, 1) => &V2[0],
        _ => &V2[1],
    };
    let (kbit, padding) = (table[bitrate_index], u32::from(third >> 1 & 1));
    let (length, samples) = match (layer, version) {
        (1, _) => ((12_000 * kbit / rate + padding) * 4, 384),
        (3, 0 | 2) => (72_000 * kbit / rate + padding, 576),
        _ => (144_000 * kbit / rate + padding, 1152),
    };
    let codec = ["A_MPEG/L1", "A_MPEG/L2", "A_MPEG/L3"][usize::from(layer) - 1];
    let channels = if fourth >> 6 == 3 { 1 } else { 2 };
    let format = AudioFormat { codec, rate, channels, config: [0; 2] };
    Some(FrameHead { bytes: length as usize, head_bytes: 0, rate, samples, channels, format })
}

/// ETSI TS 102 366, 4.4 and E.1.2.
fn ac3(bytes: &[u8]) -> Option<FrameHead> {
    const KBIT: [u32; 19] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
    const CHANNELS: [u8; 8] = [2, 1, 2, 3, 3, 4, 4, 5];
    let head = bytes.get(..8)?;
    if head[..2] != [0x0b, 0x77] {
        return None;
    }
    let version = head[5] >> 3;
    if version <= 10 {
        let (rate_index, size) = (usize::from(head[4] >> 6), usize::from(head[4] & 63));
        let (rate, kbit) = (*[48_000, 44_100, 32_000].get(rate_index)?, *KBIT.get(size / 2)?);
        let words = match rate_index {
            0 => kbit * 2,
            1 => kbit * 96_000 / 44_100 + (size & 1) as u32,
            _ => kbit * 3,
        };
        let mode = head[6] >> 5;
        // The mix levels that stand before the low frequency effects depend on the mode.
        let skip = u32::from(mode & 1 != 0 && mode != 1) * 2 + u32::from(mode & 4 != 0) * 2 + u32::from(mode == 2) * 2;
        let bits = u32::from(head[6]) << 8 | u32::from(head[7]);
        let effects = (bits >> (15 - 3 - skip) & 1) as u8;
        let rate = rate >> version.saturating_sub(8);
        let channels = CHANNELS[usize::from(mode)] + effects;
        let format = AudioFormat { codec: "A_AC3", rate, channels, config: [0; 2] };
        return Some(FrameHead { bytes: words as usize * 2, head_bytes: 0, rate, samples: 1536, channels, format });
    }
    if version > 16 {
        return None;
    }
    let (kind, bytes) = (head[2] >> 6, (usize::from(head[2] & 7) << 8 | usize::from(head[3])) * 2 + 2);
    let (code, code2) = (usize::from(head[4] >> 6), usize::from(head[4] >> 4 & 3));
    let (rate, blocks) = match code {
        3 => (*[24_000, 22_050, 16_000].get(code2)?, 6),
        _ => ([48_000, 44_100, 32_000][code], [1, 2, 3, 6][code2]),
    };
    let channels = CHANNELS[usize::from(head[4] >> 1 & 7)] + (head[4] & 1);
    let samples = if kind == 1 { 0 } else { blocks * 256 };
    let format = AudioFormat { codec: "A_EAC3", rate, channels, config: [0; 2] };
    Some(FrameHead { bytes, head_bytes: 0, rate, samples, channels, format })
}

/// A frame that was cut out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioFrame {
    /// Byte of the file at which the unit begins that it begins in.
    pub byte: u64,
    /// Presentation time, ticks of 90 kHz.
    pub pts: i64,
    /// Length, ticks.
    pub ticks: i64,
    /// Its head as it was read.
    pub head: FrameHead,
    /// Its bytes, without what is not kept.
    pub payload: Vec<u8>,
}

/// Cuts the units of one stream into frames. A frame without a time of its own follows the one before it.
#[derive(Clone, Debug)]
pub struct AudioSplitter {
    codec: Codec,
    format: Option<AudioFormat>,
    rest: Vec<u8>,
    /// Where the frame at the head of `rest` was sent.
    byte: u64,
    /// A known instant, ticks, and samples since then.
    base: Option<i64>,
    samples: u64,
    rate: u32,
    /// A frame that may have more to it (E-AC-3).
    open: Option<AudioFrame>,
}

impl AudioSplitter {
    /// For a stream of this codec.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self { codec, format: None, rest: Vec::new(), byte: 0, base: None, samples: 0, rate: 0, open: None }
    }

    /// Its first frame is at 0.
    #[must_use]
    pub fn counting_from_zero(mut self) -> Self {
        self.base = Some(0);
        self
    }

    /// Takes the next unit, whose first own frame has this presentation time, and hands over the frames that are whole.
    pub fn push(&mut self, byte: u64, pts: Option<i64>, data: &[u8], mut take: impl FnMut(AudioFrame)) {
        let begun = self.rest.len();
        self.rest.extend_from_slice(data);
        let mut fresh = false;
        let mut at = 0;
        while at < self.rest.len() {
            if !fresh && at >= begun {
                fresh = true;
                self.byte = byte;
                if let Some(pts) = pts {
                    (self.base, self.samples) = (Some(pts), 0);
                }
            }
            let Some(head) = FrameHead::read(self.codec, &self.rest[at..]) else {
                if self.rest.len() - at < 8 {
                    break;
                }
                at += 1;
                continue;
            };
            let end = at + head.bytes;
            let known = self.format == Some(head.format) || (head.samples == 0 && self.format.is_some());
            let next = self.rest.get(end..end + 8).map(|next| FrameHead::read(self.codec, next));
            let sure = match next {
                // A sync word inside coded audio is common: the next head must agree, unless the unit ends here.
                Some(next) => next.is_some_and(|next| next.format == head.format || next.samples == 0) || known,
                None => known || end == self.rest.len(),
            };
            if !sure {
                if next.is_none() && end + 8 > self.rest.len() {
                    break;
                }
                at += 1;
                continue;
            }
            let Some(frame) = self.rest.get(at + head.head_bytes..end) else { break };
            let frame = frame.to_vec();
            self.frame(head, frame, &mut take);
            at = end;
        }
        self.rest.drain(..at);
    }

    fn frame(&mut self, head: FrameHead, payload: Vec<u8>, take: &mut impl FnMut(AudioFrame)) {
        if head.samples == 0 {
            if let Some(open) = &mut self.open {
                open.payload.extend_from_slice(&payload);
            }
            return;
        }
        if let Some(open) = self.open.take() {
            take(open);
        }
        let ticks =
            |samples: u64, rate: u32| i64::try_from(samples * 90_000 / u64::from(rate.max(1))).unwrap_or(i64::MAX);
        if self.rate != head.rate {
            // What was counted was of another rate.
            self.base = self.base.map(|base| base.saturating_add(ticks(self.samples, self.rate)));
            (self.samples, self.rate) = (0, head.rate);
        }
        self.format = Some(head.format);
        // Before the first time nothing is known.
        let Some(base) = self.base else { return };
        let pts = base.saturating_add(ticks(self.samples, head.rate));
        self.samples += u64::from(head.samples);
        let frame =
            AudioFrame { byte: self.byte, pts, ticks: ticks(u64::from(head.samples), head.rate), head, payload };
        if self.codec == Codec::Eac3 {
            self.open = Some(frame);
        } else {
            take(frame);
        }
    }

    /// Nothing follows.
    pub fn finish(&mut self, take: impl FnOnce(AudioFrame)) {
        self.rest.clear();
        if let Some(open) = self.open.take() {
            take(open);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame of MPEG audio, layer II, 48 kHz, 64 kbit/s, two channels: 192 bytes of 24 ms.
    fn frame(fill: u8) -> Vec<u8> {
        let mut out = vec![0xff, 0xfd, 0x44, 0x04];
        out.resize(192, fill);
        out
    }

    #[test]
    fn frames_follow_each_other_where_units_say_no_time() {
        let all: Vec<u8> = (1..7).flat_map(frame).collect();
        let mut splitter = AudioSplitter::new(Codec::MpegAudio);
        let mut got = Vec::new();
        let mut take = |f: AudioFrame| got.push((f.pts, f.payload[10], f.byte));
        splitter.push(0, Some(1000), &all[..300], &mut take);
        splitter.push(500, None, &all[300..700], &mut take);
        splitter.push(900, Some(50_000), &all[700..], &mut take);
        assert_eq!(
            got,
            [(1000, 1, 0), (3160, 2, 0), (5320, 3, 500), (7480, 4, 500), (50_000, 5, 900), (52_160, 6, 900)]
        );
    }

    #[test]
    fn heads_of_the_codecs() {
        let ac3 = [0x0b, 0x77, 0, 0, 0x14, 0x40, 0x43, 0xff];
        let head = FrameHead::read(Codec::Ac3, &ac3).expect("AC-3 of 192 kbit/s");
        assert_eq!((head.bytes, head.rate, head.samples, head.channels), (768, 48_000, 1536, 2));
        let mp3 = [0xff, 0xfb, 0x90, 0xc4];
        let head = FrameHead::read(Codec::MpegAudio, &mp3).expect("MP3 of 128 kbit/s");
        assert_eq!(
            (head.bytes, head.rate, head.samples, head.channels, head.format.codec),
            (417, 44_100, 1152, 1, "A_MPEG/L3")
        );
    }

    proptest! {
        #[test]
        fn garbage_never_panics(units in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20)) {
            for codec in [Codec::AdtsAac, Codec::MpegAudio, Codec::Ac3, Codec::Eac3] {
                let mut splitter = AudioSplitter::new(codec);
                for unit in &units {
                    splitter.push(0, Some(0), unit, |_| ());
                    splitter.push(0, None, &[&[0xff, 0xfb, 0x90, 0x04, 0x0b, 0x77][..], unit].concat(), |_| ());
                }
                splitter.finish(|_| ());
            }
        }
    }
}
