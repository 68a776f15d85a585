//! MPEG-1 and MPEG-2 video as far as a demuxer needs it (ISO/IEC 13818-2, 6.2 and 6.3).

use super::picture::{NalUse, Picture};
use crate::media::track::VideoFormat;

const PICTURE: u8 = 0x00;
const SEQUENCE: u8 = 0xb3;
const EXTENSION: u8 = 0xb5;
const GROUP: u8 = 0xb8;

/// Reads what follows the start codes of a stream, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Mpeg2 {
    size: Option<(u32, u32)>,
    frame_ticks: Option<i64>,
    mpeg1: bool,
    /// The sequence header with its extensions, as it stands in the stream.
    private: Vec<u8>,
    in_headers: bool,
    pictures: u32,
    slices: bool,
    /// The picture that was read last is a first field.
    first_field: bool,
    sequence: u64,
}

impl Mpeg2 {
    /// Takes the bytes behind a start code (its own last one included) and says what they are to the picture.
    pub fn unit(&mut self, unit: &[u8], picture: &mut Picture) -> NalUse {
        let kind = unit[0];
        let begins = matches!(kind, PICTURE | SEQUENCE | GROUP) && self.slices;
        if begins && !(kind == PICTURE && self.first_field) {
            self.restart();
            return NalUse::Begins;
        }
        if self.in_headers && !matches!(kind, PICTURE | GROUP | SEQUENCE) {
            self.private.extend_from_slice(&[0, 0, 1]);
            self.private.extend_from_slice(unit);
        }
        match kind {
            SEQUENCE => self.sequence_header(unit, picture),
            GROUP => {
                self.in_headers = false;
                self.sequence += 1;
            }
            PICTURE => {
                self.in_headers = false;
                self.pictures += 1;
                if self.pictures == 1
                    && let [_, a, b, ..] = *unit
                {
                    picture.order = Some(i64::from(a) << 2 | i64::from(b >> 6));
                    picture.intra = b >> 3 & 7 == 1;
                    picture.key = picture.intra;
                    picture.sequence = self.sequence;
                }
            }
            EXTENSION => match *unit {
                // Sequence extension: upper bits of the size.
                [_, a, b, c, ..] if a >> 4 == 1 => {
                    self.mpeg1 = false;
                    if let Some((width, height)) = &mut self.size {
                        *width = *width & 0xfff | (u32::from(b & 1) << 1 | u32::from(c >> 7)) << 12;
                        *height = *height & 0xfff | u32::from(c >> 5 & 3) << 12;
                    }
                }
                // Picture coding extension: a field, or a frame.
                [_, a, _, c, ..] if a >> 4 == 8 => self.first_field = c & 3 != 3 && self.pictures == 1,
                _ => {}
            },
            0x01..=0xaf => self.slices = true,
            _ => {}
        }
        NalUse::ClockRange
    }

    fn sequence_header(&mut self, unit: &[u8], picture: &mut Picture) {
        let [_, a, b, c, rate, ..] = *unit else { return };
        picture.parameter_sets = true;
        self.size = Some((u32::from(a) << 4 | u32::from(b >> 4), u32::from(b & 15) << 8 | u32::from(c)));
        self.mpeg1 = true;
        // Pictures a second, times 1001.
        let rates = [24_000, 24_024, 25_025, 30_000, 30_030, 50_050, 60_000, 60_060];
        let per_second = usize::from(rate & 15).checked_sub(1).and_then(|n| rates.get(n));
        self.frame_ticks = per_second.map(|rate| (90_000 * 1001 + rate / 2) / rate);
        self.in_headers = true;
        self.private = [&[0, 0, 1], unit].concat();
    }

    /// Nothing of a picture that was begun follows.
    pub fn restart(&mut self) {
        (self.slices, self.first_field, self.pictures) = (false, false, 0);
    }

    /// Ticks of 90 kHz of a picture.
    #[must_use]
    pub fn frame_ticks(&self) -> Option<i64> {
        self.frame_ticks
    }

    /// The format of the pictures.
    #[must_use]
    pub fn format(&self) -> Option<VideoFormat> {
        let (width, height) = self.size.filter(|(width, height)| *width > 0 && *height > 0)?;
        let codec = if self.mpeg1 { "V_MPEG1" } else { "V_MPEG2" };
        Some(VideoFormat { codec, private: self.private.clone(), width, height })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn garbage_never_panics(units in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..30)) {
            let (mut reader, mut picture) = (Mpeg2::default(), Picture::default());
            for unit in &units {
                let _ = reader.unit(unit, &mut picture);
                let _ = (reader.format(), reader.frame_ticks());
            }
        }
    }
}
