//! Playlists: short lists of addresses, one of which is the stream. M3U, PLS and the redirect files of Windows
//! Media (ASX, and the older `[Reference]`). HLS has the form of an M3U and is none of these.

/// Longest list that is read, bytes.
pub(super) const MAX: usize = 64 * 1024;

/// Addresses taken from one list.
const MAX_ENTRIES: usize = 20;

/// What a list is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// HLS: its entries are pieces, no streams.
    Hls,
    /// Addresses in order, as written; they may be relative.
    Entries(Vec<String>),
}

/// True where `kind` (Content-Type) or the ending of `path` promise a list. What came decides.
pub(super) fn is_promised(kind: &str, path: &str) -> bool {
    const KINDS: [&str; 12] = [
        "audio/x-mpegurl",
        "audio/mpegurl",
        "application/x-mpegurl",
        "application/mpegurl",
        "audio/x-scpls",
        "audio/scpls",
        "application/pls+xml",
        "video/x-ms-asx",
        "audio/x-ms-wax",
        "video/x-ms-wvx",
        "video/x-ms-wax",
        "application/x-ms-asx",
    ];
    const ENDINGS: [&str; 5] = [".m3u", ".pls", ".asx", ".wax", ".wvx"];
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let path = path.to_ascii_lowercase();
    KINDS.contains(&kind.as_str()) || ENDINGS.iter().any(|end| path.ends_with(end))
}

/// True where the first bytes of an answer are those of a list. `promised`: plain addresses, one a line, are one
/// too.
pub(super) fn is_list(start: &[u8], promised: bool) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let begins = |word: &[u8]| start.get(..word.len()).is_some_and(|s| s.eq_ignore_ascii_case(word));
    if [b"#EXTM3U".as_slice(), b"[playlist]", b"[reference]", b"<asx"].into_iter().any(begins) {
        return true;
    }
    let plain = |b: &u8| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..);
    promised && !start.is_empty() && start.iter().take(256).all(plain) && !begins(b"<")
}

/// Reads a list; what is no address in it is left out.
pub(super) fn read(bytes: &[u8]) -> List {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let low = text.to_ascii_lowercase();
    let mut entries: Vec<String> = if low.starts_with("<asx") {
        references(text, &low)
    } else if low.starts_with("[playlist]") {
        numbered(text, "file")
    } else if low.starts_with("[reference]") {
        numbered(text, "ref")
    } else {
        if low.contains("#ext-x-") {
            return List::Hls;
        }
        text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_owned).collect()
    };
    entries.truncate(MAX_ENTRIES);
    List::Entries(entries)
}

/// `File1=http://h/x`, in the order of the lines.
fn numbered(text: &str, key: &str) -> Vec<String> {
    let entry = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        let number = name.strip_prefix(key)?;
        let value = value.trim();
        (number.bytes().all(|b| b.is_ascii_digit()) && !value.is_empty()).then(|| value.to_owned())
    };
    text.lines().filter_map(entry).collect()
}

/// `<ref href="...">` and `<entryref href="...">`. Few ASX files are sound XML, so they are searched, not parsed.
/// `low` is the text in lower case, of the same length.
fn references(text: &str, low: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut from = 0;
    while let Some(at) = low[from..].find('<').map(|at| from + at) {
        let end = low[at..].find('>').map_or(low.len(), |end| at + end);
        let tag = &low[at + 1..end];
        from = end.max(at + 1);
        let is_reference = ["ref", "entryref"].iter().any(|name| {
            tag.strip_prefix(name).is_some_and(|rest| rest.starts_with(|c: char| c.is_whitespace() || c == '/'))
        });
        if !is_reference {
            continue;
        }
        let Some(href) = tag.find("href").map(|href| at + 1 + href + 4) else { continue };
        let value = text[href..end].trim_start();
        let Some(value) = value.strip_prefix('=').map(str::trim_start) else { continue };
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split(quote).next(),
            _ => value.split_whitespace().next().map(|word| word.strip_suffix('/').unwrap_or(word)),
        };
        let value = value.unwrap_or_default().trim().replace("&amp;", "&");
        if !value.is_empty() {
            out.push(value);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(text: &str) -> Vec<String> {
        match read(text.as_bytes()) {
            List::Entries(entries) => entries,
            List::Hls => panic!("HLS"),
        }
    }

    #[test]
    fn each_sort_of_list_gives_its_addresses_in_order() {
        for (text, want) in [
            ("#EXTM3U\n#EXTINF:-1,Saal 1\nhttp://h/a\r\n\nb.ts\n", vec!["http://h/a", "b.ts"]),
            ("http://h/a\nhttp://h/b", vec!["http://h/a", "http://h/b"]),
            (
                "\u{feff}[playlist]\nNumberOfEntries=2\nFile1=http://h/a?x=1\nTitle1=A\nfile2 = http://h/b\nFile=\n",
                vec!["http://h/a?x=1", "http://h/b"],
            ),
            (
                "[Reference]\r\nRef1=http://h/saal1?MSWMExt=.asf\r\nRef2=mms://h/x\r\n",
                vec!["http://h/saal1?MSWMExt=.asf", "mms://h/x"],
            ),
            (
                "<ASX version=\"3.0\"><Entry><Ref HREF = \"http://h/a?b&amp;c\" /></Entry>\n<entryref href='x.asx'/><reference href=\"no\"/></ASX>",
                vec!["http://h/a?b&c", "x.asx"],
            ),
            ("<asx><ref href=http://h/a></asx>", vec!["http://h/a"]),
            ("<asx><ref href=http://h/a/b/></asx>", vec!["http://h/a/b"]),
            ("<asx><ref href=", vec![]),
            ("<asx><ref href=\"", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(entries(text), want, "{text}");
        }
        assert_eq!(read(b"#EXTM3U\n#EXT-X-TARGETDURATION:6\nx.ts\n"), List::Hls);
        assert_eq!(entries(&"http://h/x\n".repeat(1000)).len(), MAX_ENTRIES);
    }

    #[test]
    fn what_came_decides_not_what_was_promised() {
        let ts = [0x47_u8, 0x40, 0x11, 0x10, 0xff];
        for (start, promised, want) in [
            (b"#EXTM3U\n".as_slice(), false, true),
            (b"[PLAYLIST]\n", false, true),
            (b" <ASX>", false, true),
            (b"http://h/x\n", true, true),
            (b"http://h/x\n", false, false),
            (b"<html>", true, false),
            (&ts, true, false),
            (b"", true, false),
        ] {
            assert_eq!(is_list(start, promised), want, "{start:?}");
        }
        assert!(is_promised("audio/x-mpegurl; charset=utf-8", "/x") && is_promised("", "/x.PLS"));
        assert!(!is_promised("video/mp2t", "/x.ts"));
    }

    proptest! {
        #[test]
        fn anything_is_read(text in "[<>a-z=\"' /&;#\\n\\[\\]é\u{0}-]{0,80}", head in prop::sample::select(vec!["", "<asx", "[playlist]", "[reference]", "#EXTM3U"])) {
            let _ = read(format!("{head}{text}").as_bytes());
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200), promised: bool) {
            let _ = (read(&bytes), is_list(&bytes, promised));
        }

        #[test]
        fn the_tags_of_an_asx_may_hold_anything(text in "(<ref |<entryref |href|=|\"|'|>|/|é|x| ){0,30}") {
            let _ = read(format!("<asx>{text}").as_bytes());
        }
    }
}
