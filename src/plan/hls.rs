//! HLS: which variant is recorded, which media segments of a playlist are taken next, and when it is read again.

mod history;

use url::Url;

pub use self::history::{SegmentHistory, SegmentRef};
use crate::domain::hls::{MasterPlaylist, MediaPlaylist, MediaSegment, Quality, Variant};
use crate::domain::time::{Ms, SECOND};

/// Number of target durations without a new media segment after which a playlist counts as stalled.
const STALE_TARGETS: i64 = 2;

/// A pause of the encoder that is a gap of the recording, milliseconds: the time after which a tape calls a stall of HLS.
const LONG_PAUSE_MS: i64 = 30 * SECOND;

/// Tolerance for a newest EXT-X-PROGRAM-DATE-TIME that lies ahead of our clock, milliseconds.
const AHEAD_MS: i64 = 5 * SECOND;

/// Greatest age of the newest EXT-X-PROGRAM-DATE-TIME, milliseconds: the delay from the camera to the server's
/// playlist. Older dates come from a wrong clock or time zone and are ignored.
const BEHIND_MS: i64 = 120 * SECOND;

/// Shortest delay between two reloads of a playlist, milliseconds.
const RELOAD_MIN_MS: i64 = 200;

/// Longest delay between two reloads of a playlist, milliseconds.
const RELOAD_MAX_MS: i64 = 6 * SECOND;

/// Shortest outage of a server that is tolerated, milliseconds.
const PATIENCE_MIN_MS: i64 = 6 * SECOND;

/// Longest outage of a server that is tolerated, milliseconds. It is below the 30 s after which a tape ends a stalled
/// HLS connection.
const PATIENCE_MAX_MS: i64 = 28 * SECOND;

/// Shortest time without data after which a demuxed audio rendition is given up, and the longest wait for its playlist,
/// milliseconds.
const SOUND_PATIENCE_MS: i64 = 20 * SECOND;

/// Shortest wait for the playlist of a demuxed audio rendition, milliseconds: encoders write it after the video's.
const SOUND_WAIT_MIN_MS: i64 = 4 * SECOND;

/// Where in a playlist reading continues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResumePoint {
    /// Index of the first media segment to read; the number of segments where nothing is new.
    pub at: usize,
    /// Number of media segments that left the playlist before they could be read.
    pub missed: u64,
    /// The encoder began anew: what is here is new, whatever its numbers and names say.
    pub reset: bool,
    /// Index of the newest segment that was passed, where the playlist still has it.
    pub again: Option<usize>,
}

impl ResumePoint {
    /// The place behind the segment that this one is at.
    #[must_use]
    pub fn next(self) -> Self {
        Self { at: self.at + 1, ..Self::default() }
    }

    /// True where the segment at this place was passed before, and is taken once more.
    #[must_use]
    pub fn is_again(self) -> bool {
        self.again == Some(self.at)
    }
}

/// Where a connection begins. `history`: what the connections before it have passed, which this one goes on from. The
/// newest of them is taken once more, so that the seam between the two files is found by equal packets; the file of a
/// segment that was cut in the middle ends with it. Nothing made before `from` is taken, as far as that is known at
/// `now`. `muxed`: see [`needs_new_file`].
#[must_use]
pub fn first_segment(
    playlist: &MediaPlaylist,
    history: &mut SegmentHistory,
    now: Ms,
    from: Ms,
    muxed: bool,
) -> ResumePoint {
    let segments = &playlist.segments;
    let earliest = match playlist.ended && !dates_are_right(playlist, now) {
        // Nobody knows when it was made: the whole of it is wanted.
        true => 0,
        false => segment_starts(playlist, now).iter().position(|start| *start >= from).unwrap_or(segments.len()),
    };
    let is_new = history.is_new();
    let quiet_ms = now.since(history.news_at());
    let point = history.locate(playlist, now);
    let again = point.again.filter(|again| {
        let next = segments.get(point.at);
        // A playlist that stands still: taken with each connection anew, its last segment would stand in many files. When
        // it goes on, all that is new was made after a pause, which an overlap of the files would hide.
        let is_still = quiet_ms > STALE_TARGETS * playlist.target_ms + SECOND;
        let new_ms: i64 = segments[point.at.min(segments.len())..].iter().map(|segment| segment.duration_ms).sum();
        let is_stale = is_still && (next.is_none() || (quiet_ms > LONG_PAUSE_MS && new_ms < quiet_ms / 2));
        let is_over = next.is_none() && playlist.ended;
        // Where the file must be another one behind it, nobody would ever come past it.
        let is_before_new_file = next.is_some_and(|next| needs_new_file(&segments[*again], next, muxed));
        !(is_stale || is_over || is_before_new_file || *again < earliest)
    });
    let at = again.unwrap_or(point.at).max(earliest);
    if is_new || at > point.at {
        for segment in &segments[point.at.min(at)..at] {
            history.pass(segment);
        }
    }
    ResumePoint { at, again, ..point }
}

