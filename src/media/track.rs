//! A track's head in Matroska: read from ffmpeg's pipe, written into the assembly.

use xxhash_rust::xxh3::xxh3_64;

use super::adts;
use super::ebml::{self, id};
use crate::domain::media::TrackKind;

/// What a track of video is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoFormat {
    /// Codec id of Matroska.
    pub codec: &'static str,
    /// The decoder's configuration.
    pub private: Vec<u8>,
    /// Width in luma samples.
    pub width: u32,
    /// Height in luma samples.
    pub height: u32,
}

/// What a track of audio is made from: what must be equal for two frames to be of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioFormat {
    /// Codec id of Matroska.
    pub codec: &'static str,
    /// Samples a second.
    pub rate: u32,
    /// Number of channels.
    pub channels: u8,
    /// AudioSpecificConfig of AAC; else zeros.
    pub config: [u8; 2],
}

/// What a track is called, for people who choose one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackLabel {
    /// Language of ISO 639-2; empty: none is named.
    pub language: String,
    /// For people who do not hear well.
    pub hearing_impaired: bool,
    /// For people who do not see well.
    pub visual_impaired: bool,
}

/// The children of a TrackEntry element, as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackEntry {
    children: Vec<(u32, Vec<u8>)>,
}

impl TrackEntry {
    /// Reads the content of a TrackEntry element.
    #[must_use]
    pub fn read(content: &[u8]) -> Self {
        Self { children: ebml::children(content) }
    }

