//! File names made of text of strangers.

use unicode_normalization::UnicodeNormalization;

/// The longest name of a file that streamrip makes, in bytes (DESIGN: 200; file systems allow 255, and
/// a temporary name needs a suffix).
pub const MAX_FILE_NAME: usize = 200;

/// A piece of a file name: lower-case ASCII letters, digits and single `-`, at most `max` bytes, never
/// empty (`x` where nothing is left). Nothing of `/`, `..`, NUL, control or direction marks survives.
#[must_use]
pub fn slug(text: &str, max: usize) -> String {
    let mut out = String::new();
    for c in text.nfkd() {
        let plain: &str = match c {
            'a'..='z' | '0'..='9' => {
                out.push(c);
                continue;
            }
            'A'..='Z' => {
                out.push(c.to_ascii_lowercase());
                continue;
            }
            'ß' | 'ẞ' => "ss",
            'æ' | 'Æ' => "ae",
            'ø' | 'Ø' => "o",
            'œ' | 'Œ' => "oe",
            'ł' | 'Ł' => "l",
            'đ' | 'Đ' | 'ð' | 'Ð' => "d",
            'þ' | 'Þ' => "th",
            'ı' => "i",
            // The accents that NFKD took off their letters, and apostrophes inside words.
            '\u{300}'..='\u{36f}' | '\'' | '\u{2019}' => continue,
            _ => "-",
        };
        if plain != "-" {
            out.push_str(plain);
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
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
        ] {
            assert_eq!(slug(title, 100), want);
        }
    }

    proptest! {
        #[test]
        fn a_slug_is_always_a_safe_name(text in any::<String>(), max in 1_usize..120) {
            let slug = slug(&text, max);
            prop_assert!(!slug.is_empty() && slug.len() <= max);
            prop_assert!(slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            prop_assert!(!slug.starts_with('-') && !slug.ends_with('-'));
        }
    }
}
