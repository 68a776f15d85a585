//! MP3, MP2 and ADTS: frames without timestamps, which are counted.

use super::{Progress, Step, skip};

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frames;

impl Frames {
    pub(super) fn step(&mut self, bytes: &[u8], progress: &mut Progress) -> Step {
        if bytes.len() < 10 {
            return Step::More;
        }
        if bytes.starts_with(b"ID3") {
            let size = bytes[6..10].iter().fold(0_u64, |size, byte| size << 7 | u64::from(byte & 0x7f));
            return Step::Skip(10 + size);
        }
        let Some((length, us)) = frame(bytes) else {
            return skip(bytes.iter().skip(1).position(|byte| *byte == 0xff).map_or(bytes.len(), |at| at + 1));
        };
        // Two bytes of other data look like a frame now and then; the next frame does not follow these.
        match bytes.get(length..length + 2) {
            None => Step::More,
            Some([0xff, next]) if next & 0xe0 == 0xe0 => {
                progress.add(0, us);
                skip(length)
            }
            Some(b"ID") | Some(b"TA") => {
                progress.add(0, us);
                skip(length)
            }
            Some(_) => skip(1),
        }
    }
}

/// Length in bytes and duration in microseconds of a frame that begins here.
pub(super) fn frame(bytes: &[u8]) -> Option<(usize, i64)> {
    let head = bytes.get(..7)?;
    if head[0] != 0xff || head[1] & 0xe0 != 0xe0 {
        return None;
    }
    match head[1] >> 1 & 3 {
        0 if head[1] & 0xf0 == 0xf0 => adts(head),
        0 => None,
        layer => mpeg(head, layer),
    }
}

fn adts(head: &[u8]) -> Option<(usize, i64)> {
    const RATES: [i64; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
    let rate = RATES.get(usize::from(head[2] >> 2 & 15))?;
    let length = usize::from(head[3] & 3) << 11 | usize::from(head[4]) << 3 | usize::from(head[5]) >> 5;
    let blocks = i64::from(head[6] & 3) + 1;
    (length > 7).then_some((length, 1_024_000_000 * blocks / rate))
}

/// `layer`: as in the header, 1 is layer III.
fn mpeg(head: &[u8], layer: u8) -> Option<(usize, i64)> {
    const RATES: [i64; 3] = [44_100, 48_000, 32_000];
    // kbit/s of MPEG-1 layer I, II, III, and of MPEG-2 layer I, and II and III.
    const BITRATES: [[usize; 14]; 5] = [
        [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    let version = head[1] >> 3 & 3;
    let divisor = match version {
        3 => 1,
        2 => 2,
        0 => 4,
        _ => return None,
    };
    let rate = RATES.get(usize::from(head[2] >> 2 & 3))? / divisor;
    let table = match (version, layer) {
        (3, 3) => 0,
        (3, 2) => 1,
        (3, _) => 2,
        (_, 3) => 3,
        _ => 4,
    };
    let kbit = *BITRATES[table].get(usize::from(head[2] >> 4).checked_sub(1)?)?;
    let padding = usize::from(head[2] >> 1 & 1);
    let samples: i64 = match (version, layer) {
        (_, 3) => 384,
        (3, _) | (_, 2) => 1152,
        _ => 576,
    };
    let hz = usize::try_from(rate).ok()?;
    let length = if layer == 3 {
        (12 * kbit * 1000 / hz + padding) * 4
    } else {
        usize::try_from(samples).ok()? / 8 * kbit * 1000 / hz + padding
    };
    Some((length, samples * 1_000_000 / rate))
}
