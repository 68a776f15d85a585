//! The first bytes of a connection, until it is known what they are.

use bytes::{Buf as _, Bytes};

use crate::domain::sniff;
use crate::domain::time::Ms;

/// So many NULs at the begin are of no container: a server sends them before its stream is there.
const BLANK: usize = 1024;

/// NULs with which a container may begin: the size of an MP4 box, a start code of MPEG.
const LEADING_ZEROS: usize = 3;

/// The first bytes.
#[derive(Debug, Default)]
pub(super) struct SniffBuffer {
    /// For the sniffer, at most [`sniff::MAX`].
    pub bytes: Vec<u8>,
    /// What has no file yet.
    pub waiting: Vec<(Ms, Bytes)>,
    /// Nothing but NULs has come so far, and they were thrown away.
    is_blank: bool,
}

impl SniffBuffer {
    /// Bytes that came; `has_file`: they are in a file already. A head of NULs is thrown away before it gets into one.
    pub fn add(&mut self, at: Ms, bytes: Bytes, has_file: bool) {
        let room = sniff::MAX.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
        if has_file {
            return;
        }
        self.waiting.push((at, bytes));
        let zeros = self.bytes.iter().take_while(|byte| **byte == 0).count();
        if zeros < BLANK && !self.is_blank {
            return;
        }
        self.is_blank = zeros == self.bytes.len();
        self.drop_first(zeros.saturating_sub(LEADING_ZEROS));
        if !self.is_blank && self.begins_behind_zeros() {
            self.drop_first(LEADING_ZEROS.min(zeros));
        }
    }

    /// True where nothing is there to make a file of.
    pub fn has_nothing(&self) -> bool {
        self.is_blank
    }

    /// True where what follows the NULs begins without one.
    fn begins_behind_zeros(&self) -> bool {
        let zeros = self.bytes.iter().take_while(|byte| **byte == 0).count();
        let rest = &self.bytes[zeros..];
        let is_box = rest.get(1..5).is_some_and(|kind| kind == b"ftyp" || kind == b"styp");
        !is_box && matches!(rest.first(), Some(0x47 | b'O' | 0x1a | b'F' | 0xff | b'I'))
    }

    fn drop_first(&mut self, mut count: usize) {
        self.bytes.drain(..count.min(self.bytes.len()));
        while let Some((_, bytes)) = self.waiting.first_mut().filter(|_| count > 0) {
            let here = count.min(bytes.len());
            bytes.advance(here);
            count -= here;
            if bytes.is_empty() {
                self.waiting.remove(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_of_nuls_is_thrown_away_and_all_behind_it_kept() {
        let media: [&[u8]; 3] = [b"\x47\x40\x11\x10 and so on", b"\0\0\0\x18ftypiso6", b"\0\0\x01\xba\x44"];
        for media in media {
            for zeros in [1024, 5000, 100_000] {
                for cut in [1, 3, 700, 4096] {
                    let all = [vec![0; zeros], media.to_vec()].concat();
                    let mut head = SniffBuffer::default();
                    for (n, piece) in all.chunks(cut.max(700)).enumerate() {
                        head.add(Ms(n as i64), Bytes::copy_from_slice(piece), false);
                    }
                    assert!(!head.has_nothing());
                    let kept: Vec<u8> = head.waiting.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
                    assert_eq!(kept, head.bytes);
                    let without = kept.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<u8>>();
                    assert!(kept.ends_with(media), "{zeros} {cut}: {kept:?}");
                    assert!(kept.len() <= without.len() + 3, "{kept:?}");
                }
            }
        }
        let mut head = SniffBuffer::default();
        head.add(Ms(0), Bytes::from_static(b"\x47\0\0\0"), false);
        head.add(Ms(1), Bytes::from(vec![0; 5000]), false);
        assert_eq!(head.waiting.len(), 2, "NULs inside are the stream's");
    }
}
