//! mplayer as a source: `-dumpstream` into the pipe. Measured with mplayer 1.5 of Debian 12.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::child::{self, ChildCommand};
use super::lines::LineJudge;
use super::log::LineLog;
use super::{Running, Source, SourceEnd};
use crate::domain::segment::EndReason;
use crate::domain::stream_url::StreamUrl;

/// It writes blocks of this many bytes. TERM interrupts the read under way, whose bytes are lost; it then fills
/// the block with what follows and writes it: a hole that shows as decoding errors (3 of 8 stops, measured).
const BLOCK_BYTES: usize = 4096;

/// Source that records with the mplayer program.
#[derive(Clone, Debug)]
pub struct Mplayer {
    program: PathBuf,
    log: Arc<dyn LineLog>,
}

impl Mplayer {
    /// Uses the mplayer that is found in `PATH`.
    #[must_use]
    pub fn new(log: Arc<dyn LineLog>) -> Self {
        Self::at("mplayer", log)
    }

    /// Another program that behaves like it.
    #[must_use]
    pub fn at(program: impl Into<PathBuf>, log: Arc<dyn LineLog>) -> Self {
        Self { program: program.into(), log }
    }
}

impl Source for Mplayer {
    fn name(&self) -> &'static str {
        "mplayer"
    }

    fn is_there(&self) -> bool {
        child::find(&self.program).is_some()
    }

    fn open(&self, url: &StreamUrl, label: &str) -> Result<Running, SourceEnd> {
        child::start(ChildCommand {
            program: self.program.clone(),
            package: "mplayer",
            args: arguments(url),
            label: format!("{label} mplayer"),
            log: self.log.clone(),
            judge: judge(),
            untrusted_tail: BLOCK_BYTES,
        })
    }
}

/// Knows its lines.
pub(super) fn judge() -> Box<dyn LineJudge> {
    Box::new(MplayerLines::default())
}

/// Its command line. A [`StreamUrl`] begins with an allowed scheme, so it is never taken for an option
/// (mplayer knows no `--`) or for a local file.
fn arguments(url: &StreamUrl) -> Vec<OsString> {
    let options = "-dumpstream -dumpfile /dev/fd/0 -noconsolecontrols -nolirc -nocache -noconfig all";
    options.split(' ').map(OsString::from).chain([url.secret().into()]).collect()
}

/// What its lines mean. Before `Playing URL` it prints noise on good streams too. It tries up to three
/// ways to open a stream, one after the other, and each may fail in words of its own.
#[derive(Debug, Default)]
struct MplayerLines {
    playing: bool,
    /// The strongest reason so far and the line that gave it.
    found: Option<(Rank, EndReason, String)>,
    /// The last line that is no known noise: the explanation where it gave up early.
    last: Option<String>,
}

/// Of two lines the more exact one counts; of equal ones the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Weak,
    Exact,
}

impl LineJudge for MplayerLines {
    fn line(&mut self, line: &str) -> bool {
        if line.starts_with("Playing ") {
            self.playing = true;
            self.found = None;
            self.last = None;
        } else if !self.playing {
            // Why it gave up before it began: an option it does not know, a library it misses.
            if line.starts_with("Unknown option") || line.contains("error") {
                self.last = Some(line.to_owned());
            }
        } else if line.starts_with("Cache size set to") {
            // It is open, and what went before does not matter any more.
            self.found = None;
        } else if let Some((rank, reason)) = meaning(line)
            && self.found.as_ref().is_none_or(|(r, ..)| *r < rank)
        {
            self.found = Some((rank, reason, line.to_owned()));
        }
        false
    }

    fn end(&mut self) -> SourceEnd {
        match self.found.take() {
            Some((_, reason, line)) => SourceEnd { reason: Some(reason), detail: Some(line) },
            None => SourceEnd { reason: None, detail: self.last.take() },
        }
    }
}

/// One line after `Playing`. Titles of songs stand in lines of their own (`ICY Info:`), so only whole
/// beginnings count.
fn meaning(line: &str) -> Option<(Rank, EndReason)> {
    use EndReason::{Dns, Network, NotMedia, Refused};
    // Messages of libavformat: `[http @ 0x7f00]text`.
    let (from_libav, text) = match line.strip_prefix('[').and_then(|l| l.split_once(']')) {
        Some((name, text)) if name.contains(" @ ") => (true, text.trim_start()),
        _ => (false, line),
    };
    if let Some(rest) = text.strip_prefix("Server returned ").or_else(|| text.strip_prefix("HTTP error ")) {
        return http_status(rest).map(|status| (Rank::Exact, EndReason::Http(status)));
    }
    let begins = |word: &str| text.starts_with(word);
    if begins("Authentication failed") || begins("Authentication required") {
        return Some((Rank::Exact, EndReason::Http(401)));
    }
    if begins("Playlist parsing disabled") {
        return Some((Rank::Exact, NotMedia));
    }
    // An ASX file where the server's type promised ASF. It dumps nothing of it, and says no more.
    if begins("Error while parsing chunk header") {
        return Some((Rank::Weak, NotMedia));
    }
    if begins("Failed to resolve hostname") {
        return Some((Rank::Exact, Dns));
    }
    // It tries AF_INET only where AF_INET6 failed; a host with IPv6 alone may fail here for other reasons.
    if begins("Couldn't resolve name for AF_INET:") {
        return Some((Rank::Weak, Dns));
    }
    if begins("connect error: ") || (from_libav && begins("Connection to ")) {
        let refused = text.ends_with("Connection refused");
        return Some(if refused { (Rank::Exact, Refused) } else { (Rank::Weak, Network) });
    }
    let network = ["read: ", "Read failed", "Connection timeout", "Timeout"];
    if network.iter().any(|w| begins(w)) || (from_libav && (begins("IO error") || begins("Error in the pull"))) {
        return Some((Rank::Weak, Network));
    }
    None
}

