//! How much media a stream has brought, read from its bytes as they come.
//!
//! Bytes are no measure of a live stream: a server that sends NULs, one frame again and again, or a byte every two seconds
//! delivers nothing. What counts is media time: the timestamps of MPEG-TS, Matroska, Ogg, FLV and fragmented MP4, the
//! frames of MP3 and ADTS. Reading them costs a look at each packet's header; payloads are skipped.

mod ebml;
mod flv;
mod frames;
mod mp4;
mod mpegts;
mod ogg;
mod search;

use super::segment::Container;

/// A timestamp that is ahead by more than this is of another timeline, and its distance is no media. Microseconds.
const MAX_STEP_US: i64 = 10_000_000;

/// A timestamp that is behind by at most this is one of reordered video, of the other track, or of a clip that is played
/// again and again: it brings nothing new. One that is further behind begins another timeline. Microseconds.
const MAX_BACK_US: i64 = 5_000_000;

/// Tracks that are told apart. The oldest is forgotten for a new one: each song of chained Ogg has a track of its own.
const MAX_TRACKS: usize = 16;

/// Bytes of one header that are kept at most until it is whole.
const MAX_CARRY: usize = 8 << 20;

/// What a parser wants next of the bytes that it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// More bytes at the same place.
    More,
    /// These are done with; at least 1.
    Skip(u64),
}

/// The newest timestamp of one track, and how far it has come.
#[derive(Clone, Copy, Debug)]
struct Track {
    id: u32,
    newest_us: i64,
    media_us: i64,
}

/// What the parsers tell.
#[derive(Clone, Debug, Default)]
struct Progress {
    tracks: Vec<Track>,
    /// Something came that is media of this container but has no timestamp to go by.
    has_untimed: bool,
    has_advanced: bool,
}

impl Progress {
    /// A track has media at this time.
    fn at(&mut self, id: u32, us: i64) {
        let Some(track) = self.tracks.iter_mut().find(|track| track.id == id) else {
            if self.tracks.len() >= MAX_TRACKS {
                self.tracks.remove(0);
            }
            self.tracks.push(Track { id, newest_us: us, media_us: 0 });
            self.has_advanced = true;
            return;
        };
        let step = us.saturating_sub(track.newest_us);
        if (1..=MAX_STEP_US).contains(&step) {
            track.newest_us = us;
            track.media_us = track.media_us.saturating_add(step);
            self.has_advanced = true;
        } else if !(-MAX_BACK_US..=0).contains(&step) {
            track.newest_us = us;
        }
    }

    /// A track without timestamps has so much more media.
    fn add(&mut self, id: u32, us: i64) {
        let newest = self.tracks.iter().find(|track| track.id == id).map_or(0, |track| track.newest_us);
        self.at(id, newest.saturating_add(us));
    }
}

/// A container's headers.
#[derive(Clone, Debug)]
enum Parser {
    MpegTs(mpegts::MpegTs),
    Ebml(ebml::Ebml),
    Ogg(ogg::Ogg),
    Flv(flv::Flv),
    Frames(frames::Frames),
    Mp4(mp4::Mp4),
    /// One whose headers are not read: each byte counts as media, but for 0 where 0 is no silence.
    Untimed {
        is_silent: bool,
    },
    /// Nothing is known: media is looked for.
    Search(search::Search),
}

impl Parser {
    fn of(container: Container) -> Self {
        match container {
            Container::MpegTs => Self::MpegTs(mpegts::MpegTs::default()),
            Container::Matroska | Container::WebM => Self::Ebml(ebml::Ebml::default()),
            Container::Ogg => Self::Ogg(ogg::Ogg::default()),
            Container::Flv => Self::Flv(flv::Flv),
            Container::Mp3 | Container::Adts => Self::Frames(frames::Frames),
            Container::Mp4 => Self::Mp4(mp4::Mp4::default()),
            Container::Asf | Container::MpegPs | Container::Flac => Self::Untimed { is_silent: false },
            Container::Wav => Self::Untimed { is_silent: true },
            Container::Unknown => Self::Search(search::Search::default()),
        }
    }

    fn step(&mut self, bytes: &[u8], progress: &mut Progress) -> Step {
        match self {
            Self::MpegTs(parser) => parser.step(bytes, progress),
            Self::Ebml(parser) => parser.step(bytes, progress),
            Self::Ogg(parser) => parser.step(bytes, progress),
            Self::Flv(parser) => parser.step(bytes, progress),
            Self::Frames(parser) => parser.step(bytes, progress),
            Self::Mp4(parser) => parser.step(bytes, progress),
            Self::Untimed { is_silent } => {
                progress.has_untimed |= *is_silent || bytes.iter().any(|byte| *byte != 0);
                skip(bytes.len())
            }
            Self::Search(_) => Step::More,
        }
    }
}

fn skip(bytes: usize) -> Step {
    if bytes == 0 { Step::More } else { Step::Skip(bytes as u64) }
}

/// The media time of one stream of bytes.
#[derive(Clone, Debug)]
pub struct MediaClock {
    parser: Parser,
    progress: Progress,
    /// A header that is not whole yet.
    carry: Vec<u8>,
    /// Bytes to come that are not looked at.
    skip: u64,
    container: Container,
}

impl MediaClock {
    /// For a stream of a container; of an unknown one, media is looked for behind what is none.
    #[must_use]
    pub fn new(container: Container) -> Self {
        Self { parser: Parser::of(container), progress: Progress::default(), carry: Vec::new(), skip: 0, container }
    }

    /// The container, also where it was found later on.
    #[must_use]
    pub fn container(&self) -> Container {
        self.container
    }

    /// The longest track's media so far, milliseconds; 0 where the container's time is not read.
    #[must_use]
    pub fn media_ms(&self) -> i64 {
        self.progress.tracks.iter().map(|track| track.media_us).max().unwrap_or(0) / 1000
    }

    /// True where a timestamp was read.
    #[must_use]
    pub fn has_timestamps(&self) -> bool {
        !self.progress.tracks.is_empty()
    }

    /// The next bytes of the stream. True where they brought media: a later timestamp of any track; where there are none
    /// to go by, content of that container.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        (self.progress.has_advanced, self.progress.has_untimed) = (false, false);
        if let Parser::Search(search) = &mut self.parser {
            let Some((container, found)) = search.push(bytes) else { return false };
            *self = Self::new(container);
            self.parse(&found);
            self.progress.has_advanced = true;
        } else {
            self.parse(bytes);
        }
        self.progress.has_advanced || (self.progress.has_untimed && self.progress.tracks.is_empty())
    }

    fn parse(&mut self, bytes: &[u8]) {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= skipped as u64;
        if let Parser::Mp4(mp4) = &self.parser {
            self.progress.has_untimed |= skipped > 0 && mp4.has_no_times();
        }
        let bytes = &bytes[skipped..];
        if bytes.is_empty() {
            return;
        }
        let carried = std::mem::take(&mut self.carry);
        let joined: Vec<u8>;
        let data = if carried.is_empty() {
            bytes
        } else {
            joined = [carried.as_slice(), bytes].concat();
            &joined
        };
        let mut at = 0;
        while at < data.len() {
            match self.parser.step(&data[at..], &mut self.progress) {
                Step::More => break,
                Step::Skip(n) => {
                    let here = usize::try_from(n).unwrap_or(usize::MAX).min(data.len() - at);
                    at += here;
                    self.skip = n - here as u64;
                }
            }
        }
        if data.len() - at <= MAX_CARRY {
            self.carry = data[at..].to_vec();
        }
    }
}

#[cfg(test)]
mod tests;
