//! H.264 as far as a demuxer needs it: where pictures begin, in which order they are shown, and what their format is
//! (ITU-T H.264, clauses 7.3, 7.4 and 8.2.1).

use std::collections::BTreeMap;

use super::bits::Bits;
use super::picture::{NalUse, Picture};
use crate::media::track::VideoFormat;

/// What of a sequence parameter set is used here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sps {
    width: u32,
    height: u32,
    chroma: u32,
    depths: (u32, u32),
    separate_planes: bool,
    frame_num_bits: u32,
    order: Order,
    frames_only: bool,
    /// Ticks of 90 kHz of a field.
    field_ticks: Option<i64>,
    nal: Vec<u8>,
}

/// How the output order is coded: `pic_order_cnt_type`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Order {
    /// The lower bits are sent, so many.
    Lower(u32),
    /// By differences to what is expected.
    Expected { always_zero: bool, non_ref: i64, top_to_bottom: i64, refs: Vec<i64> },
    /// Frames are shown in the order in which they are decoded.
    Decoding,
}

#[derive(Clone, Debug)]
struct Pps {
    sps: u32,
    bottom_present: bool,
    nal: Vec<u8>,
}

/// Reads the NAL units of a stream one after the other.
#[derive(Clone, Debug, Default)]
pub struct H264 {
    sps: BTreeMap<u32, Sps>,
    pps: BTreeMap<u32, Pps>,
    /// The set that the pictures use.
    active: Option<u32>,
    picture: Option<Now>,
    /// Of the last reference picture: lower and upper part of its order.
    before: (i64, i64),
    frame_num: (i64, i64),
    sequence: u64,
}

/// The picture that is being read.
#[derive(Clone, Copy, Debug, Default)]
struct Now {
    last_mb: u32,
    slices: bool,
}

struct Slice {
    first_mb: u32,
    intra: bool,
    pps: u32,
    frame_num: u32,
    field: Option<bool>,
    lower: u32,
    delta_bottom: i64,
    delta: [i64; 2],
}

impl H264 {
    /// Takes the next NAL unit and says what it is to the picture. `picture` is what is known of the current picture.
    pub fn nal(&mut self, nal: &[u8], picture: &mut Picture) -> NalUse {
        let Some(head) = nal.first() else { return NalUse::ClockRange };
        let (reference, kind) = (head >> 5 & 3, head & 31);
        let slices = self.picture.is_some_and(|now| now.slices);
        match kind {
            6..=9 if slices => {
                // It belongs to the next picture, of which it is seen again.
                self.picture = None;
                return NalUse::Begins;
            }
            6 => picture.recovery |= has_recovery_point(&nal[1..]),
            7 => {
                if let Some((id, sps)) = sps(nal) {
                    picture.parameter_sets = true;
                    self.sps.insert(id, sps);
                }
            }
            8 => {
                if let Some((id, pps)) = pps(nal) {
                    self.pps.insert(id, pps);
                }
            }
            1 | 2 | 5 => {
                let idr = kind == 5;
                let Some(slice) = self.slice(&nal[1..], idr) else { return NalUse::ClockRange };
                if self.picture.is_some_and(|now| now.slices && slice.first_mb <= now.last_mb) {
                    self.picture = None;
                    return NalUse::Begins;
                }
                let begins = !slices;
                self.picture = Some(Now { last_mb: slice.first_mb, slices: true });
                if begins {
                    picture.idr = idr;
                    picture.intra = slice.intra;
                    picture.field = slice.field;
                    picture.frame_num = slice.frame_num;
                    self.active = self.pps.get(&slice.pps).map(|pps| pps.sps);
                    if idr {
                        self.sequence += 1;
                    }
                    picture.sequence = self.sequence;
                    picture.order = self.order(&slice, idr, reference > 0);
                    picture.key = idr || picture.recovery || (picture.parameter_sets && slice.intra);
                }
            }
            _ => {}
        }
        NalUse::ClockRange
    }

    /// Nothing of a picture that was begun follows.
    pub fn restart(&mut self) {
        self.picture = None;
    }

    /// Ticks of 90 kHz from one field to the next, as the stream says.
    #[must_use]
    pub fn field_ticks(&self) -> Option<i64> {
        self.sps.get(&self.active?)?.field_ticks
    }

    /// The format of the current picture, with an AVCDecoderConfigurationRecord (ISO 14496-15, 5.3.3.1).
    #[must_use]
    pub fn format(&self) -> Option<VideoFormat> {
        let id = self.active?;
        let sps = self.sps.get(&id)?;
        let mut private = vec![1, *sps.nal.get(1)?, *sps.nal.get(2)?, *sps.nal.get(3)?, 0xff, 0xe1];
        let put = |out: &mut Vec<u8>, nal: &[u8]| {
            out.extend_from_slice(&u16::try_from(nal.len()).unwrap_or_default().to_be_bytes());
            out.extend_from_slice(nal);
        };
        put(&mut private, &sps.nal);
        let sets: Vec<&Pps> = self.pps.values().filter(|pps| pps.sps == id).take(255).collect();
        private.push(sets.len() as u8);
        for pps in sets {
            put(&mut private, &pps.nal);
        }
        if !matches!(sps.nal[1], 66 | 77 | 88) {
            private.extend_from_slice(&[
                0xfc | sps.chroma as u8,
                0xf8 | sps.depths.0 as u8,
                0xf8 | sps.depths.1 as u8,
                0,
            ]);
        }
        Some(VideoFormat { codec: "V_MPEG4/ISO/AVC", private, width: sps.width, height: sps.height })
    }

