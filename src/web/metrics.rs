//! `/metrics`: what the daemon does, for Prometheus.
//!
//! In the plain text format (0.0.4), which every scraper reads and promtool checks. Prometheus' crate for Rust writes
//! OpenMetrics only, where a counter has another name than its samples; for these few lines it would be the larger part.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::state::WebState;
use crate::app::daemon::status::{Status, Tape};
use crate::app::library::report;

/// What a scraper is told that this is.
const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is missing so far of a talk that is on.
#[derive(Clone, Debug, PartialEq)]
struct GapSeconds {
    event: String,
    hall: String,
    talk: i64,
    seconds: f64,
}

/// Answers a scraper. A catalog that cannot be read costs the gaps only.
pub(super) async fn metrics(State(site): State<Arc<WebState>>) -> Response {
    let status = site.status();
    let talks: Vec<i64> = status.tapes.iter().flat_map(|t| t.talks.iter().copied()).collect();
    let read = move |db: &rusqlite::Connection, site: &WebState| {
        let mut missing = Vec::new();
        for id in talks {
            let view = report::by_id(db, &site.env, id)?;
            let ms: i64 = view.report.gaps.iter().map(|gap| gap.at.len_ms()).sum();
            let seconds = ms as f64 / 1000.0;
            missing.push(GapSeconds {
                event: view.event.name.clone(),
                hall: view.hall.name.clone(),
                talk: id,
                seconds,
            });
        }
        Ok(missing)
    };
    let missing = site.read(read).await.unwrap_or_else(|e| {
        tracing::debug!("metrics without gaps: {e}");
        Vec::new()
    });
    ([(CONTENT_TYPE, TYPE)], text(&status, &missing, site.env.settings.disk.warn_bytes)).into_response()
}

/// One family after another.
#[derive(Default)]
struct Text(String);

type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Text {
    fn family<'a>(&mut self, name: &str, kind: &str, help: &str, samples: impl IntoIterator<Item = (Labels<'a>, f64)>) {
        let out = &mut self.0;
        let mut begun = false;
        for (labels, value) in samples {
            if !std::mem::replace(&mut begun, true) {
                let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            }
            let labels: Vec<_> = labels.into_iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    }
}

/// A label's value, whatever strangers wrote.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn instant(text: Option<&str>) -> Option<f64> {
    let at = chrono::DateTime::parse_from_rfc3339(text?).ok()?;
    Some(at.timestamp_millis() as f64 / 1000.0)
}

/// Seconds since a tape's last byte; where none has come yet, since it began.
fn silence(tape: &Tape, now_ms: i64) -> Option<f64> {
    tape.flow.silent_seconds.or_else(|| Some((now_ms as f64 / 1000.0 - instant(Some(&tape.since))?).max(0.0)))
}

