//! HEVC as far as a demuxer needs it: where pictures begin, in which order they are shown, and what their format is
//! (ITU-T H.265, clauses 7.3, 7.4.2.4.4 and 8.3.1).

use std::collections::BTreeMap;

use super::bits::Bits;
use super::picture::{NalUse, Picture};
use crate::media::track::VideoFormat;

const VPS: u8 = 32;
const SPS: u8 = 33;
const PPS: u8 = 34;

#[derive(Clone, Debug)]
struct Sps {
    width: u32,
    height: u32,
    chroma: u32,
    depths: (u32, u32),
    separate_planes: bool,
    order_bits: u32,
    layers: u32,
    nested: bool,
    nal: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Pps {
    sps: u32,
    output_flag: bool,
    extra_bits: u32,
    nal: Vec<u8>,
}

/// Reads the NAL units of a stream one after the other.
#[derive(Clone, Debug, Default)]
pub struct Hevc {
    vps: BTreeMap<u8, Vec<u8>>,
    sps: BTreeMap<u32, Sps>,
    pps: BTreeMap<u32, Pps>,
    active: Option<u32>,
    /// A slice of the current picture was seen.
    slices: bool,
    /// Order of the last picture that others refer to: lower and upper part.
    before: (i64, i64),
    sequence: u64,
    frame_ticks: Option<i64>,
}

impl Hevc {
    /// Takes the next NAL unit and says what it is to the picture.
    pub fn nal(&mut self, nal: &[u8], picture: &mut Picture) -> NalUse {
        let [first, second, ..] = *nal else { return NalUse::ClockRange };
        let (kind, layer) = (first >> 1 & 63, (first & 1) << 5 | second >> 3);
        if layer > 0 {
            return NalUse::ClockRange;
        }
        // What comes before a picture; the end of a sequence is taken for such too, as ffmpeg does.
        if (matches!(kind, 32..=37 | 39 | 41..=44 | 48..=55)) && self.slices {
            self.slices = false;
            return NalUse::Begins;
        }
        match kind {
            VPS => {
                self.vps.insert(*nal.get(2).unwrap_or(&0) >> 4, nal.to_vec());
                self.frame_ticks = vps_ticks(nal).or(self.frame_ticks);
            }
            SPS => {
                if let Some((id, sps)) = sps(nal) {
                    picture.parameter_sets = true;
                    self.sps.insert(id, sps);
                }
            }
            PPS => {
                if let Some((id, pps)) = pps(nal) {
                    self.pps.insert(id, pps);
                }
            }
            0..=9 | 16..=21 => {
                let first_slice = nal.get(2).is_some_and(|byte| byte & 0x80 != 0);
                if first_slice && self.slices {
                    self.slices = false;
                    return NalUse::Begins;
                }
                if !self.slices {
                    self.slices = true;
                    picture.key = kind >= 16;
                    picture.idr = matches!(kind, 16..=20);
                    picture.intra = kind >= 16;
                    if picture.idr {
                        self.sequence += 1;
                    }
                    picture.sequence = self.sequence;
                    if first_slice {
                        picture.order = self.order(nal, kind, second & 7);
                    }
                }
            }
            _ => {}
        }
        NalUse::ClockRange
    }

    /// Nothing of a picture that was begun follows.
    pub fn restart(&mut self) {
        self.slices = false;
    }

    /// Ticks of 90 kHz of a picture, as the stream says.
    #[must_use]
    pub fn frame_ticks(&self) -> Option<i64> {
        self.frame_ticks
    }

    /// Place of a picture in the order of output: clause 8.3.1.
    fn order(&mut self, nal: &[u8], kind: u8, temporal_id: u8) -> Option<i64> {
        let mut bits = Bits::new(nal.get(2..)?);
        bits.bit()?;
        if kind >= 16 {
            bits.bit()?;
        }
        let pps = self.pps.get(&bits.ue()?)?;
        let sps = self.sps.get(&pps.sps)?;
        bits.bits(pps.extra_bits)?;
        bits.ue()?;
        if pps.output_flag {
            bits.bit()?;
        }
        if sps.separate_planes {
            bits.bits(2)?;
        }
        self.active = Some(pps.sps);
        // An instantaneous refresh says nothing: it is 0.
        let lower = if matches!(kind, 19 | 20) { 0 } else { i64::from(bits.bits(sps.order_bits)?) };
        let (before_lower, before_upper) = self.before;
        let max = 1_i64 << sps.order_bits;
        let upper = if matches!(kind, 16..=20) {
            0
        } else if lower < before_lower && before_lower - lower >= max / 2 {
            before_upper + max
        } else if lower > before_lower && lower - before_lower > max / 2 {
            before_upper - max
        } else {
            before_upper
        };
        // Leading pictures and those that no other refers to do not count.
        if temporal_id == 1 && !(matches!(kind, 6..=9) || (kind < 16 && kind % 2 == 0)) {
            self.before = (lower, upper);
        }
        Some(upper + lower)
    }

