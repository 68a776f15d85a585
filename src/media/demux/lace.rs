//! Frames that share a block of Matroska.

use crate::media::ebml;

/// Where the frames of a block lie in it. `at` is the first byte after its head, `lacing` its two bits.
/// `None` where the sizes make no sense.
pub(super) fn lace(block: &[u8], at: usize, lacing: u8) -> Option<Vec<std::ops::Range<usize>>> {
    if lacing == 0 {
        return Some(std::iter::once(at..block.len()).collect());
    }
    let count = usize::from(*block.get(at)?) + 1;
    let mut at = at + 1;
    let mut sizes: Vec<usize> = Vec::with_capacity(count);
    match lacing {
        // Xiph: bytes of 255 go on.
        1 => {
            for _ in 1..count {
                let mut size = 0;
                loop {
                    let byte = *block.get(at)?;
                    at += 1;
                    size += usize::from(byte);
                    if byte < 255 {
                        break;
                    }
                }
                sizes.push(size);
            }
        }
        // EBML: the first size, then differences, offset so that they are not negative.
        3 => {
            let mut size = 0_i64;
            for n in 1..count {
                let (value, length) = ebml::read_vint(block.get(at..)?)?;
                at += length;
                let value = i64::try_from(value).ok()?;
                size = if n == 1 { value } else { size + value - ((1 << (7 * length - 1)) - 1) };
                sizes.push(usize::try_from(size).ok()?);
            }
        }
        _ => sizes = vec![block.len().checked_sub(at)? / count; count - 1],
    }
    let mut out = Vec::with_capacity(count);
    for size in sizes {
        let end = at.checked_add(size).filter(|end| *end <= block.len())?;
        out.push(at..end);
        at = end;
    }
    out.push(at..block.len());
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn laces() {
        let xiph = [9, 2, 255, 1, 2, 0xaa];
        let block: Vec<u8> = xiph.iter().copied().chain(std::iter::repeat_n(7, 400)).collect();
        assert_eq!(lace(&block, 1, 1), Some(vec![5..261, 261..263, 263..406]));
        // 3 frames: 4 bytes, then 4 - 1, then the rest.
        let ebml = [2, 0x84, 0x80 | (63 - 1), 1, 1, 1, 1, 2, 2, 2, 3];
        assert_eq!(lace(&ebml, 0, 3), Some(vec![3..7, 7..10, 10..11]));
        assert_eq!(lace(&[1, 1, 2, 3, 4], 0, 2), Some(vec![1..3, 3..5]));
        assert_eq!(lace(&[5], 1, 0).map(|l| l.len()), Some(1));
        assert_eq!(lace(&[1, 200, 2], 0, 1), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(block in prop::collection::vec(any::<u8>(), 0..60), lacing in 0_u8..4) {
            if let Some(frames) = lace(&block, 0, lacing) {
                for frame in frames {
                    prop_assert!(block.get(frame).is_some());
                }
            }
        }
    }
}
