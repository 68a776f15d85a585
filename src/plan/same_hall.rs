//! Which hall of another recorder is which of ours. A name alone does not tell: two recorders that imported one calendar in
//! another order may each call the other's "Saal 1" its "Saal 1 (2)".

use std::collections::BTreeSet;

use crate::domain::hall::fold_name;

/// What is known of a hall on one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HallFacts {
    /// Its name and aliases, the name first.
    pub names: Vec<String>,
    /// Addresses of its streams, without passwords.
    pub streams: BTreeSet<String>,
    /// UIDs of its talks, as far as they have some that are unique in their event.
    pub uids: BTreeSet<String>,
}

impl HallFacts {
    fn folded(&self) -> Vec<String> {
        self.names.iter().map(|name| fold_name(name)).collect()
    }

    fn shares_name(&self, other: &Self) -> bool {
        let names = other.folded();
        self.folded().iter().any(|name| names.contains(name))
    }
}

/// What came of the search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SameHall {
    /// It is this one, by its place in the list.
    Found(usize),
    /// None has its name or its talks.
    None,
    /// One has its name, or some have its talks, and that is not enough to mix what they recorded. Why, for people.
    Doubtful(String),
}

/// Finds our hall among the other recorder's: the one that has the same talks by their UIDs; where none has, the one with
/// an equal name (or alias) and an equal stream.
#[must_use]
pub fn find(ours: &HallFacts, others: &[HallFacts]) -> SameHall {
    let common = |other: &HallFacts| ours.uids.intersection(&other.uids).count();
    let total: usize = others.iter().map(common).sum();
    if let Some((best, most)) = others.iter().map(common).enumerate().max_by_key(|(n, count)| (*count, usize::MAX - n))
        && most > 0
    {
        // A talk or two that were moved do not hide where the others are.
        return if most * 2 > total {
            SameHall::Found(best)
        } else {
            SameHall::Doubtful(format!("its talks are spread over several halls there ({most} of {total} in one)"))
        };
    }
    let mut named = others.iter().enumerate().filter(|(_, other)| ours.shares_name(other)).peekable();
    if named.peek().is_none() {
        return SameHall::None;
    }
    let same_stream = |(_, other): &(usize, &HallFacts)| !ours.streams.is_disjoint(&other.streams);
    match named.find(same_stream) {
        Some((n, _)) => SameHall::Found(n),
        None => SameHall::Doubtful(
            "a hall of that name is there, but the two have neither a talk (by UID) nor a stream in common".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hall(name: &str, streams: &[&str], uids: &[&str]) -> HallFacts {
        let set = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        HallFacts { names: vec![name.to_owned()], streams: set(streams), uids: set(uids) }
    }

    #[test]
    fn talks_say_more_than_names() {
        let ours = hall("Saal 1", &["http://a"], &["1", "2", "3"]);
        let exchanged =
            [hall("Saal 1", &["http://a"], &["7", "8"]), hall("Saal 1 (2)", &["http://b"], &["1", "2", "3"])];
        assert_eq!(find(&ours, &exchanged), SameHall::Found(1));
        let moved = [hall("Saal 1", &[], &["1", "2"]), hall("Saal 2", &[], &["3"])];
        assert_eq!(find(&ours, &moved), SameHall::Found(0));
        let spread = [hall("A", &[], &["1"]), hall("B", &[], &["2"])];
        assert!(matches!(find(&ours, &spread), SameHall::Doubtful(_)));
    }

    #[test]
    fn without_common_talks_name_and_stream_must_agree() {
        let ours = hall("Saal 1", &["http://a"], &[]);
        assert_eq!(find(&ours, &[hall("saal  1", &["http://a", "http://b"], &["9"])]), SameHall::Found(0));
        assert!(matches!(find(&ours, &[hall("Saal 1", &["http://b"], &[])]), SameHall::Doubtful(_)));
        assert_eq!(find(&ours, &[hall("Saal 2", &["http://a"], &[])]), SameHall::None);
        let mut aliased = hall("Audimax", &["http://a"], &[]);
        aliased.names.push("Saal 1".to_owned());
        assert_eq!(find(&ours, &[hall("Saal 2", &[], &[]), aliased]), SameHall::Found(1));
    }
}