/// True where two media segments cannot be stored in one file: their init section differs, or the MP4 timestamps
/// restart. (Restarted timestamps in MPEG-TS are found later, when the file is indexed.) `muxed`: the segments are
/// multiplexed with another rendition, which needs continuous timestamps in MPEG-TS too.
#[must_use]
pub fn needs_new_file(before: &MediaSegment, next: &MediaSegment, muxed: bool) -> bool {
    if muxed && next.discontinuity {
        return true;
    }
    match (&before.map, &next.map) {
        (Some(before), Some(start)) => !start.is(before) || next.discontinuity,
        (before, start) => before.is_some() || start.is_some(),
    }
}

/// Start of each media segment in wall time: its EXT-X-PROGRAM-DATE-TIME where the dates are plausible; otherwise
/// computed back from `now`, as if the newest segment had just been completed, which is slightly too late.
#[must_use]
pub fn segment_starts(playlist: &MediaPlaylist, now: Ms) -> Vec<Ms> {
    let dated = dates_are_right(playlist, now);
    let mut at = now;
    let mut out: Vec<Ms> = Vec::with_capacity(playlist.segments.len());
    for segment in playlist.segments.iter().rev() {
        at = at.minus(segment.duration_ms);
        if let (true, Some(program_date_time)) = (dated, segment.program_date_time) {
            at = program_date_time;
        }
        out.push(at);
    }
    out.reverse();
    out
}

/// True where the dates of a playlist read at `now` are plausible (see `AHEAD_MS`, `BEHIND_MS`).
#[must_use]
pub fn dates_are_right(playlist: &MediaPlaylist, now: Ms) -> bool {
    let newest = playlist.segments.iter().rev().find_map(MediaSegment::end_date_time);
    newest.is_some_and(|until| (-AHEAD_MS..=BEHIND_MS).contains(&now.since(until)))
}

/// Delay from the start of the last reload to the next one, milliseconds. `news`: the last reload had a new segment.
#[must_use]
pub fn reload_after(playlist: &MediaPlaylist, news: bool) -> i64 {
    let last = playlist.segments.last().map_or(0, |segment| segment.duration_ms);
    let usual = match (playlist.target_ms, last) {
        (0, 0) => RELOAD_MAX_MS,
        (0, last) => last,
        (target, 0) => target,
        // A last media segment that is short makes the next one come early.
        (target, last) => target.min(last),
    };
    (if news { usual } else { usual / 2 }).clamp(RELOAD_MIN_MS, RELOAD_MAX_MS)
}

/// Longest outage of a server before its connection is given up, milliseconds. Where it is the only mirror: as long as
/// a tape waits for bytes, because a new connection would ask the same server. Otherwise half of the playlist's length,
/// so that the other mirror still lists what is missing.
#[must_use]
pub fn outage_limit_ms(playlist: &MediaPlaylist, alone: bool) -> i64 {
    if alone { PATIENCE_MAX_MS } else { (playlist.held_ms() / 2).clamp(PATIENCE_MIN_MS, PATIENCE_MAX_MS) }
}

/// How long the video waits for the playlist of its audio before it is recorded alone, milliseconds: half the length of
/// its own playlist, so that no segment is lost; longer where that playlist has ended.
#[must_use]
pub fn audio_playlist_wait_ms(picture: &MediaPlaylist) -> i64 {
    let half = if picture.ended { i64::MAX } else { picture.held_ms() / 2 };
    half.clamp(SOUND_WAIT_MIN_MS, SOUND_PATIENCE_MS)
}