    fn slice(&self, content: &[u8], idr: bool) -> Option<Slice> {
        let mut bits = Bits::new(content);
        let (first_mb, kind, id) = (bits.ue()?, bits.ue()?, bits.ue()?);
        let mut slice = Slice {
            first_mb,
            intra: matches!(kind % 5, 2 | 4),
            pps: id,
            frame_num: 0,
            field: None,
            lower: 0,
            delta_bottom: 0,
            delta: [0; 2],
        };
        // Without its parameter sets only its place is known.
        let Some(pps) = self.pps.get(&id) else { return Some(slice) };
        let Some(sps) = self.sps.get(&pps.sps) else { return Some(slice) };
        if sps.separate_planes {
            bits.bits(2)?;
        }
        slice.frame_num = bits.bits(sps.frame_num_bits)?;
        if !sps.frames_only && bits.flag()? {
            slice.field = Some(bits.flag()?);
        }
        if idr {
            bits.ue()?;
        }
        match &sps.order {
            Order::Lower(count) => {
                slice.lower = bits.bits(*count)?;
                if pps.bottom_present && slice.field.is_none() {
                    slice.delta_bottom = i64::from(bits.se()?);
                }
            }
            Order::Expected { always_zero: false, .. } => {
                slice.delta[0] = i64::from(bits.se()?);
                if pps.bottom_present && slice.field.is_none() {
                    slice.delta[1] = i64::from(bits.se()?);
                }
            }
            _ => {}
        }
        Some(slice)
    }

    /// Place of a picture in the order of output, counted from the last IDR picture: clause 8.2.1.
    fn order(&mut self, slice: &Slice, idr: bool, reference: bool) -> Option<i64> {
        let sps = self.sps.get(&self.pps.get(&slice.pps)?.sps)?;
        if let Order::Lower(count) = sps.order {
            let (before_lower, before_upper) = if idr { (0, 0) } else { self.before };
            let (lower, max) = (i64::from(slice.lower), 1_i64 << count);
            let upper = if lower < before_lower && before_lower - lower >= max / 2 {
                before_upper + max
            } else if lower > before_lower && lower - before_lower > max / 2 {
                before_upper - max
            } else {
                before_upper
            };
            if reference {
                self.before = (lower, upper);
            }
            return Some(upper + lower + slice.delta_bottom.min(0));
        }
        let max = 1_i64 << sps.frame_num_bits;
        let number = i64::from(slice.frame_num);
        let (last, offset) = if idr { (0, 0) } else { self.frame_num };
        let offset = if last > number { offset + max } else { offset };
        self.frame_num = (number, offset);
        Some(match &sps.order {
            Order::Expected { non_ref, top_to_bottom, refs, .. } => {
                let mut number = if refs.is_empty() { 0 } else { offset + number };
                if !reference && number > 0 {
                    number -= 1;
                }
                let mut expected = 0;
                if number > 0 {
                    let count = refs.len() as i64;
                    expected = (number - 1) / count * refs.iter().sum::<i64>()
                        + refs.iter().take(((number - 1) % count + 1) as usize).sum::<i64>();
                }
                if !reference {
                    expected += non_ref;
                }
                let top = expected + slice.delta[0];
                match slice.field {
                    Some(true) => expected + top_to_bottom + slice.delta[0],
                    Some(false) => top,
                    None => top.min(top + top_to_bottom + slice.delta[1]),
                }
            }
            _ if idr => 0,
            _ => 2 * (offset + number) - i64::from(!reference),
        })
    }
}

/// True where supplemental information (7.3.2.3) says that decoding may begin here.
fn has_recovery_point(content: &[u8]) -> bool {
    const RECOVERY_POINT: u32 = 6;
    let mut bits = Bits::new(content);
    let number = |bits: &mut Bits<'_>| {
        let mut value = 0_u32;
        loop {
            let byte = bits.bits(8)?;
            value += byte;
            if byte < 255 || value > 1 << 20 {
                return Some(value);
            }
        }
    };
    while let Some(kind) = number(&mut bits) {
        if kind == RECOVERY_POINT {
            return true;
        }
        let Some(size) = number(&mut bits) else { return false };
        for _ in 0..size {
            if bits.bits(8).is_none() {
                return false;
            }
        }
        // The stop bit of the unit follows the last message.
        if bits.is_at_stop() {
            return false;
        }
    }
    false
}

