//! Coded pictures: what a video stream is cut into.

use crate::media::track::VideoFormat;

/// What is known of a picture when all of it was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Decoding may begin here.
    pub key: bool,
    /// All before it is shown before it: the count of the order begins anew.
    pub idr: bool,
    /// It names a recovery point.
    pub recovery: bool,
    /// Parameter sets came with it.
    pub parameter_sets: bool,
    /// It needs no other picture.
    pub intra: bool,
    /// It is a field: of the bottom lines (true) or the top ones.
    pub field: Option<bool>,
    /// Number of its frame, which two fields share.
    pub frame_num: u32,
    /// Counts the stretches in each of which `order` counts by itself.
    pub sequence: u64,
    /// Its place in the order in which pictures are shown; steps are even, but not always 1.
    pub order: Option<i64>,
}

/// What a NAL unit is to the picture before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NalUse {
    /// A part of it.
    ClockRange,
    /// It begins the next one; it must be shown to the reader again with a new picture.
    Begins,
}

/// Times of a unit, as the stream says them, and where it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Byte of the file.
    pub byte: u64,
    /// Presentation time, ticks of 90 kHz.
    pub pts: Option<i64>,
    /// Decoding time.
    pub dts: Option<i64>,
}

/// A coded picture with its bytes, as Matroska keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodedPicture {
    /// What is known of it.
    pub picture: Picture,
    /// Its times; without any where it does not begin a unit.
    pub stamp: Stamp,
    /// The coded frame.
    pub payload: Vec<u8>,
    /// The format from this picture on, where its parameter sets came with it.
    pub format: Option<Box<VideoFormat>>,
}
