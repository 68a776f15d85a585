//! Programme tables of MPEG-TS: which programmes there are, and what their streams carry (ISO/IEC 13818-1, 2.4.4).

/// A section is at most so long, bytes: a length field of 12 bits of which two are zero, and the three bytes before it.
const MAX_SECTION: usize = 1024 + 3;

/// Puts the sections of one PID together, which may span several packets, and checks their checksum.
#[derive(Clone, Debug, Default)]
pub struct SectionReader {
    gathered: Vec<u8>,
}

impl SectionReader {
    /// Takes the payload of the next packet; `starts` is its payload unit start indicator. Each section that is whole now
    /// is handed over without its checksum.
    pub fn push(&mut self, starts: bool, payload: &[u8], mut take: impl FnMut(&[u8])) {
        let rest = if starts {
            let Some((pointer, rest)) = payload.split_first() else { return };
            let (end, begin) = rest.split_at(usize::from(*pointer).min(rest.len()));
            if !self.gathered.is_empty() {
                self.gathered.extend_from_slice(end);
                self.drain(&mut take);
            }
            self.gathered.clear();
            begin
        } else if self.gathered.is_empty() {
            return;
        } else {
            payload
        };
        self.gathered.extend_from_slice(rest);
        self.drain(&mut take);
    }

    fn drain(&mut self, take: &mut impl FnMut(&[u8])) {
        loop {
            // Stuffing follows the last section of a packet.
            if self.gathered.first().is_none_or(|table| *table == 0xff) {
                self.gathered.clear();
                return;
            }
            let [_, high, low, ..] = self.gathered[..] else { return };
            let length = 3 + (usize::from(high & 0x0f) << 8 | usize::from(low));
            if length > MAX_SECTION || length < 7 {
                self.gathered.clear();
                return;
            }
            let Some(section) = self.gathered.get(..length) else { return };
            if crc32(section) == 0 {
                take(&section[..length - 4]);
            }
            self.gathered.drain(..length);
        }
    }
}

/// CRC of ISO/IEC 13818-1, annex A: 0 over a section with its checksum.
fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    })
}

/// Programmes of a programme association section: number and PID of the map, in order. `None`: it is none, or one that is
/// not valid yet.
#[must_use]
pub fn programmes(section: &[u8]) -> Option<Vec<(u16, u16)>> {
    if *section.first()? != 0 || section.get(5)? & 1 == 0 {
        return None;
    }
    let entries = section.get(8..)?.chunks_exact(4);
    let of = |e: &[u8]| (u16::from(e[0]) << 8 | u16::from(e[1]), u16::from(e[2] & 0x1f) << 8 | u16::from(e[3]));
    // Number 0 names the network information table.
    Some(entries.map(of).filter(|(number, _)| *number != 0).collect())
}

/// What an elementary stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// MPEG-1 and MPEG-2 video.
    Mpeg2,
    /// H.264, ISO/IEC 14496-10.
    H264,
    /// HEVC, ISO/IEC 23008-2.
    Hevc,
    /// MPEG audio, layers I to III.
    MpegAudio,
    /// AAC with ADTS heads.
    AdtsAac,
    /// AC-3, ETSI TS 102 366.
    Ac3,
    /// E-AC-3, annex E of ETSI TS 102 366.
    Eac3,
    /// Video or audio that is not read here.
    OtherMedia(&'static str),
    /// No video and no audio: what it is, for people.
    Data(&'static str),
}

impl Codec {
    /// True for video.
    #[must_use]
    pub fn is_video(self) -> bool {
        matches!(self, Self::Mpeg2 | Self::H264 | Self::Hevc)
    }
}

/// An elementary stream of a programme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Number of its packets.
    pub pid: u16,
    /// What it carries.
    pub codec: Codec,
    /// Language of ISO 639-2, such as `deu`; empty where none is named.
    pub language: String,
    /// For people who do not hear well.
    pub hearing_impaired: bool,
    /// For people who do not see well: a description of the picture.
    pub visual_impaired: bool,
}

