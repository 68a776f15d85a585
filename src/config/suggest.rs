//! "Did you mean": what an unknown word was likely meant to be.

/// The candidate that is most like `word`, if one is like it at all.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.trim().to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&candidate.to_lowercase(), &word), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// The message for a key that does not exist.
#[must_use]
pub fn unknown_key(key: &str, known: &[&str]) -> String {
    let key = crate::domain::text::shortened(key, 40);
    match nearest(&key, known.iter().copied()) {
        Some(like) => format!("unknown key {key:?}; did you mean {like:?}?"),
        None => format!("unknown key {key:?}; the keys here are {}", known.join(", ")),
    }
}