    /// The format of the current picture, with an HEVCDecoderConfigurationRecord (ISO 14496-15, 8.3.3.1).
    #[must_use]
    pub fn format(&self) -> Option<VideoFormat> {
        let id = self.active?;
        let sps = self.sps.get(&id)?;
        // Profile, tier and level: twelve bytes, behind the head of two and one of identifiers.
        let plain = without_emulation(sps.nal.get(2..)?);
        let general = plain.get(1..13)?;
        let mut out = vec![1];
        out.extend_from_slice(general);
        out.extend_from_slice(&[
            0xf0,
            0,
            0xfc,
            0xfc | sps.chroma as u8,
            0xf8 | sps.depths.0 as u8,
            0xf8 | sps.depths.1 as u8,
        ]);
        out.extend_from_slice(&[0, 0, ((sps.layers as u8) & 7) << 3 | u8::from(sps.nested) << 2 | 3, 3]);
        let pps: Vec<&[u8]> = self.pps.values().filter(|pps| pps.sps == id).map(|pps| pps.nal.as_slice()).collect();
        let vps: Vec<&[u8]> = self.vps.values().map(Vec::as_slice).collect();
        for (kind, nals) in [(VPS, vps), (SPS, vec![sps.nal.as_slice()]), (PPS, pps)] {
            out.push(kind);
            out.extend_from_slice(&u16::try_from(nals.len()).unwrap_or_default().to_be_bytes());
            for nal in nals {
                out.extend_from_slice(&u16::try_from(nal.len()).unwrap_or_default().to_be_bytes());
                out.extend_from_slice(nal);
            }
        }
        Some(VideoFormat { codec: "V_MPEGH/ISO/HEVC", private: out, width: sps.width, height: sps.height })
    }
}

fn without_emulation(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if !(*byte == 3 && out.ends_with(&[0, 0])) {
            out.push(*byte);
        }
    }
    out
}

fn profile_tier_level(bits: &mut Bits<'_>, layers: u32) -> Option<()> {
    bits.bits(32)?;
    bits.bits(32)?;
    bits.bits(32)?;
    let present: Vec<(bool, bool)> =
        (1..layers).map(|_| Some((bits.flag()?, bits.flag()?))).collect::<Option<Vec<_>>>()?;
    if layers > 1 {
        bits.bits(2 * (8 - (layers - 1)))?;
    }
    for (profile, level) in present {
        if profile {
            bits.bits(32)?;
            bits.bits(32)?;
            bits.bits(24)?;
        }
        if level {
            bits.bits(8)?;
        }
    }
    Some(())
}

fn sps(nal: &[u8]) -> Option<(u32, Sps)> {
    let mut bits = Bits::new(nal.get(2..)?);
    bits.bits(4)?;
    let layers = bits.bits(3)? + 1;
    let nested = bits.flag()?;
    profile_tier_level(&mut bits, layers)?;
    let id = bits.ue().filter(|id| *id < 16)?;
    let chroma = bits.ue().filter(|c| *c < 4)?;
    let separate_planes = chroma == 3 && bits.flag()?;
    let (mut width, mut height) = (bits.ue()?, bits.ue()?);
    if bits.flag()? {
        let [left, right, top, bottom] = [bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?];
        let (unit_x, unit_y) = (if matches!(chroma, 1 | 2) { 2 } else { 1 }, if chroma == 1 { 2 } else { 1 });
        width = width.checked_sub(left.checked_add(right)?.checked_mul(unit_x)?)?;
        height = height.checked_sub(top.checked_add(bottom)?.checked_mul(unit_y)?)?;
    }
    if width == 0 || height == 0 || width > 32_768 || height > 32_768 {
        return None;
    }
    let depths = (bits.ue().filter(|d| *d < 8)?, bits.ue().filter(|d| *d < 8)?);
    let order_bits = bits.ue().filter(|n| *n <= 12)? + 4;
    Some((id, Sps { width, height, chroma, depths, separate_planes, order_bits, layers, nested, nal: nal.to_vec() }))
}

fn pps(nal: &[u8]) -> Option<(u32, Pps)> {
    let mut bits = Bits::new(nal.get(2..)?);
    let (id, sps) = (bits.ue().filter(|id| *id < 64)?, bits.ue().filter(|id| *id < 16)?);
    bits.bit()?;
    Some((id, Pps { sps, output_flag: bits.flag()?, extra_bits: bits.bits(3)?, nal: nal.to_vec() }))
}

/// Ticks of 90 kHz of a picture, by the timing of a video parameter set.
fn vps_ticks(nal: &[u8]) -> Option<i64> {
    let mut bits = Bits::new(nal.get(2..)?);
    bits.bits(12)?;
    let layers = bits.bits(3)? + 1;
    bits.bits(17)?;
    profile_tier_level(&mut bits, layers)?;
    for _ in 0..if bits.flag()? { layers } else { 1 } {
        for _ in 0..3 {
            bits.ue()?;
        }
    }
    let last_layer = bits.bits(6)?;
    let sets = bits.ue().filter(|sets| *sets < 1024)?;
    for _ in 0..sets * (last_layer + 1) {
        bits.bit()?;
    }
    if !bits.flag()? {
        return None;
    }
    let (units, scale) = (i64::from(bits.bits(32)?), i64::from(bits.bits(32)?));
    (units > 0 && scale > 0).then(|| units * 90_000 / scale).filter(|ticks| (1..=900_000).contains(ticks))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn garbage_never_panics(nals in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..30)) {
            let (mut reader, mut picture) = (Hevc::default(), Picture::default());
            for nal in &nals {
                let _ = reader.nal(nal, &mut picture);
                for kind in [VPS, SPS, PPS, 1, 19, 21] {
                    let nal = [&[kind << 1, 1][..], nal].concat();
                    let _ = reader.nal(&nal, &mut picture);
                }
                let _ = (reader.format(), reader.frame_ticks());
            }
        }
    }
}
