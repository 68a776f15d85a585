//! ffmpeg as a source, for RTSP and HLS: its packets, not coded anew, in MPEG-TS with the source's own
//! clock, or in Matroska where MPEG-TS cannot carry the codec. Measured with ffmpeg 5.1 of Debian 12.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::child::two_inputs::{self, ChildInputs};
use super::child::{self, ChildCommand};
use super::lines::LineJudge;
use super::log::LineLog;
use super::mplayer::http_status;
use super::{Running, Source, SourceEnd};
use crate::domain::segment::EndReason;
use crate::domain::stream_url::StreamUrl;

/// What a stream may make ffmpeg open: the network, never files, pipes or devices of this machine.
const PROTOCOLS: &str =
    "http,https,httpproxy,tcp,tls,udp,rtp,crypto,rtmp,rtmps,rtmpt,rtmpts,rtmpe,rtmpte,ffrtmphttp,ffrtmpcrypt,mmsh,mmst";

/// Debian's package.
const PACKAGE: &str = "ffmpeg";

/// Source that records with the ffmpeg program.
#[derive(Clone, Debug)]
pub struct FfmpegSource {
    program: PathBuf,
    log: Arc<dyn LineLog>,
    /// Streams whose codecs MPEG-TS cannot carry, as their first connection showed.
    matroska: Arc<Mutex<HashSet<StreamUrl>>>,
}

impl FfmpegSource {
    /// Uses the ffmpeg that is found in `PATH`.
    #[must_use]
    pub fn new(log: Arc<dyn LineLog>) -> Self {
        Self::at("ffmpeg", log)
    }

    /// Another program that behaves like it.
    #[must_use]
    pub fn at(program: impl Into<PathBuf>, log: Arc<dyn LineLog>) -> Self {
        Self { program: program.into(), log, matroska: Arc::default() }
    }

    /// Starts it on what it is fed with: the picture of the first input and the sound of the second, MPEG-TS or MP4.
    /// Sound that has no clock of its own begins `sound_at` seconds after the clock's 0. `url` is whose they are.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub(super) fn open_fed(
        &self,
        url: &StreamUrl,
        sound_at: Option<f64>,
        label: &str,
    ) -> Result<(Running, ChildInputs), SourceEnd> {
        two_inputs::start(self.job(url, fed_arguments(sound_at, self.is_matroska(url)), label))
    }

    /// Whether it could be started.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub(super) fn installed(&self) -> Result<(), SourceEnd> {
        child::installed(&self.program, PACKAGE).map(drop)
    }

    fn is_matroska(&self, url: &StreamUrl) -> bool {
        self.matroska.lock().unwrap_or_else(PoisonError::into_inner).contains(url)
    }

    fn job(&self, url: &StreamUrl, args: Vec<OsString>, label: &str) -> ChildCommand {
        ChildCommand {
            program: self.program.clone(),
            package: PACKAGE,
            args,
            label: format!("{label} ffmpeg"),
            log: self.log.clone(),
            judge: judge(url, &self.matroska),
            untrusted_tail: 0,
        }
    }
}

impl Source for FfmpegSource {
    fn name(&self) -> &'static str {
        "ffmpeg"
    }

    fn open(&self, url: &StreamUrl, label: &str) -> Result<Running, SourceEnd> {
        child::start(self.job(url, arguments(url, self.is_matroska(url)), label))
    }
}

/// Knows its lines.
pub(super) fn judge(url: &StreamUrl, matroska: &Arc<Mutex<HashSet<StreamUrl>>>) -> Box<dyn LineJudge> {
    Box::new(FfmpegLines { url: url.clone(), matroska: matroska.clone(), found: None, last: None })
}

/// Its command line. What comes from outside is the argument of an option, so it is never taken for one.
fn arguments(url: &StreamUrl, matroska: bool) -> Vec<OsString> {
    let mut args = words("-hide_banner -nostats -loglevel warning -nostdin -copyts -protocol_whitelist");
    args.push(PROTOCOLS.into());
    if url.is_rtsp() {
        // Over UDP every lost datagram is a lost picture; where TCP is not to be had it takes UDP.
        args.extend(words("-rtsp_flags prefer_tcp"));
    }
    args.extend(["-i".into(), url.secret().into()]);
    args.extend(output(matroska));
    args
}

