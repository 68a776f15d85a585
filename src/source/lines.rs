//! The messages of a source program, line by line, whatever it prints.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::sync::CancellationToken;

use super::SourceEnd;
use super::log::LineLog;
use crate::domain::stream_url::redact_text;

/// Knows what the lines of one program mean.
pub trait LineJudge: Send {
    /// Takes one line, without its end and without passwords. True: the program must be stopped.
    fn line(&mut self, line: &str) -> bool;

    /// After the last line: what they mean together.
    fn end(&mut self) -> SourceEnd;
}

/// Of a longer line the rest is dropped. Bytes.
const MAX_LINE: usize = 2048;

/// So many bytes of one connection's lines are kept in the log; a program gone mad must not fill the disk.
const MAX_LOGGED: usize = 4 << 20;

/// Between two reads, unless there is much to read: progress lines shall not wake us up all the time.
const READ_INTERVAL: Duration = Duration::from_millis(500);

/// Reads lines until they end, or until `hurry` (then only what is there already); after `exited`
/// without pauses. Each is cleaned, judged and logged; a line that ends in a lone carriage return is a
/// progress display and is left out. Gives back the judge.
pub(super) async fn read(
    mut messages: impl AsyncRead + Unpin,
    mut judge: Box<dyn LineJudge>,
    log: Arc<dyn LineLog>,
    label: String,
    stop: CancellationToken,
    exited: CancellationToken,
    hurry: CancellationToken,
) -> Box<dyn LineJudge> {
    let mut splitter = Splitter::default();
    let mut logged = 0;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = tokio::select! {
            biased;
            read = messages.read(&mut buffer) => read.unwrap_or(0),
            () = hurry.cancelled() => 0,
        };
        let mut take = |line: &str| {
            if judge.line(line) {
                stop.cancel();
            }
            if logged < MAX_LOGGED {
                log.line(&label, line);
                logged += line.len() + 1;
                if logged >= MAX_LOGGED {
                    log.line(&label, "(too many messages: the rest of this connection's is not kept)");
                }
            }
        };
        if n == 0 {
            splitter.finish(&mut take);
            return judge;
        }
        splitter.push(&buffer[..n], &mut take);
        if n < buffer.len() {
            tokio::select! {
                () = tokio::time::sleep(READ_INTERVAL) => {}
                () = exited.cancelled() => {}
            }
        }
    }
}

/// Judges messages that are all there already; gives back what they mean and each line as it is logged.
pub(super) fn judged(mut judge: Box<dyn LineJudge>, messages: &[u8]) -> (SourceEnd, Vec<String>) {
    let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
    let mut take = |line: &str| {
        judge.line(line);
        lines.push(line.to_owned());
    };
    splitter.push(messages, &mut take);
    splitter.finish(&mut take);
    (judge.end(), lines)
}

/// Cuts bytes into clean lines.
#[derive(Default)]
struct Splitter {
    line: Vec<u8>,
    /// The last byte was a carriage return: whether that ends a line or shows progress, the next one says.
    after_cr: bool,
}

impl Splitter {
    fn push(&mut self, bytes: &[u8], take: &mut impl FnMut(&str)) {
        for byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                b'\n' => self.flush(take),
                b'\r' => {}
                _ => {
                    if after_cr {
                        self.line.clear();
                    }
                    if self.line.len() < MAX_LINE {
                        self.line.push(*byte);
                    }
                }
            }
        }
    }

    fn finish(&mut self, take: &mut impl FnMut(&str)) {
        if !self.after_cr {
            self.flush(take);
        }
    }

    fn flush(&mut self, take: &mut impl FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.line);
        let text = text.trim();
        if !text.is_empty() {
            let clean: String = text
                .chars()
                .map(|c| match c {
                    '\t' => ' ',
                    c if c.is_control() => '\u{fffd}',
                    c => c,
                })
                .collect();
            take(&redact_text(&clean));
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(parts: &[&[u8]]) -> Vec<String> {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for part in parts {
            splitter.push(part, &mut |l| lines.push(l.to_owned()));
        }
        splitter.finish(&mut |l| lines.push(l.to_owned()));
        lines
    }

    #[test]
    fn lines_are_cut_cleaned_and_redacted_and_progress_is_left_out() {
        assert_eq!(split(&[b"a\nb", b"c\r\n\r\n", b"d"]), ["a", "bc", "d"]);
        assert_eq!(split(&[b"dump: 1\rdump: 2\r", b"\ndump: 3\rdone\n"]), ["dump: 2", "done"]);
        assert_eq!(split(&[b"dump: 1\r"]), [""; 0]);
        assert_eq!(split(&[b"\x1b[31mred\xff\n"]), ["\u{fffd}[31mred\u{fffd}"]);
        assert_eq!(split(&[b"Playing http://me:s3cret@h/x.\n"]), ["Playing http://me:***@h/x."]);
        let long = split(&[&b"x".repeat(1 << 20), b"\nnext\n"]);
        assert_eq!((long[0].len(), long[1].as_str()), (MAX_LINE, "next"));
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_dealt_out_does_not_matter(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..60), cut in any::<prop::sample::Index>()) {
            let (a, b) = bytes.split_at(cut.index(bytes.len() + 1));
            prop_assert_eq!(split(&[a, b]), split(&[&bytes]));
        }
    }
}
