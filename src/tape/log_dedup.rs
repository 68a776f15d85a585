//! What a tape says to people: a line when something changes, not one for each of a hundred refusals. Hall, connection
//! (the UUID of its row) and reason stand beside it as fields, for logs that have fields.

use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::segment::EndReason;
use crate::domain::stream_url::StreamUrl;

/// What was said last, so that it is not said again.
#[derive(Debug, Default)]
pub(super) struct StatusLog {
    recording: Option<Uuid>,
    trouble: Option<Outage>,
}

#[derive(Debug)]
struct Outage {
    reason: EndReason,
    since: Instant,
    times: u32,
}

impl StatusLog {
    /// A connection that was good, or was to become so, ended: what is to be said of it, with what follows from it.
    /// `None`: it was said already.
    pub(super) fn trouble(
        &mut self,
        hall: &str,
        reason: EndReason,
        detail: Option<&str>,
        follows: &str,
    ) -> Option<String> {
        let detail = detail.map(|d| format!(" ({d})")).unwrap_or_default();
        match &mut self.trouble {
            Some(known) => {
                known.times += 1;
                if known.reason == reason {
                    tracing::debug!(hall, %reason, "{hall}: {reason}{detail}; {follows}");
                    return None;
                }
                known.reason = reason;
            }
            None => self.trouble = Some(Outage { reason, since: Instant::now(), times: 1 }),
        }
        Some(format!("{hall}: {reason}{detail}; {follows}"))
    }

    /// Media comes from this connection: what is to be said of it. `None`: it was said already.
    pub(super) fn recording(&mut self, hall: &str, connection: Uuid, url: &StreamUrl) -> Option<String> {
        let trouble = self.trouble.take();
        if self.recording.replace(connection) == Some(connection) {
            // It went on all the time: the trouble was another's, and nothing is missing.
            return None;
        }
        Some(match trouble {
            Some(t) => {
                let tries = if t.times == 1 { String::new() } else { format!(", {} tries", t.times) };
                format!("{hall}: recording again after {:.1} s{tries}: {url}", t.since.elapsed().as_secs_f64())
            }
            None => format!("{hall}: recording {url}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hundred_refusals_are_one_line_and_the_end_of_them_is_another() {
        let (mut status_log, url) = (StatusLog::default(), StreamUrl::parse("http://h/a").expect("valid"));
        let first = Uuid::new_v4();
        assert_eq!(status_log.recording("Saal 1", first, &url).as_deref(), Some("Saal 1: recording http://h/a"));
        assert_eq!(status_log.recording("Saal 1", first, &url), None);
        let mut said: Vec<_> = (0..100)
            .filter_map(|_| status_log.trouble("Saal 1", EndReason::Refused, Some("words"), "connecting again"))
            .collect();
        said.extend(status_log.trouble("Saal 1", EndReason::Eof, None, "connecting again"));
        assert_eq!(said, ["Saal 1: refused (words); connecting again", "Saal 1: eof; connecting again"]);
        tokio::time::advance(Duration::from_secs(50)).await;
        let again = status_log.recording("Saal 1", Uuid::new_v4(), &url);
        assert_eq!(again.as_deref(), Some("Saal 1: recording again after 50.0 s, 101 tries: http://h/a"));
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_beside_a_connection_that_goes_on_is_no_interruption() {
        let (mut status_log, url) = (StatusLog::default(), StreamUrl::parse("http://h/a").expect("valid"));
        let current = Uuid::new_v4();
        let _ = status_log.recording("Saal 1", current, &url);
        for _ in 0..2 {
            // A handover fails, and an hour later the next one.
            let said = status_log.trouble("Saal 1", EndReason::Refused, None, "the old connection goes on");
            assert_eq!(said.as_deref(), Some("Saal 1: refused; the old connection goes on"));
            assert_eq!(status_log.recording("Saal 1", current, &url), None);
            tokio::time::advance(Duration::from_secs(3600)).await;
        }
        let next = status_log.recording("Saal 1", Uuid::new_v4(), &url);
        assert_eq!(next.as_deref(), Some("Saal 1: recording http://h/a"));
    }
}
