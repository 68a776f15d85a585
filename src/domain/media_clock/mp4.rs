//! Fragmented MP4 (ISO 14496-12): the decode times of fragments.

use super::{Progress, Step, skip};

/// A box of headers is not larger.
const MAX_HEADERS: u64 = 4 << 20;

#[derive(Clone, Debug, Default)]
pub(super) struct Mp4 {
    /// Ticks a second of each track.
    timescales: Vec<(u32, i64)>,
    has_fragments: bool,
}

impl Mp4 {
    pub(super) fn step(&mut self, bytes: &[u8], progress: &mut Progress) -> Step {
        let Some((kind, head, size)) = header(bytes) else { return Step::More };
        if !kind.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b' ') || size < head as u64 {
            let begin = bytes.windows(4).skip(5).position(|four| four == b"moof" || four == b"styp").map(|at| at + 1);
            return skip(begin.unwrap_or(bytes.len().saturating_sub(7)).max(1));
        }
        match kind {
            b"moov" | b"moof" if size <= MAX_HEADERS => {
                let Some(body) = usize::try_from(size).ok().and_then(|size| bytes.get(head..size)) else {
                    return Step::More;
                };
                if kind == b"moov" { self.tracks(body) } else { self.fragment(body, progress) }
            }
            b"mdat" => progress.has_untimed |= self.has_no_times(),
            _ => {}
        }
        Step::Skip(size)
    }

    /// True where all of the media stands in one box, and nothing says how much of it has come.
    pub(super) fn has_no_times(&self) -> bool {
        !self.has_fragments
    }

    fn tracks(&mut self, moov: &[u8]) {
        self.timescales.clear();
        for trak in boxes(moov).filter(|(kind, _)| *kind == b"trak").map(|(_, body)| body) {
            let id = find(trak, &[b"tkhd"]).and_then(|tkhd| word(tkhd, if tkhd.first() == Some(&1) { 20 } else { 12 }));
            let mdhd = find(trak, &[b"mdia", b"mdhd"]);
            let scale = mdhd.and_then(|mdhd| word(mdhd, if mdhd.first() == Some(&1) { 20 } else { 12 }));
            if let (Some(id), Some(scale @ 1..)) = (id, scale)
                && self.timescales.len() < super::MAX_TRACKS
            {
                self.timescales.push((id, i64::from(scale)));
            }
        }
    }

    fn fragment(&mut self, moof: &[u8], progress: &mut Progress) {
        self.has_fragments = true;
        for traf in boxes(moof).filter(|(kind, _)| *kind == b"traf").map(|(_, body)| body) {
            let id = find(traf, &[b"tfhd"]).and_then(|tfhd| word(tfhd, 4));
            let time = find(traf, &[b"tfdt"]).and_then(|tfdt| match tfdt.first()? {
                1 => Some(i64::from(word(tfdt, 4)?) << 32 | i64::from(word(tfdt, 8)?)),
                _ => word(tfdt, 4).map(i64::from),
            });
            let scale =
                id.and_then(|id| self.timescales.iter().find(|(known, _)| *known == id)).map(|(_, scale)| *scale);
            match (id, time, scale) {
                (Some(id), Some(time), Some(scale)) => {
                    let us = i128::from(time) * 1_000_000 / i128::from(scale);
                    progress.at(id, i64::try_from(us).unwrap_or(i64::MAX));
                }
                _ => progress.has_untimed = true,
            }
        }
    }
}

/// Kind, length of the header and size of the box that begins here.
fn header(bytes: &[u8]) -> Option<(&[u8; 4], usize, u64)> {
    let kind = bytes.get(4..8)?.try_into().ok()?;
    match word(bytes, 0)? {
        0 => Some((kind, 8, u64::MAX)),
        1 => {
            let size = u64::from(word(bytes, 8)?) << 32 | u64::from(word(bytes, 12)?);
            Some((kind, 16, size))
        }
        size => Some((kind, 8, u64::from(size))),
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The boxes in a body, with theirs.
fn boxes(mut body: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (kind, head, size) = header(body)?;
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(body.len());
        let (this, rest) = body.split_at_checked(size.max(head))?;
        body = rest;
        Some((kind, this.get(head..)?))
    })
}

/// The body of a box in boxes.
fn find<'a>(body: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(body, |body, wanted| boxes(body).find(|(kind, _)| kind == wanted).map(|(_, body)| body))
}
