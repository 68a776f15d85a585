//! What each cause of a gap means to the person who reads it, and what can be done about it. The reference page
//! `docs/reference/causes.md` is generated from this table.

use super::gap::GapCause;
use super::segment::EndReason;

/// One cause of a gap, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CauseHelp {
    /// The word in `list`, `show` and JSON, such as `stalled`.
    pub word: String,
    /// What happened, as the end of the sentence "Nothing was recorded because ...".
    pub meaning: &'static str,
    /// What the operator can do; empty where nothing can be done.
    pub advice: &'static str,
}

/// Every cause that a gap can have, in the order of the documentation. The causes `http-NNN` of the different HTTP
/// status codes appear once.
#[must_use]
pub fn table() -> Vec<CauseHelp> {
    let connections = EndReason::PLAIN.into_iter().filter(|r| !r.is_wanted() || *r == EndReason::Shutdown);
    let connections = connections.map(GapCause::Connection);
    let mut all: Vec<_> = GapCause::OF_ITS_OWN.into_iter().chain(connections).map(|cause| help(cause, None)).collect();
    all.push(help(GapCause::Connection(EndReason::Http(0)), Some("http-NNN")));
    all.sort_by(|a, b| a.word.cmp(&b.word));
    all
}

fn help(cause: GapCause, word: Option<&str>) -> CauseHelp {
    let (meaning, advice) = explain(cause);
    CauseHelp { word: word.map_or_else(|| cause.to_string(), str::to_owned), meaning, advice }
}

/// The meaning of a cause and the operator's next step (empty where there is none).
#[must_use]
pub fn explain(cause: GapCause) -> (&'static str, &'static str) {
    match cause {
        GapCause::OptedOut => ("this talk, or another one in the same hall at that time, must not be recorded", ""),
        GapCause::ImportedLate => {
            ("the schedule named the talk only after that time", "import the schedule earlier, or reach back with HLS")
        }
        GapCause::Rescheduled => (
            "the schedule named another hall or slot for the talk until then",
            "what was recorded there is a talk of its own: `streamrip show TALK` names it",
        ),
        GapCause::DaemonNotRunning => (
            "no `streamrip run` was working on this data directory",
            "let a service manager start it (docs/guide/install.md)",
        ),
        GapCause::HostAsleep => ("the machine was suspended", "switch automatic suspend off"),
        GapCause::ClockSet => {
            ("the wall clock was set forward: that time never existed", "synchronise the clock before the day begins")
        }
        GapCause::NoStream => {
            ("the hall had no stream address", "`streamrip halls set HALL URL`, or add it to the halls file")
        }
        GapCause::Connecting => ("the first connection was being opened", "a larger `record.pre_padding`"),
        GapCause::FileLost => ("it was recorded, but the file is gone", "put the file back and restart the daemon"),
        GapCause::NoMedia => (
            "data arrived, but it holds no media of that time",
            "`streamrip show TALK`, then `log/sources.log`; try another recorder for the hall",
        ),
        GapCause::WaitsForKeyframe => (
            "video cannot be decoded before its next keyframe, for which it had to wait after an interruption",
            "a shorter distance between keyframes at the encoder; add a second stream (mirror) to the hall",
        ),
        GapCause::FormatChanged => (
            "the stream changed to a format that the talk's file cannot hold beside the rest; the segment is kept",
            "`streamrip show TALK` names the segment",
        ),
        GapCause::Unreadable => (
            "it was received, but no reader makes packets of it; the segment is kept",
            "`streamrip show TALK` names the segment and what the reader said",
        ),
        GapCause::NotJoined => (
            "it was received, but the talk's file does not present it; the segment is kept",
            "`streamrip assemble --force TALK`, and please report it with the output of `streamrip show TALK --json`",
        ),
        GapCause::Cancelled => ("the schedule listed the talk as cancelled or had removed it at that time", ""),
        GapCause::Unknown => {
            ("nothing in the catalog explains it", "please report it with the output of `streamrip show TALK --json`")
        }
        GapCause::Connection(reason) => explain_end(reason),
    }
}

fn explain_end(reason: EndReason) -> (&'static str, &'static str) {
    const MIRROR: &str = "add a second stream (mirror) to the hall";
    match reason {
        EndReason::Eof => ("the server closed the stream", MIRROR),
        EndReason::Stalled => ("the connection stayed open but delivered nothing for `record.stall_timeout`", MIRROR),
        EndReason::NoFirstByte => {
            ("the connection was accepted but delivered nothing within `record.first_byte_timeout`", MIRROR)
        }
        EndReason::Refused => {
            ("the server refused the connection", "check that the encoder or server is running; add a second stream")
        }
        EndReason::Http(_) => (
            "the server answered with this HTTP status code",
            "check the address in a browser; for 401 and 403 the user name and password",
        ),
        EndReason::Dns => ("the host name could not be resolved", "check the address and the machine's name server"),
        EndReason::PrivateAddress => (
            "the address from the schedule points to this machine or a private network and was not opened",
            "if it is right, name it in the halls file or set `allow_private_streams = true` there",
        ),
        EndReason::Network => {
            ("the network failed: unreachable, reset or timed out", "check the machine's network; add a second stream")
        }
        EndReason::Tls => (
            "no secure connection could be made: the certificate does not fit, or TLS failed otherwise",
            "check the address and the machine's clock and certificates",
        ),
        EndReason::NotMedia => (
            "a web page, a playlist or a redirect file arrived instead of media",
            "open the address in a browser and use the stream address that it contains",
        ),
        EndReason::SourceMissing => (
            "mplayer or ffmpeg is not installed",
            "install it, or set `recorder = \"http\"` for the hall; `streamrip check` lists what is missing",
        ),
        EndReason::SourceFailed => ("mplayer or ffmpeg failed or was killed", "`log/sources.log` has its own messages"),
        EndReason::DiskFull => {
            ("the recording could not be written to the disk", "free space, or let `prune.keep_segments` do it")
        }
        EndReason::Crash => {
            ("the recorder was killed or crashed, and was started again", "the system's journal may say why")
        }
        EndReason::Shutdown => ("the recorder was stopped", "start it again"),
        EndReason::Handover
        | EndReason::HandoverFailed
        | EndReason::HedgeLost
        | EndReason::WindowEnd
        | EndReason::Unwanted => ("the recorder ended the connection on purpose", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_word_of_its_own_and_a_meaning() {
        let all = table();
        let mut words: Vec<_> = all.iter().map(|help| help.word.clone()).collect();
        words.dedup();
        assert_eq!(words.len(), all.len());
        assert!(all.iter().all(|help| help.meaning.len() > 12));
        assert!(words.contains(&"http-NNN".to_owned()) && words.contains(&"stalled".to_owned()));
    }
}
