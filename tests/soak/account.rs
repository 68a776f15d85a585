//! Who is to blame for which lost second.

use std::collections::BTreeMap;

use streamrip_lab::{Answer, ConnectionLog};

use super::script::Kind;
use super::truth::Packet;

/// What was still on its way when a fault began is lost with it: in mplayer, in the pipe, in the buffer.
const BEFORE_MS: i64 = 2500;

/// After a gap, pictures begin at a key picture, and there is one a second.
const AFTER_MS: i64 = 1500;

/// A cause may be told for so much more around a fault: `list` goes by the clock of what it received.
const CAUSE_MS: i64 = 3000;

/// A connection that lives so long has recovered the hall.
const PROOF_MS: i64 = 2000;

/// What may be lost of what was sent: less than a second on its way, a second until the next key picture;
/// the rest is for machines that are busy.
const SENT_BOUND: f64 = 4.0;

/// From the end of a fault to the next connection: the longest delay between two tries is 30 s, a try takes up to
/// the 5 s that the test sets; the rest is for machines that are busy.
const RECONNECT_BOUND: f64 = 60.0;

/// From the start of the program to its first connection.
const RESTART_BOUND: f64 = 30.0;

/// Something that went wrong in one hall, or the killing of the daemon.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub kind: Kind,
    /// When it began and when it was taken back (the daemon: started again), ms since the epoch.
    pub begin: i64,
    pub end: i64,
}

/// One or more events of a hall, up to its recovery.
#[derive(Clone, Debug)]
pub struct Incident {
    pub events: Vec<Event>,
    /// When the next connection that lasts was opened, or when the one that lasted went on; the day's end where
    /// there was none.
    pub recovered: i64,
    /// Seconds of pictures and of sound: lost of what was sent to somebody, and of what nobody was there to take.
    pub sent: [f64; 2],
    pub unsent: [f64; 2],
}

impl Incident {
    fn begin(&self) -> i64 {
        self.events[0].begin
    }

    fn withdrawn(&self) -> i64 {
        self.events.iter().map(|e| e.end).max().unwrap_or_default()
    }

    /// True where it may be to blame for the loss of what came at `at`.
    fn touches(&self, at: i64) -> bool {
        self.begin() - BEFORE_MS <= at && at <= self.recovered + AFTER_MS
    }

    /// True where it explains a gap of this cause.
    pub fn explains(&self, (from, to): (i64, i64), cause: &str) -> bool {
        let near = self.begin() - CAUSE_MS <= to && from <= self.recovered + CAUSE_MS;
        // Whatever interrupted the video, the file shows it again from its next keyframe on. A piece of at most two
        // seconds between two faults may stay on disk without being joined; a longer one is a fault of ours.
        let is_scrap = cause == "not-joined" && to - from <= 2000;
        let is_aftermath = cause == "waits-for-keyframe" || is_scrap;
        near && (is_aftermath || self.events.iter().any(|e| e.kind.explains(cause)))
    }

    /// Seconds lost of what was offered: pictures or sound, whichever lost more.
    fn lost(&self) -> f64 {
        let all = [0, 1].map(|track| self.sent[track] + self.unsent[track]);
        all[0].max(all[1])
    }

    /// Seconds from the end of the fault to the recovery.
    fn recovery(&self) -> f64 {
        (self.recovered - self.withdrawn()).max(0) as f64 / 1000.0
    }

    /// Seconds in which nothing was offered.
    fn withheld(&self) -> f64 {
        let outages = self.events.iter().filter(|e| !e.kind.is_instant());
        outages.map(|e| e.end - e.begin).sum::<i64>() as f64 / 1000.0
    }

    /// One line of what happened, times in seconds after `start`.
    pub fn describe(&self, start: i64) -> String {
        let after = |at: i64| (at - start) as f64 / 1000.0;
        let events: Vec<_> = self
            .events
            .iter()
            .map(|e| format!("{} {:.1}-{:.1}", e.kind.name(), after(e.begin), after(e.end)))
            .collect();
        let recovered = after(self.recovered);
        let (sent, unsent) = (self.sent, self.unsent);
        format!(
            "{}: received again {recovered:.1}, lost of what was sent {sent:.1?}, of what was not {unsent:.1?}",
            events.join(", ")
        )
    }

    fn name(&self) -> String {
        match self.events.as_slice() {
            [one] => one.kind.name().to_owned(),
            [first, rest @ ..] if rest.iter().all(|e| e.kind == first.kind) => format!("{}, again", first.kind.name()),
            _ => "kill -9 in a fault".to_owned(),
        }
    }

