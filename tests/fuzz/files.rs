//! The user's own files: halls and settings.

use std::path::Path;

use streamrip::config::{halls_file, settings};

use crate::harness::{fuzz, measured};
use crate::mutation::Samples;

const WORDS: &[&[u8]] = &[
    b"[[hall]]\n",
    b"[hall]\n",
    b"name = \"x\"\n",
    b"streams = [",
    b"\"\"\"",
    b"'''",
    b"{",
    b"[",
    b"]",
    b"= 99999999999999999999",
    b"\"-0x7fffffffffffffff\"",
    b"1979-05-27T07:32:00Z",
    b"\\u202e",
    b"pre_padding = \"99999999999999999999s\"\n",
    b"http://a:b@",
    b"\xff",
    b"a.a.a.a.a.a.a.a.a.a.",
];

#[test]
fn halls_files_and_settings_are_read_or_refused_with_their_place() {
    let samples = Samples::of(&["toml"], WORDS);
    fuzz(&samples.mutated(), |input| {
        let bytes = input.0;
        let text = String::from_utf8_lossy(&bytes);
        let (read, cost) = measured(|| halls_file::read(&text));
        cost.is_within_bounds(bytes.len());
        if let Err(e) = read {
            assert!(e.line >= 1 && e.line <= text.lines().count() + 1 && e.column >= 1, "{e}");
        }
        let (_, cost) = measured(|| settings::parse(&text, Path::new("streamrip.toml")));
        cost.is_within_bounds(bytes.len());
    });
}