/// Number of the programme and its streams, of a programme map section. `None`: it is none, or not valid yet.
#[must_use]
pub fn streams(section: &[u8]) -> Option<(u16, Vec<StreamInfo>)> {
    if *section.first()? != 2 || section.get(5)? & 1 == 0 {
        return None;
    }
    let number = u16::from(*section.get(3)?) << 8 | u16::from(*section.get(4)?);
    let about = usize::from(section.get(10)? & 0x0f) << 8 | usize::from(*section.get(11)?);
    let mut entries = section.get(12 + about..)?;
    let mut found = Vec::new();
    while let [kind, high, low, length_high, length_low, rest @ ..] = entries {
        let about = usize::from(length_high & 0x0f) << 8 | usize::from(*length_low);
        let Some((descriptors, after)) = rest.split_at_checked(about) else { break };
        found.push(stream(*kind, u16::from(high & 0x1f) << 8 | u16::from(*low), descriptors));
        entries = after;
    }
    Some((number, found))
}

fn stream(kind: u8, pid: u16, descriptors: &[u8]) -> StreamInfo {
    let mut info = StreamInfo {
        pid,
        codec: codec(kind),
        language: String::new(),
        hearing_impaired: false,
        visual_impaired: false,
    };
    let mut rest = descriptors;
    while let [tag, length, after @ ..] = rest {
        let (content, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        let private = kind == 0x06;
        match (tag, content) {
            // ISO 639 language, with the audio's type.
            (0x0a, [a, b, c, audio_type, ..]) => {
                info.language = language([*a, *b, *c]);
                info.hearing_impaired |= *audio_type == 2;
                info.visual_impaired |= *audio_type == 3;
            }
            // Subtitles and teletext of ETSI EN 300 468 name their language themselves.
            (0x59, [a, b, c, ..]) => {
                info.language = language([*a, *b, *c]);
                info.codec = Codec::Data("DVB subtitles");
            }
            (0x56 | 0x46, [a, b, c, ..]) => {
                info.language = language([*a, *b, *c]);
                info.codec = Codec::Data("teletext");
            }
            (0x6a, _) if private => info.codec = Codec::Ac3,
            (0x7a, _) if private => info.codec = Codec::Eac3,
            (0x7b, _) if private => info.codec = Codec::OtherMedia("DTS"),
            // Registration.
            (0x05, [a, b, c, d, ..]) => match &[*a, *b, *c, *d] {
                b"AC-3" if private => info.codec = Codec::Ac3,
                b"EAC3" if private => info.codec = Codec::Eac3,
                b"Opus" => info.codec = Codec::OtherMedia("Opus"),
                b"BSSD" => info.codec = Codec::OtherMedia("SMPTE 302M"),
                b"HEVC" if private => info.codec = Codec::Hevc,
                b"AV01" => info.codec = Codec::OtherMedia("AV1"),
                b"VC-1" => info.codec = Codec::OtherMedia("VC-1"),
                b"drac" => info.codec = Codec::OtherMedia("Dirac"),
                b"DTS1" | b"DTS2" | b"DTS3" => info.codec = Codec::OtherMedia("DTS"),
                b"KLVA" => info.codec = Codec::Data("KLV metadata"),
                b"CUEI" => info.codec = Codec::Data("SCTE-35 splice messages"),
                _ => {}
            },
            _ => {}
        }
    }
    info
}

/// Three letters, in lower case; empty where they are none.
fn language(code: [u8; 3]) -> String {
    let code = code.map(|c| c.to_ascii_lowercase());
    if code.iter().all(u8::is_ascii_lowercase) && &code != b"und" {
        code.iter().map(|c| char::from(*c)).collect()
    } else {
        String::new()
    }
}

fn codec(kind: u8) -> Codec {
    match kind {
        0x01 | 0x02 => Codec::Mpeg2,
        0x03 | 0x04 => Codec::MpegAudio,
        0x06 => Codec::Data("private data"),
        0x0f => Codec::AdtsAac,
        0x10 => Codec::OtherMedia("MPEG-4 part 2"),
        0x11 => Codec::OtherMedia("AAC in LATM"),
        0x15 => Codec::Data("timed metadata"),
        0x1b => Codec::H264,
        0x1c => Codec::OtherMedia("AAC without heads"),
        0x20 => Codec::Data("a second view of H.264"),
        0x21 => Codec::OtherMedia("JPEG 2000"),
        0x24 => Codec::Hevc,
        0x42 => Codec::OtherMedia("AVS"),
        0x80 | 0x83 => Codec::OtherMedia("LPCM"),
        0x81 => Codec::Ac3,
        0x82 | 0x85 | 0x8a => Codec::OtherMedia("DTS"),
        0x86 => Codec::Data("SCTE-35 splice messages"),
        0x84 | 0x87 => Codec::Eac3,
        0xd1 => Codec::OtherMedia("Dirac"),
        0xea => Codec::OtherMedia("VC-1"),
        _ => Codec::Data("data of an unknown kind"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A section with its checksum.
    fn section(table: u8, body: &[u8]) -> Vec<u8> {
        let length = body.len() + 4;
        let mut out = vec![table, 0xb0 | (length >> 8) as u8, length as u8];
        out.extend_from_slice(body);
        let crc = crc32(&out);
        out.extend_from_slice(&crc.to_be_bytes());
        out
    }

    fn map(entries: &[(u8, u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![0, 7, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0];
        for (kind, pid, descriptors) in entries {
            body.extend_from_slice(&[*kind, 0xe0 | (pid >> 8) as u8, *pid as u8, 0xf0, descriptors.len() as u8]);
            body.extend_from_slice(descriptors);
        }
        section(2, &body)
    }

    #[test]
    fn streams_are_named_by_type_and_descriptors() {
        let section = map(&[
            (0x1b, 0x100, &[]),
            (0x0f, 0x101, &[0x0a, 4, b'd', b'e', b'u', 0]),
            (0x03, 0x102, &[0x0a, 4, b'E', b'N', b'G', 3]),
            (0x06, 0x103, &[0x6a, 1, 0]),
            (0x06, 0x104, &[0x56, 5, b'd', b'e', b'u', 9, 0]),
            (0x06, 0x105, &[5, 4, b'B', b'S', b'S', b'D']),
            (0x86, 0x106, &[]),
        ]);
        let mut all = Vec::new();
        // Over several packets, with a section before it and stuffing behind it.
        let mut reader = SectionReader::default();
        let bytes = [&[3, 9, 9, 9][..], &section, &[0xff; 20]].concat();
        reader.push(true, &bytes[..40], |s| all.push(s.to_vec()));
        reader.push(false, &bytes[40..], |s| all.push(s.to_vec()));
        assert_eq!(all.len(), 1);
        let (number, found) = streams(&all[0]).expect("a map");
        assert_eq!(number, 7);
        let told: Vec<_> = found.iter().map(|s| (s.pid, s.codec, s.language.as_str(), s.visual_impaired)).collect();
        assert_eq!(
            told,
            [
                (0x100, Codec::H264, "", false),
                (0x101, Codec::AdtsAac, "deu", false),
                (0x102, Codec::MpegAudio, "eng", true),
                (0x103, Codec::Ac3, "", false),
                (0x104, Codec::Data("teletext"), "deu", false),
                (0x105, Codec::OtherMedia("SMPTE 302M"), "", false),
                (0x106, Codec::Data("SCTE-35 splice messages"), "", false),
            ]
        );
        assert_eq!(programmes(&section), None);
    }

    #[test]
    fn a_damaged_section_is_left_out() {
        let mut damaged = map(&[(0x1b, 0x100, &[])]);
        damaged[9] ^= 1;
        let mut reader = SectionReader::default();
        reader.push(true, &[&[0][..], &damaged].concat(), |_| panic!("its checksum is wrong"));
        let pat = section(0, &[0, 1, 0xc1, 0, 0, 0, 0, 0xe0, 0x10, 0, 7, 0xf0, 0]);
        let mut found = Vec::new();
        reader.push(true, &[&[0][..], &pat].concat(), |s| found = programmes(s).expect("programmes"));
        assert_eq!(found, [(7, 0x1000)]);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(
            payloads in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..184)), 0..20)
        ) {
            let mut reader = SectionReader::default();
            for (starts, payload) in &payloads {
                reader.push(*starts, payload, |_| ());
                let _ = streams(payload);
                let _ = programmes(payload);
            }
        }
    }
}