/// The status code at the start of `404: Not Found`, if it is a failure.
pub(super) fn http_status(text: &str) -> Option<u16> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|status| (400..600).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What mplayer printed, line by line (left out: banner, joystick, `Resolving`, `Connecting`).
    fn judged(lines: &[&str]) -> Option<EndReason> {
        let mut judge = MplayerLines::default();
        for line in ["Can't open joystick device /dev/input/js0: No such file or directory", "Playing http://h/x."]
            .iter()
            .chain(lines)
        {
            assert!(!judge.line(line));
        }
        judge.line("Exiting... (End of file)");
        judge.end().reason
    }

    #[test]
    fn its_lines_mean_what_happened() {
        const V6: &str = "Couldn't resolve name for AF_INET6: 127.0.0.1";
        let table: &[(&[&str], Option<EndReason>)] = &[
            (
                &[
                    V6,
                    "Server returned 404: Not Found",
                    "STREAM_ASF, URL: http://127.0.0.1:8777/404",
                    V6,
                    "Server returned 404:Not Found",
                    "Failed to parse header.",
                    "Failed, exiting.",
                    "libavformat version 59.27.100 (external)",
                    "[http @ 0x7f2fd4898bc0]HTTP error 404 Not Found",
                    "Failed to open http://127.0.0.1:8777/404.",
                ],
                Some(EndReason::Http(404)),
            ),
            (&[V6, "Server returned 500: Internal Server Error"], Some(EndReason::Http(500))),
            (&[V6, "Authentication required for \"x\"", "unknown ASF streaming type"], Some(EndReason::Http(401))),
            (
                &[
                    V6,
                    "connect error: Connection refused",
                    "Failed, exiting.",
                    "[tcp @ 0x7fbf0de98bc0]Connection to tcp://127.0.0.1:1 failed: Connection refused",
                ],
                Some(EndReason::Refused),
            ),
            (
                &[
                    "Couldn't resolve name for AF_INET6: no.such.host.invalid",
                    "Couldn't resolve name for AF_INET: no.such.host.invalid",
                    "[tcp @ 0x7fb1d8898bc0]Failed to resolve hostname no.such.host.invalid: Name or service not known",
                ],
                Some(EndReason::Dns),
            ),
            (
                &["Couldn't resolve name for AF_INET: h", "No stream found to handle url mms://h/x"],
                Some(EndReason::Dns),
            ),
            (&[V6, "Read failed.", "read: Connection reset by peer"], Some(EndReason::Network)),
            (&["connect error: Network is unreachable"], Some(EndReason::Network)),
            (
                &[V6, "Cache size set to 0 KBytes", "Playlist parsing disabled for security reasons. Ignoring file."],
                Some(EndReason::NotMedia),
            ),
            (
                &["[tls @ 0x7faf75698bc0]Error in the pull function.", "[tls @ 0x7faf75698bc0]IO error: End of file"],
                Some(EndReason::Network),
            ),
            (
                &[
                    V6,
                    "connect error: Network is unreachable",
                    "Cache size set to 0 KBytes",
                    "dump: 207552 bytes written to '/dev/fd/0'.",
                    "Core dumped ;)",
                ],
                None,
            ),
            (&["Cache size set to 0 KBytes", "ICY Info: StreamTitle='Server returned 404: Not Found';"], None),
            (&["Server returned 302:Found", "Failed to parse header."], None),
            (
                &[
                    "STREAM_ASF, URL: http://127.0.0.1:8778/asx",
                    "size_confirm mismatch!: 30835 28271",
                    "Error while parsing chunk header",
                    "[http @ 0x7f6240c98bc0]Stream ends prematurely at 82, should be 18446744073709551615",
                    "dump: 0 bytes written to '/dev/fd/0'.",
                    "Core dumped ;)",
                ],
                Some(EndReason::NotMedia),
            ),
            (&["connect error: Connection refused", "dump: 0 bytes written to '/dev/fd/0'."], Some(EndReason::Refused)),
        ];
        for (lines, want) in table {
            assert_eq!(judged(lines), *want, "{lines:?}");
        }
    }

    #[test]
    fn noise_before_it_plays_means_nothing_and_a_refused_option_is_reported() {
        let mut judge = MplayerLines::default();
        judge.line("connect error: Connection refused");
        judge.line("Playing http://h/x.");
        assert_eq!(judge.end(), SourceEnd::default());
        let mut judge = MplayerLines::default();
        judge.line("Unknown option on the command line: -nolirc");
        judge.line("Error parsing option on the command line: -nolirc");
        assert!(judge.end().detail.expect("said").contains("-nolirc"));
    }

    #[test]
    fn the_address_is_the_last_argument_and_no_option() {
        let url = StreamUrl::parse("http://me:s3cret@h/-x").expect("valid");
        let args = arguments(&url);
        assert_eq!(args.last(), Some(&OsString::from("http://me:s3cret@h/-x")));
        assert_eq!(args.len(), 9);
    }
}
