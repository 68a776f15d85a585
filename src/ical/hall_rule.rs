//! Where the hall of a VEVENT without LOCATION stands: by a rule of the halls file, or what would do for one.

use std::collections::{BTreeMap, BTreeSet};

use super::ReadOptions;
use super::component::{Key, RawEvent};
use crate::domain::hall::fold_name;
use crate::domain::halls_file::HallField;
use crate::domain::schedule::{Warning, WarningKind};
use crate::domain::text::{one_line, shortened};

/// Talks without LOCATION of which the fields are looked at.
const MAX_LOOKED_AT: usize = 5000;
/// Categories that can still be names of halls or tracks of one conference.
const MAX_NAMES: usize = 60;

/// Finds halls by the rule, and remembers what the fields of talks without LOCATION hold.
#[derive(Debug)]
pub struct HallFinder<'a> {
    rule: Option<HallField>,
    /// Names and aliases of the halls, in small letters and as written, the longest first.
    names: Vec<(String, &'a str)>,
    /// Talks without LOCATION, and those of them that have no hall by the rule either.
    without: usize,
    homeless: usize,
    /// In how many of them each field names a hall of the halls file.
    named: BTreeMap<&'static str, usize>,
    /// First categories, and how many talks have one.
    categories: BTreeSet<String>,
    categorised: usize,
}

impl<'a> HallFinder<'a> {
    /// For the halls and the rule of `options`.
    #[must_use]
    pub fn new(options: &'a ReadOptions) -> Self {
        let mut names: Vec<_> = options.hall_names.iter().map(|name| (words(name), name.as_str())).collect();
        names.retain(|(folded, _)| !folded.is_empty());
        names.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        Self {
            rule: options.hall_from,
            names,
            without: 0,
            homeless: 0,
            named: BTreeMap::new(),
            categories: BTreeSet::new(),
            categorised: 0,
        }
    }

    /// The hall of a VEVENT that has no LOCATION.
    pub fn find(&mut self, event: &RawEvent) -> Option<String> {
        self.without += 1;
        let found = self.rule.and_then(|rule| self.by(rule, event));
        if found.is_none() {
            self.homeless += 1;
            if self.homeless <= MAX_LOOKED_AT {
                self.look(event);
            }
        }
        found
    }

    fn by(&self, field: HallField, event: &RawEvent) -> Option<String> {
        if field == HallField::Categories {
            let known = event.all(Key::Category).find_map(|category| self.exactly(&category.value));
            return known.or_else(|| event.text(Key::Category)).map(str::to_owned);
        }
        event.text(key(field)).and_then(|text| self.within(text)).map(str::to_owned)
    }

    fn exactly(&self, text: &str) -> Option<&'a str> {
        let folded = fold_name(text);
        self.names.iter().find(|(name, _)| fold_name(name) == folded).map(|(_, name)| *name)
    }

    /// The longest name of a hall that stands in a text as words of its own.
    fn within(&self, text: &str) -> Option<&'a str> {
        let folded = words(text);
        let stands = |name: &str| {
            folded.match_indices(name).any(|(at, _)| {
                let before = folded[..at].chars().next_back();
                let after = folded[at + name.len()..].chars().next();
                !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
            })
        };
        self.names.iter().find(|(name, _)| stands(name)).map(|(_, name)| *name)
    }

    fn look(&mut self, event: &RawEvent) {
        for field in HallField::ALL {
            let found = match field {
                HallField::Categories => event.all(Key::Category).any(|c| self.exactly(&c.value).is_some()),
                _ => event.text(key(field)).is_some_and(|text| self.within(text).is_some()),
            };
            if found {
                *self.named.entry(field.as_str()).or_default() += 1;
            }
        }
        if let Some(category) = event.text(Key::Category) {
            self.categorised += 1;
            if self.categories.len() <= MAX_NAMES {
                self.categories.insert(shortened(category, 40));
            }
        }
    }

    /// What is to be said of talks that have no hall.
    #[must_use]
    pub fn warning(&self) -> Option<Warning> {
        if self.homeless == 0 {
            return None;
        }
        let talks = if self.homeless == 1 { "1 talk has".to_owned() } else { format!("{} talks have", self.homeless) };
        let best = self.named.iter().max_by_key(|(_, count)| **count);
        let line = |field: &str| format!("hall_from = {field:?}");
        let advice = match best {
            Some((field, count)) => format!(
                "{field} names a hall in {count} of them: {} in the halls file takes it from there",
                line(field)
            ),
            None if self.categorised * 2 >= self.homeless && self.categories.len() <= MAX_NAMES => {
                let some: Vec<_> = self.categories.iter().take(5).map(|c| format!("{c:?}")).collect();
                let more = if self.categories.len() > 5 { ", ..." } else { "" };
                format!(
                    "CATEGORIES holds {}{more}: {} in the halls file makes halls of them",
                    some.join(", "),
                    line(HallField::Categories.as_str())
                )
            }
            // No field would do.
            None => return None,
        };
        let message = format!("{talks} no LOCATION; {advice}");
        Some(Warning { kind: WarningKind::NoLocation, talk: None, message })
    }
}

/// A text in small letters with single spaces.
fn words(text: &str) -> String {
    one_line(text).to_lowercase()
}

fn key(field: HallField) -> Key {
    match field {
        HallField::Categories => Key::Category,
        HallField::Summary => Key::Summary,
        HallField::Description => Key::Description,
        HallField::AltDescription => Key::AltDescription,
    }
}