fn sps(nal: &[u8]) -> Option<(u32, Sps)> {
    let mut bits = Bits::new(nal.get(1..)?);
    let profile = bits.bits(8)?;
    bits.bits(16)?;
    let id = bits.ue().filter(|id| *id < 32)?;
    let (mut chroma, mut depths, mut separate_planes) = (1, (0, 0), false);
    if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        chroma = bits.ue().filter(|c| *c < 4)?;
        if chroma == 3 {
            separate_planes = bits.flag()?;
        }
        depths = (bits.ue().filter(|d| *d < 8)?, bits.ue().filter(|d| *d < 8)?);
        bits.bit()?;
        if bits.flag()? {
            for n in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.flag()? {
                    scaling_list(&mut bits, if n < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    let frame_num_bits = bits.ue().filter(|n| *n <= 12)? + 4;
    let order = match bits.ue()? {
        0 => Order::Lower(bits.ue().filter(|n| *n <= 12)? + 4),
        1 => {
            let always_zero = bits.flag()?;
            let (non_ref, top_to_bottom) = (i64::from(bits.se()?), i64::from(bits.se()?));
            let count = bits.ue().filter(|n| *n < 256)?;
            let refs = (0..count).map(|_| bits.se().map(i64::from)).collect::<Option<Vec<_>>>()?;
            Order::Expected { always_zero, non_ref, top_to_bottom, refs }
        }
        2 => Order::Decoding,
        _ => return None,
    };
    bits.ue()?;
    bits.bit()?;
    let (mbs_wide, map_units_high) = (bits.ue()? + 1, bits.ue()? + 1);
    let frames_only = bits.flag()?;
    if !frames_only {
        bits.bit()?;
    }
    bits.bit()?;
    let mut crop = [0; 4];
    if bits.flag()? {
        for side in &mut crop {
            *side = bits.ue()?;
        }
    }
    let (mut width, mut height) =
        (mbs_wide.checked_mul(16)?, map_units_high.checked_mul(if frames_only { 16 } else { 32 })?);
    let unit_x = if chroma == 1 || chroma == 2 { 2 } else { 1 };
    let unit_y = if chroma == 1 { 2 } else { 1 } * if frames_only { 1 } else { 2 };
    width = width.checked_sub(unit_x * crop[0].checked_add(crop[1])?)?;
    height = height.checked_sub(unit_y * crop[2].checked_add(crop[3])?)?;
    if width == 0 || height == 0 || width > 16_384 || height > 16_384 {
        return None;
    }
    let field_ticks = if bits.flag()? { timing(&mut bits) } else { None };
    let nal = without_padding(nal);
    Some((
        id,
        Sps { width, height, chroma, depths, separate_planes, frame_num_bits, order, frames_only, field_ticks, nal },
    ))
}

/// Reads a VUI as far as its timing: how many ticks of 90 kHz a field lasts.
fn timing(bits: &mut Bits<'_>) -> Option<i64> {
    if bits.flag()? && bits.bits(8)? == 255 {
        bits.bits(32)?;
    }
    if bits.flag()? {
        bits.bit()?;
    }
    if bits.flag()? {
        bits.bits(4)?;
        if bits.flag()? {
            bits.bits(24)?;
        }
    }
    if bits.flag()? {
        bits.ue()?;
        bits.ue()?;
    }
    if !bits.flag()? {
        return None;
    }
    let (units, scale) = (i64::from(bits.bits(32)?), i64::from(bits.bits(32)?));
    (units > 0 && scale > 0).then(|| units * 90_000 / scale).filter(|ticks| (1..=900_000).contains(ticks))
}

fn scaling_list(bits: &mut Bits<'_>, size: usize) -> Option<()> {
    let (mut last, mut next) = (8_i32, 8_i32);
    for _ in 0..size {
        if next != 0 {
            next = (last + bits.se()? + 256) % 256;
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

fn pps(nal: &[u8]) -> Option<(u32, Pps)> {
    let mut bits = Bits::new(nal.get(1..)?);
    let id = bits.ue().filter(|id| *id < 256)?;
    let sps = bits.ue().filter(|id| *id < 32)?;
    bits.bit()?;
    Some((id, Pps { sps, bottom_present: bits.flag()?, nal: without_padding(nal) }))
}

/// Zeros behind a parameter set are part of what follows it.
fn without_padding(nal: &[u8]) -> Vec<u8> {
    let zeros = nal.iter().rev().take_while(|byte| **byte == 0).count();
    nal[..nal.len() - zeros].to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn garbage_never_panics(nals in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..30)) {
            let (mut reader, mut picture) = (H264::default(), Picture::default());
            for nal in &nals {
                let _ = reader.nal(nal, &mut picture);
                for kind in [0x67, 0x68, 0x65, 0x41, 0x06] {
                    let mut nal = nal.clone();
                    nal.insert(0, kind);
                    let _ = reader.nal(&nal, &mut picture);
                }
                let _ = (reader.format(), reader.field_ticks());
            }
        }
    }

    #[test]
    fn a_recovery_point_is_found_behind_other_messages() {
        assert!(has_recovery_point(&[6, 1, 0xc4, 0x80]));
        assert!(has_recovery_point(&[5, 3, 6, 6, 6, 6, 1, 0xc4, 0x80]));
        assert!(!has_recovery_point(&[5, 3, 6, 6, 6, 0x80]));
        assert!(!has_recovery_point(&[5, 200, 6]));
    }
}