/// Time without data after which demuxed audio is given up, milliseconds, since the video waits for it. Segments may be
/// late by their own duration, so it is twice the target duration.
#[must_use]
pub fn audio_stall_limit_ms(audio: &MediaPlaylist) -> i64 {
    audio.target_ms.saturating_mul(2).clamp(SOUND_PATIENCE_MS, PATIENCE_MAX_MS)
}

/// One selectable variant of a multivariant playlist.
#[derive(Clone, Debug, PartialEq)]
pub struct VariantChoice {
    /// Address of the media playlist.
    pub url: Url,
    /// Address of the audio rendition's media playlist; `None` where the audio is inside the variant.
    pub audio: Option<Url>,
}

/// Ranks the variants of a multivariant playlist by `quality`, best match first.
#[must_use]
pub fn rank_variants(master: &MasterPlaylist, quality: Quality) -> Vec<VariantChoice> {
    let mut variants: Vec<&Variant> = master.variants.iter().collect();
    let sound_only: Vec<&Variant> = variants.iter().copied().filter(|v| is_audio_only(v)).collect();
    if quality == Quality::Audio {
        let mut audio_renditions: Vec<VariantChoice> = Vec::new();
        if sound_only.is_empty() {
            let mut renditions: Vec<_> = master.audio_renditions.iter().filter(|s| s.url.is_some()).collect();
            renditions.sort_by_key(|audio| !audio.default);
            audio_renditions.extend(
                renditions.into_iter().filter_map(|s| Some(VariantChoice { url: s.url.clone()?, audio: None })),
            );
        } else {
            let mut best = sound_only;
            best.sort_by_key(|v| std::cmp::Reverse(v.bandwidth));
            audio_renditions.extend(best.into_iter().map(|v| VariantChoice { url: v.url.clone(), audio: None }));
        }
        if !audio_renditions.is_empty() {
            return audio_renditions;
        }
    } else if sound_only.len() < variants.len() {
        variants.retain(|v| !is_audio_only(v));
    }
    // Of two that are equal the one with its audio inside: it is one file as it is.
    let size = |v: &Variant| (v.lines.unwrap_or(0), audio_of(master, v).is_none(), v.bandwidth);
    variants.sort_by_key(|v| size(v));
    match quality {
        Quality::Best => variants.reverse(),
        Quality::Worst | Quality::Audio => {}
        Quality::Lines(lines) => {
            let (fits, more): (Vec<&Variant>, Vec<&Variant>) =
                variants.into_iter().partition(|v| v.lines.unwrap_or(0) <= lines);
            variants = fits.into_iter().rev().chain(more).collect();
        }
    }
    variants.into_iter().map(|v| VariantChoice { url: v.url.clone(), audio: audio_of(master, v) }).collect()
}

/// Address of a variant's audio rendition; `None` where the audio is inside the variant.
fn audio_of(master: &MasterPlaylist, variant: &Variant) -> Option<Url> {
    let group = variant.audio_group.as_ref()?;
    let audio_renditions = || master.audio_renditions.iter().filter(|s| s.group == *group);
    if audio_renditions().any(|s| s.url.is_none()) || is_audio_only(variant) {
        return None;
    }
    audio_renditions().max_by_key(|s| s.default).and_then(|s| s.url.clone())
}

/// True where the CODECS attribute lists audio codecs only.
fn is_audio_only(variant: &Variant) -> bool {
    const SOUND: [&str; 8] = ["mp4a", "ac-3", "ec-3", "opus", "flac", "vorb", "mp3", "alac"];
    let only_sound = |codecs: &String| {
        let mut words = codecs.split(',').map(|word| word.trim().to_ascii_lowercase()).peekable();
        words.peek().is_some() && words.all(|word| SOUND.iter().any(|s| word.starts_with(s)))
    };
    variant.lines.is_none() && variant.codecs.as_ref().is_some_and(only_sound)
}

#[cfg(test)]
#[path = "hls_tests.rs"]
mod tests;
