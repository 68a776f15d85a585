//! Two talks at once in one hall.

use crate::domain::talk::Talk;

/// Pairs of talks whose slots overlap in one hall, by start. Of many at once, neighbours only.
#[must_use]
pub fn overlaps<'a>(talks: &[&'a Talk]) -> Vec<(&'a Talk, &'a Talk)> {
    let mut sorted = talks.to_vec();
    sorted.sort_by_key(|t| (t.hall, t.slot.start, t.slot.end, t.id));
    let mut out = Vec::new();
    let mut longest: Option<&Talk> = None;
    for talk in sorted {
        match longest {
            Some(before) if before.hall == talk.hall => {
                if before.slot.overlaps(talk.slot) {
                    out.push((before, talk));
                }
                if talk.slot.end > before.slot.end {
                    longest = Some(talk);
                }
            }
            _ => longest = Some(talk),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixtures::talk;

    #[test]
    fn only_talks_of_one_hall_that_share_time_overlap() {
        let talks =
            [talk(1, 1, 0, 60), talk(2, 1, 60, 120), talk(3, 2, 30, 90), talk(4, 1, 50, 55), talk(5, 1, 100, 130)];
        let found: Vec<_> = overlaps(&talks.iter().collect::<Vec<_>>()).iter().map(|(a, b)| (a.id.0, b.id.0)).collect();
        assert_eq!(found, [(1, 4), (2, 5)]);
    }
}
