//! Bits of coded video, from which emulation prevention bytes are taken out.

/// Reads bits, most significant first.
#[derive(Debug)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    byte: usize,
    bit: u32,
    zeros: u32,
}

impl<'a> Bits<'a> {
    /// Of the content of a NAL unit (ITU-T H.264, 7.3.1): a 3 behind two zeros is not part of it.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, byte: 0, bit: 0, zeros: 0 }
    }

    /// The next bit; `None` at the end.
    pub fn bit(&mut self) -> Option<u32> {
        if self.bit == 0 {
            if self.zeros >= 2 && self.bytes.get(self.byte) == Some(&3) {
                self.byte += 1;
                self.zeros = 0;
            }
            self.zeros = if *self.bytes.get(self.byte)? == 0 { self.zeros + 1 } else { 0 };
        }
        let value = self.bytes.get(self.byte)? >> (7 - self.bit) & 1;
        self.bit = (self.bit + 1) % 8;
        if self.bit == 0 {
            self.byte += 1;
        }
        Some(u32::from(value))
    }

    /// The next `count` bits, at most 32.
    pub fn bits(&mut self, count: u32) -> Option<u32> {
        (0..count.min(32)).try_fold(0_u32, |value, _| Some(value << 1 | self.bit()?))
    }

    /// True where nothing follows but the stop bit, and it lies at the start of the last byte.
    #[must_use]
    pub fn is_at_stop(&self) -> bool {
        self.bit == 0 && self.byte + 1 >= self.bytes.len()
    }

    /// The next bit as a flag.
    pub fn flag(&mut self) -> Option<bool> {
        Some(self.bit()? == 1)
    }

    /// An unsigned Exp-Golomb number (ITU-T H.264, 9.1).
    pub fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1_u32 << zeros) - 1 + self.bits(zeros)?)
    }

    /// A signed Exp-Golomb number.
    pub fn se(&mut self) -> Option<i32> {
        let value = self.ue()?;
        let half = i32::try_from(value.div_ceil(2)).ok()?;
        Some(if value % 2 == 0 { -half } else { half })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_emulation_prevention() {
        // 1, 010, 011, 00100: the numbers 0 to 3; then signed 0, 1, -1.
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_1010, 0b0110_0000]);
        assert_eq!([bits.ue(), bits.ue(), bits.ue(), bits.ue()], [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!([bits.se(), bits.se(), bits.se()], [Some(0), Some(1), Some(-1)]);
        let mut bits = Bits::new(&[0, 0, 3, 1, 3]);
        assert_eq!(bits.bits(32), Some(0x0000_0103));
        assert_eq!(bits.bit(), None);
        assert_eq!(Bits::new(&[0; 9]).ue(), None);
    }
}
