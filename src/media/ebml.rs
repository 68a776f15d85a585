//! EBML, as far as Matroska needs it: a reader for endless streams and functions that write elements.
//!
//! The reader knows no nesting: the caller steps into a master element by going on to read, which is
//! why clusters and segments of unknown size need no special case. Every id of Matroska that matters
//! here stands at one level only.

use std::io::{self, Read, Write};

/// Ids of the elements that are read or written, with their marker bits.
pub mod id {
    #![allow(missing_docs, reason = "the names are those of the Matroska specification")]
    pub const EBML: u32 = 0x1A45_DFA3;
    pub const EBML_VERSION: u32 = 0x4286;
    pub const EBML_READ_VERSION: u32 = 0x42F7;
    pub const EBML_MAX_ID_LENGTH: u32 = 0x42F2;
    pub const EBML_MAX_SIZE_LENGTH: u32 = 0x42F3;
    pub const DOC_TYPE: u32 = 0x4282;
    pub const DOC_TYPE_VERSION: u32 = 0x4287;
    pub const DOC_TYPE_READ_VERSION: u32 = 0x4285;
    pub const VOID: u32 = 0xEC;
    pub const SEGMENT: u32 = 0x1853_8067;
    pub const SEEK_HEAD: u32 = 0x114D_9B74;
    pub const SEEK: u32 = 0x4DBB;
    pub const SEEK_ID: u32 = 0x53AB;
    pub const SEEK_POSITION: u32 = 0x53AC;
    pub const INFO: u32 = 0x1549_A966;
    pub const TIMESTAMP_SCALE: u32 = 0x002A_D7B1;
    pub const DURATION: u32 = 0x4489;
    pub const TITLE: u32 = 0x7BA9;
    pub const DATE_UTC: u32 = 0x4461;
    pub const MUXING_APP: u32 = 0x4D80;
    pub const WRITING_APP: u32 = 0x5741;
    pub const TRACKS: u32 = 0x1654_AE6B;
    pub const TRACK_ENTRY: u32 = 0xAE;
    pub const TRACK_NUMBER: u32 = 0xD7;
    pub const TRACK_UID: u32 = 0x73C5;
    pub const TRACK_TYPE: u32 = 0x83;
    pub const FLAG_LACING: u32 = 0x9C;
    pub const DEFAULT_DURATION: u32 = 0x0023_E383;
    pub const CODEC_ID: u32 = 0x86;
    pub const CODEC_PRIVATE: u32 = 0x63A2;
    pub const CODEC_DELAY: u32 = 0x56AA;
    pub const NAME: u32 = 0x536E;
    pub const LANGUAGE: u32 = 0x0022_B59C;
    pub const FLAG_HEARING_IMPAIRED: u32 = 0x0055_AB;
    pub const FLAG_VISUAL_IMPAIRED: u32 = 0x0055_AC;
    pub const VIDEO: u32 = 0xE0;
    pub const PIXEL_WIDTH: u32 = 0xB0;
    pub const PIXEL_HEIGHT: u32 = 0xBA;
    pub const AUDIO: u32 = 0xE1;
    pub const SAMPLING_FREQUENCY: u32 = 0xB5;
    pub const OUTPUT_SAMPLING_FREQUENCY: u32 = 0x78B5;
    pub const CHANNELS: u32 = 0x9F;
    pub const BIT_DEPTH: u32 = 0x6264;
    pub const CLUSTER: u32 = 0x1F43_B675;
    pub const TIMESTAMP: u32 = 0xE7;
    pub const SIMPLE_BLOCK: u32 = 0xA3;
    pub const BLOCK_GROUP: u32 = 0xA0;
    pub const BLOCK: u32 = 0xA1;
    pub const BLOCK_DURATION: u32 = 0x9B;
    pub const REFERENCE_BLOCK: u32 = 0xFB;
    pub const DISCARD_PADDING: u32 = 0x75A2;
    pub const CUES: u32 = 0x1C53_BB6B;
    pub const CUE_POINT: u32 = 0xBB;
    pub const CUE_TIME: u32 = 0xB3;
    pub const CUE_TRACK_POSITIONS: u32 = 0xB7;
    pub const CUE_TRACK: u32 = 0xF7;
    pub const CUE_CLUSTER_POSITION: u32 = 0xF1;
    pub const CHAPTERS: u32 = 0x1043_A770;
    pub const EDITION_ENTRY: u32 = 0x45B9;
    pub const CHAPTER_ATOM: u32 = 0xB6;
    pub const CHAPTER_UID: u32 = 0x73C4;
    pub const CHAPTER_TIME_START: u32 = 0x91;
    pub const CHAPTER_DISPLAY: u32 = 0x80;
    pub const CHAP_STRING: u32 = 0x85;
    pub const CHAP_LANGUAGE: u32 = 0x437C;
    pub const TAGS: u32 = 0x1254_C367;
    pub const TAG: u32 = 0x7373;
    pub const TARGETS: u32 = 0x63C0;
    pub const SIMPLE_TAG: u32 = 0x67C8;
    pub const TAG_NAME: u32 = 0x45A3;
    pub const TAG_STRING: u32 = 0x4487;
}

