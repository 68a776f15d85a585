//! AES-128 of media segments, taken off while they come.

use aes::Aes128;
use aes::cipher::{BlockModeDecrypt as _, KeyIvInit as _};
use cbc::Decryptor;

/// Bytes of a block.
const BLOCK: usize = 16;

/// Decrypts one media segment, piece by piece. The last block waits until it is known whether it is the last one:
/// it ends in padding.
pub struct Cipher {
    decryptor: Decryptor<Aes128>,
    waiting: Vec<u8>,
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cipher").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Cipher {
    /// With a key and an initialization vector.
    #[must_use]
    pub fn new(key: [u8; BLOCK], iv: [u8; BLOCK]) -> Self {
        Self { decryptor: Decryptor::new(&key.into(), &iv.into()), waiting: Vec::new() }
    }

    /// The vector of a media segment that names none: its number.
    #[must_use]
    pub fn iv_of(sequence: u64) -> [u8; BLOCK] {
        u128::from(sequence).to_be_bytes()
    }

    /// Takes more of the media segment, gives what can be read of it.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.waiting.extend_from_slice(bytes);
        let whole = self.waiting.len().saturating_sub(1) / BLOCK * BLOCK;
        let rest = self.waiting.split_off(whole);
        let mut out = std::mem::replace(&mut self.waiting, rest);
        for block in out.chunks_exact_mut(BLOCK) {
            if let Ok(block) = <&mut [u8; BLOCK]>::try_from(block) {
                self.decryptor.decrypt_block(block.into());
            }
        }
        out
    }

    /// The end of the media segment: its last block without the padding. `None` where the length or the padding is
    /// wrong, as after a wrong key.
    pub fn finish(mut self) -> Option<Vec<u8>> {
        let mut block = <[u8; BLOCK]>::try_from(self.waiting.as_slice()).ok()?;
        self.decryptor.decrypt_block((&mut block).into());
        let padding = usize::from(block[BLOCK - 1]);
        let sound =
            (1..=BLOCK).contains(&padding) && block[BLOCK - padding..].iter().all(|b| usize::from(*b) == padding);
        sound.then(|| block[..BLOCK - padding].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use aes::cipher::BlockModeEncrypt as _;
    use aes::cipher::block_padding::Pkcs7;

    use super::*;

    #[test]
    fn chunks_are_decrypted_however_they_are_dealt_out() {
        let (key, iv) = ([7; 16], Cipher::iv_of(3));
        assert_eq!(iv[14..], [0, 3]);
        for length in [0, 1, 15, 16, 17, 188, 4096] {
            let plain: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let mut buffer = plain.clone();
            buffer.resize(length / 16 * 16 + 16, 0);
            let secret = cbc::Encryptor::<Aes128>::new(&key.into(), &iv.into())
                .encrypt_padded::<Pkcs7>(&mut buffer, length)
                .expect("room for it")
                .to_vec();
            for step in [1, 7, 16, 33, 10_000] {
                let mut cipher = Cipher::new(key, iv);
                let mut out: Vec<u8> = secret.chunks(step).flat_map(|piece| cipher.push(piece)).collect();
                out.extend(cipher.finish().expect("sound"));
                assert_eq!(out, plain, "{length} {step}");
            }
            let mut cut = Cipher::new(key, iv);
            cut.push(&secret[..secret.len() - 3]);
            assert_eq!(cut.finish(), None);
        }
        assert_eq!(Cipher::new(key, iv).finish(), None);
    }
}
