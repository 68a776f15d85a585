//! Cuts a video stream into coded pictures.

use std::collections::VecDeque;

use super::h264::H264;
use super::hevc::Hevc;
use super::mpeg2::Mpeg2;
use super::picture::{CodedPicture, NalUse, Picture, Stamp};
use super::psi::Codec;
use crate::media::track::VideoFormat;

/// A picture is not gathered beyond this, bytes.
const MAX_PICTURE: usize = 32 << 20;

#[derive(Clone, Debug)]
enum Reader {
    H264(H264),
    Hevc(Hevc),
    Mpeg2(Mpeg2),
}

/// Cuts a video stream into pictures, however many of them a unit has.
#[derive(Clone, Debug)]
pub struct PictureSplitter {
    reader: Reader,
    /// Bytes from the start code on that was found last.
    buffer: Vec<u8>,
    /// Where `buffer` begins in the stream.
    base: u64,
    /// Looked through for start codes up to here.
    scanned: usize,
    /// Units whose times no picture has taken yet: where they begin in the stream.
    stamps: VecDeque<(u64, Stamp)>,
    /// The picture that is being put together.
    now: Option<CodedPicture>,
    /// A first field that waits for its second.
    field: Option<CodedPicture>,
    last_byte: u64,
}

impl PictureSplitter {
    /// For a stream of this codec; `None`: it is none of video.
    #[must_use]
    pub fn new(codec: Codec) -> Option<Self> {
        let reader = match codec {
            Codec::H264 => Reader::H264(H264::default()),
            Codec::Hevc => Reader::Hevc(Hevc::default()),
            Codec::Mpeg2 => Reader::Mpeg2(Mpeg2::default()),
            _ => return None,
        };
        Some(Self {
            reader,
            buffer: Vec::new(),
            base: 0,
            scanned: 0,
            stamps: VecDeque::new(),
            now: None,
            field: None,
            last_byte: 0,
        })
    }

    /// The format of the current picture, as far as its parameter sets are known.
    fn format(&self) -> Option<VideoFormat> {
        match &self.reader {
            Reader::H264(h264) => h264.format(),
            Reader::Hevc(hevc) => hevc.format(),
            Reader::Mpeg2(mpeg2) => mpeg2.format(),
        }
    }

    /// Ticks of 90 kHz of one picture, as the stream says.
    #[must_use]
    pub fn frame_ticks(&self) -> Option<i64> {
        match &self.reader {
            Reader::H264(h264) => h264.field_ticks().map(|ticks| 2 * ticks),
            Reader::Hevc(hevc) => hevc.frame_ticks(),
            Reader::Mpeg2(mpeg2) => mpeg2.frame_ticks(),
        }
    }

    /// Takes the next unit. Pictures that are over now are handed over.
    pub fn push(&mut self, stamp: Stamp, data: &[u8], mut take: impl FnMut(CodedPicture)) {
        let at = self.base + self.buffer.len() as u64;
        self.stamps.push_back((at, stamp));
        self.last_byte = stamp.byte;
        self.buffer.extend_from_slice(data);
        self.scan(false, &mut take);
    }

    /// Nothing follows: what is left. A last field without its second is a picture.
    pub fn finish(&mut self, mut take: impl FnMut(CodedPicture)) {
        self.scan(true, &mut take);
        self.end_picture(&mut take);
        if let Some(field) = self.field.take() {
            take(field);
        }
        self.buffer.clear();
        self.stamps.clear();
        self.restart();
    }

    fn restart(&mut self) {
        match &mut self.reader {
            Reader::H264(h264) => h264.restart(),
            Reader::Hevc(hevc) => hevc.restart(),
            Reader::Mpeg2(mpeg2) => mpeg2.restart(),
        }
    }