    /// What [`TrackEntry::read`] reads.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (child, content) in &self.children {
            ebml::put(&mut out, *child, content);
        }
        out
    }

    /// Language of ISO 639-2; empty where none is named.
    #[must_use]
    pub fn language(&self) -> String {
        let language =
            String::from_utf8_lossy(self.get(id::LANGUAGE).unwrap_or_default()).trim_end_matches('\0').to_owned();
        if language == "und" { String::new() } else { language }
    }

    /// A track of AAC of which nothing more is known yet: see [`TrackEntry::become_aac`].
    #[must_use]
    pub fn bare_aac() -> Self {
        let mut audio = Vec::new();
        ebml::put_float(&mut audio, id::SAMPLING_FREQUENCY, 0.0);
        let children = vec![
            (id::TRACK_NUMBER, vec![1]),
            (id::TRACK_TYPE, vec![2]),
            (id::FLAG_LACING, vec![0]),
            (id::AUDIO, audio),
        ];
        Self { children }
    }

    /// A track of video.
    #[must_use]
    pub fn video(format: &VideoFormat, label: &TrackLabel) -> Self {
        let mut video = Vec::new();
        ebml::put_small_uint(&mut video, id::PIXEL_WIDTH, u64::from(format.width));
        ebml::put_small_uint(&mut video, id::PIXEL_HEIGHT, u64::from(format.height));
        Self::new(1, format.codec, &format.private, label, (id::VIDEO, video))
    }

    /// A track of audio.
    #[must_use]
    pub fn audio(format: &AudioFormat, label: &TrackLabel) -> Self {
        let mut audio = Vec::new();
        ebml::put_float(&mut audio, id::SAMPLING_FREQUENCY, f64::from(format.rate));
        ebml::put_small_uint(&mut audio, id::CHANNELS, u64::from(format.channels));
        let private: &[u8] = if format.codec == "A_AAC" { &format.config } else { &[] };
        Self::new(2, format.codec, private, label, (id::AUDIO, audio))
    }

    fn new(kind: u8, codec: &str, private: &[u8], label: &TrackLabel, format: (u32, Vec<u8>)) -> Self {
        let mut children = vec![
            (id::TRACK_NUMBER, vec![1]),
            (id::TRACK_TYPE, vec![kind]),
            (id::FLAG_LACING, vec![0]),
            (id::CODEC_ID, codec.as_bytes().to_vec()),
        ];
        if !private.is_empty() {
            children.push((id::CODEC_PRIVATE, private.to_vec()));
        }
        if !label.language.is_empty() {
            children.push((id::LANGUAGE, label.language.as_bytes().to_vec()));
        }
        for (flag, set) in
            [(id::FLAG_HEARING_IMPAIRED, label.hearing_impaired), (id::FLAG_VISUAL_IMPAIRED, label.visual_impaired)]
        {
            if set {
                children.push((flag, vec![1]));
            }
        }
        children.push(format);
        Self { children }
    }

    fn get(&self, id: u32) -> Option<&[u8]> {
        self.children.iter().find(|(child, _)| *child == id).map(|(_, content)| content.as_slice())
    }

    fn set(&mut self, id: u32, content: Vec<u8>) {
        self.children.retain(|(child, _)| *child != id);
        self.children.push((id, content));
    }

    /// Number of the track in the stream it was read from.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.get(id::TRACK_NUMBER).map_or(0, ebml::read_uint)
    }

    /// Video frames or audio.
    #[must_use]
    pub fn kind(&self) -> TrackKind {
        match self.get(id::TRACK_TYPE).map(ebml::read_uint) {
            Some(1) => TrackKind::Video,
            Some(2) => TrackKind::Audio,
            _ => TrackKind::Other,
        }
    }

    /// Matroska's codec id; empty where there is none.
    #[must_use]
    pub fn codec(&self) -> String {
        String::from_utf8_lossy(self.get(id::CODEC_ID).unwrap_or_default()).trim_end_matches('\0').to_owned()
    }

    /// The decoder's configuration; empty where there is none.
    #[must_use]
    pub fn private(&self) -> &[u8] {
        self.get(id::CODEC_PRIVATE).unwrap_or_default()
    }

    /// Duration of each packet in nanoseconds, where the head says so.
    #[must_use]
    pub fn default_duration_ns(&self) -> Option<u64> {
        self.get(id::DEFAULT_DURATION).map(ebml::read_uint).filter(|ns| *ns > 0)
    }

    /// Names its language and what it is called, where these are known.
    pub fn call(&mut self, language: &str, name: &str) {
        if !language.is_empty() {
            self.set(id::LANGUAGE, language.as_bytes().to_vec());
        }
        if !name.is_empty() {
            self.set(id::NAME, name.as_bytes().to_vec());
        }
    }

    /// What a player takes off the times of its packets, nanoseconds.
    #[must_use]
    pub fn codec_delay_ns(&self) -> u64 {
        self.get(id::CODEC_DELAY).map_or(0, ebml::read_uint)
    }

    /// Turns the opaque track that stands for AAC with ADTS heads into what it is.
    pub fn become_aac(&mut self, head: adts::AdtsHeader) {
        self.set(id::CODEC_ID, b"A_AAC".to_vec());
        self.set(id::CODEC_PRIVATE, head.config().to_vec());
        self.children.retain(|(child, _)| *child != id::DEFAULT_DURATION);
        let mut audio = Vec::new();
        for (child, content) in ebml::children(self.get(id::AUDIO).unwrap_or_default()) {
            match child {
                id::BIT_DEPTH | id::OUTPUT_SAMPLING_FREQUENCY => {}
                id::SAMPLING_FREQUENCY => {
                    ebml::put_float(&mut audio, id::SAMPLING_FREQUENCY, f64::from(head.rate));
                    // ffmpeg decoded a little and named the rate that comes out; with SBR that is twice
                    // the core's.
                    let output = ebml::read_float(&content);
                    if output > f64::from(head.rate) {
                        ebml::put_float(&mut audio, id::OUTPUT_SAMPLING_FREQUENCY, output);
                    }
                }
                _ => ebml::put(&mut audio, child, &content),
            }
        }
        if !ebml::children(&audio).iter().any(|(child, _)| *child == id::CHANNELS) {
            // 7 means eight channels; 0, that the stream says it elsewhere.
            let channels = [2, 1, 2, 3, 4, 5, 6, 8][usize::from(head.channels & 7)];
            ebml::put_small_uint(&mut audio, id::CHANNELS, channels);
        }
        self.set(id::AUDIO, audio);
    }

    /// Hash of everything that must be equal for packets to share a track. Left out is what differs
    /// between two connections to one stream: comments (a server changes them with every title), the
    /// number of samples to skip at the start, frame size statistics.
    #[must_use]
    pub fn format_hash(&self) -> u64 {
        let codec = self.codec();
        let private = self.private();
        let mut text = format!("{codec}\n").into_bytes();
        let part = |master, child: u32| {
            let inner = ebml::children(self.get(master).unwrap_or_default());
            inner.into_iter().find(|(id, _)| *id == child).map(|(_, content)| content).unwrap_or_default()
        };
        for (master, child) in [(id::VIDEO, id::PIXEL_WIDTH), (id::VIDEO, id::PIXEL_HEIGHT), (id::AUDIO, id::CHANNELS)]
        {
            text.extend_from_slice(&ebml::read_uint(&part(master, child)).to_be_bytes());
        }
        text.extend_from_slice(&ebml::read_float(&part(id::AUDIO, id::SAMPLING_FREQUENCY)).to_be_bytes());
        match codec.as_str() {
            "A_VORBIS" | "V_THEORA" => match xiph_headers(private) {
                Some([first, _comments, setup]) => {
                    text.extend_from_slice(first);
                    text.extend_from_slice(setup);
                }
                None => text.extend_from_slice(private),
            },
            // OpusHead: bytes 10 and 11 say how many samples to skip.
            "A_OPUS" => {
                text.extend_from_slice(private.get(..10).unwrap_or(private));
                text.extend_from_slice(private.get(12..).unwrap_or_default());
            }
            // STREAMINFO: sizes, total length and checksum differ; rate, channels and depth are 8 bytes in.
            "A_FLAC" => text.extend_from_slice(private.get(18..21).unwrap_or_default()),
            "V_MPEG4/ISO/AVC" => text.extend(avc_without_padding(private).unwrap_or_else(|| private.to_vec())),
            _ => text.extend_from_slice(private),
        }
        xxh3_64(&text)
    }

    /// As [`TrackEntry::format_hash`], for streams that send their parameter sets again and again with their keyframes, as
    /// those of MPEG-TS do: then sets that differ (in the aspect, a matrix, a flag) need no track of their own, as long as
    /// the codec and the size of the picture are the same.
    #[must_use]
    pub fn in_band_format_hash(&self) -> u64 {
        if self.kind() != TrackKind::Video {
            return self.format_hash();
        }
        let codec = self.codec();
        let private = self.private();
        let mut text = format!("{codec} in band\n").into_bytes();
        let inner = ebml::children(self.get(id::VIDEO).unwrap_or_default());
        for wanted in [id::PIXEL_WIDTH, id::PIXEL_HEIGHT] {
            let value = inner.iter().find(|(id, _)| *id == wanted).map_or(0, |(_, content)| ebml::read_uint(content));
            text.extend_from_slice(&value.to_be_bytes());
        }
        // Chroma format and bit depths: behind the sets of AVC, in the head of HEVC.
        text.extend_from_slice(match codec.as_str() {
            "V_MPEG4/ISO/AVC" => avc_chroma(private).unwrap_or_default(),
            "V_MPEGH/ISO/HEVC" => private.get(16..19).unwrap_or_default(),
            _ => &[],
        });
        xxh3_64(&text)
    }

    /// Appends it as a TrackEntry element under a new number.
    pub fn write(&self, out: &mut Vec<u8>, number: u64) {
        ebml::put_master(out, id::TRACK_ENTRY, |out| {
            ebml::put_small_uint(out, id::TRACK_NUMBER, number);
            // Unique inside the file is all that is asked; and the same plan gives the same file.
            ebml::put_small_uint(out, id::TRACK_UID, number);
            // Without a language it would be English.
            if self.get(id::LANGUAGE).is_none() {
                ebml::put(out, id::LANGUAGE, b"und");
            }
            for (child, content) in &self.children {
                if ![id::TRACK_NUMBER, id::TRACK_UID].contains(child) {
                    ebml::put(out, *child, content);
                }
            }
        });
    }
}

