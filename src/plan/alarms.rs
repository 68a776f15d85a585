//! When to call a person: one message when something goes wrong, one when it is over.
//!
//! What is seen is put in once a second ([`AlarmFacts`]); what was told already is remembered here, so that an
//! incident of an hour is two messages and not an hour of them. How long something lasts is measured on a clock that
//! nobody sets: a wall clock that is put right must alarm nobody.

use std::collections::BTreeMap;

use crate::domain::ids::HallId;
use crate::domain::message::{Message, Phase, Topic};
use crate::domain::time::{MINUTE, Ms, SECOND};

/// A hall that is to be taped and delivers nothing for so long is an incident: reconnects and other mirrors have had
/// their tries by then, and the padding before a talk is not over yet.
pub const SILENT_MS: i64 = 60 * SECOND;

/// A refresh that fails for so long is an incident. Longer than two refreshes are apart as set by default: one
/// answer of 503 is none.
pub const REFRESH_MS: i64 = 6 * MINUTE;

/// A hall that is to be taped now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HallFact {
    /// Hall that is recorded.
    pub hall: HallId,
    /// Name of the hall.
    pub name: String,
    /// Name of its event.
    pub event: String,
    /// Milliseconds since its last byte of media arrived; `None` where none has come yet.
    pub silent_ms: Option<i64>,
    /// What went wrong last, without passwords.
    pub trouble: Option<String>,
}

/// What is seen of the recorder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlarmFacts {
    /// Halls that are to be taped now.
    pub halls: Vec<HallFact>,
    /// Bytes free on the recordings' disk, where that can be told.
    pub disk_free: Option<u64>,
    /// Below it a person is told; 0: never. Bytes.
    pub disk_warn: u64,
    /// Below it joining pauses. Bytes.
    pub disk_reserve: u64,
    /// A tape cannot write.
    pub disk_full: bool,
    /// Events whose schedule is read again now and then, each with why the last time was not applied, without
    /// passwords. One that is over is not among them.
    pub refresh: Vec<(String, Option<String>)>,
    /// Why rows cannot be written into the catalog, where that does not pass by itself.
    pub catalog: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Incident {
    Silent(HallId),
    DiskWarn,
    DiskReserve,
    Refresh(String),
    Catalog,
}

/// An instant, by both clocks.
#[derive(Clone, Copy, Debug)]
struct Now {
    /// What people call it.
    wall: Ms,
    /// On the clock that nobody sets. Milliseconds.
    ms: i64,
}

impl Now {
    fn minus(self, ms: i64) -> Self {
        Self { wall: self.wall.minus(ms), ms: self.ms.saturating_sub(ms) }
    }

    fn since(self, earlier: Self) -> i64 {
        self.ms.saturating_sub(earlier.ms).max(0)
    }
}

#[derive(Clone, Debug)]
struct Open {
    since: Now,
    raised: bool,
    event: Option<String>,
    hall: Option<String>,
}

/// What is going on, and what was told of it.
#[derive(Clone, Debug, Default)]
pub struct Alarms {
    open: BTreeMap<Incident, Open>,
    /// Since when each hall has been wanted, as far as was seen.
    wanted: BTreeMap<HallId, Now>,
}

impl Alarms {
    /// Looks at `facts` and says what is to be told now. `passed_ms`: milliseconds since some fixed instant, which no
    /// setting of the clock changes.
    pub fn evaluate(&mut self, now: Ms, passed_ms: i64, facts: &AlarmFacts) -> Vec<Message> {
        let now = Now { wall: now, ms: passed_ms };
        let mut out = Vec::new();
        self.halls(now, facts, &mut out);
        self.disk(now, facts, &mut out);
        self.refresh(now, facts, &mut out);
        self.catalog(now, facts, &mut out);
        out
    }

    fn halls(&mut self, now: Now, facts: &AlarmFacts, out: &mut Vec<Message>) {
        self.wanted.retain(|hall, _| facts.halls.iter().any(|h| h.hall == *hall));
        for fact in &facts.halls {
            let wanted = now.since(*self.wanted.entry(fact.hall).or_insert(now));
            let length = fact.silent_ms.map_or(wanted, |silent| silent.clamp(0, wanted));
            let incident = Incident::Silent(fact.hall);
            if length >= SILENT_MS {
                let why = fact.trouble.as_ref().map(|t| format!(" ({t})")).unwrap_or_default();
                let text = format!("{}: no media for {} s{why}", fact.name, length / SECOND);
                let (event, hall) = (Some(fact.event.clone()), Some(fact.name.clone()));
                let open = Open { since: now.minus(length), raised: false, event, hall };
                self.raise(incident, open, now, text, out);
            } else {
                let text = |gone: i64| format!("{}: bytes again after {} s", fact.name, gone / SECOND);
                self.end(&incident, now, text, out);
            }
        }
        let gone: Vec<_> = self
            .open
            .keys()
            .filter(|i| matches!(i, Incident::Silent(hall) if !self.wanted.contains_key(hall)))
            .cloned()
            .collect();
        for incident in gone {
            let name = self.open.get(&incident).and_then(|o| o.hall.clone()).unwrap_or_default();
            let text = |gone: i64| format!("{name}: no longer to be recorded; it was silent for {} s", gone / SECOND);
            self.end(&incident, now, text, out);
        }
    }