    /// Hands over each unit between two start codes that is whole.
    fn scan(&mut self, at_end: bool, take: &mut impl FnMut(CodedPicture)) {
        loop {
            // The buffer begins with a start code, unless none was seen yet.
            if !self.buffer.starts_with(&[0, 0, 1]) {
                match find_start(&self.buffer, 0) {
                    Some(at) => self.drop_front(at),
                    None => {
                        let keep = self.buffer.len().min(2);
                        self.drop_front(self.buffer.len() - keep);
                        return;
                    }
                }
                self.scanned = 3;
            }
            self.scanned = self.scanned.max(3);
            match find_start(&self.buffer, self.scanned) {
                Some(next) => {
                    self.unit(next, take);
                    self.drop_front(next);
                    self.scanned = 3;
                }
                None if at_end => {
                    let length = self.buffer.len();
                    self.unit(length, take);
                    self.drop_front(length);
                    return;
                }
                None => {
                    self.scanned = self.buffer.len().saturating_sub(2).max(3);
                    if self.buffer.len() > MAX_PICTURE {
                        self.drop_front(self.buffer.len());
                    }
                    return;
                }
            }
        }
    }

    fn drop_front(&mut self, bytes: usize) {
        self.buffer.drain(..bytes);
        self.base += bytes as u64;
        self.scanned = self.scanned.saturating_sub(bytes);
    }

    /// What lies from the start code at the front of the buffer to `end`.
    fn unit(&mut self, end: usize, take: &mut impl FnMut(CodedPicture)) {
        let annex_b = !matches!(self.reader, Reader::Mpeg2(_));
        let mut content = self.buffer[3..end].to_vec();
        if annex_b && end < self.buffer.len() && content.last() == Some(&0) {
            // A start code of four bytes follows.
            content.pop();
        }
        if content.is_empty() {
            return;
        }
        for _ in 0..2 {
            let mut picture = self.now.as_ref().map_or_else(Picture::default, |now| now.picture);
            let used = match &mut self.reader {
                Reader::H264(h264) => h264.nal(&content, &mut picture),
                Reader::Hevc(hevc) => hevc.nal(&content, &mut picture),
                Reader::Mpeg2(mpeg2) => mpeg2.unit(&content, &mut picture),
            };
            if used == NalUse::Begins {
                self.end_picture(take);
                continue;
            }
            if self.now.is_none() {
                let stamp = self.stamp();
                self.now = Some(CodedPicture { picture, stamp, payload: Vec::new(), format: None });
            }
            let Some(now) = &mut self.now else { return };
            now.picture = picture;
            if now.payload.len() + content.len() > MAX_PICTURE {
                return;
            }
            if annex_b {
                now.payload.extend_from_slice(&u32::try_from(content.len()).unwrap_or_default().to_be_bytes());
            } else {
                now.payload.extend_from_slice(&[0, 0, 1]);
            }
            now.payload.extend_from_slice(&content);
            return;
        }
    }

    /// The times of the unit in which the start code at the front of the buffer lies, for the first picture that begins
    /// there.
    fn stamp(&mut self) -> Stamp {
        let mut found = Stamp { byte: self.last_byte, pts: None, dts: None };
        // A start code may lie over the border of two units: then its picture is that of the second.
        while self.stamps.front().is_some_and(|(at, _)| *at <= self.base + 3) {
            if let Some((_, stamp)) = self.stamps.pop_front() {
                found = stamp;
            }
        }
        found
    }

    fn end_picture(&mut self, take: &mut impl FnMut(CodedPicture)) {
        let Some(mut now) = self.now.take() else { return };
        if now.picture.parameter_sets {
            now.format = self.format().map(Box::new);
        }
        if let Some(mut first) = self.field.take() {
            let other = first.picture.field.zip(now.picture.field).is_some_and(|(a, b)| a != b);
            if other && first.picture.frame_num == now.picture.frame_num {
                first.payload.extend_from_slice(&now.payload);
                first.picture.order = first.picture.order.zip(now.picture.order).map(|(a, b)| a.min(b));
                take(first);
                return;
            }
            take(first);
        }
        if now.picture.field.is_some() {
            self.field = Some(now);
        } else {
            take(now);
        }
    }
}

/// Where the next start code begins, from `from` on.
fn find_start(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    // Every third byte suffices: of a start code, only the last one is above 1.
    while let Some(third) = bytes.get(at + 2) {
        match third {
            0 => at += 1,
            1 if bytes[at] == 0 && bytes[at + 1] == 0 => return Some(at),
            _ => at += 3,
        }
    }
    None
}