/// Its command line for two inputs, see [`fed`]. Whatever they hold, it opens nothing else.
fn fed_arguments(sound_at: Option<f64>, matroska: bool) -> Vec<OsString> {
    // A second of each says what it is; the queues are those of packets that wait for the other one.
    const INPUT: &str = "-protocol_whitelist pipe -format_whitelist mpegts,mov,aac,mp3,ac3,eac3 \
                         -analyzeduration 1000000 -thread_queue_size 1024";
    let mut args = words("-hide_banner -nostats -loglevel warning -nostdin -copyts");
    args.extend(words(INPUT));
    args.extend(words("-i pipe:0"));
    args.extend(words(INPUT));
    if let Some(at) = sound_at {
        args.extend(["-itsoffset".into(), format!("{at:.6}").into()]);
    }
    args.extend(words("-i pipe:1 -map 0:v:0 -map 1:a:0"));
    args.extend(output(matroska));
    args
}

/// The end of both.
fn output(matroska: bool) -> Vec<OsString> {
    // Each packet at once: otherwise 32 KiB of a quiet audio stream wait in its buffer for seconds.
    let mut args = words("-c copy -muxdelay 0 -muxpreload 0 -flush_packets 1");
    args.extend(words(if matroska { "-f matroska pipe:0" } else { "-mpegts_copyts 1 -f mpegts pipe:0" }));
    args
}

fn words(text: &str) -> Vec<OsString> {
    text.split_ascii_whitespace().map(OsString::from).collect()
}

/// What its lines mean.
#[derive(Debug)]
struct FfmpegLines {
    url: StreamUrl,
    matroska: Arc<Mutex<HashSet<StreamUrl>>>,
    found: Option<(bool, EndReason, String)>,
    last: Option<String>,
}

