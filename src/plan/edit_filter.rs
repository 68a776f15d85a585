//! Carries a plan out on a stream of packets: which of them are used, on which track, at what time.

use super::assembly::Clip;
use super::cut::Cutter;

/// For the packets of one segment, in file order. A segment with holes has several pieces in a row.
#[derive(Clone, Debug)]
pub struct EditFilter {
    clips: Vec<Vec<(u32, u32, Cutter)>>,
    shifts: Vec<i64>,
}

impl EditFilter {
    /// For pieces of one segment that follow each other in a plan.
    #[must_use]
    pub fn new(clips: &[Clip]) -> Self {
        let cutters = |p: &Clip| p.tracks.iter().map(|t| (t.track, t.out_track, Cutter::new(t.from, t.to))).collect();
        Self { clips: clips.iter().map(cutters).collect(), shifts: clips.iter().map(|p| p.shift_ms).collect() }
    }

    /// Where a packet goes: track and time in the assembly. `ordinal` counts the packets of its track.
    pub fn apply(&mut self, track: u32, ordinal: u64, pts_ms: i64, key: bool) -> Option<(u32, i64)> {
        let mut place = None;
        // Each cutter must see every packet of its track.
        for (cutters, shift) in self.clips.iter_mut().zip(&self.shifts) {
            for (_, out, cutter) in cutters.iter_mut().filter(|(from, ..)| *from == track) {
                if cutter.includes(ordinal, pts_ms, key) && place.is_none() {
                    place = Some((*out, pts_ms + shift));
                }
            }
        }
        place
    }

    /// True where no further packet will be used.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.clips.iter().flatten().all(|(_, _, cutter)| cutter.is_over())
    }
}
