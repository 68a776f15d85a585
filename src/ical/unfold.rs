//! Bytes of a calendar -> its logical lines.
//!
//! Done on bytes, since folds of real calendars split UTF-8 characters.

use std::borrow::Cow;

/// A logical line is cut after so many bytes. No property that a talk needs is longer, and what reads
/// the line afterwards takes more than linear time in its parameters.
pub const MAX_LINE: usize = 64 * 1024;

/// One logical line: its folds put together again.
#[derive(Debug)]
pub struct LogicalLine<'a> {
    /// Number of its first physical line, from 1.
    pub number: usize,
    /// Its bytes, without line end; at most [`MAX_LINE`].
    pub bytes: Cow<'a, [u8]>,
    /// True where it was longer than [`MAX_LINE`] and the rest was dropped.
    pub cut: bool,
}

impl LogicalLine<'_> {
    /// Its text: UTF-8, or Latin-1 (with Windows' printable extras) where it is not that. Decided per
    /// line, because exports glue texts of several origins together.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        let mut bytes = self.bytes.as_ref();
        if self.cut {
            // The cut may have split a character: that alone does not make it Latin-1.
            let tail = bytes.len() - bytes.iter().rev().take(4).position(|b| b & 0xc0 != 0x80).map_or(0, |n| n + 1);
            if std::str::from_utf8(&bytes[tail..]).is_err() {
                bytes = &bytes[..tail];
            }
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(bytes.iter().map(|b| latin1(*b)).collect()),
        }
    }
}

/// Windows-1252, which is what "Latin-1" means in practice.
fn latin1(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

/// The logical lines of a calendar. Understands a byte order mark, and line ends LF, CRLF, CRCRLF and,
/// in a file that has nothing else, CR.
#[derive(Debug)]
pub struct Lines<'a> {
    rest: &'a [u8],
    separator: u8,
    number: usize,
    current: Option<LogicalLine<'a>>,
}

/// Reads `bytes` as logical lines.
#[must_use]
pub fn lines(bytes: &[u8]) -> Lines<'_> {
    let rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let separator = if rest.contains(&b'\n') { b'\n' } else { b'\r' };
    Lines { rest, separator, number: 0, current: None }
}

impl<'a> Lines<'a> {
    fn physical(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let (mut line, rest) = match self.rest.iter().position(|b| *b == self.separator) {
            Some(at) => (&self.rest[..at], &self.rest[at + 1..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        while let Some(shorter) = line.strip_suffix(b"\r") {
            line = shorter;
        }
        Some(line)
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = LogicalLine<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(line) = self.physical() else { return self.current.take() };
            if line.is_empty() {
                continue;
            }
            if let (b' ' | b'\t', Some(current)) = (line[0], &mut self.current) {
                let room = MAX_LINE.saturating_sub(current.bytes.len());
                let more = &line[1..];
                current.cut |= more.len() > room;
                if room > 0 && !more.is_empty() {
                    current.bytes.to_mut().extend_from_slice(&more[..more.len().min(room)]);
                }
                continue;
            }
            let bytes = &line[..line.len().min(MAX_LINE)];
            let next = LogicalLine { number: self.number, bytes: Cow::Borrowed(bytes), cut: bytes.len() < line.len() };
            if let Some(done) = self.current.replace(next) {
                return Some(done);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<(usize, String)> {
        lines(bytes).map(|l| (l.number, l.text().into_owned())).collect()
    }

    #[test]
    fn folds_line_ends_and_marks() {
        for (bytes, want) in [
            (&b"\xef\xbb\xbfA:1\r\nB:2\r\n"[..], vec![(1, "A:1"), (2, "B:2")]),
            (b"A:1\n 2\n\t3\nB:4", vec![(1, "A:123"), (4, "B:4")]),
            (b"A:1\r\r\n 2\r\r\n\r\r\nB:3\r\r\n", vec![(1, "A:12"), (4, "B:3")]),
            (b"A:1\rB:2\r 3\r", vec![(1, "A:1"), (2, "B:23")]),
            (b"A:a \n b\n", vec![(1, "A:a b")]),
            (b"A:\xc3\n \xbc\n", vec![(1, "A:ü")]),
            (b"A:\xfc\x80\nB:\xc3\xbc", vec![(1, "A:ü€"), (2, "B:ü")]),
            (b" A:1\n", vec![(1, " A:1")]),
            (b"", vec![]),
            (b"\n\r\n\n", vec![]),
        ] {
            let want: Vec<_> = want.into_iter().map(|(n, t)| (n, t.to_owned())).collect();
            assert_eq!(read(bytes), want, "{bytes:?}");
        }
    }

    #[test]
    fn a_line_has_a_cap_and_the_next_one_is_read() {
        let mut bytes = b"DESCRIPTION:".to_vec();
        for _ in 0..5000 {
            bytes.extend_from_slice("\r\n ü und noch ein Satz".as_bytes());
        }
        bytes.extend_from_slice(b"\r\nSUMMARY:x\r\n");
        let all: Vec<_> = lines(&bytes).collect();
        assert_eq!(all.len(), 2);
        assert!(all[0].cut && all[0].bytes.len() == MAX_LINE);
        assert!(all[0].text().contains("ü") && !all[0].text().contains('Ã'), "cut lines are still UTF-8");
        assert_eq!(all[1].text(), "SUMMARY:x");
    }
}
