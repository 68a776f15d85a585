//! Log lines: for people, as JSON, or into systemd's journal.

use std::os::fd::AsFd;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::render;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// The time of day, a level, a sentence
    Human,
    /// One JSON object a line, with an instant in UTC
    Json,
}

/// Where they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Lines(LogFormat),
    CatalogSink,
}

/// A format that was asked for wins; else the journal, where standard error is its end of a pipe; else people.
fn to(asked: Option<LogFormat>, journal_stream: Option<&str>, stderr: Option<(u64, u64)>) -> To {
    let number = |text: &str| text.parse::<u64>().ok();
    let journal = journal_stream.and_then(|text| {
        let (device, inode) = text.split_once(':')?;
        Some((number(device)?, number(inode)?))
    });
    match asked {
        Some(format) => To::Lines(format),
        // A child that was given another standard error inherits the variable all the same.
        None if journal.is_some() && journal == stderr => To::CatalogSink,
        None => To::Lines(LogFormat::Human),
    }
}

/// Starts logging; what `STREAMRIP_LOG` asks for goes before `level`.
pub(super) fn start(asked: Option<LogFormat>, level: &str) {
    let filter = EnvFilter::try_from_env("STREAMRIP_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let stderr = rustix::fs::fstat(std::io::stderr().as_fd()).ok().map(|stat| (stat.st_dev, stat.st_ino));
    let to = to(asked, std::env::var("JOURNAL_STREAM").ok().as_deref(), stderr);
    let journal = (to == To::CatalogSink).then(|| tracing_journald::layer().ok()).flatten();
    let lines = || tracing_subscriber::fmt::layer().with_writer(render::log_writer);
    let layer = match (journal, to) {
        // Without a socket of the journal its standard error is as good, but for the fields.
        (Some(journal), _) => {
            let journal = journal.with_field_prefix(Some("STREAMRIP".to_owned()));
            journal.with_syslog_identifier("streamrip".to_owned()).boxed()
        }
        (None, To::Lines(LogFormat::Json)) => lines().json().flatten_event(true).boxed(),
        (None, _) => {
            let color = render::stderr_is_terminal();
            let fields = debug_fn(|writer, field, value| match field.name() {
                "message" => write!(writer, "{value:?}"),
                // The sentence says it.
                "hall" | "connection" | "reason" => Ok(()),
                name => write!(writer, " {name}={value:?}"),
            });
            lines().fmt_fields(fields).with_ansi(color).with_target(false).with_timer(render::LocalTime).boxed()
        }
    };
    let _ = tracing_subscriber::registry().with(filter).with(layer).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_gets_what_goes_to_the_journal() {
        let human = To::Lines(LogFormat::Human);
        let json = To::Lines(LogFormat::Json);
        for (asked, stream, stderr, want) in [
            (None, None, Some((8, 21)), human),
            (None, Some("8:21"), Some((8, 21)), To::CatalogSink),
            (None, Some("8:21"), Some((8, 22)), human),
            (None, Some("8:21"), None, human),
            (None, Some("nonsense"), None, human),
            (None, Some(":"), Some((0, 0)), human),
            (Some(LogFormat::Json), Some("8:21"), Some((8, 21)), json),
            (Some(LogFormat::Human), Some("8:21"), Some((8, 21)), human),
        ] {
            assert_eq!(to(asked, stream, stderr), want, "{asked:?} {stream:?} {stderr:?}");
        }
    }
}