    /// What is wrong with it.
    fn complaints(&self, hall: &str) -> Vec<String> {
        let times = self.events.len() as f64;
        let mut all = Vec::new();
        let mut bound = |what: &str, seconds: f64, most: f64| {
            if seconds > most {
                all.push(format!("{hall}: {what} {seconds:.1} s, more than {most} s: {self:?}"));
            }
        };
        let killed = self.events.iter().all(|e| e.kind == Kind::Kill);
        bound("recovery took", self.recovery(), if killed { RESTART_BOUND } else { RECONNECT_BOUND });
        for track in [0, 1] {
            bound("of what was sent were lost", self.sent[track], SENT_BOUND * times);
            let offered = (self.recovered - self.begin()) as f64 / 1000.0 - self.withheld();
            let most = offered + 2.0 * times;
            bound("of what was offered were lost", self.unsent[track], most);
        }
        all
    }
}

/// Puts events of a hall (its own and the kills) together that follow each other before it recovered. `end`: of the
/// day's last window, after which nobody tries any more.
pub fn incidents(mut events: Vec<Event>, connections: &[ConnectionLog], end: i64) -> Vec<Incident> {
    events.sort_by_key(|e| e.begin);
    let mut all: Vec<Incident> = Vec::new();
    for event in events {
        let recovered = recovery(event, connections).unwrap_or(end);
        match all.last_mut() {
            Some(last) if event.begin <= last.recovered + PROOF_MS => {
                last.events.push(event);
                last.recovered = last.recovered.max(recovered);
            }
            _ => all.push(Incident { events: vec![event], recovered, sent: [0.0; 2], unsent: [0.0; 2] }),
        }
    }
    all
}

/// When the hall was received again after this.
fn recovery(event: Event, connections: &[ConnectionLog]) -> Option<i64> {
    let survives = matches!(event.kind, Kind::Silence | Kind::Trickle);
    connections
        .iter()
        .filter(|c| matches!(c.answer, Answer::Stream(_)) && c.sent > 0)
        .filter(|c| survives || c.opened_ms >= event.begin)
        .map(|c| (c.opened_ms.max(event.end), c.closed_ms.unwrap_or(i64::MAX)))
        .find(|(from, to)| to - from >= PROOF_MS)
        .map(|(from, _)| from)
}

/// Blames incidents for lost packets of a track. Gives back the seconds that none is to blame for.
pub fn blame(incidents: &mut [Incident], track: usize, lost: &[&Packet], connections: &[ConnectionLog]) -> f64 {
    let mut stray = 0.0;
    for packet in lost {
        let Some(incident) = incidents.iter_mut().rev().find(|i| i.touches(packet.came)) else {
            stray += packet.seconds;
            continue;
        };
        let streams = connections.iter().filter(|c| matches!(c.answer, Answer::Stream(_)));
        let sent = streams.into_iter().any(|c| c.from <= packet.place && packet.place < c.from + c.sent);
        let seconds = if sent { &mut incident.sent } else { &mut incident.unsent };
        seconds[track] += packet.seconds;
    }
    stray
}

/// True while the stream was withheld: only what comes then was not offered.
pub fn is_withheld(incidents: &[Incident], at: i64) -> bool {
    incidents.iter().flat_map(|i| &i.events).any(|e| !e.kind.is_instant() && e.begin <= at && at < e.end)
}

/// What is wrong with the incidents of a hall.
pub fn complaints(hall: &str, incidents: &[Incident]) -> Vec<String> {
    incidents.iter().flat_map(|i| i.complaints(hall)).collect()
}

/// The table: what went wrong, how often, and what it cost.
pub fn table(incidents: &[Incident]) -> String {
    let mut rows: BTreeMap<String, Vec<&Incident>> = BTreeMap::new();
    for incident in incidents {
        rows.entry(incident.name()).or_default().push(incident);
    }
    let mut out = "| fault | times | not offered, s | offered and lost, s: p50 | p99 | max | of it sent, max | \
                   until received again, s: p50 | max |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for (name, rows) in rows {
        let sorted = |of: &dyn Fn(&Incident) -> f64| {
            let mut all: Vec<f64> = rows.iter().map(|i| of(i)).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        let lost = sorted(&Incident::lost);
        let sent = sorted(&|i| i.sent[0].max(i.sent[1]));
        let recovery = sorted(&Incident::recovery);
        let withheld: f64 = rows.iter().map(|i| i.withheld()).sum();
        out += &format!(
            "| {name} | {} | {withheld:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |\n",
            rows.len(),
            percentile(&lost, 50),
            percentile(&lost, 99),
            percentile(&lost, 100),
            percentile(&sent, 100),
            percentile(&recovery, 50),
            percentile(&recovery, 100),
        );
    }
    out
}

/// The smallest value that so many percent of all do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}
