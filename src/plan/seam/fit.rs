//! Packets of two segments laid side by side: at which difference of their numbers are they equal, and which of these
//! differences is to be believed?

use std::collections::HashMap;

use super::{SAME_CLOCK_MS, TrackEdge};

/// Tolerance for rounded timestamps, milliseconds, where no duration is estimated.
const ROUNDING_MS: i64 = 4;
/// Equal packets that are not unique must agree with the arrival times so well.
const REPEATED_MS: i64 = 3000;
/// Unique equal packets need to agree only so well: an anchor is late by a server's whole burst where
/// the connection ended inside it.
const UNIQUE_MS: i64 = 45_000;
/// So many packets at the edges of an overlap may be torn.
const TORN: usize = 4;

/// A number difference at which packets of a track are equal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    /// Position in the tail minus position in the head.
    pub(super) difference: i64,
    pub(super) shift_ms: i64,
    pub(super) matched: usize,
    /// Matched packets that stand only once in each.
    pub(super) unique: usize,
    /// Position of the last match in the tail.
    pub(super) last: usize,
    /// Length of the overlap that the difference means.
    pub(super) length: usize,
}

impl Fit {
    /// Nearly everything that should be equal is.
    fn is_full(&self) -> bool {
        (self.matched + TORN) * 10 >= self.length * 9
    }
}

/// Number differences at which packets of a track are equal. `expected`: the shift that the clocks show, milliseconds.
pub(super) fn fits(a: &TrackEdge, b: &TrackEdge, expected: i64) -> Vec<Fit> {
    type Places = (Vec<usize>, Vec<usize>);
    let mut places: HashMap<(u64, u32), Places> = HashMap::new();
    for (n, p) in a.packets.iter().enumerate() {
        places.entry((p.hash, p.size)).or_default().0.push(n);
    }
    for (n, p) in b.packets.iter().enumerate() {
        if let Some(both) = places.get_mut(&(p.hash, p.size)) {
            both.1.push(n);
        }
    }
    let mut fits: HashMap<i64, Fit> = HashMap::new();
    for (in_a, in_b) in places.values() {
        let unique = in_a.len() == 1 && in_b.len() == 1;
        for &i in in_a {
            for &j in in_b {
                let shift_ms = a.packets[i].pts_ms - b.packets[j].pts_ms;
                if !unique && (shift_ms - expected).abs() > UNIQUE_MS {
                    continue;
                }
                let difference = i as i64 - j as i64;
                let fit = fits.entry(difference).or_insert(Fit {
                    difference,
                    shift_ms,
                    matched: 0,
                    unique: 0,
                    last: i,
                    length: 0,
                });
                fit.matched += 1;
                fit.unique += usize::from(unique);
                fit.last = fit.last.max(i);
            }
        }
    }
    let mut fits: Vec<Fit> = fits.into_values().collect();
    for fit in &mut fits {
        let from = fit.difference.max(0);
        let to = (a.packets.len() as i64).min(b.packets.len() as i64 + fit.difference);
        fit.length = usize::try_from(to - from).unwrap_or_default();
    }
    // Few packets match at many differences by chance; such fits are not looked at further.
    fits.retain(|f| f.is_full() || f.unique >= 3);
    for fit in &mut fits {
        fit.shift_ms = median_shift(a, b, fit);
    }
    fits.sort_unstable_by_key(|f| f.difference);
    fits
}

/// The shift that most matches of a fit show: the first packets of a dump have guessed times.
fn median_shift(a: &TrackEdge, b: &TrackEdge, fit: &Fit) -> i64 {
    let mut shifts: Vec<i64> = a
        .packets
        .iter()
        .enumerate()
        .filter_map(|(i, p)| {
            let q = b.packets.get(usize::try_from(i as i64 - fit.difference).ok()?)?;
            ((p.hash, p.size) == (q.hash, q.size)).then_some(p.pts_ms - q.pts_ms)
        })
        .collect();
    shifts.sort_unstable();
    shifts.get(shifts.len() / 2).copied().unwrap_or(fit.shift_ms)
}

/// The fit that is believed, among those of all tracks.
pub(super) fn best(fits: &[Vec<Fit>], expected: i64, same_clock: bool) -> Option<Fit> {
    let off = |f: &Fit| (f.shift_ms - expected).abs();
    // Unique packets decide; where all repeat, the clocks do.
    let rank = |f: &Fit| (f.unique >= 3, f.unique, std::cmp::Reverse(off(f)), f.matched);
    let all = || fits.iter().flatten().copied();
    if same_clock {
        // Where packets repeat, only the very same time will do: the next packet is as good a match.
        let same = |f: &Fit| f.shift_ms.abs() <= if f.unique > 0 { SAME_CLOCK_MS } else { ROUNDING_MS };
        let best = all().filter(same).max_by_key(|f| (f.unique, std::cmp::Reverse(f.shift_ms.abs()), f.matched));
        // Some servers count from zero for each connection; two that began together only look as if
        // they shared a clock.
        let other = |f: &Fit| f.unique >= 3 && f.is_full() && off(f) <= REPEATED_MS;
        return best.or_else(|| all().filter(other).max_by_key(rank));
    }
    let believed = |f: &Fit| match f.unique {
        0 => f.is_full() && off(f) <= REPEATED_MS,
        1 | 2 => f.is_full() && off(f) <= 2 * REPEATED_MS,
        _ => off(f) <= UNIQUE_MS,
    };
    all().filter(believed).max_by_key(rank)
}