/// The three headers of Vorbis and Theora inside their Xiph-laced private data.
fn xiph_headers(private: &[u8]) -> Option<[&[u8]; 3]> {
    let (count, mut rest) = private.split_first()?;
    if *count != 2 {
        return None;
    }
    let mut sizes = [0_usize; 2];
    for size in &mut sizes {
        loop {
            let (byte, after) = rest.split_first()?;
            rest = after;
            *size += usize::from(*byte);
            if *byte < 255 {
                break;
            }
        }
    }
    let (first, rest) = rest.split_at_checked(sizes[0])?;
    let (comments, setup) = rest.split_at_checked(sizes[1])?;
    Some([first, comments, setup])
}

/// Chroma format and bit depths at the end of an AVCDecoderConfigurationRecord; of profiles that have one format only, empty.
fn avc_chroma(private: &[u8]) -> Option<&[u8]> {
    let mut rest = private.get(5..)?;
    for count_bits in [0x1f, 0xff] {
        let (count, after) = rest.split_first()?;
        rest = after;
        for _ in 0..count & count_bits {
            let (length, after) = rest.split_at_checked(2)?;
            rest = after.get(usize::from(u16::from_be_bytes([length[0], length[1]]))..)?;
        }
    }
    // 4:2:0 of eight bits is what a profile has that says nothing.
    Some(rest.get(..3).filter(|rest| rest[0] & 3 != 1 || rest[1] & 7 != 0 || rest[2] & 7 != 0).unwrap_or_default())
}

