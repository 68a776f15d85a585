//! Messages that are not delivered when the daemon ends: they are written into a file and sent after the next start.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::domain::ids::{AssemblyId, TalkId};
use crate::domain::message::{Message, Phase, TalkNews, Topic};
use crate::domain::time::Ms;

/// The file in the data directory.
const FILE_NAME: &str = "unsent-messages.json";

/// More are not kept: whoever was not reached for so long has other troubles.
const MOST: usize = 1000;

/// A message and the setting of the channel that it is for, such as `notify.webhook`.
pub type Unsent = (String, Message);

/// Messages that are not delivered yet, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    messages: BTreeMap<u64, Unsent>,
}

/// A message counts as not delivered until this is dropped.
#[derive(Debug)]
pub(super) struct KeptMessage {
    kept: Kept,
    number: u64,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a message for a channel.
    pub(super) fn add(&self, channel: &str, message: &Message) -> KeptMessage {
        let mut waiting = self.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.messages.insert(number, (channel.to_owned(), message.clone()));
        KeptMessage { kept: self.clone(), number }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Unsent> {
        self.lock().messages.values().cloned().collect()
    }
}

impl Drop for KeptMessage {
    fn drop(&mut self) {
        self.kept.lock().messages.remove(&self.number);
    }
}

/// Writes messages for the next start; those of an earlier stop that are still there are replaced.
///
/// # Errors
/// When the file cannot be written.
pub fn write(data_dir: &Path, unsent: &[Unsent]) -> std::io::Result<()> {
    let path = data_dir.join(FILE_NAME);
    if unsent.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        };
    }
    let newest = unsent.get(unsent.len().saturating_sub(MOST)..).unwrap_or_default();
    let all: Value = newest.iter().map(to_json).collect();
    let temp = data_dir.join(format!("{FILE_NAME}.part"));
    let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temp)?;
    file.write_all(all.to_string().as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temp, &path)
}

/// Reads the messages of the last stop. What cannot be read is left out. The file stays until the next [`write`], so that a
/// kill before they are delivered does not lose them.
#[must_use]
pub fn read(data_dir: &Path) -> Vec<Unsent> {
    let Ok(text) = std::fs::read_to_string(data_dir.join(FILE_NAME)) else { return Vec::new() };
    let Ok(Value::Array(all)) = serde_json::from_str(&text) else { return Vec::new() };
    all.iter().filter_map(from_json).collect()
}

fn to_json((channel, message): &Unsent) -> Value {
    let talk = message.talk.as_ref().map(|talk| {
        json!({
            "id": talk.id.0,
            "title": talk.title,
            "state": talk.state,
            "coverage": talk.coverage,
            "path": talk.path,
            "assembly": talk.assembly.map(|a| a.0),
        })
    });
    json!({
        "channel": channel,
        "topic": message.topic.as_str(),
        "phase": message.phase.as_str(),
        "text": message.text,
        "at_ms": message.at.0,
        "since_ms": message.since.0,
        "event": message.event,
        "hall": message.hall,
        "talk": talk,
    })
}

fn from_json(stored: &Value) -> Option<Unsent> {
    let text = |name: &str| stored[name].as_str().map(str::to_owned);
    let topic = Topic::ALL.into_iter().find(|topic| stored["topic"] == topic.as_str())?;
    let phase = Phase::ALL.into_iter().find(|phase| stored["phase"] == phase.as_str())?;
    let talk = &stored["talk"];
    let talk = talk.is_object().then(|| TalkNews {
        id: TalkId(talk["id"].as_i64().unwrap_or_default()),
        title: talk["title"].as_str().unwrap_or_default().to_owned(),
        state: talk["state"].as_str().unwrap_or_default().to_owned(),
        coverage: talk["coverage"].as_f64().unwrap_or_default(),
        path: talk["path"].as_str().map(PathBuf::from),
        assembly: talk["assembly"].as_i64().map(AssemblyId),
    });
    let message = Message {
        since: Ms(stored["since_ms"].as_i64()?),
        event: text("event"),
        hall: text("hall"),
        talk,
        ..Message::new(topic, phase, text("text")?, Ms(stored["at_ms"].as_i64()?))
    };
    Some((text("channel")?, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        let mut message = Message::new(Topic::HallSilent, Phase::Raised, text, Ms(5000));
        message.since = Ms(4000);
        message.hall = Some("Saal 1".to_owned());
        message
    }

    #[test]
    fn what_was_not_delivered_reads_back_as_it_was() {
        let dir = tempfile::tempdir().expect("dir");
        assert_eq!(read(dir.path()), []);
        let talk = TalkNews {
            id: TalkId(7),
            title: "A \"talk\"\nof two lines".to_owned(),
            state: "partial".to_owned(),
            coverage: 0.5,
            path: Some(PathBuf::from("/data/talks/a.mkv")),
            assembly: Some(AssemblyId(9)),
        };
        let done = Message { topic: Topic::TalkDone, phase: Phase::News, talk: Some(talk), ..message("done") };
        let unsent = vec![("notify.command".to_owned(), message("silent")), ("notify.webhook".to_owned(), done)];
        write(dir.path(), &unsent).expect("written");
        assert_eq!(read(dir.path()), unsent);
        write(dir.path(), &[]).expect("written");
        assert_eq!(read(dir.path()), []);
        std::fs::write(dir.path().join(FILE_NAME), "[{\"topic\": \"unknown\"}, 5]").expect("written");
        assert_eq!(read(dir.path()), []);
    }

    #[test]
    fn a_message_is_kept_until_it_is_delivered() {
        let kept = Kept::default();
        let first = kept.add("a", &message("1"));
        let _second = kept.add("b", &message("2"));
        drop(first);
        assert_eq!(kept.all(), [("b".to_owned(), message("2"))]);
    }
}
