//! What the first bytes of a stream are: which container, or no media at all. Only the content counts,
//! never a name or a server's word.

use std::fmt;

use super::segment::Container;

/// After so many bytes [`sniff`] has always decided.
pub const MAX: usize = 64 * 1024;

/// What first bytes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniff {
    /// Media; `Container::Unknown` where nothing is recognised and nothing says that it is no media.
    Media(Container),
    /// Something else.
    NotMedia(NotMedia),
    /// Cannot be told yet.
    NeedMore,
}

impl Sniff {
    /// The container, where one was recognised.
    #[must_use]
    pub fn recognised(self) -> Option<Container> {
        match self {
            Self::Media(container) if container != Container::Unknown => Some(container),
            _ => None,
        }
    }
}

/// What came instead of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotMedia {
    /// Nothing at all.
    Empty,
    /// An HTML page.
    Html,
    /// A list of addresses (M3U, PLS, HLS).
    Playlist,
    /// A Windows Media redirect file: the stream itself is behind `mmsh://`.
    AsxRedirect,
    /// XML of another kind.
    Xml,
    /// A JSON text.
    Json,
    /// Text of another kind.
    Text,
    /// A still image (JPEG, PNG, GIF).
    Picture,
}

impl fmt::Display for NotMedia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "nothing came",
            Self::Html => "a web page came instead of media",
            Self::Playlist => "a playlist came instead of media (for HLS, set recorder = \"hls\")",
            Self::AsxRedirect => "a Windows Media redirect file came instead of media (try the address with mmsh://)",
            Self::Xml => "an XML document came instead of media",
            Self::Json => "a JSON document came instead of media",
            Self::Text => "text came instead of media",
            Self::Picture => "a picture came instead of media",
        })
    }
}

/// Text must be so long (or the stream must end) before it is called text: some streams of media have a
/// few lines of it in front.
const TEXT_PROOF: usize = 1024;

/// Tells what a stream is from its first bytes. `complete`: nothing follows. Never `NeedMore` where
/// `complete`, or from [`MAX`] bytes on.
#[must_use]
pub fn sniff(bytes: &[u8], complete: bool) -> Sniff {
    let over = complete || bytes.len() >= MAX;
    let bytes = &bytes[..bytes.len().min(MAX)];
    if bytes.is_empty() {
        return if complete { Sniff::NotMedia(NotMedia::Empty) } else { Sniff::NeedMore };
    }
    match magic(bytes, over) {
        Some(Sniff::NeedMore) if over => {}
        Some(decided) => return decided,
        None => {}
    }
    if let Some(container) = in_mid_stream(bytes, over) {
        return Sniff::Media(container);
    }
    if let Some(decided) = text(bytes, over) {
        return decided;
    }
    if over { Sniff::Media(Container::Unknown) } else { Sniff::NeedMore }
}

/// Formats that begin with a signature.
fn magic(bytes: &[u8], over: bool) -> Option<Sniff> {
    const ASF: [u8; 16] =
        [0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11, 0xa6, 0xd9, 0x00, 0xaa, 0x00, 0x62, 0xce, 0x6c];
    let media = |container| Some(Sniff::Media(container));
    // A signature that is cut short is waited for: that is at most 15 bytes.
    let signatures: [(&[u8], Container); 7] = [
        (&ASF, Container::Asf),
        (b"OggS", Container::Ogg),
        (b"FLV\x01", Container::Flv),
        (b"fLaC", Container::Flac),
        (&[0, 0, 1, 0xba], Container::MpegPs),
        (&[0x1a, 0x45, 0xdf, 0xa3], Container::Matroska),
        (b"ID3", Container::Mp3),
    ];
    for (signature, container) in signatures {
        if bytes.starts_with(signature) {
            return match container {
                Container::Matroska => Some(ebml(bytes, over)),
                Container::Mp3 => Some(after_id3(bytes, over)),
                other => media(other),
            };
        }
        if signature.starts_with(bytes) {
            return Some(Sniff::NeedMore);
        }
    }
    if let Some(kind) = bytes.get(4..8)
        && (matches!(kind, b"ftyp" | b"styp" | b"moov" | b"moof" | b"sidx"))
    {
        return media(Container::Mp4);
    }
    if bytes.starts_with(b"RIFF") {
        return match bytes.get(8..12) {
            Some(b"WAVE") => media(Container::Wav),
            Some(_) => media(Container::Unknown),
            None => Some(Sniff::NeedMore),
        };
    }
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") || bytes.starts_with(b"GIF8") {
        return Some(Sniff::NotMedia(NotMedia::Picture));
    }
    None
}

