//! Decodes single places of a finished file: does something come out of each track?

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use super::{CancellationToken, MediaError, Result, child};
use crate::domain::media::{ClockRange, TrackKind};
use crate::plan::presented::PresentedSpan;

/// So much is decoded at each place, milliseconds.
const LENGTH_MS: i64 = 2000;

/// A track that has less than this at a place need not show anything there, milliseconds.
const LEAST_MS: i64 = 1000;

/// More places than this are not decoded: of many seams, those that lie evenly in the file.
const MOST: usize = 24;

/// The whole file.
const WHOLE: ClockRange = ClockRange { from_byte: 0, to_byte: None, shift_ms: 0, start_ms: 0 };

/// A place of a file at which a track has media and nothing comes out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// Number of the track.
    pub track: u32,
    /// From here, milliseconds from the start of the file.
    pub from_ms: i64,
    /// End of the range, milliseconds.
    pub to_ms: i64,
}

/// Places worth a look: the first and the last seconds, and each seam.
#[must_use]
pub fn places(presented: &[PresentedSpan], seams_ms: &[i64]) -> Vec<i64> {
    let start = presented.iter().map(|s| s.out_start_ms).min().unwrap_or_default();
    let end = presented.iter().map(|s| s.out_end_ms).max().unwrap_or_default();
    let mut seams: Vec<i64> = seams_ms.iter().map(|at| (at - LENGTH_MS / 2).max(start)).collect();
    seams.sort_unstable();
    seams.dedup_by(|next, last| *next - *last < LENGTH_MS / 2);
    let step = seams.len().div_ceil(MOST - 2).max(1);
    let mut out: Vec<i64> = seams.into_iter().step_by(step).chain([start, (end - LENGTH_MS).max(start)]).collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// Decodes a file at these places, and says which tracks show nothing although they have media there.
///
/// # Errors
/// When ffmpeg is missing or dies, or on cancellation.
pub fn undecodable(
    path: &Path,
    presented: &[PresentedSpan],
    places: &[i64],
    cancel: &CancellationToken,
) -> Result<Vec<Undecodable>> {
    // In the order in which ffmpeg is asked for them.
    let mut tracks: Vec<(TrackKind, u32)> = presented.iter().map(|s| (s.kind, s.track)).collect();
    tracks.sort_unstable();
    tracks.dedup();
    let mut out = Vec::new();
    for from_ms in places.iter().copied() {
        if cancel.is_cancelled() {
            return Err(MediaError::Cancelled);
        }
        let to_ms = from_ms + LENGTH_MS;
        let frames = decode(path, from_ms)?;
        for (n, (_, track)) in tracks.iter().enumerate() {
            let shared = |s: &PresentedSpan| s.out_end_ms.min(to_ms) - s.out_start_ms.max(from_ms);
            let has_ms: i64 = presented.iter().filter(|s| s.track == *track).map(|s| shared(s).max(0)).sum();
            if has_ms >= LEAST_MS && !frames.contains_key(&n) {
                out.push(Undecodable { track: *track, from_ms, to_ms });
            }
        }
    }
    Ok(out)
}

/// How many frames come out of each stream, by its place in the file, within [`LENGTH_MS`] from there.
fn decode(path: &Path, from_ms: i64) -> Result<BTreeMap<usize, u64>> {
    let seconds = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let mut args: Vec<OsString> = ["-nostdin", "-v", "error", "-threads", "1"].map(Into::into).into();
    args.extend(["-ss".into(), seconds(from_ms.max(0)).into()]);
    args.extend(child::input(path, WHOLE, &[]));
    args.extend(["-map", "0:v?", "-map", "0:a?", "-t"].map(OsString::from));
    args.extend([seconds(LENGTH_MS).into(), "-f".into(), "framecrc".into(), "-".into()]);
    let (child, stdout) = child::spawn("ffmpeg", &args)?;
    let mut frames = BTreeMap::new();
    for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
        if let Some(stream) = line.split(',').next().and_then(|field| field.trim().parse::<usize>().ok()) {
            *frames.entry(stream).or_default() += 1;
        }
    }
    let (status, _) = child.wait();
    child::died("ffmpeg", status)?;
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::interval::Interval;
    use crate::domain::time::Ms;

    #[test]
    fn the_ends_and_the_seams_are_looked_at() {
        let wall = Interval::new(Ms(0), Ms(60_000));
        let span = PresentedSpan { track: 1, kind: TrackKind::Video, out_start_ms: 0, out_end_ms: 60_000, wall };
        assert_eq!(places(&[span], &[20_000, 20_100, 40_000]), [0, 19_000, 39_000, 58_000]);
        let many: Vec<i64> = (1..500).map(|n| n * 3000).collect();
        let long = PresentedSpan { out_end_ms: 1_500_000, ..span };
        assert!(places(&[long], &many).len() <= MOST);
    }
}