/// Largest element that is read into memory, bytes. A coded video frame of this size does not exist; a
/// damaged length does.
const MAX_ELEMENT: u64 = 256 << 20;

/// Head of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// Id with its marker bits.
    pub id: u32,
    /// Length of its content in bytes; `None` where it is not known (live streams).
    pub size: Option<u64>,
}

/// Reads elements one after the other from a stream that cannot seek.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
}

impl<R: Read> Reader<R> {
    /// Reads from `from`, which should be buffered.
    pub fn new(from: R) -> Self {
        Self { from }
    }

    /// The next element's head; `None` where the stream ends between two elements.
    ///
    /// # Errors
    /// When the stream ends inside it, holds no id where one must stand, or cannot be read.
    pub fn next_element(&mut self) -> io::Result<Option<Element>> {
        let mut first = [0_u8];
        if self.from.read(&mut first)? == 0 {
            return Ok(None);
        }
        let length = first[0].leading_zeros() + 1;
        if length > 4 {
            return Err(invalid("no element id"));
        }
        let mut id = u32::from(first[0]);
        for _ in 1..length {
            id = id << 8 | u32::from(self.byte()?);
        }
        Ok(Some(Element { id, size: self.size()? }))
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0_u8];
        self.from.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn size(&mut self) -> io::Result<Option<u64>> {
        let first = self.byte()?;
        let length = first.leading_zeros() + 1;
        if length > 8 {
            return Err(invalid("no element size"));
        }
        let mut value = u64::from(first) & ((1_u64 << (8 - length)) - 1);
        for _ in 1..length {
            value = value << 8 | u64::from(self.byte()?);
        }
        Ok((value != (1_u64 << (7 * length)) - 1).then_some(value))
    }

    /// The content of an element.
    ///
    /// # Errors
    /// When its size is unknown or beyond reason, or the stream ends inside it.
    pub fn content(&mut self, element: Element) -> io::Result<Vec<u8>> {
        let size =
            element.size.filter(|s| *s <= MAX_ELEMENT).ok_or_else(|| invalid("element without sensible size"))?;
        // Grown while it is read: a damaged length must not take memory that no bytes fill.
        let mut content = Vec::with_capacity(usize::try_from(size.min(1 << 20)).unwrap_or_default());
        let read = (&mut self.from).take(size).read_to_end(&mut content)?;
        if read as u64 != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(content)
    }

    /// Passes over the content of an element.
    ///
    /// # Errors
    /// As [`Reader::content`].
    pub fn skip(&mut self, element: Element) -> io::Result<()> {
        let size = element.size.ok_or_else(|| invalid("element without size"))?;
        if io::copy(&mut (&mut self.from).take(size), &mut io::sink())? == size {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The child elements inside the content of a master element, as far as it is audio.
#[must_use]
pub fn children(content: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut reader = Reader::new(content);
    let mut out = Vec::new();
    while let Ok(Some(element)) = reader.next_element() {
        match reader.content(element) {
            Ok(inner) => out.push((element.id, inner)),
            Err(_) => break,
        }
    }
    out
}

/// Value of an unsigned element of up to 8 bytes; 0 where it is longer.
#[must_use]
pub fn read_uint(content: &[u8]) -> u64 {
    if content.len() > 8 { 0 } else { content.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)) }
}

/// Value of a signed element of up to 8 bytes; 0 where it is longer or empty.
#[must_use]
pub fn read_int(content: &[u8]) -> i64 {
    match content.len() {
        1..=8 => {
            let unused = 64 - 8 * u32::try_from(content.len()).unwrap_or(8);
            (read_uint(content) << unused).cast_signed() >> unused
        }
        _ => 0,
    }
}

/// Value of a float element; 0 where it has no sensible length.
#[must_use]
pub fn read_float(content: &[u8]) -> f64 {
    match content.len() {
        4 => f64::from(f32::from_bits(u32::try_from(read_uint(content)).unwrap_or_default())),
        8 => f64::from_bits(read_uint(content)),
        _ => 0.0,
    }
}

/// A variable-length number at the start of `bytes` (track numbers, lace sizes) and its own length.
#[must_use]
pub fn read_vint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    if length > 8 {
        return None;
    }
    let rest = bytes.get(1..length)?;
    let value = u64::from(first) & ((1_u64 << (8 - length)) - 1);
    Some((rest.iter().fold(value, |value, byte| value << 8 | u64::from(*byte)), length))
}

