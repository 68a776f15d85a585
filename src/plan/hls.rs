//! HLS: which variant is recorded, which chunks of a playlist are taken next, and when it is read again.

mod history;

use url::Url;

pub use self::history::{SegmentHistory, SegmentRef};
use crate::domain::hls::{MasterPlaylist, MediaPlaylist, MediaSegment, Quality, Variant};
use crate::domain::time::{Ms, SECOND};

/// A playlist that has had nothing new for so many target durations stands still.
const STALE_TARGETS: i64 = 2;

/// A pause of the encoder that is a gap of the recording, milliseconds: the time after which a tape calls a stall of HLS.
const LONG_PAUSE_MS: i64 = 30 * SECOND;

/// The newest chunk's date may lie ahead of our clock by so much. Milliseconds.
const AHEAD_MS: i64 = 5 * SECOND;

/// The newest chunk's date may lie behind our clock by so much: the way from the camera to the server's
/// playlist. Dates further off are of a wrong clock, or in a wrong zone, and are not used. Milliseconds.
const BEHIND_MS: i64 = 120 * SECOND;

/// Between two readings of a playlist, at least. Milliseconds.
const RELOAD_MIN_MS: i64 = 200;

/// Longest delay between two reloads of a playlist, milliseconds.
const RELOAD_MAX_MS: i64 = 6 * SECOND;

/// A server may fail for so long in any case. Milliseconds.
const PATIENCE_MIN_MS: i64 = 6 * SECOND;

/// Longest outage of a server that is tolerated, milliseconds. It is below the 30 s after which a tape ends a stalled
/// HLS connection.
const PATIENCE_MAX_MS: i64 = 28 * SECOND;

/// Sound that stands apart may bring nothing for so long in any case, and its playlist may be missing for as long at most.
/// Milliseconds.
const SOUND_PATIENCE_MS: i64 = 20 * SECOND;

/// Its playlist may be missing for so long in any case: it is written after that of the picture. Milliseconds.
const SOUND_WAIT_MIN_MS: i64 = 4 * SECOND;

/// From where on a playlist is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResumePoint {
    /// Index of the first chunk; the number of chunks where there is nothing new.
    pub at: usize,
    /// So many chunks left the window before they could be taken.
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

/// True where two chunks cannot stand in one file: the start of the MP4 is another one, or its clock. (In
/// MPEG-TS a clock that begins anew is found when the file is looked at.) `muxed`: they are put together with
/// those of another playlist, and whoever does that goes by one clock, also in MPEG-TS.
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

/// When each chunk began to be made: by its date, where these can be believed; else as if the newest had
/// been complete just now, which is a little too late.
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

/// True where the dates of a playlist that was read at `now` can be those of a clock that is right.
#[must_use]
pub fn dates_are_right(playlist: &MediaPlaylist, now: Ms) -> bool {
    let newest = playlist.segments.iter().rev().find_map(MediaSegment::end_date_time);
    newest.is_some_and(|until| (-AHEAD_MS..=BEHIND_MS).contains(&now.since(until)))
}

/// How long after the last reading began a playlist is read again, milliseconds. `news`: it had a new chunk.
#[must_use]
pub fn reload_after(playlist: &MediaPlaylist, news: bool) -> i64 {
    let last = playlist.segments.last().map_or(0, |segment| segment.duration_ms);
    let usual = match (playlist.target_ms, last) {
        (0, 0) => RELOAD_MAX_MS,
        (0, last) => last,
        (target, 0) => target,
        // A last chunk that is short makes the next one come early.
        (target, last) => target.min(last),
    };
    (if news { usual } else { usual / 2 }).clamp(RELOAD_MIN_MS, RELOAD_MAX_MS)
}

/// How long a server may fail before its connection is given up, milliseconds. Where it is the only one, as
/// long as a tape waits for bytes: whatever comes next would only ask the same server. (Its playlist says
/// little of how long it holds a chunk: that of a young stream is still growing.) Where there is another
/// mirror, half of what the playlist holds, so that the other one still has what is missing.
#[must_use]
pub fn outage_limit_ms(playlist: &MediaPlaylist, alone: bool) -> i64 {
    if alone { PATIENCE_MAX_MS } else { (playlist.held_ms() / 2).clamp(PATIENCE_MIN_MS, PATIENCE_MAX_MS) }
}

/// How long the picture waits for the playlist of its sound before it goes on without, milliseconds: half of what its own
/// holds, so that nothing of it is lost, and longer where that does not change any more.
#[must_use]
pub fn audio_playlist_wait_ms(picture: &MediaPlaylist) -> i64 {
    let half = if picture.ended { i64::MAX } else { picture.held_ms() / 2 };
    half.clamp(SOUND_WAIT_MIN_MS, SOUND_PATIENCE_MS)
}

/// How long sound that stands apart may bring nothing before it is given up, milliseconds: the picture waits for it. A
/// chunk may come late by as long as it is.
#[must_use]
pub fn audio_stall_limit_ms(audio: &MediaPlaylist) -> i64 {
    audio.target_ms.saturating_mul(2).clamp(SOUND_PATIENCE_MS, PATIENCE_MAX_MS)
}

/// What is recorded of a master playlist.
#[derive(Clone, Debug, PartialEq)]
pub struct VariantChoice {
    /// The media playlist.
    pub url: Url,
    /// The media playlist of its sound, where that is not inside.
    pub audio: Option<Url>,
}

/// The variants in the order in which they are tried.
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
    // Of two that are equal the one with its sound inside: it is one file as it is.
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

/// The playlist of a variant's sound, where it is not inside.
fn audio_of(master: &MasterPlaylist, variant: &Variant) -> Option<Url> {
    let group = variant.audio_group.as_ref()?;
    let audio_renditions = || master.audio_renditions.iter().filter(|s| s.group == *group);
    if audio_renditions().any(|s| s.url.is_none()) || is_audio_only(variant) {
        return None;
    }
    audio_renditions().max_by_key(|s| s.default).and_then(|s| s.url.clone())
}

/// True where a variant is known to have no picture.
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
