//! Ogg (RFC 3533): the granule positions of pages.

use super::{Progress, Step, skip};

const PAGE: &[u8] = b"OggS";
/// Of a page before its table of segments.
const HEAD: usize = 27;
/// Of a stream's first packet so much says its codec and rate.
const FIRST: usize = 64;

#[derive(Clone, Debug, Default)]
pub(super) struct Ogg {
    streams: Vec<(u32, Granules)>,
}

/// How a codec counts.
#[derive(Clone, Copy, Debug)]
enum Granules {
    /// Samples, so many a second.
    Samples(i64),
    /// Frames, as number of the last keyframe and frames since, which has so many bits; and frames a second as a fraction.
    Frames {
        shift: u32,
        numerator: i64,
        denominator: i64,
    },
    Unknown,
}

impl Ogg {
    pub(super) fn step(&mut self, bytes: &[u8], progress: &mut Progress) -> Step {
        if bytes.len() < HEAD {
            return Step::More;
        }
        if !bytes.starts_with(PAGE) {
            let next = bytes.windows(4).skip(1).position(|four| four == PAGE).map(|at| at + 1);
            return skip(next.unwrap_or(bytes.len() - 3));
        }
        let segments = usize::from(bytes[26]);
        let Some(table) = bytes.get(HEAD..HEAD + segments) else { return Step::More };
        let body: usize = table.iter().map(|length| usize::from(*length)).sum();
        let head = HEAD + segments;
        let serial = u32::from_le_bytes([bytes[14], bytes[15], bytes[16], bytes[17]]);
        if bytes[5] & 2 != 0 {
            let Some(first) = bytes.get(head..head + body.min(FIRST)) else { return Step::More };
            self.streams.retain(|(known, _)| *known != serial);
            if self.streams.len() >= super::MAX_TRACKS {
                self.streams.remove(0);
            }
            self.streams.push((serial, Granules::of(first)));
        } else {
            let granule: [u8; 8] = std::array::from_fn(|n| bytes[6 + n]);
            let granule = i64::from_le_bytes(granule);
            let known =
                self.streams.iter().find(|(known, _)| *known == serial).map_or(Granules::Unknown, |(_, how)| *how);
            match known.microseconds(granule) {
                // No packet ends in a page of -1.
                Some(us) if granule > 0 => progress.at(serial, us),
                _ => progress.has_untimed |= body > 0,
            }
        }
        Step::Skip((head + body) as u64)
    }
}

impl Granules {
    fn of(first: &[u8]) -> Self {
        let little =
            |at: usize| first.get(at..at + 4).map(|four| four.iter().rev().fold(0, |n, b| n << 8 | i64::from(*b)));
        let big = |at: usize| first.get(at..at + 4).map(|four| four.iter().fold(0, |n, b| n << 8 | i64::from(*b)));
        let rate = match first {
            _ if first.starts_with(b"OpusHead") => Some(48_000),
            _ if first.starts_with(b"\x01vorbis") => little(12),
            _ if first.starts_with(b"Speex   ") => little(36),
            _ if first.starts_with(b"\x7fFLAC") => big(27).map(|word| word >> 12),
            _ if first.starts_with(b"\x80theora") => {
                let shift = first.get(40..42).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]]) >> 5 & 31));
                return match (shift, big(22), big(26)) {
                    (Some(shift), Some(numerator @ 1..), Some(denominator @ 1..)) => {
                        Self::Frames { shift, numerator, denominator }
                    }
                    _ => Self::Unknown,
                };
            }
            _ => None,
        };
        rate.filter(|rate| *rate > 0).map_or(Self::Unknown, Self::Samples)
    }

    fn microseconds(self, granule: i64) -> Option<i64> {
        let us = |count: i64, rate: i64, scale: i64| {
            i64::try_from(i128::from(count) * 1_000_000 * i128::from(scale) / i128::from(rate)).ok()
        };
        match self {
            Self::Samples(rate) => us(granule, rate, 1),
            Self::Frames { shift, numerator, denominator } => {
                let frames = (granule >> shift) + (granule & ((1 << shift) - 1));
                us(frames, numerator, denominator)
            }
            Self::Unknown => None,
        }
    }
}