fn text(status: &Status, missing: &[GapSeconds], warn: u64) -> String {
    let mut out = Text::default();
    let all = |value: f64| [(Labels::new(), value)];
    out.family("streamrip_build_info", "gauge", "The version that runs.", [(vec![("version", &*status.version)], 1.0)]);
    let started = instant(status.started_at.as_deref()).map(|at| (Labels::new(), at));
    out.family("streamrip_start_time_seconds", "gauge", "When the daemon began, since the epoch.", started);
    let written = (status.written_ms > 0).then(|| (Labels::new(), status.written_ms as f64 / 1000.0));
    let help = "When the daemon last told what it does, since the epoch: it does so each second.";
    out.family("streamrip_status_timestamp_seconds", "gauge", help, written);
    let help = "Things that a person should look at, as streamrip status lists them.";
    out.family("streamrip_problems", "gauge", help, all(status.problems.len() as f64));

    let halls = |value: &dyn Fn(&Tape) -> Option<f64>| -> Vec<(Labels<'_>, f64)> {
        let labels = |t| -> Labels<'_> {
            let t: &Tape = t;
            vec![("event", &*t.event), ("hall", &*t.hall)]
        };
        status.tapes.iter().filter_map(|t| Some((labels(t), value(t)?))).collect()
    };
    let help = "1 while bytes are recorded, 0 while a hall that is to be recorded connects or waits.";
    out.family("streamrip_hall_recording", "gauge", help, halls(&|t| Some(f64::from(t.flow.state == "recording"))));
    let help = "Bytes received for a hall since its tape began, over all connections.";
    out.family("streamrip_hall_received_bytes_total", "counter", help, halls(&|t| Some(t.flow.bytes as f64)));
    let help = "Bytes a second of a hall, over the last seconds.";
    out.family(
        "streamrip_hall_receive_bytes_per_second",
        "gauge",
        help,
        halls(&|t| Some(t.flow.bytes_per_second as f64)),
    );
    let help = "Seconds since the last byte of a hall; since its tape began, where none has come.";
    out.family("streamrip_hall_last_byte_age_seconds", "gauge", help, halls(&|t| silence(t, status.written_ms)));
    let help = "Connections opened for a hall since its tape began.";
    out.family("streamrip_hall_connections_total", "counter", help, halls(&|t| Some(f64::from(t.flow.connections))));
    let help = "Seconds that are missing so far of a talk that is on.";
    let ids: Vec<_> = missing.iter().map(|m| m.talk.to_string()).collect();
    let gaps = missing.iter().zip(&ids).map(|(m, id)| {
        let labels: Labels<'_> = vec![("event", &*m.event), ("hall", &*m.hall), ("talk", id)];
        (labels, m.seconds)
    });
    out.family("streamrip_talk_gap_seconds", "gauge", help, gaps);

    let free = status.disk_free.map(|free| (Labels::new(), free as f64));
    out.family("streamrip_disk_free_bytes", "gauge", "Free on the disk of the recordings.", free);
    let help = "Below this joining pauses (disk.reserve).";
    out.family("streamrip_disk_reserve_bytes", "gauge", help, all(status.disk_reserve as f64));
    let help = "Below this a person is told (disk.warn).";
    out.family("streamrip_disk_warn_bytes", "gauge", help, all(warn as f64));
    let help = "Talks that wait to be joined.";
    out.family("streamrip_assembly_queue_talks", "gauge", help, all(status.waiting as f64));
    out.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::daemon::status::Flow;

    fn tape(hall: &str, silent_seconds: Option<f64>) -> Tape {
        Tape {
            event: "27c3".to_owned(),
            hall: hall.to_owned(),
            talks: vec![1],
            titles: Vec::new(),
            since: "2010-12-27T10:00:00+01:00".to_owned(),
            until: String::new(),
            flow: Flow {
                state: "recording".to_owned(),
                stream: None,
                bytes: 4000,
                bytes_per_second: 500,
                connections: 2,
                last_trouble: None,
                last_trouble_at: None,
                silent_seconds,
            },
            lanes: Vec::new(),
        }
    }

    #[test]
    fn names_labels_and_values() {
        let status = Status {
            version: "1.2.3".to_owned(),
            written_ms: 1_293_440_460_500,
            tapes: vec![tape("Saal 1", Some(0.5)), tape("a\"b\\c\nd", None)],
            disk_free: Some(10),
            waiting: 3,
            ..Status::default()
        };
        let gap = GapSeconds { event: "27c3".to_owned(), hall: "Saal 1".to_owned(), talk: 7, seconds: 1.5 };
        let text = text(&status, &[gap], 20);
        for line in [
            "streamrip_build_info{version=\"1.2.3\"} 1",
            "# TYPE streamrip_hall_received_bytes_total counter",
            "streamrip_hall_received_bytes_total{event=\"27c3\",hall=\"Saal 1\"} 4000",
            "streamrip_hall_last_byte_age_seconds{event=\"27c3\",hall=\"Saal 1\"} 0.5",
            "streamrip_hall_last_byte_age_seconds{event=\"27c3\",hall=\"a\\\"b\\\\c\\nd\"} 60.5",
            "streamrip_talk_gap_seconds{event=\"27c3\",hall=\"Saal 1\",talk=\"7\"} 1.5",
            "streamrip_disk_free_bytes 10",
            "streamrip_assembly_queue_talks 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.lines().all(|l| l.starts_with("# ") || l.starts_with("streamrip_")), "{text}");
        // Nothing is claimed of what is not known.
        assert!(!text.contains("streamrip_start_time_seconds"));
    }
}