impl LineJudge for FfmpegLines {
    fn line(&mut self, line: &str) -> bool {
        if line.starts_with("[mpegts @") && line.contains("is muxed as a private data stream") {
            self.matroska.lock().unwrap_or_else(PoisonError::into_inner).insert(self.url.clone());
            let detail = format!("{line} The next connection will be written as Matroska.");
            self.found = Some((true, EndReason::SourceFailed, detail));
            return true;
        }
        if let Some((exact, reason)) = meaning(line) {
            if self.found.as_ref().is_none_or(|(e, ..)| !e && exact) {
                self.found = Some((exact, reason, line.to_owned()));
            }
        } else if !line.trim_start().starts_with("Last message repeated") {
            self.last = Some(line.to_owned());
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

/// One line: whether it is exact, and what it means.
fn meaning(line: &str) -> Option<(bool, EndReason)> {
    let text = match line.strip_prefix('[').and_then(|l| l.split_once("] ")) {
        Some((name, text)) if name.contains(" @ ") => text,
        // The last word: `URL: Connection refused`.
        _ => line.rsplit_once(": ").map_or(line, |(_, text)| text),
    };
    if let Some(rest) = text.strip_prefix("HTTP error ").or_else(|| text.strip_prefix("Server returned ")) {
        return http_status(rest).map(|status| (true, EndReason::Http(status)));
    }
    if text.starts_with("method ") && line.contains("failed: ") {
        // RTSP: `method DESCRIBE failed: 404 Not Found`.
        return line.rsplit_once("failed: ").and_then(|(_, s)| http_status(s)).map(|s| (true, EndReason::Http(s)));
    }
    if text.ends_with("Connection refused") {
        return Some((true, EndReason::Refused));
    }
    if text.starts_with("Failed to resolve hostname") {
        return Some((true, EndReason::Dns));
    }
    if text == "Invalid data found when processing input" {
        return Some((false, EndReason::NotMedia));
    }
    let network = [
        "Input/output error",
        "Connection reset by peer",
        "Connection timed out",
        "Network is unreachable",
        "No route to host",
        "Broken pipe",
        "IO error: ",
        "Stream ends prematurely",
    ];
    network.iter().any(|word| text.starts_with(word) || text.ends_with(word)).then_some((false, EndReason::Network))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge() -> FfmpegLines {
        let url = StreamUrl::parse("http://h/x").expect("valid");
        FfmpegLines { url, matroska: Arc::default(), found: None, last: None }
    }

    #[test]
    fn its_lines_mean_what_happened() {
        let table: &[(&[&str], Option<EndReason>)] = &[
            (
                &[
                    "[http @ 0x55754f402300] HTTP error 404 Not Found",
                    "http://127.0.0.1:8777/404: Server returned 404 Not Found",
                ],
                Some(EndReason::Http(404)),
            ),
            (
                &[
                    "[http @ 0x55e592899300] HTTP error 500 Internal Server Error",
                    "http://h/500: Server returned 5XX Server Error reply",
                ],
                Some(EndReason::Http(500)),
            ),
            (
                &[
                    "[tcp @ 0x55a0f2d49140] Connection to tcp://127.0.0.1:1 failed: Connection refused",
                    "http://127.0.0.1:1/x: Connection refused",
                ],
                Some(EndReason::Refused),
            ),
            (
                &[
                    "[tcp @ 0x56206e1e2100] Failed to resolve hostname no.such.host.invalid: Name or service not known",
                    "http://no.such.host.invalid/x: Input/output error",
                ],
                Some(EndReason::Dns),
            ),
            (&["http://127.0.0.1:8777/reset: Connection reset by peer"], Some(EndReason::Network)),
            (&["http://127.0.0.1:8777/loop: Input/output error"], Some(EndReason::Network)),
            (&["http://127.0.0.1:8777/html: Invalid data found when processing input"], Some(EndReason::NotMedia)),
            (
                &[
                    "[rtsp @ 0x55d8c64f0f00] method DESCRIBE failed: 404 Not Found",
                    "rtsp://h/x: Server returned 404 Not Found",
                ],
                Some(EndReason::Http(404)),
            ),
            (
                &["[tls @ 0x5574a791b100] IO error: End of file", "https://127.0.0.1:8777/ts: End of file"],
                Some(EndReason::Network),
            ),
            (&["[mpegts @ 0x1] Timestamps are unset in a packet for stream 0."], None),
        ];
        for (lines, want) in table {
            let mut judge = judge();
            for line in *lines {
                assert!(!judge.line(line));
            }
            assert_eq!(judge.end().reason, *want, "{lines:?}");
        }
    }

    #[test]
    fn a_codec_that_does_not_fit_ends_the_connection_and_the_next_one_is_matroska() {
        let source = FfmpegSource::new(Arc::new(crate::source::log::NoLog));
        let mut judge = FfmpegLines { matroska: source.matroska.clone(), ..judge() };
        assert!(judge.line(
            "[mpegts @ 0x5] Stream 0, codec vp8, is muxed as a private data stream and may not be recognized upon reading."
        ));
        assert!(source.matroska.lock().expect("lock").contains(&judge.url));
        assert_eq!(judge.end().reason, Some(EndReason::SourceFailed));
    }

    #[test]
    fn where_it_is_missing_that_is_said() {
        let nobody = FfmpegSource::at("/nonexistent/ffmpeg", Arc::new(crate::source::log::NoLog));
        let end = nobody.installed().expect_err("missing");
        assert_eq!(end.reason, Some(EndReason::SourceMissing));
        assert!(end.detail.is_some_and(|words| words.contains("apt install ffmpeg")));
    }

    #[test]
    fn its_command_line_keeps_the_clock_and_to_the_network() {
        let words = |url: &str, matroska| {
            let args = arguments(&StreamUrl::parse(url).expect("valid"), matroska);
            args.iter().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        let ts = words("https://h/a.m3u8", false);
        assert!(
            ts.contains(" -copyts ") && ts.contains(" -i https://h/a.m3u8 -c copy -muxdelay 0 -muxpreload 0"),
            "{ts}"
        );
        assert!(ts.ends_with("-mpegts_copyts 1 -f mpegts pipe:0"), "{ts}");
        assert!(
            !PROTOCOLS.split(',').any(|p| ["file", "pipe", "fd", "data", "concat", "subfile", "unix"].contains(&p))
        );
        let fed = fed_arguments(Some(95443.5), false);
        let fed = fed.iter().map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ");
        assert_eq!(fed.matches("-protocol_whitelist pipe -format_whitelist mpegts,mov").count(), 2, "{fed}");
        assert!(fed.contains("-itsoffset 95443.500000 -i pipe:1 -map 0:v:0 -map 1:a:0 -c copy"), "{fed}");
        assert!(words("https://h/a.m3u8", true).ends_with("-f matroska pipe:0"));
        assert!(words("rtsp://h/a", false).contains("-rtsp_flags prefer_tcp"));
    }
}
