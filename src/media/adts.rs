//! AAC with ADTS heads, as MPEG-TS and Icecast carry it: cut into frames, heads taken off.
//!
//! ffmpeg cannot write such AAC into a Matroska pipe: it learns the decoder's configuration with the
//! first packet and would have to go back to the header (measured with 5.1). So the demuxer lets it
//! pass as opaque bytes, one block for each PES packet, and the cutting is done here.

use crate::domain::media::Packet;

/// Head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdtsHeader {
    /// Sampling rate of the core coder, Hz.
    pub rate: u32,
    /// Channel configuration, 0 to 7.
    pub channels: u8,
    /// Audio object type, 1 to 4.
    pub object_type: u8,
    rate_index: u8,
    head_bytes: usize,
    frame_bytes: usize,
    samples: u32,
}

const RATES: [u32; 13] = [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];

impl AdtsHeader {
    /// Reads the head at the start of `bytes`; `None` where there is none.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let h = bytes.get(..7)?;
        // Sync word, layer 0.
        if h[0] != 0xff || h[1] & 0xf6 != 0xf0 {
            return None;
        }
        let rate_index = h[2] >> 2 & 15;
        let head_bytes = if h[1] & 1 == 0 { 9 } else { 7 };
        let frame_bytes = usize::from(h[3] & 3) << 11 | usize::from(h[4]) << 3 | usize::from(h[5] >> 5);
        let rate = *RATES.get(usize::from(rate_index))?;
        (frame_bytes > head_bytes).then_some(Self {
            rate,
            channels: (h[2] & 1) << 2 | h[3] >> 6,
            object_type: (h[2] >> 6) + 1,
            rate_index,
            head_bytes,
            frame_bytes,
            samples: 1024 * (u32::from(h[6] & 3) + 1),
        })
    }

    /// AudioSpecificConfig: what Matroska keeps as codec private data.
    #[must_use]
    pub fn config(self) -> [u8; 2] {
        let bits = u16::from(self.object_type) << 11 | u16::from(self.rate_index) << 7 | u16::from(self.channels) << 3;
        bits.to_be_bytes()
    }

    /// Bytes of the frame, its head included.
    #[must_use]
    pub fn frame_bytes(self) -> usize {
        self.frame_bytes
    }

    /// Bytes of the head.
    #[must_use]
    pub fn head_bytes(self) -> usize {
        self.head_bytes
    }

    /// Samples of each channel.
    #[must_use]
    pub fn samples(self) -> u32 {
        self.samples
    }

    fn same_stream(self, other: Self) -> bool {
        (self.rate_index, self.channels, self.object_type) == (other.rate_index, other.channels, other.object_type)
    }
}

/// Cuts the blocks of one track into frames.
#[derive(Debug)]
pub struct FrameSplitter {
    /// Timestamps of the blocks count; without, frames are counted from zero (raw ADTS has no clock).
    timed: bool,
    first: Option<AdtsHeader>,
    rest: Vec<u8>,
    /// Start of the frame at the head of `rest`: of a known instant, so many samples later.
    base_ms: i64,
    samples: u64,
}

impl FrameSplitter {
    /// For a track whose blocks carry times, or do not.
    #[must_use]
    pub fn new(timed: bool) -> Self {
        Self { timed, first: None, rest: Vec::new(), base_ms: 0, samples: 0 }
    }

    /// Forgets a frame that was begun: what follows is not its rest.
    pub fn restart(&mut self) {
        self.rest.clear();
    }

    /// The first frame's head, once there was one: it describes the track.
    #[must_use]
    pub fn head(&self) -> Option<AdtsHeader> {
        self.first
    }

