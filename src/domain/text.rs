//! Text of strangers, made fit for one line of ours.

/// One line: line breaks, tabs, NUL and other control characters become spaces, runs of spaces one,
/// and the ends are trimmed. Nothing else is taken away: emoji and marks of direction are part of a title.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// For a search: compatibility forms as one (NFKC) and in lower case.
#[must_use]
pub fn folded(text: &str) -> String {
    use unicode_normalization::UnicodeNormalization;
    text.nfkc().flat_map(char::to_lowercase).collect()
}

/// At most `max` characters, with `…` in place of the rest.
#[must_use]
pub fn shortened(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => {
            let cut = text.char_indices().nth(max.saturating_sub(1)).map_or(0, |(at, _)| at);
            format!("{}…", &text[..cut])
        }
    }
}

/// Longest text of several lines that is kept, in bytes.
const MAX_PARAGRAPHS: usize = 20_000;

/// Text of several lines: line breaks stay (at most two in a row), other control characters and white space at the
/// ends go. What is longer than 20,000 bytes is cut, with `…` at its end.
#[must_use]
pub fn paragraphs(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_PARAGRAPHS));
    let mut breaks = 0;
    for c in text.trim().chars().filter(|c| *c != '\r') {
        breaks = if c == '\n' { breaks + 1 } else { 0 };
        if breaks > 2 {
            continue;
        }
        if out.len() + c.len_utf8() > MAX_PARAGRAPHS {
            out.push('…');
            break;
        }
        match c {
            '\n' => out.push('\n'),
            '\t' => out.push(' '),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_text_becomes_one_line() {
        assert_eq!(one_line("  a\0b\r\n\tc\u{85}d  "), "a b c d");
        assert_eq!(one_line("🎉 \u{200f}שלום"), "🎉 \u{200f}שלום");
        assert_eq!(shortened("äöü", 3), "äöü");
        assert_eq!(shortened("äöüß", 3), "äö…");
        assert_eq!(shortened("x", 0), "…");
    }
}