/// Matroska or WebM, by the DocType in the EBML header.
fn ebml(bytes: &[u8], over: bool) -> Sniff {
    let matroska = Sniff::Media(Container::Matroska);
    // Four bytes of id are known; a header of more than 4 KiB is nobody's.
    let Some((size, mut at)) = vint(bytes, 4) else {
        return if over || bytes.len() > 16 { matroska } else { Sniff::NeedMore };
    };
    let end = at.saturating_add(usize::try_from(size).unwrap_or(usize::MAX).min(4096));
    while at < end {
        let Some(id_len) = bytes.get(at).map(|b| b.leading_zeros() as usize + 1) else { break };
        let Some((size, body)) = vint(bytes, at + id_len) else { break };
        let next = body.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        if bytes.get(at..at + id_len) == Some(&[0x42, 0x82]) {
            let Some(doc_type) = bytes.get(body..next) else { break };
            let webm = doc_type.split(|b| *b == 0).next() == Some(b"webm");
            return if webm { Sniff::Media(Container::WebM) } else { matroska };
        }
        at = next;
    }
    if over || bytes.len() >= end { matroska } else { Sniff::NeedMore }
}

/// An EBML number at `at`: its value and where it ends.
fn vint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let first = *bytes.get(at)?;
    let len = first.leading_zeros() as usize + 1;
    if len > 8 {
        return None;
    }
    let rest = bytes.get(at + 1..at + len)?;
    let start = u64::from(first) & (0xff_u64 >> len);
    Some((rest.iter().fold(start, |n, b| n << 8 | u64::from(*b)), at + len))
}

/// An ID3 tag stands before MP3, and before the ADTS of HLS and the FLAC of careless encoders.
fn after_id3(bytes: &[u8], over: bool) -> Sniff {
    let Some(header) = bytes.get(..10) else { return Sniff::NeedMore };
    let size = header[6..10].iter().fold(0_usize, |n, b| n << 7 | usize::from(b & 0x7f));
    let footer = if header[5] & 0x10 != 0 { 10 } else { 0 };
    let Some(rest) = bytes.get(10 + size + footer..).filter(|rest| !rest.is_empty()) else {
        // A tag with a picture may be longer than all we look at.
        return if over || 10 + size >= MAX { Sniff::Media(Container::Mp3) } else { Sniff::NeedMore };
    };
    if rest.starts_with(b"fLaC") {
        return Sniff::Media(Container::Flac);
    }
    if rest.starts_with(b"ID3") {
        return after_id3(rest, over);
    }
    match frames(rest, over) {
        Some(container) => Sniff::Media(container),
        None if over => Sniff::Media(Container::Mp3),
        None => Sniff::NeedMore,
    }
}

/// Text: pages, playlists, redirects. `None` where it is no text.
fn text(bytes: &[u8], over: bool) -> Option<Sniff> {
    let not = |what| Some(Sniff::NotMedia(what));
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let looked_at = &bytes[..bytes.len().min(4096)];
    let printable = is_text(looked_at);
    let start = looked_at.trim_ascii_start();
    // Enough to know a page or a playlist by its first words.
    let low: Vec<u8> = start.iter().take(2048).map(u8::to_ascii_lowercase).collect();
    let has = |word: &[u8]| low.windows(word.len()).any(|w| w == word);
    if low.starts_with(b"<") {
        let html = ["<!doctype html", "<html", "<head", "<body", "<title", "<script", "<meta", "<h1", "<center", "<p>"];
        if html.iter().any(|tag| low.starts_with(tag.as_bytes())) {
            return not(NotMedia::Html);
        }
        if low.starts_with(b"<asx") {
            return not(NotMedia::AsxRedirect);
        }
        if low.starts_with(b"<?xml") || low.starts_with(b"<!--") || low.starts_with(b"<!doctype") {
            if has(b"<html") {
                return not(NotMedia::Html);
            }
            if has(b"<asx") {
                return not(NotMedia::AsxRedirect);
            }
            if over || low.len() >= TEXT_PROOF {
                return not(NotMedia::Xml);
            }
            return Some(Sniff::NeedMore);
        }
    }
    if low.starts_with(b"#extm3u") || low.starts_with(b"[playlist]") {
        return not(NotMedia::Playlist);
    }
    if low.starts_with(b"[reference]") || low.starts_with(b"asf http") {
        return not(NotMedia::AsxRedirect);
    }
    if !printable {
        return None;
    }
    if looked_at.len() < TEXT_PROOF && !over {
        return Some(Sniff::NeedMore);
    }
    not(match low.first() {
        Some(b'<') => NotMedia::Xml,
        Some(b'{' | b'[') => NotMedia::Json,
        Some(_) if low.split(|b| *b == b'\n').next().is_some_and(is_address) => NotMedia::Playlist,
        _ => NotMedia::Text,
    })
}

fn is_address(line: &[u8]) -> bool {
    [b"http://".as_slice(), b"https://", b"mms://", b"mmsh://", b"rtsp://", b"rtmp://"]
        .iter()
        .any(|s| line.starts_with(s))
}

/// UTF-8 or Latin-1 text: no control characters but the usual ones.
fn is_text(bytes: &[u8]) -> bool {
    let plain = |b: &u8| matches!(b, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b | 0x20..=0x7e | 0x80..);
    let high = bytes.iter().filter(|b| **b >= 0x80).count();
    // Coded media has control characters within a few bytes. A cut-off last character is no fault.
    bytes.iter().all(plain)
        && (high * 4 <= bytes.len() || std::str::from_utf8(bytes).map_or_else(|e| e.error_len().is_none(), |_| true))
}

