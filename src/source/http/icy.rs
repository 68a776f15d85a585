//! Song titles that a Shoutcast server puts between the bytes of a stream, taken out again.
//!
//! We ask for none. Some servers send them all the same, and say so: `icy-metaint: 16000` means that after
//! each 16,000 bytes of media one byte tells the length of a title in units of 16 bytes, and the title follows.

use bytes::{Buf as _, Bytes};

/// Takes the titles out of a stream, piece by piece.
#[derive(Clone, Debug)]
pub(super) struct Titles {
    every: usize,
    at: At,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum At {
    /// So many bytes of media.
    Media(usize),
    /// The length of a title.
    Length,
    /// So many bytes of a title.
    Title(usize),
}

impl Titles {
    /// One after each `every` bytes; `None` where that is 0.
    pub(super) fn new(every: usize) -> Option<Self> {
        (every > 0).then_some(Self { every, at: At::Media(every) })
    }

    /// Takes from the front of `bytes` up to the end of the next stretch of media and gives that; `None` where
    /// there is none in them.
    pub(super) fn media(&mut self, bytes: &mut Bytes) -> Option<Bytes> {
        while !bytes.is_empty() {
            match self.at {
                At::Media(left) => {
                    let media = bytes.split_to(left.min(bytes.len()));
                    let left = left - media.len();
                    self.at = if left > 0 { At::Media(left) } else { At::Length };
                    return Some(media);
                }
                At::Length => self.at = self.after_title(usize::from(bytes.get_u8()) * 16),
                At::Title(left) => {
                    let n = left.min(bytes.len());
                    bytes.advance(n);
                    self.at = self.after_title(left - n);
                }
            }
        }
        None
    }

    fn after_title(&self, left: usize) -> At {
        if left > 0 { At::Title(left) } else { At::Media(self.every) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn titles_go_and_media_stays_however_the_bytes_are_dealt_out(
            media in prop::collection::vec(any::<u8>(), 0..200),
            every in 1_usize..50,
            titles in prop::collection::vec(0_u8..4, 1..10),
            pieces in prop::collection::vec(1_usize..40, 1..20)
        ) {
            let mut sent = Vec::new();
            for (n, part) in media.chunks(every).enumerate() {
                sent.extend_from_slice(part);
                if part.len() == every {
                    let length = titles[n % titles.len()];
                    sent.push(length);
                    sent.extend(vec![b'T'; usize::from(length) * 16]);
                }
            }
            let mut reader = Titles::new(every).expect("some");
            let (mut got, mut rest, mut n) = (Vec::new(), Bytes::from(sent), 0);
            while !rest.is_empty() {
                let mut piece = rest.split_to(pieces[n % pieces.len()].min(rest.len()));
                n += 1;
                while let Some(part) = reader.media(&mut piece) {
                    got.extend_from_slice(&part);
                }
            }
            prop_assert_eq!(got, media);
        }
    }

    #[test]
    fn no_distance_is_no_titles() {
        assert!(Titles::new(0).is_none());
    }
}