    /// Takes a block and gives the frames that are complete now. `packet` carries the block's track
    /// and time; size, hash and duration of the frames are set by the caller and here.
    pub fn push(&mut self, packet: Packet, block: &[u8], mut give: impl FnMut(Packet, Vec<u8>)) {
        // A frame that began in the block before has that one's time; the first one that begins here
        // has this one's.
        let begun = self.rest.len();
        self.rest.extend_from_slice(block);
        let mut at = 0;
        let mut fresh = begun == 0;
        if fresh && self.timed {
            (self.base_ms, self.samples) = (packet.pts_ms, 0);
        }
        while at < self.rest.len() {
            if !fresh && at >= begun {
                fresh = true;
                if self.timed {
                    (self.base_ms, self.samples) = (packet.pts_ms, 0);
                }
            }
            let Some(head) = AdtsHeader::read(&self.rest[at..]) else {
                if self.rest.len() - at < 7 {
                    break;
                }
                // Not in step, or damaged: on to the next byte that may begin a frame.
                at += 1;
                continue;
            };
            let end = at + head.frame_bytes;
            let sure = match self.first {
                Some(first) => head.same_stream(first),
                // Before the stream is known, two heads in a row must agree: a sync word inside coded
                // audio is common. So wait for the second, unless a block ends with the frame.
                None => match self.rest.get(end..end + 7).map(AdtsHeader::read) {
                    Some(next) => next.is_some_and(|next| next.same_stream(head)),
                    None if end == self.rest.len() => true,
                    None => break,
                },
            };
            if !sure {
                at += 1;
                continue;
            }
            let Some(frame) = self.rest.get(at + head.head_bytes..end) else { break };
            self.first = self.first.or(Some(head));
            let rate = u64::from(head.rate);
            let ms = |samples: u64| i64::try_from((samples * 1000 + rate / 2) / rate).unwrap_or(i64::MAX);
            let pts_ms = self.base_ms.saturating_add(ms(self.samples));
            self.samples += u64::from(head.samples);
            give(Packet { pts_ms, duration_ms: ms(u64::from(head.samples)), key: true, ..packet }, frame.to_vec());
            at = end;
        }
        self.rest.drain(..at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(fill: u8, size: usize) -> Vec<u8> {
        let length = size + 7;
        let mut out = vec![
            0xff,
            0xf1,
            1 << 6 | 4 << 2,
            2 << 6 | (length >> 11) as u8,
            (length >> 3) as u8,
            (length << 5) as u8 | 0x1f,
            0xfc,
        ];
        out.extend(std::iter::repeat_n(fill, size));
        out
    }

    fn block_at(pts_ms: i64) -> Packet {
        Packet { track: 1, pts_ms, duration_ms: 0, key: true, size: 0, hash: 0 }
    }

    proptest! {
        #[test]
        fn frames_come_out_whole_wherever_blocks_are_cut(
            sizes in prop::collection::vec(1_usize..300, 2..30), cuts in prop::collection::vec(1_usize..900, 1..40)
        ) {
            let frames: Vec<_> = sizes.iter().enumerate().map(|(n, size)| frame(n as u8, *size)).collect();
            let bytes = frames.concat();
            let mut splitter = FrameSplitter::new(false);
            let mut got = Vec::new();
            let (mut at, mut cuts) = (0, cuts.into_iter().cycle());
            while at < bytes.len() {
                let end = (at + cuts.next().expect("endless")).min(bytes.len());
                splitter.push(block_at(0), &bytes[at..end], |p, payload| got.push((p, payload)));
                at = end;
            }
            prop_assert_eq!(got.len(), frames.len());
            for (n, ((packet, payload), frame)) in got.iter().zip(&frames).enumerate() {
                prop_assert_eq!(payload.as_slice(), &frame[7..]);
                prop_assert_eq!(packet.pts_ms, (n as i64 * 1_024_000 + 22_050) / 44_100);
            }
            prop_assert_eq!(splitter.head().expect("seen").config(), [0x12, 0x10]);
        }

        #[test]
        fn garbage_never_panics(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20)) {
            let mut splitter = FrameSplitter::new(true);
            for block in blocks {
                splitter.push(block_at(7), &block, |_, _| {});
            }
        }
    }

    #[test]
    fn a_block_that_begins_in_mid_frame_times_its_first_own_frame() {
        let frames: Vec<_> = (0..4).map(|n| frame(n, 50)).collect();
        let bytes = frames.concat();
        let mut splitter = FrameSplitter::new(true);
        let mut times = Vec::new();
        splitter.push(block_at(1000), &bytes[20..150], |p, f| times.push((p.pts_ms, f[0])));
        splitter.push(block_at(5000), &bytes[150..], |p, f| times.push((p.pts_ms, f[0])));
        assert_eq!(times, [(1000, 1), (1023, 2), (5000, 3)]);
    }
}
