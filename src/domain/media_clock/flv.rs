//! FLV: the times of audio and video tags.

use super::{Progress, Step, skip};

const TAG: usize = 11;
const AUDIO: u8 = 8;
const VIDEO: u8 = 9;
const SCRIPT: u8 = 18;

#[derive(Clone, Debug, Default)]
pub(super) struct Flv;

impl Flv {
    pub(super) fn step(&mut self, bytes: &[u8], progress: &mut Progress) -> Step {
        if bytes.len() < TAG + 2 {
            return Step::More;
        }
        if bytes.starts_with(b"FLV") {
            // The header, and the size of no tag before.
            return Step::Skip(13);
        }
        let big = |at: usize| bytes[at..at + 3].iter().fold(0_u32, |n, byte| n << 8 | u32::from(*byte));
        let kind = bytes[0];
        if !matches!(kind, AUDIO | VIDEO | SCRIPT) || big(8) != 0 {
            return skip(1);
        }
        let ms = i32::from_be_bytes([bytes[7], bytes[4], bytes[5], bytes[6]]);
        if kind != SCRIPT {
            progress.at(u32::from(kind), i64::from(ms) * 1000);
        }
        // Its size stands behind it once more.
        Step::Skip(TAG as u64 + u64::from(big(1)) + 4)
    }
}
