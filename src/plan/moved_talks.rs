//! Which talks of an old and a new schedule are the same talk at another hour.

use std::collections::HashMap;

use crate::domain::time::{HOUR, Ms};

/// A talk that was found nowhere yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movable {
    /// Its place in its schedule.
    pub at: usize,
    /// Only talks of one group can be the same.
    pub group: String,
    /// When it begins.
    pub start: Ms,
}

/// A talk that begins later or earlier than this is another one. Milliseconds.
const MAX_MOVE: i64 = 12 * HOUR;

/// Pairs talks of one group in the order of their starts, as far as they are near enough: old place, new place.
#[must_use]
pub fn pairs(old: Vec<Movable>, new: Vec<Movable>) -> Vec<(usize, usize)> {
    let mut groups: HashMap<String, (Vec<Movable>, Vec<Movable>)> = HashMap::new();
    for talk in old {
        groups.entry(talk.group.clone()).or_default().0.push(talk);
    }
    for talk in new {
        if let Some(group) = groups.get_mut(&talk.group) {
            group.1.push(talk);
        }
    }
    let mut out = Vec::new();
    for (mut old, mut new) in groups.into_values() {
        old.sort_by_key(|talk| (talk.start, talk.at));
        new.sort_by_key(|talk| (talk.start, talk.at));
        let (mut a, mut b) = (old.iter().peekable(), new.iter().peekable());
        while let (Some(from), Some(to)) = (a.peek(), b.peek()) {
            let moved = to.start.since(from.start);
            if moved.saturating_abs() <= MAX_MOVE {
                out.push((from.at, to.at));
                a.next();
                b.next();
            } else if moved > 0 {
                a.next();
            } else {
                b.next();
            }
        }
    }
    out.sort_unstable();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn talks_are_paired_in_their_order() {
        let all = |hours: &[i64]| -> Vec<Movable> {
            hours.iter().enumerate().map(|(at, h)| Movable { at, group: "x".to_owned(), start: Ms(h * HOUR) }).collect()
        };
        for (old, new, want) in [
            (all(&[0, 24, 48]), all(&[1, 25, 49]), vec![(0, 0), (1, 1), (2, 2)]),
            (all(&[48, 0, 24]), all(&[1, 25]), vec![(1, 0), (2, 1)]),
            // The first one was removed, the others moved.
            (all(&[0, 24]), all(&[25]), vec![(1, 0)]),
            (all(&[0]), all(&[13]), vec![]),
        ] {
            assert_eq!(pairs(old, new), want);
        }
        let other = vec![Movable { at: 0, group: "y".to_owned(), start: Ms(0) }];
        assert!(pairs(all(&[0]), other).is_empty());
    }
}
