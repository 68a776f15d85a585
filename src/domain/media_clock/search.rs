//! Media behind what is none: NULs, or noise, before a stream.

use super::frames::frame;
use crate::domain::segment::Container;
use crate::domain::sniff::{Sniff, sniff};

/// So much is looked at at once.
const LOOK: usize = 16 * 1024;

#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    waiting: Vec<u8>,
}

impl Search {
    /// The container that begins somewhere in these bytes and those before, and the bytes from there on.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<(Container, Vec<u8>)> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() < LOOK {
            return None;
        }
        // What begins in the second half may not be all here yet.
        let half = self.waiting.len() - LOOK / 2;
        let may_begin = |at: &usize| matches!(self.waiting[*at], 0x47 | b'O' | b'F' | 0x1a | 0xff | b'f' | b's');
        let begin = |at: usize| match self.waiting[at] {
            // `ftyp` and `styp` stand behind the size of their box.
            b'f' | b's' if self.waiting[at + 1..].starts_with(b"typ") => at.checked_sub(4),
            b'f' | b's' => None,
            _ => Some(at),
        };
        let found = (0..half).filter(may_begin).filter_map(begin).find_map(|at| {
            let container = recognised(&self.waiting[at..])?;
            Some((container, at))
        });
        if let Some((container, at)) = found {
            return Some((container, self.waiting.split_off(at)));
        }
        self.waiting.drain(..half - 4);
        None
    }
}

/// The container that begins right here. Each check looks at some bytes only: noise has a candidate every few bytes.
fn recognised(bytes: &[u8]) -> Option<Container> {
    const PACKETS: usize = 5;
    const FRAMES: usize = 4;
    match bytes {
        [0x47, ..] => (0..PACKETS).all(|n| bytes.get(n * 188) == Some(&0x47)).then_some(Container::MpegTs),
        [b'O', b'g', b'g', b'S', 0, ..] => Some(Container::Ogg),
        [b'F', b'L', b'V', 1, ..] => Some(Container::Flv),
        [_, _, _, _, b'f' | b's', b't', b'y', b'p', ..] => Some(Container::Mp4),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => match sniff(&bytes[..bytes.len().min(LOOK / 2)], false) {
            Sniff::Media(container) if container != Container::Unknown => Some(container),
            _ => None,
        },
        [0xff, second, ..] => {
            let mut at = 0;
            for _ in 0..FRAMES {
                at += frame(bytes.get(at..)?)?.0;
            }
            Some(if second & 6 == 0 { Container::Adts } else { Container::Mp3 })
        }
        _ => None,
    }
}