/// Formats without a beginning: a server hands out whatever it has at that moment.
fn in_mid_stream(bytes: &[u8], over: bool) -> Option<Container> {
    if is_ts(bytes, over) {
        return Some(Container::MpegTs);
    }
    if let Some(container) = frames(bytes, over) {
        return Some(container);
    }
    // A program stream repeats its pack header; bits 7 and 6 of the byte behind it tell the version.
    let pack = |w: &[u8]| w.starts_with(&[0, 0, 1, 0xba]) && (w[4] & 0xc0 == 0x40 || w[4] & 0xf0 == 0x20);
    if bytes.windows(5).any(pack) {
        return Some(Container::MpegPs);
    }
    None
}

/// MPEG-TS: the sync byte five times at the distance of a packet (188 bytes, 192 with a time stamp in
/// front, 204 with error correction), from wherever it begins.
fn is_ts(bytes: &[u8], over: bool) -> bool {
    const TIMES: usize = 5;
    [188, 192, 204].into_iter().any(|distance| {
        (0..bytes.len()).any(|at| {
            let mut found = bytes[at..].iter().step_by(distance).take(TIMES);
            let packets = found.by_ref().take_while(|b| **b == 0x47).count();
            if packets == TIMES {
                return true;
            }
            // The whole of a very short recording, from its first byte.
            over && at == 0 && packets >= 2 && (packets - 1) * distance + 188 + distance > bytes.len()
        })
    })
}

/// MP3 or ADTS: frames whose lengths lead from one header to the next. Four in a row from anywhere (chance
/// makes one header of 2,000 bytes or so), two from the very start or to the very end.
fn frames(bytes: &[u8], over: bool) -> Option<Container> {
    (0..bytes.len().saturating_sub(3)).find_map(|start| {
        let mut at = start;
        let mut first: Option<Frame> = None;
        let mut count = 0;
        while let Some(frame) = bytes.get(at..).and_then(Frame::read) {
            if first.is_some_and(|f| !f.is_like(frame)) {
                return None;
            }
            first = Some(frame);
            count += 1;
            at += frame.len;
            if count == 4 {
                return Some(frame.container);
            }
        }
        let to_the_end = over && at + 3 >= bytes.len() && start < 2048;
        if to_the_end && count >= 2 { first.map(|f| f.container) } else { None }
    })
}

/// A header of an audio frame.
#[derive(Clone, Copy)]
struct Frame {
    container: Container,
    /// Version, layer and sampling rate: the same in all frames of a stream.
    sort: u16,
    /// Bytes from this header to the next one.
    len: usize,
}

impl Frame {
    fn is_like(self, other: Self) -> bool {
        self.container == other.container && self.sort == other.sort
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..4)?;
        if head[0] != 0xff || head[1] & 0xe0 != 0xe0 {
            return None;
        }
        if head[1] & 0x06 == 0 { Self::read_adts(bytes) } else { Self::read_mpeg(head) }
    }

    /// ISO 13818-7, 6.2: sync, layer 0, sampling rate index below 13, length of 13 bits.
    fn read_adts(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..6)?;
        let rate = head[2] >> 2 & 0x0f;
        let len = usize::from(head[3] & 3) << 11 | usize::from(head[4]) << 3 | usize::from(head[5] >> 5);
        if head[1] & 0xf0 != 0xf0 || rate > 12 || len < 8 {
            return None;
        }
        Some(Self { container: Container::Adts, sort: u16::from(head[1] & 0x0e) << 8 | u16::from(head[2] & 0xfc), len })
    }

    /// ISO 11172-3, 2.4.2.3, and the lower rates of ISO 13818-3.
    fn read_mpeg(head: &[u8]) -> Option<Self> {
        const V1_L1: [u32; 15] = [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448];
        const V1_L2: [u32; 15] = [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
        const V1_L3: [u32; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
        const V2_L1: [u32; 15] = [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
        const V2_L23: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
        let version = head[1] >> 3 & 3; // 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
        let layer = 4 - (head[1] >> 1 & 3);
        let table = match (version, layer) {
            (1, _) => return None,
            (3, 1) => V1_L1,
            (3, 2) => V1_L2,
            (3, _) => V1_L3,
            (_, 1) => V2_L1,
            _ => V2_L23,
        };
        // Index 0 is "free format", which says no length.
        let kbit = *table.get(usize::from(head[2] >> 4)).filter(|k| **k > 0)?;
        let rate = [44_100, 48_000, 32_000].get(usize::from(head[2] >> 2 & 3))? >> [2, 0, 1, 0][usize::from(version)];
        let padding = u32::from(head[2] >> 1 & 1);
        let len = match layer {
            1 => (12_000 * kbit / rate + padding) * 4,
            3 if version != 3 => 72_000 * kbit / rate + padding,
            _ => 144_000 * kbit / rate + padding,
        };
        let sort = u16::from(head[1] & 0x1e) << 8 | u16::from(head[2] & 0x0c);
        Some(Self { container: Container::Mp3, sort, len: usize::try_from(len).ok()? })
    }
}

#[cfg(test)]
mod tests;
