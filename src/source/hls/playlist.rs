//! The text of a playlist -> what it says. Lines that cannot be read are left out: half a playlist is
//! better than none.

use quick_m3u8::HlsLine;
use quick_m3u8::config::{ParsingOptions, ParsingOptionsBuilder};
use quick_m3u8::custom_parsing::line;
use quick_m3u8::tag::KnownTag;
use quick_m3u8::tag::hls::{self, Method, Tag};
use url::Url;

use crate::domain::hls::{
    AnyPlaylist, AudioRendition, ByteRange, InitSection, Key, MasterPlaylist, MediaPlaylist, MediaSegment, Variant,
};
use crate::domain::time::Ms;

/// No media segment lasts longer: what is written there is a slip. Milliseconds.
const MAX_DURATION_MS: f64 = 3_600_000.0;

/// Reads a playlist that was found at `base`. `None`: it is none.
#[must_use]
pub fn read(bytes: &[u8], base: &Url) -> Option<AnyPlaylist> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if !text.starts_with("#EXTM3U") {
        return None;
    }
    let options = options();
    let mut reader = Reader::new(base);
    for text in text.lines() {
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        // One line at a time, so that a bad one costs no other.
        match line::parse(text, &options).map(|line| line.parsed) {
            Ok(HlsLine::KnownTag(KnownTag::Hls(tag))) => reader.tag(tag),
            Ok(HlsLine::UnknownTag(_)) => reader.other(text),
            Ok(HlsLine::Uri(uri)) => reader.uri(uri.trim()),
            _ => {}
        }
    }
    reader.end()
}

/// What is left out here is read by [`Reader::other`], which is more patient than the crate: a target
/// duration with a fraction and a date without a colon in its zone (ffmpeg's) are common.
fn options() -> ParsingOptions {
    ParsingOptionsBuilder::new()
        .with_parsing_for_media_sequence()
        .with_parsing_for_endlist()
        .with_parsing_for_byterange()
        .with_parsing_for_discontinuity()
        .with_parsing_for_key()
        .with_parsing_for_map()
        .with_parsing_for_gap()
        .with_parsing_for_media()
        .with_parsing_for_stream_inf()
        .build()
}

/// Where a relative address leads. A password of the address where it was found goes along to its own host.
pub(super) fn join(base: &Url, uri: &str) -> Option<Url> {
    let mut url = base.join(uri).ok()?;
    if url.origin() == base.origin() && url.username().is_empty() && url.password().is_none() {
        let _ = url.set_username(base.username());
        let _ = url.set_password(base.password());
    }
    Some(url)
}

struct Reader<'a> {
    base: &'a Url,
    master: MasterPlaylist,
    playlist: MediaPlaylist,
    is_master: bool,
    is_media: bool,
    sequence: u64,
    /// Of the next address in a master playlist.
    variant: Option<Variant>,
    /// Of the next media segment.
    duration_ms: Option<i64>,
    range: Option<(u64, Option<u64>)>,
    program_date_time: Option<Ms>,
    /// `program_date_time` is written with it, and not counted on from the one before.
    dated_here: bool,
    discontinuity: bool,
    gap: bool,
    /// Of all media segments that follow.
    map: Option<InitSection>,
    key: Option<Key>,
    /// Where the last range of bytes ended, and of which resource.
    range_end: Option<(Url, u64)>,
}

impl<'a> Reader<'a> {
    fn new(base: &'a Url) -> Self {
        Self {
            base,
            master: MasterPlaylist::default(),
            playlist: MediaPlaylist::default(),
            is_master: false,
            is_media: false,
            sequence: 0,
            variant: None,
            duration_ms: None,
            range: None,
            program_date_time: None,
            dated_here: false,
            discontinuity: false,
            gap: false,
            map: None,
            key: None,
            range_end: None,
        }
    }

    fn end(mut self) -> Option<AnyPlaylist> {
        if self.is_master && !self.is_media {
            return Some(AnyPlaylist::Master(self.master));
        }
        if self.playlist.target_ms == 0 {
            self.playlist.target_ms = self.playlist.segments.iter().map(|c| c.duration_ms).max().unwrap_or(0);
        }
        self.is_media.then_some(AnyPlaylist::Media(self.playlist))
    }

    fn resolve(&self, uri: &str) -> Option<Url> {
        join(self.base, uri)
    }

