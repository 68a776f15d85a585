//! Why a connection is over, and the end reason that follows from it.

use crate::domain::segment::EndReason;
use crate::domain::sniff::Sniff;
use crate::source::SourceEnd;

/// Why we stopped reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopCause {
    /// Someone asked for it.
    Asked(EndReason),
    /// Nothing came for too long.
    TimedOut(EndReason),
    /// Bytes were lost on the way to the disk.
    Broken,
    /// It is no media.
    NotMedia,
    /// The bytes ended by themselves.
    Ended,
}

/// The end reason: from what was asked, what arrived, and what the source said; never from an exit code
/// alone, since mplayer's is 0 whatever happened. `exact`: the source knows how it ended.
pub(super) fn judge_end(
    why: StopCause,
    what: Option<Sniff>,
    bytes: u64,
    said: SourceEnd,
    exact: bool,
) -> (EndReason, Option<String>) {
    let reason = match why {
        StopCause::Asked(reason) | StopCause::TimedOut(reason) => reason,
        StopCause::Broken => EndReason::DiskFull,
        StopCause::NotMedia => EndReason::NotMedia,
        StopCause::Ended if matches!(what, Some(Sniff::NotMedia(_))) => EndReason::NotMedia,
        StopCause::Ended if exact => said.reason.unwrap_or(EndReason::Eof),
        // What it says of failed tries to connect is of the past once bytes came.
        StopCause::Ended if bytes > 0 => match said.reason {
            Some(EndReason::SourceFailed) => EndReason::SourceFailed,
            _ => EndReason::Eof,
        },
        StopCause::Ended => said.reason.unwrap_or(EndReason::Eof),
    };
    (reason, if reason.is_wanted() { None } else { said.detail })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sniff::NotMedia;

    #[test]
    fn the_end_reason_is_judged_from_what_was_asked_what_came_and_what_was_said() {
        let html = Some(Sniff::NotMedia(NotMedia::Html));
        let said = |reason| SourceEnd { reason, detail: Some("words".to_owned()) };
        let http = EndReason::Http(404);
        let table = [
            (StopCause::Asked(EndReason::WindowEnd), None, 5, Some(http), EndReason::WindowEnd),
            (StopCause::TimedOut(EndReason::Stalled), None, 5, Some(EndReason::SourceFailed), EndReason::Stalled),
            (StopCause::TimedOut(EndReason::NoFirstByte), None, 0, Some(EndReason::Network), EndReason::NoFirstByte),
            (StopCause::Broken, None, 5, None, EndReason::DiskFull),
            (StopCause::Ended, None, 0, Some(http), http),
            (StopCause::Ended, None, 0, None, EndReason::Eof),
            (StopCause::Ended, None, 5, Some(http), EndReason::Eof),
            (StopCause::Ended, None, 5, Some(EndReason::SourceFailed), EndReason::SourceFailed),
            (StopCause::Ended, html, 5, None, EndReason::NotMedia),
            (StopCause::NotMedia, html, 5, None, EndReason::NotMedia),
            (StopCause::Asked(EndReason::Shutdown), html, 5, None, EndReason::Shutdown),
        ];
        for (why, what, bytes, reason, want) in table {
            let (got, detail) = judge_end(why, what, bytes, said(reason), false);
            assert_eq!(got, want, "{why:?} {what:?} {bytes} {reason:?}");
            assert_eq!(detail.is_none(), want.is_wanted(), "{want}");
        }
    }
}