/// Appends an id.
pub fn put_id(out: &mut Vec<u8>, id: u32) {
    let bytes = id.to_be_bytes();
    out.extend_from_slice(&bytes[id.leading_zeros() as usize / 8..]);
}

/// Appends a size in as few bytes as hold it.
pub fn put_size(out: &mut Vec<u8>, size: u64) {
    let length = (1..8).find(|n| size < (1_u64 << (7 * n)) - 1).unwrap_or(8);
    let marked = size | 1_u64 << (7 * length);
    out.extend_from_slice(&marked.to_be_bytes()[8 - length..]);
}

/// Appends a size in eight bytes, so that it can be set later.
pub fn put_wide_size(out: &mut Vec<u8>, size: u64) {
    out.extend_from_slice(&(size | 1 << 56).to_be_bytes());
}

/// Appends an element with the given content.
pub fn put(out: &mut Vec<u8>, id: u32, content: &[u8]) {
    put_id(out, id);
    put_size(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// Appends an unsigned element, always eight bytes long: its length does not depend on its value, so
/// it can be set later.
pub fn put_uint(out: &mut Vec<u8>, id: u32, value: u64) {
    put(out, id, &value.to_be_bytes());
}

/// Appends an unsigned element in as few bytes as hold it.
pub fn put_small_uint(out: &mut Vec<u8>, id: u32, value: u64) {
    let skip = (value.leading_zeros() as usize / 8).min(7);
    put(out, id, &value.to_be_bytes()[skip..]);
}

/// Appends a float element of eight bytes.
pub fn put_float(out: &mut Vec<u8>, id: u32, value: f64) {
    put(out, id, &value.to_be_bytes());
}

/// Appends a master element whose content `fill` appends.
pub fn put_master(out: &mut Vec<u8>, id: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut content = Vec::new();
    fill(&mut content);
    put(out, id, &content);
}

/// Writes a Void element that fills exactly `length` bytes; `length` must be at least 9.
///
/// # Errors
/// What the writer says.
pub fn write_void(out: &mut impl Write, length: usize) -> io::Result<()> {
    let mut head = Vec::with_capacity(9);
    put_id(&mut head, id::VOID);
    put_wide_size(&mut head, length.saturating_sub(9) as u64);
    out.write_all(&head)?;
    out.write_all(&vec![0; length.saturating_sub(9)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            value in any::<u64>(), content in prop::collection::vec(any::<u8>(), 0..300), number in any::<f64>()
        ) {
            let mut out = Vec::new();
            put_master(&mut out, id::SEGMENT, |out| {
                put_uint(out, id::TRACK_UID, value);
                put_small_uint(out, id::TRACK_NUMBER, value);
                put(out, id::SIMPLE_BLOCK, &content);
                put_float(out, id::DURATION, number);
            });
            let mut reader = Reader::new(out.as_slice());
            let segment = reader.next_element().expect("sound").expect("there");
            prop_assert_eq!(segment.id, id::SEGMENT);
            let all = children(&reader.content(segment).expect("whole"));
            prop_assert_eq!(all.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
                vec![id::TRACK_UID, id::TRACK_NUMBER, id::SIMPLE_BLOCK, id::DURATION]);
            prop_assert_eq!(read_uint(&all[0].1), value);
            prop_assert_eq!(read_uint(&all[1].1), value);
            prop_assert_eq!(&all[2].1, &content);
            prop_assert_eq!(read_float(&all[3].1).to_bits(), number.to_bits());
            prop_assert!(reader.next_element().expect("end").is_none());
        }

        #[test]
        fn garbage_ends_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = children(&bytes);
            let _ = read_vint(&bytes);
            let _ = read_int(&bytes);
            let _ = read_float(&bytes);
        }

        #[test]
        fn sizes_of_every_length(size in 0_u64..(1 << 55)) {
            let mut out = Vec::new();
            put_size(&mut out, size);
            prop_assert_eq!(read_vint(&out), Some((size, out.len())));
        }
    }

    #[test]
    fn signed_numbers_and_unknown_sizes() {
        assert_eq!(read_int(&[0xff]), -1);
        assert_eq!(read_int(&[0xff, 0x38]), -200);
        assert_eq!(read_int(&[0x00, 0xc8]), 200);
        let mut reader =
            Reader::new([0x1F, 0x43, 0xB6, 0x75, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff].as_slice());
        assert_eq!(reader.next_element().expect("sound"), Some(Element { id: id::CLUSTER, size: None }));
        let mut void = Vec::new();
        write_void(&mut void, 40).expect("memory");
        assert_eq!(void.len(), 40);
        assert_eq!(children(&void), [(id::VOID, vec![0; 31])]);
    }
}
