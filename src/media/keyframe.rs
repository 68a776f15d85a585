//! Which video frames of Windows Media Video stand for themselves.
//!
//! ASF marks every packet as key (measured), so the video frame's own first bits are asked. The codec is
//! known from the four characters in a Matroska track's BITMAPINFOHEADER.

/// How a codec's video frames begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyframeProbe {
    /// Windows Media Video 7: two bits, 0 is a keyframe.
    Wmv1,
    /// Windows Media Video 8: one bit, 0 is a keyframe.
    Wmv2,
    /// Windows Media Video 9, simple and main profile.
    Wmv3 {
        /// The sequence may interpolate frames: one more bit at the start.
        interpolated: bool,
        /// The sequence may reduce the range: one more bit after the frame count.
        range_reduced: bool,
        /// The sequence has B video frames: the type is one or two bits.
        b_pictures: bool,
    },
}

impl KeyframeProbe {
    /// For the codec private data of a `V_MS/VFW/FOURCC` track; `None` for other codecs.
    #[must_use]
    pub fn of(private: &[u8]) -> Option<Self> {
        let extra = private.get(40..).unwrap_or_default();
        match private.get(16..20)? {
            b"WMV1" => Some(Self::Wmv1),
            b"WMV2" => Some(Self::Wmv2),
            // The last byte of STRUCT_C: RANGERED, MAXBFRAMES (3), QUANTIZER (2), FINTERPFLAG, reserved.
            b"WMV3" => {
                let last = *extra.get(3)?;
                Some(Self::Wmv3 {
                    range_reduced: last & 0x80 != 0,
                    b_pictures: last & 0x70 != 0,
                    interpolated: last & 0x02 != 0,
                })
            }
            _ => None,
        }
    }

    /// True where the video frame can be decoded without others.
    #[must_use]
    pub fn is_key(self, picture: &[u8]) -> bool {
        let bit = |n: usize| picture.get(n / 8).is_some_and(|byte| byte << (n % 8) & 0x80 != 0);
        match self {
            _ if picture.is_empty() => false,
            Self::Wmv1 => !bit(0) && !bit(1),
            Self::Wmv2 => !bit(0),
            Self::Wmv3 { interpolated, range_reduced, b_pictures } => {
                // FRMCNT has two bits.
                let at = usize::from(interpolated) + 2 + usize::from(range_reduced);
                // Without B video frames: 0 is key. With: 1 predicted, 01 key, 00 B.
                if b_pictures { !bit(at) && bit(at + 1) } else { !bit(at) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn private(fourcc: &[u8; 4], extra: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 16];
        out.extend_from_slice(fourcc);
        out.resize(40, 0);
        out.extend_from_slice(extra);
        out
    }

    #[test]
    fn heads_of_pictures() {
        let of = |fourcc, extra: &[u8]| KeyframeProbe::of(&private(fourcc, extra));
        for (head, picture, key) in [
            (of(b"WMV1", &[]), 0b0011_1111, true),
            (of(b"WMV1", &[]), 0b0111_1111, false),
            (of(b"WMV2", &[]), 0b0111_1111, true),
            (of(b"WMV2", &[]), 0b1000_0000, false),
            (of(b"WMV3", &[0, 0, 0, 1]), 0b1101_1111, true),
            (of(b"WMV3", &[0, 0, 0, 1]), 0b0010_0000, false),
            (of(b"WMV3", &[0, 0, 0, 0x93]), 0b0000_0100, true),
            (of(b"WMV3", &[0, 0, 0, 0x93]), 0b0000_0000, false),
            (of(b"WMV3", &[0, 0, 0, 0x93]), 0b0000_1000, false),
        ] {
            let head = head.expect("known");
            assert_eq!(head.is_key(&[picture]), key, "{head:?} {picture:b}");
            assert!(!head.is_key(&[]));
        }
        assert_eq!(of(b"H264", &[]), None);
        assert_eq!(of(b"WMV3", &[]), None);
        assert_eq!(KeyframeProbe::of(&[]), None);
    }
}
