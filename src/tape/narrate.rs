//! What a tape says to people: a line when something changes, not one for each of a hundred refusals. Hall, connection
//! (the UUID of its row) and reason stand beside it as fields, for logs that have fields.

use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::segment::EndReason;
use crate::domain::stream_url::StreamUrl;

/// What was said last, so that it is not said again.
#[derive(Debug, Default)]
pub(super) struct Narrator {
    recording: Option<Uuid>,
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Trouble {
    reason: EndReason,
    since: Instant,
    times: u32,
}

impl Narrator {
    /// A connection that was good, or was to become so, ended.
    pub(super) fn trouble(&mut self, hall: &str, connection: Uuid, reason: EndReason, detail: Option<&str>) {
        let detail = detail.map(|d| format!(" ({d})")).unwrap_or_default();
        match &mut self.trouble {
            Some(known) => {
                known.times += 1;
                if known.reason == reason {
                    tracing::debug!(hall, %connection, %reason, "{hall}: {reason}{detail}");
                    return;
                }
                known.reason = reason;
            }
            None => self.trouble = Some(Trouble { reason, since: Instant::now(), times: 1 }),
        }
        tracing::warn!(hall, %connection, %reason, "{hall}: {reason}{detail}; connecting again");
    }

    /// Media comes from this connection.
    pub(super) fn recording(&mut self, hall: &str, connection: Uuid, url: &StreamUrl) {
        if self.recording.replace(connection) == Some(connection) {
            return;
        }
        match self.trouble.take() {
            Some(t) => {
                let tries = if t.times == 1 { String::new() } else { format!(", {} tries", t.times) };
                let after = t.since.elapsed().as_secs_f64();
                tracing::info!(hall, %connection, "{hall}: recording again after {after:.1} s{tries}: {url}");
            }
            None => tracing::info!(hall, %connection, "{hall}: recording {url}"),
        }
    }
}