    fn disk(&mut self, now: Now, facts: &AlarmFacts, out: &mut Vec<Message>) {
        let Some(free) = facts.disk_free else { return };
        let gb = |bytes: u64| bytes as f64 / 1e9;
        let limits = [
            (Incident::DiskWarn, facts.disk_warn, false, "disk.warn"),
            (Incident::DiskReserve, facts.disk_reserve, facts.disk_full, "the reserve: joining waits"),
        ];
        for (incident, limit, full, what) in limits {
            // A twentieth more to end it: a disk at the limit is not worth a message a second.
            let enough = limit.saturating_add(limit / 20);
            if full {
                let text = format!("disk full: a recording cannot be written ({:.1} GB free)", gb(free));
                self.raise(incident, Open::at(now), now, text, out);
            } else if free < limit {
                let text = format!("disk: {:.1} GB free, less than {:.1} GB ({what})", gb(free), gb(limit));
                self.raise(incident, Open::at(now), now, text, out);
            } else if free >= enough {
                self.end(&incident, now, |_| format!("disk: {:.1} GB free again", gb(free)), out);
            }
        }
    }

    fn refresh(&mut self, now: Now, facts: &AlarmFacts, out: &mut Vec<Message>) {
        let failing = facts.refresh.iter().filter_map(|(event, problem)| Some((event, problem.as_ref()?)));
        for (event, problem) in failing {
            let incident = Incident::Refresh(event.clone());
            let open = Open { since: now, raised: false, event: Some(event.clone()), hall: None };
            let since = self.open.entry(incident.clone()).or_insert_with(|| open.clone()).since;
            if now.since(since) >= REFRESH_MS {
                let text = format!(
                    "{event}: its schedule has not been refreshed for {} min: {problem}",
                    now.since(since) / MINUTE
                );
                self.raise(incident, open, now, text, out);
            }
        }
        let healed: Vec<_> = self
            .open
            .keys()
            .filter_map(|incident| match incident {
                Incident::Refresh(event) => Some((event.clone(), facts.refresh.iter().find(|(e, _)| e == event))),
                _ => None,
            })
            .filter(|(_, known)| known.is_none_or(|(_, problem)| problem.is_none()))
            .map(|(event, known)| (event, known.is_some()))
            .collect();
        for (event, again) in healed {
            let how = if again { "is refreshed again" } else { "is not refreshed any more: the event is over" };
            let text = format!("{event}: its schedule {how}");
            self.end(&Incident::Refresh(event), now, |_| text.clone(), out);
        }
    }

    fn catalog(&mut self, now: Now, facts: &AlarmFacts, out: &mut Vec<Message>) {
        match &facts.catalog {
            Some(why) => {
                let text = format!(
                    "the catalog is damaged ({why}): recording goes on, but what is recorded is not noted; restart the \
                     daemon, which begins with the newest backup and takes in the files"
                );
                self.raise(Incident::Catalog, Open::at(now), now, text, out);
            }
            None => self.end(&Incident::Catalog, now, |_| "the catalog can be written again".to_owned(), out),
        }
    }

    /// Tells of an incident that was not told of yet.
    fn raise(&mut self, incident: Incident, new: Open, now: Now, text: String, out: &mut Vec<Message>) {
        let topic = incident.topic();
        let open = self.open.entry(incident).or_insert(new);
        if !std::mem::replace(&mut open.raised, true) {
            out.push(open.message(topic, Phase::Raised, text, now));
        }
    }

    /// Ends an incident, and tells of it where its beginning was told. `text` gets the incident's length, milliseconds.
    fn end(&mut self, incident: &Incident, now: Now, text: impl Fn(i64) -> String, out: &mut Vec<Message>) {
        if let Some(open) = self.open.remove(incident)
            && open.raised
        {
            let text = text(now.since(open.since));
            out.push(open.message(incident.topic(), Phase::Over, text, now));
        }
    }
}

impl Incident {
    fn topic(&self) -> Topic {
        match self {
            Self::Silent(_) => Topic::HallSilent,
            Self::DiskWarn => Topic::DiskWarn,
            Self::DiskReserve => Topic::DiskReserve,
            Self::Refresh(_) => Topic::RefreshFailing,
            Self::Catalog => Topic::CatalogDamaged,
        }
    }
}

impl Open {
    fn at(now: Now) -> Self {
        Self { since: now, raised: false, event: None, hall: None }
    }

    fn message(&self, topic: Topic, phase: Phase, text: String, now: Now) -> Message {
        Message {
            since: self.since.wall.min(now.wall),
            event: self.event.clone(),
            hall: self.hall.clone(),
            ..Message::new(topic, phase, text, now.wall)
        }
    }
}

#[cfg(test)]
#[path = "alarms_tests.rs"]
mod tests;
