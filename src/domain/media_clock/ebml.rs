//! Matroska and WebM (RFC 9559): the times of blocks.

use super::{Progress, Step, skip};

const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1f43_b675;
const INFO: u32 = 0x1549_a966;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
const SIMPLE_BLOCK: u32 = 0xa3;
const TIMESTAMP: u32 = 0xe7;
const TIMESTAMP_SCALE: u32 = 0x2a_d7b1;

/// An element of more bytes is none: what was read is damaged.
const MAX_ELEMENT: u64 = 1 << 32;

/// The longest header of an element, and what of a block is looked at.
const HEAD: usize = 12;
const BLOCK_HEAD: usize = 12;

#[derive(Clone, Debug)]
pub(super) struct Ebml {
    scale_ns: i64,
    cluster: i64,
}

impl Default for Ebml {
    fn default() -> Self {
        Self { scale_ns: 1_000_000, cluster: 0 }
    }
}

impl Ebml {
    pub(super) fn step(&mut self, bytes: &[u8], progress: &mut Progress) -> Step {
        let Some((id, size, head)) = header(bytes) else {
            return if bytes.len() < HEAD { Step::More } else { resync(bytes) };
        };
        let body = &bytes[head..];
        match (id, size) {
            (SEGMENT | CLUSTER | INFO | BLOCK_GROUP, _) => return skip(head),
            (_, None | Some(MAX_ELEMENT..)) => return resync(bytes),
            (TIMESTAMP | TIMESTAMP_SCALE, Some(size @ 1..=8)) => {
                let Some(value) = usize::try_from(size).ok().and_then(|size| body.get(..size)) else {
                    return Step::More;
                };
                let value = value.iter().fold(0_i64, |value, byte| value << 8 | i64::from(*byte)).max(0);
                match id {
                    TIMESTAMP => self.cluster = value,
                    _ => self.scale_ns = value.clamp(1, 1_000_000_000),
                }
            }
            (BLOCK | SIMPLE_BLOCK, Some(size)) => {
                if body.len() < BLOCK_HEAD && (body.len() as u64) < size {
                    return Step::More;
                }
                if let Some((track, width)) = vint(body, true)
                    && let Some(&[a, b]) = body.get(width..width + 2)
                {
                    let time = self.cluster.saturating_add(i64::from(i16::from_be_bytes([a, b])));
                    let us = time.saturating_mul(self.scale_ns) / 1000;
                    progress.at(u32::try_from(track).unwrap_or(u32::MAX), us);
                }
            }
            _ => {}
        }
        Step::Skip(head as u64 + size.unwrap_or(0))
    }
}

/// Identifier, size (`None`: unknown) and length of an element's header.
fn header(bytes: &[u8]) -> Option<(u32, Option<u64>, usize)> {
    let (id, id_width) = vint(bytes, false)?;
    let (size, width) = vint(&bytes[id_width..], true)?;
    let unknown = (1_u64 << (7 * width)) - 1;
    let id = u32::try_from(id).ok().filter(|_| id_width <= 4)?;
    Some((id, (size != unknown).then_some(size), id_width + width))
}

/// A number of variable length, with or without the marker of its length, and that length.
fn vint(bytes: &[u8], without_marker: bool) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let width = first.leading_zeros() as usize + 1;
    let rest = bytes.get(1..width)?;
    let marker = 0x80_u8.checked_shr(u32::try_from(width - 1).ok()?)?;
    let begin = if without_marker { first & !marker } else { first };
    Some((rest.iter().fold(u64::from(begin), |value, byte| value << 8 | u64::from(*byte)), width))
}

/// To the next cluster.
fn resync(bytes: &[u8]) -> Step {
    let cluster = CLUSTER.to_be_bytes();
    let at = bytes.windows(4).skip(1).position(|four| four == cluster).map(|at| at + 1);
    skip(at.unwrap_or(bytes.len().saturating_sub(3)))
}
