//! What source programs print.

use streamrip::domain::hall::Recorder;
use streamrip::domain::stream_url::StreamUrl;
use streamrip::source::judged;

use crate::harness::{fuzz, measured};
use crate::mutation::Samples;

const WORDS: &[&[u8]] = &[
    b"\nPlaying http://h/x.\n",
    b"\nServer returned ",
    b"\nHTTP error ",
    b"99999999999999999999",
    b"\n[http @ 0x1] ",
    b"\n[]",
    b"]",
    b"\r",
    b"\x1b[2J",
    b"\xe2\x80",
    b"failed: ",
    b": ",
    b"rtsp://u:s3cret@h/",
];

#[test]
fn lines_of_mplayer_and_ffmpeg() {
    let samples = Samples::of(&["txt"], WORDS);
    let url = StreamUrl::parse("http://streams.example.org/saal1").expect("valid");
    fuzz(&samples.mutated(), |input| {
        let bytes = input.0;
        for program in [Recorder::Mplayer, Recorder::Ffmpeg] {
            let ((end, lines), cost) = measured(|| judged(program, &url, &bytes));
            cost.is_within_bounds(bytes.len());
            for line in lines.iter().chain(&end.detail) {
                assert!(!line.contains(char::is_control), "{line:?}");
                // 2 KiB are kept of a line; a byte that is no UTF-8 becomes three.
                assert!(line.len() <= 3 * 2048 + 100, "{}", line.len());
            }
        }
    });
}
