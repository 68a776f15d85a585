//! File names made of text of strangers.

use unicode_normalization::UnicodeNormalization;

/// The longest name of a file that streamrip makes, in bytes (DESIGN: 200; file systems allow 255, and
/// a temporary name needs a suffix).
pub const MAX_FILE_NAME: usize = 200;

/// A piece of a file name: lower-case ASCII letters, digits and single `-`, at most `max` bytes, never
/// empty (`x` where nothing is left). Nothing of `/`, `..`, NUL, control or direction marks survives. Letters of other
/// scripts are written as they sound (by the tables of the `deunicode` crate).
#[must_use]
pub fn slug(text: &str, max: usize) -> String {
    slug_in(text, None, max)
}

/// As [`slug`], with the letters of `language` (a code such as `de`, or its name) written as it is usual there: `ü` is
/// `ue` in German and `u` elsewhere.
#[must_use]
pub fn slug_in(text: &str, language: Option<&str>, max: usize) -> String {
    let rules = language.map_or(&[][..], rules_of);
    let mut out = String::new();
    for c in text.nfc() {
        let known = rules.iter().chain(&LETTERS).find(|(letter, _)| c.to_lowercase().eq(letter.chars()));
        match known {
            Some((_, plain)) => out.push_str(plain),
            // Apostrophes inside words.
            None if matches!(c, '\'' | '\u{2019}') => {}
            None => push_plain(&mut out, c),
        }
    }
    if out.len() > max {
        out.truncate(max);
        // Not in the middle of a word, where the last word is not most of the name.
        if let Some(dash) = out.rfind('-').filter(|dash| *dash * 2 > max) {
            out.truncate(dash);
        }
    }
    let out = out.trim_matches('-');
    if out.is_empty() { "x".to_owned() } else { out.to_owned() }
}

/// Letters and what is written for them in every language that has no rule of its own, in lower case.
const LETTERS: [(&str, &str); 10] = [
    ("ß", "ss"),
    ("æ", "ae"),
    ("ø", "o"),
    ("œ", "oe"),
    ("ł", "l"),
    ("đ", "d"),
    ("ð", "d"),
    ("þ", "th"),
    ("ı", "i"),
    ("ŋ", "ng"),
];

/// What is written for letters of a language, in lower case.
fn rules_of(language: &str) -> &'static [(&'static str, &'static str)] {
    const GERMAN: [(&str, &str); 4] = [("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss")];
    const DANISH: [(&str, &str); 3] = [("å", "aa"), ("æ", "ae"), ("ø", "oe")];
    let language = language.trim().to_lowercase();
    let code = language.split(['-', '_']).next().unwrap_or_default();
    match code {
        "de" | "deu" | "ger" | "gsw" | "german" | "deutsch" => &GERMAN,
        "da" | "dan" | "no" | "nor" | "nb" | "nob" | "nn" | "nno" | "danish" | "norwegian" | "dansk" | "norsk" => {
            &DANISH
        }
        _ => &[],
    }
}

/// Adds a character as plain letters and digits, or one dash where it is none.
fn push_plain(out: &mut String, c: char) {
    let mut add = |c: char| {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    };
    if c.is_ascii() {
        return add(c);
    }
    // Accents come off, and compatibility forms become what they stand for.
    let mut plain = std::iter::once(c).nfkd().filter(char::is_ascii).peekable();
    if plain.peek().is_some() {
        return plain.for_each(add);
    }
    match deunicode::deunicode_char(c).filter(|_| c.is_alphanumeric()) {
        Some(sound) => sound.chars().for_each(add),
        // Accents on their own, whose letter came before.
        None if matches!(c, '\u{300}'..='\u{36f}') => {}
        None => add('-'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn titles_become_names() {
        for (title, want) in [
            ("27C3 Keynote - We come in Peace", "27c3-keynote-we-come-in-peace"),
            ("Grüße aus Straßburg", "grusse-aus-strassburg"),
            ("../../etc/passwd", "etc-passwd"),
            ("a\0b\u{202e}c/d", "a-b-c-d"),
            ("🎉🎉", "x"),
            ("", "x"),
            ("Don't panic", "dont-panic"),
            ("Привет, мир", "privet-mir"),
            ("Ｆｕｌｌ　ｗｉｄｔｈ ½", "full-width-12"),
            ("Đà Nẵng, Łódź, Øre", "da-nang-lodz-ore"),
            ("e\u{301}te\u{301}", "ete"),
        ] {
            assert_eq!(slug(title, 100), want);
        }
    }

    #[test]
    fn letters_are_written_as_the_talks_language_has_them() {
        for (language, title, want) in [
            (Some("de"), "Grüße für Österreich", "gruesse-fuer-oesterreich"),
            (Some("de-AT"), "ÄÖÜ", "aeoeue"),
            (Some("German"), "Gru\u{308}n", "gruen"),
            (Some("en"), "Motörhead", "motorhead"),
            (Some("sv"), "Räksmörgås", "raksmorgas"),
            (Some("da"), "Ærø å", "aeroe-aa"),
            (Some("klingon"), "Grüße", "grusse"),
            (None, "Grüße", "grusse"),
        ] {
            assert_eq!(slug_in(title, language, 100), want, "{language:?}");
        }
        assert!(slug("日本語のタイトル", 100).len() > 4);
    }

    proptest! {
        #[test]
        fn a_slug_is_always_a_safe_name(text in any::<String>(), max in 1_usize..120) {
            let slug = slug(&text, max);
            prop_assert!(!slug.is_empty() && slug.len() <= max);
            prop_assert!(slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            prop_assert!(!slug.starts_with('-') && !slug.ends_with('-'));
            prop_assert_eq!(super::slug(&slug, max), slug, "a slug is its own");
        }
    }
}
