//! What is old enough to go: segments that stand in the files of all their talks, and those files themselves.
//! Only where the user has said how long things stay.

use std::collections::HashSet;

use super::coverage::ANCHOR_JITTER_MS;
use crate::domain::ids::AssemblyId;
use crate::domain::interval::IntervalSet;
use crate::domain::segment::{Segment, Verdict};
use crate::domain::settings::KeepAssemblies;
use crate::domain::time::Ms;

/// Media that lies in no file and does not count, milliseconds: the last packet before a gap is left out. (Besides, the
/// edges of what a file holds are known to [`ANCHOR_JITTER_MS`].)
const OUTSIDE_MS: i64 = 300;

/// A segment, and what the files of its talks have of it.
#[derive(Clone, Debug)]
pub struct OldSegment<'a> {
    /// The segment.
    pub segment: &'a Segment,
    /// Of each talk that takes place and whose window it touches: its file. `None`: there is none that is up to
    /// date and has looked at the segment.
    pub files: Vec<Option<TalkFile>>,
    /// The clock was set back, and its wall time was lived through twice: what lies there in a file may be of
    /// the other time.
    pub twice: bool,
}

/// The file of a talk, as a segment sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TalkFile {
    /// Assembly that the file belongs to.
    pub assembly: AssemblyId,
    /// When it was made.
    pub made: Ms,
    /// It left nothing out that stands nowhere else, such as a part of the talk in another format: then the talk is more than
    /// its file, and what is left of its segments could one day make another one.
    pub is_whole: bool,
    /// The wall time that it holds.
    pub holds: IntervalSet,
}

/// True where a segment may go `keep_ms` after it was closed and the last of its talks was joined. Whoever deletes it
/// makes sure first that these files are what was joined.
///
/// Never where a talk it belongs to has no file, or where something of it lies in none of the files; a segment of no
/// talk stays.
#[must_use]
pub fn segment_may_go(old: &OldSegment<'_>, keep_ms: i64, now: Ms) -> bool {
    let Some(mut since) = old.segment.closed.filter(|_| old.segment.verdict == Verdict::Media) else { return false };
    if old.files.is_empty() || old.twice {
        return false;
    }
    let mut held = IntervalSet::new();
    for file in &old.files {
        let Some(file) = file.as_ref().filter(|file| file.is_whole) else { return false };
        since = since.max(file.made);
        held = held.union(&file.holds.iter().map(|wall| wall.padded(ANCHOR_JITTER_MS, ANCHOR_JITTER_MS)).collect());
    }
    let covered = old.segment.covered();
    // Where the clock was set back, two stretches have one wall time, and which of them a file holds is not known.
    let media_ms: i64 = old.segment.spans.iter().map(|span| span.wall().len_ms()).sum();
    let is_placed = !covered.is_empty() && media_ms - covered.total_ms() <= OUTSIDE_MS;
    is_placed && covered.subtract(&held).total_ms() <= OUTSIDE_MS && now.since(since) >= keep_ms
}

/// The file of a talk that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldFile {
    /// Assembly that the file belongs to.
    pub assembly: AssemblyId,
    /// When it was made.
    pub made: Ms,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// It is about to be made anew, or waits for the user's hook, so it does not go yet; its size counts.
    pub changes: bool,
}

