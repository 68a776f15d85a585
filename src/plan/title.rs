//! Titles as talks have them, without what an export adds.

use crate::domain::text::folded;

/// The title without a trailing ` - Speakers`, as pretalx writes into its calendars: where that equals the talk's
/// speakers, or where nothing follows the dash because there are none. `None`: there is nothing to take away.
#[must_use]
pub fn without_speakers<'a>(title: &'a str, speakers: &[String]) -> Option<&'a str> {
    let title = title.trim_end();
    if let Some(bare) = title.strip_suffix(" -") {
        return Some(bare.trim_end()).filter(|bare| !bare.is_empty());
    }
    if speakers.is_empty() {
        return None;
    }
    let mut wanted: Vec<String> = speakers.iter().map(|name| folded(name)).collect();
    let joined = wanted.join(", ");
    wanted.sort();
    // A name may have a dash of its own: the longest tail that fits is taken.
    title.match_indices(" - ").find_map(|(at, dash)| {
        let (bare, tail) = (title[..at].trim_end(), folded(&title[at + dash.len()..]));
        let mut names: Vec<&str> = tail.split(", ").map(str::trim).collect();
        names.sort_unstable();
        (!bare.is_empty() && (tail == joined || names == wanted)).then_some(bare)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_equals_the_speakers_goes() {
        let people = |names: &[&str]| -> Vec<String> { names.iter().map(|n| (*n).to_owned()).collect() };
        for (title, names, want) in [
            ("Opening - Ada Lovelace", &["Ada Lovelace"][..], Some("Opening")),
            ("Opening - ada lovelace, Grace Hopper", &["Grace Hopper", "Ada Lovelace"], Some("Opening")),
            ("A - B - Ada Lovelace", &["Ada Lovelace"], Some("A - B")),
            ("Opening - Ada - Countess", &["Ada - Countess"], Some("Opening")),
            ("Opening - Last, First", &["Last, First"], Some("Opening")),
            ("No speaker here -", &[], Some("No speaker here")),
            ("No speaker here -", &["Ada"], Some("No speaker here")),
            ("27C3 Keynote - We come in Peace", &["Rop Gonggrijp"], None),
            ("Opening - Ada Lovelace", &[], None),
            ("Opening - Ada Lovelace", &["Ada Lovelace", "Grace Hopper"], None),
            ("Opening-Ada", &["Ada"], None),
            (" -", &[], None),
            ("", &["Ada"], None),
        ] {
            assert_eq!(without_speakers(title, &people(names)), want, "{title:?} {names:?}");
        }
    }
}
