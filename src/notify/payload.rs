//! A message as JSON and as environment variables.

use chrono_tz::Tz;
use serde_json::{Value, json};

use super::Sender;
use crate::domain::message::Message;
use crate::domain::text::shortened;

/// A variable is cut here, in characters: the system takes 128 KiB, a person reads less.
const LONGEST: usize = 4000;

/// The message as one JSON object, as the README documents it.
#[must_use]
pub fn json(message: &Message, sender: &Sender) -> Value {
    let mut out = json!({
        "topic": message.topic.as_str(),
        "phase": message.phase.as_str(),
        "text": message.text,
        "at": message.at.rfc3339(Tz::UTC),
        "since": message.since.rfc3339(Tz::UTC),
        "host": sender.host,
        "event": message.event,
        "hall": message.hall,
    });
    if let Some(talk) = &message.talk {
        out["talk"] = json!({
            "id": talk.id.0,
            "title": talk.title,
            "state": talk.state,
            "coverage": talk.coverage,
            "path": talk.path.as_ref().map(|p| p.to_string_lossy()),
        });
    }
    out
}

/// Environment variables of a command: the fields of the JSON payload as `STREAMRIP_*` names and their values. Values
/// contain text from strangers; NUL bytes are removed.
pub(super) fn variables(message: &Message, sender: &Sender) -> Vec<(&'static str, String)> {
    let mut out = vec![
        ("STREAMRIP_TOPIC", message.topic.as_str().to_owned()),
        ("STREAMRIP_PHASE", message.phase.as_str().to_owned()),
        ("STREAMRIP_TEXT", message.text.clone()),
        ("STREAMRIP_AT", message.at.rfc3339(Tz::UTC)),
        ("STREAMRIP_SINCE", message.since.rfc3339(Tz::UTC)),
        ("STREAMRIP_HOST", sender.host.clone()),
        ("STREAMRIP_EVENT", message.event.clone().unwrap_or_default()),
        ("STREAMRIP_HALL", message.hall.clone().unwrap_or_default()),
    ];
    if let Some(talk) = &message.talk {
        out.extend([
            ("STREAMRIP_TALK", talk.id.to_string()),
            ("STREAMRIP_TITLE", talk.title.clone()),
            ("STREAMRIP_STATE", talk.state.clone()),
            ("STREAMRIP_COVERAGE", format!("{:.4}", talk.coverage)),
            ("STREAMRIP_PATH", talk.path.as_ref().map(|p| p.to_string_lossy().into_owned()).unwrap_or_default()),
        ]);
    }
    let fit = |text: String| shortened(&text.replace('\0', " "), LONGEST);
    out.into_iter().map(|(name, value)| (name, fit(value))).collect()
}