/// AVCDecoderConfigurationRecord (ISO 14496-15, 5.3.3.1) with its parameter sets less the zeros behind them: in
/// MPEG-TS one zero of the start code that follows counts as theirs, and what follows differs: an encoder's
/// very first video frame has its name in front. `None`: it is none.
fn avc_without_padding(private: &[u8]) -> Option<Vec<u8>> {
    let mut out = private.get(..5)?.to_vec();
    let mut rest = private.get(5..)?;
    for count_bits in [0x1f, 0xff] {
        let (count, after) = rest.split_first()?;
        out.push(*count);
        rest = after;
        for _ in 0..count & count_bits {
            let (length, after) = rest.split_at_checked(2)?;
            let (set, after) = after.split_at_checked(usize::from(u16::from_be_bytes([length[0], length[1]])))?;
            let padding = set.iter().rev().take_while(|byte| **byte == 0).count();
            out.extend_from_slice(&set[..set.len() - padding]);
            rest = after;
        }
    }
    out.extend_from_slice(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(codec: &str, private: &[u8]) -> TrackEntry {
        let mut content = Vec::new();
        ebml::put_small_uint(&mut content, id::TRACK_NUMBER, 3);
        ebml::put_small_uint(&mut content, id::TRACK_TYPE, 2);
        ebml::put(&mut content, id::CODEC_ID, codec.as_bytes());
        ebml::put(&mut content, id::CODEC_PRIVATE, private);
        ebml::put_master(&mut content, id::AUDIO, |out| {
            ebml::put_float(out, id::SAMPLING_FREQUENCY, 44100.0);
            ebml::put_small_uint(out, id::CHANNELS, 2);
        });
        TrackEntry::read(&content)
    }

    fn vorbis(comment: &str) -> TrackEntry {
        let mut private = vec![2, 4, comment.len() as u8];
        private.extend_from_slice(b"idid");
        private.extend_from_slice(comment.as_bytes());
        private.extend_from_slice(b"setup");
        entry("A_VORBIS", &private)
    }

    #[test]
    fn the_format_is_what_decoding_depends_on() {
        assert_eq!(vorbis("title one").format_hash(), vorbis("two").format_hash());
        assert_ne!(vorbis("x").format_hash(), entry("A_VORBIS", b"\x02\x04\x01ididxother").format_hash());
        assert_ne!(entry("A_AAC", b"\x12\x10").format_hash(), entry("A_AAC", b"\x12\x08").format_hash());
        // One SPS of two bytes and a PPS, with and without the zero of a start code behind it.
        let avc = |pps: &[u8]| {
            let head = [1, 66, 0, 13, 0xff, 0xe1, 0, 2, 0x67, 0x42, 1, 0, pps.len() as u8];
            entry("V_MPEG4/ISO/AVC", &[head.as_slice(), pps].concat())
        };
        assert_eq!(avc(&[0x68, 0xce]).format_hash(), avc(&[0x68, 0xce, 0]).format_hash());
        assert_ne!(avc(&[0x68, 0xce]).format_hash(), avc(&[0x68, 0xcf]).format_hash());
        let cut_short = entry("V_MPEG4/ISO/AVC", &[1, 66, 0, 13, 0xff, 0xe1, 0, 9, 0x67]);
        assert_ne!(cut_short.format_hash(), avc(&[0x68]).format_hash());
        let opus = |skip: u8, gain: u8| {
            entry("A_OPUS", &[b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', 1, 2, skip, 0, 0, 0, 0, 0, gain, 0, 0])
        };
        assert_eq!(opus(1, 0).format_hash(), opus(2, 0).format_hash());
        assert_ne!(opus(1, 0).format_hash(), opus(1, 1).format_hash());
    }

    #[test]
    fn an_entry_is_written_as_it_was_read_under_another_number() {
        let entry = vorbis("x");
        let mut out = Vec::new();
        entry.write(&mut out, 1);
        let read = TrackEntry::read(&ebml::children(&out)[0].1);
        assert_eq!((read.number(), read.kind(), read.codec().as_str()), (1, TrackKind::Audio, "A_VORBIS"));
        assert_eq!((read.private(), read.format_hash()), (entry.private(), entry.format_hash()));
    }
}