/// Says which files go, oldest first. The newest one stays whatever the total: one that is too small even for it is a
/// slip of the pen, not the wish to have nothing.
#[must_use]
pub fn files_to_go(files: &[OldFile], keep: KeepAssemblies, now: Ms) -> Vec<AssemblyId> {
    let mut oldest: Vec<&OldFile> = files.iter().collect();
    oldest.sort_by_key(|f| (f.made, f.assembly));
    let gone: HashSet<AssemblyId> = match keep {
        KeepAssemblies::Age(ms) => {
            oldest.iter().filter(|f| !f.changes && now.since(f.made) >= ms).map(|f| f.assembly).collect()
        }
        KeepAssemblies::Total(bytes) => {
            let all: u64 = files.iter().map(|f| f.bytes).fold(0, u64::saturating_add);
            let mut over = all.saturating_sub(bytes);
            let mut gone = HashSet::new();
            let all_but_newest = &oldest[..oldest.len().saturating_sub(1)];
            for file in all_but_newest.iter().filter(|f| !f.changes) {
                if over == 0 {
                    break;
                }
                over = over.saturating_sub(file.bytes);
                gone.insert(file.assembly);
            }
            gone
        }
    };
    oldest.iter().map(|f| f.assembly).filter(|id| gone.contains(id)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::interval::Interval;
    use crate::domain::media::MediaSpan;
    use crate::plan::fixtures;

    const KEEP: i64 = 1000;
    const MADE: Ms = Ms(50_000);
    const LATE: Ms = Ms(51_000);

    /// Media from 10 s to 40 s, closed at 45 s.
    fn segment(verdict: Verdict) -> Segment {
        Segment {
            closed: Some(Ms(45_000)),
            verdict,
            ..fixtures::segment(1, vec![MediaSpan { media_start_ms: 0, media_end_ms: 30_000, offset_ms: 10_000 }])
        }
    }

    fn file(from_s: i64, to_s: i64) -> TalkFile {
        TalkFile {
            assembly: AssemblyId(from_s),
            made: MADE,
            is_whole: true,
            holds: Interval::new(Ms(from_s * 1000), Ms(to_s * 1000)).into(),
        }
    }

    #[test]
    fn a_segment_goes_when_all_of_it_stands_in_files_that_are_old_enough() {
        let whole = || Some(file(0, 60));
        let only_copy = || Some(TalkFile { is_whole: false, ..file(0, 60) });
        let upto = |end| Interval::new(Ms(0), Ms(end)).into();
        let later = || Some(TalkFile { made: Ms(50_001), ..file(0, 60) });
        for (what, files, now, want) in [
            (Verdict::Media, vec![whole()], LATE, true),
            (Verdict::Media, vec![whole()], Ms(50_999), false),
            (Verdict::Media, vec![], LATE, false),
            (Verdict::Media, vec![None], LATE, false),
            (Verdict::Media, vec![whole(), None], LATE, false),
            (Verdict::Media, vec![whole(), only_copy()], LATE, false),
            (Verdict::Media, vec![whole(), later()], LATE, false),
            (Verdict::Media, vec![Some(TalkFile { holds: upto(39_500), ..file(0, 60) })], LATE, true),
            (Verdict::Media, vec![Some(TalkFile { holds: upto(39_300), ..file(0, 60) })], LATE, false),
            (Verdict::Media, vec![Some(file(0, 38))], LATE, false),
            (Verdict::Media, vec![Some(file(12, 60))], LATE, false),
            (Verdict::Media, vec![Some(file(5, 25)), Some(file(24, 50))], LATE, true),
            (Verdict::Media, vec![Some(file(5, 20)), Some(file(30, 50))], LATE, false),
            (Verdict::Open, vec![whole()], LATE, false),
            (Verdict::Unchecked, vec![whole()], LATE, false),
            (Verdict::NotMedia, vec![whole()], LATE, false),
            (Verdict::Lost, vec![whole()], LATE, false),
            (Verdict::Quarantined, vec![whole()], LATE, false),
            (Verdict::Pruned, vec![whole()], LATE, false),
        ] {
            let segment = segment(what);
            let old = OldSegment { segment: &segment, files, twice: false };
            assert_eq!(segment_may_go(&old, KEEP, now), want, "{old:?} {now:?}");
        }
    }

    #[test]
    fn a_segment_that_was_never_looked_into_stays() {
        let segment = Segment { spans: Vec::new(), ..segment(Verdict::Media) };
        let old = OldSegment { segment: &segment, files: vec![Some(file(0, 60))], twice: false };
        assert!(!segment_may_go(&old, KEEP, LATE));
    }

    #[test]
    fn where_an_hour_was_lived_through_twice_the_segment_stays() {
        let segment = segment(Verdict::Media);
        let old = |twice| OldSegment { segment: &segment, files: vec![Some(file(0, 60))], twice };
        assert!(segment_may_go(&old(false), KEEP, LATE) && !segment_may_go(&old(true), KEEP, LATE));
    }

    #[test]
    fn where_two_stretches_have_one_wall_time_the_segment_stays() {
        let mut segment = segment(Verdict::Media);
        segment.spans.push(MediaSpan { media_start_ms: 30_000, media_end_ms: 40_000, offset_ms: -10_000 });
        let old = OldSegment { segment: &segment, files: vec![Some(file(0, 60))], twice: false };
        assert!(!segment_may_go(&old, KEEP, LATE));
    }

    fn old(id: i64, made: i64, bytes: u64) -> OldFile {
        OldFile { assembly: AssemblyId(id), made: Ms(made), bytes, changes: false }
    }

    #[test]
    fn old_files_go_by_age_or_by_their_total() {
        use KeepAssemblies::{Age, Total};
        let files = [old(1, 300, 10), old(2, 100, 20), old(3, 200, 30)];
        for (keep, now, want) in [
            (Age(100), 250, vec![2]),
            (Age(100), 300, vec![2, 3]),
            (Age(0), 300, vec![2, 3, 1]),
            // A clock that was set back makes nothing old.
            (Age(100), 0, vec![]),
            (Total(60), 300, vec![]),
            (Total(59), 300, vec![2]),
            (Total(40), 300, vec![2]),
            (Total(39), 300, vec![2, 3]),
            // Smaller than the newest one alone, which stays.
            (Total(9), 300, vec![2, 3]),
            (Total(0), 300, vec![2, 3]),
        ] {
            let gone: Vec<i64> = files_to_go(&files, keep, Ms(now)).iter().map(|id| id.0).collect();
            assert_eq!(gone, want, "{keep:?} at {now}");
        }
        let changing = [OldFile { changes: true, ..files[1] }, files[0], files[2]];
        assert_eq!(files_to_go(&changing, Total(59), Ms(300)), [AssemblyId(3)]);
        assert_eq!(files_to_go(&changing, Total(0), Ms(300)), [AssemblyId(3)]);
        assert_eq!(files_to_go(&files[..1], Total(9), Ms(300)), []);
        assert_eq!(files_to_go(&[], Total(0), Ms(300)), []);
        assert_eq!(files_to_go(&changing, Age(0), Ms(300)), [AssemblyId(3), AssemblyId(1)]);
    }

    proptest! {
        #[test]
        fn what_stays_fits_and_nothing_goes_that_need_not(sizes in prop::collection::vec(0_u64..50, 0..12), keep in 0_u64..200) {
            let files: Vec<_> = (0_i64..).zip(&sizes).map(|(n, bytes)| old(n, n, *bytes)).collect();
            let gone = files_to_go(&files, KeepAssemblies::Total(keep), Ms(0));
            let left = |without: &[AssemblyId]| -> u64 {
                files.iter().filter(|f| !without.contains(&f.assembly)).map(|f| f.bytes).sum()
            };
            prop_assert!(left(&gone) <= keep || gone.len() + 1 == files.len(), "it fits, or the newest alone is left");
            prop_assert!(files.last().is_none_or(|newest| !gone.contains(&newest.assembly)));
            if let Some((_, but_last)) = gone.split_last() {
                prop_assert!(left(but_last) > keep);
            }
        }
    }
}