    fn tag(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::MediaSequence(tag) => {
                self.is_media = true;
                self.sequence = tag.media_sequence();
            }
            Tag::Endlist(_) => self.playlist.ended = true,
            Tag::Byterange(tag) => self.range = Some((tag.length(), tag.offset())),
            Tag::Discontinuity(_) => {
                self.discontinuity = true;
                // What is not dated anew has no date. (The order of tags is free.)
                if !self.dated_here {
                    self.program_date_time = None;
                }
            }
            Tag::Gap(_) => self.gap = true,
            Tag::Key(tag) => self.key(&tag),
            Tag::Map(tag) => {
                let range = tag.byterange().map(|r| ByteRange { offset: r.offset, length: r.length });
                let map = self.resolve(tag.uri()).map(|url| InitSection { url, range, key: self.key.clone() });
                let path = |map: &Option<InitSection>| map.as_ref().map(|map| map.url.path().to_owned());
                // Two paths in one playlist are two starts, though both may end in the same name: a signature
                // in the path is the same for all of a playlist.
                self.discontinuity |= self.map.is_some() && path(&self.map) != path(&map);
                self.map = map;
            }
            Tag::Media(tag) if tag.media_type().known() == Some(&hls::MediaType::Audio) => {
                let url = tag.uri().and_then(|uri| self.resolve(uri));
                self.master.audio_renditions.push(AudioRendition {
                    group: tag.group_id().to_owned(),
                    url,
                    default: tag.default(),
                });
            }
            Tag::StreamInf(tag) => {
                self.is_master = true;
                self.variant = Some(Variant {
                    url: self.base.clone(),
                    bandwidth: tag.bandwidth(),
                    lines: tag.resolution().and_then(|size| u32::try_from(size.height).ok()),
                    codecs: tag.codecs().map(str::to_owned),
                    audio_group: tag.audio().map(str::to_owned),
                });
            }
            _ => {}
        }
    }

    fn key(&mut self, tag: &hls::Key<'_>) {
        let method = tag.method();
        if method.known() == Some(&Method::None) {
            self.key = None;
            return;
        }
        let usable = method.known() == Some(&Method::Aes128) && tag.keyformat() == "identity";
        let url = tag.uri().and_then(|uri| self.resolve(uri));
        match (usable, url) {
            (true, Some(url)) => self.key = Some(Key::Aes128 { url, iv: tag.iv().and_then(iv) }),
            // The same media segments may be offered under several systems: one that is understood is kept.
            _ if matches!(self.key, Some(Key::Aes128 { .. })) && tag.keyformat() != "identity" => {}
            _ => self.key = Some(Key::Other(method.as_cow().chars().take(40).collect())),
        }
    }

    /// Tags that the crate is not asked for, or could not read.
    fn other(&mut self, text: &str) {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        match name {
            "#EXTINF" => {
                self.is_media = true;
                let seconds = value.split(',').next().and_then(|n| n.trim().parse::<f64>().ok());
                // An unreadable length must not cost the media segment.
                self.duration_ms = Some(seconds.and_then(milliseconds).unwrap_or(self.playlist.target_ms));
            }
            "#EXT-X-TARGETDURATION" => {
                self.is_media = true;
                self.playlist.target_ms = value.trim().parse::<f64>().ok().and_then(milliseconds).unwrap_or(0);
            }
            "#EXT-X-PROGRAM-DATE-TIME" => {
                self.program_date_time = date(value.trim());
                self.dated_here = true;
            }
            "#EXT-X-STREAM-INF" => {
                // Without the rate, which it should have.
                self.is_master = true;
                let (url, bandwidth) = (self.base.clone(), 0);
                self.variant = Some(Variant { url, bandwidth, lines: None, codecs: None, audio_group: None });
            }
            _ => {}
        }
    }

    fn uri(&mut self, uri: &str) {
        let url = self.resolve(uri);
        if let Some(variant) = self.variant.take() {
            self.master.variants.extend(url.map(|url| Variant { url, ..variant }));
            return;
        }
        let Some(duration_ms) = self.duration_ms.take() else { return };
        let sequence = self.sequence;
        self.sequence = self.sequence.saturating_add(1);
        let (range, program_date_time) = (self.range.take(), self.program_date_time);
        let (discontinuity, gap) = (std::mem::take(&mut self.discontinuity), std::mem::take(&mut self.gap));
        self.program_date_time = program_date_time.map(|program_date_time| program_date_time.plus(duration_ms));
        self.dated_here = false;
        let Some(url) = url else { return };
        let range = range.map(|(length, offset)| {
            let follows = self.range_end.as_ref().filter(|(of, _)| *of == url).map_or(0, |(_, end)| *end);
            ByteRange { offset: offset.unwrap_or(follows), length }
        });
        self.range_end = range.map(|range| (url.clone(), range.offset.saturating_add(range.length)));
        self.playlist.segments.push(MediaSegment {
            sequence,
            url,
            range,
            duration_ms,
            program_date_time,
            discontinuity,
            gap,
            map: self.map.clone(),
            key: self.key.clone(),
        });
    }
}

fn milliseconds(seconds: f64) -> Option<i64> {
    seconds.is_finite().then(|| (seconds * 1000.0).round().clamp(0.0, MAX_DURATION_MS) as i64)
}

/// `2010-12-27T20:00:00.000Z`, also with `+0100` and, wrongly, without a zone, which is taken for UTC.
fn date(text: &str) -> Option<Ms> {
    let zoned = chrono::DateTime::parse_from_rfc3339(text)
        .or_else(|_| chrono::DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .map(|at| at.timestamp_millis());
    let plain = || {
        chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|at| at.and_utc().timestamp_millis())
    };
    zoned.or_else(|_| plain()).ok().map(Ms)
}

/// `0x` and up to 32 hex digits.
fn iv(text: &str) -> Option<[u8; 16]> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let value = u128::from_str_radix(digits, 16).ok()?;
    Some(value.to_be_bytes())
}

#[cfg(test)]
#[path = "playlist_tests.rs"]
mod tests;
