//! Which halls an event has, which streams each has, and which talk is in which hall: the halls file,
//! what the catalog knows, and the schedule put together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::str::FromStr;

use crate::domain::hall::{HallRename, Recorder, RenamedBy, fold_name};
use crate::domain::halls_file::{DEFAULT_MAX_CONNECTIONS, HallsFile};
use crate::domain::hls::Quality;
use crate::domain::ids::{HallId, StreamId};
use crate::domain::schedule::{ScheduledTalk, Warning, WarningKind};
use crate::domain::stream_request::StreamRequest;
use crate::domain::stream_url::{StreamUrl, redact_text};
use crate::domain::text::shortened;

/// The hall of talks that name none.
pub const NO_HALL: &str = "(no hall)";

/// Who named a stream. Earlier ones win: a hall has streams of one origin only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamOrigin {
    /// `halls set`.
    Command,
    /// The halls file.
    HallsFile,
    /// Named by a VEVENT of the schedule.
    Schedule,
}

impl StreamOrigin {
    /// The word in the catalog.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::HallsFile => "halls-file",
            Self::Schedule => "schedule",
        }
    }
}

impl FromStr for StreamOrigin {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::Command, Self::HallsFile, Self::Schedule]
            .into_iter()
            .find(|o| o.as_str() == word)
            .ok_or_else(|| format!("unknown origin of a stream {word:?}"))
    }
}

/// A hall as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHall {
    /// Primary key of the hall.
    pub id: HallId,
    /// Name of the hall.
    pub name: String,
    /// Other names of the halls file, sorted.
    pub aliases: Vec<String>,
    /// Names that the schedule gave it since, sorted.
    pub renamed: Vec<String>,
    /// `guid` of its room.
    pub room_guid: Option<String>,
    /// `None`: the setting.
    pub recorder: Option<Recorder>,
    /// `None`: the setting.
    pub quality: Option<Quality>,
    /// Connections its server allows.
    pub max_connections: u32,
    /// Mirrors taped at once; `None`: the setting.
    pub redundancy: Option<u32>,
    /// In use, by priority.
    pub streams: Vec<KnownStream>,
}

/// A stream in use as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownStream {
    /// Primary key of the stream.
    pub id: StreamId,
    /// Whole address.
    pub url: String,
    /// Who named it.
    pub origin: StreamOrigin,
}

/// A hall as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedHall {
    /// Its row, where it has one.
    pub known: Option<HallId>,
    /// Name of the hall.
    pub name: String,
    /// Other names of the halls file, sorted.
    pub aliases: Vec<String>,
    /// Names that the schedule gave it since, sorted.
    pub renamed: Vec<String>,
    /// `guid` of its room; `None`: not known, or its talks name several.
    pub room_guid: Option<String>,
    /// `None`: the setting.
    pub recorder: Option<Recorder>,
    /// `None`: the setting.
    pub quality: Option<Quality>,
    /// Connections its server allows.
    pub max_connections: u32,
    /// Mirrors taped at once; `None`: the setting.
    pub redundancy: Option<u32>,
    /// Whole addresses by priority, all of one origin.
    pub streams: Vec<(String, StreamOrigin)>,
    /// What is to be said to each of them, where there is something; `None` where no halls file was read.
    pub requests: Option<BTreeMap<String, StreamRequest>>,
}

/// All halls of an event, and where each talk is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HallPlan {
    /// Those of the halls file, then those that the catalog knows, then new ones.
    pub halls: Vec<PlannedHall>,
    /// For each talk of the schedule its place in `halls`.
    pub of_talk: Vec<usize>,
    /// unmapped-hall, few-mirrors, shared-stream, bad-stream.
    pub warnings: Vec<Warning>,
}

/// Puts halls together. `file` is `None` where the event has no halls file. `renames`: new names of known halls, which
/// are said.
///
/// A hall's streams are those set by command, else those of the halls file, else those that its talks
/// name. Talks of one hall that name different streams become halls of their own, `Saal 1 (2)`; such a
/// hall is found again by its streams, so that the next import does not shuffle them.
#[must_use]
pub fn plan_halls(
    known: &[KnownHall],
    file: Option<&HallsFile>,
    renames: &[HallRename],
    talks: &[ScheduledTalk],
) -> HallPlan {
    let mut planner = Planner::new(known, file);
    planner.rename(renames);
    planner.place(talks);
    planner.room_guids(talks);
    planner.streams(talks);
    planner.warn(talks);
    HallPlan { halls: planner.halls, of_talk: planner.of_talk, warnings: planner.warnings }
}

impl HallPlan {
    /// Place in `halls` of each hall that has a row.
    #[must_use]
    pub fn by_row(&self) -> HashMap<HallId, usize> {
        self.halls.iter().enumerate().filter_map(|(at, h)| h.known.map(|id| (id, at))).collect()
    }
}

struct Planner<'a> {
    rows: HashMap<HallId, &'a KnownHall>,
    file: Option<&'a HallsFile>,
    halls: Vec<PlannedHall>,
    /// Folded name or alias -> place in `halls`.
    by_name: HashMap<String, usize>,
    of_talk: Vec<usize>,
    warnings: Vec<Warning>,
}

impl<'a> Planner<'a> {
    fn new(known: &'a [KnownHall], file: Option<&'a HallsFile>) -> Self {
        let mut halls = Vec::new();
        let mut by_name = HashMap::new();
        let mut claimed = HashSet::new();
        for entry in file.map_or(&[][..], |f| &f.halls) {
            let names: Vec<_> = std::iter::once(&entry.name).chain(&entry.aliases).map(|n| fold_name(n)).collect();
            // Its own name first: an alias may be the name of a hall that was imported before the file knew it.
            let row = names.iter().find_map(|n| {
                known.iter().find(|k| !claimed.contains(&k.id) && fold_name(&k.name) == *n).map(|k| k.id)
            });
            claimed.extend(row);
            let mut aliases = entry.aliases.clone();
            aliases.sort();
            aliases.dedup();
            for name in names {
                by_name.entry(name).or_insert(halls.len());
            }
            halls.push(PlannedHall {
                known: row,
                name: entry.name.clone(),
                aliases,
                renamed: Vec::new(),
                room_guid: None,
                recorder: entry.recorder,
                quality: entry.quality,
                max_connections: entry.max_connections,
                redundancy: entry.redundancy,
                streams: entry.streams.iter().map(|u| (u.secret().to_owned(), StreamOrigin::HallsFile)).collect(),
                requests: Some(entry.streams.iter().filter_map(asked).collect()),
            });
        }
        for hall in known.iter().filter(|k| !claimed.contains(&k.id)) {
            by_name.entry(fold_name(&hall.name)).or_insert(halls.len());
            let mut planned = PlannedHall { known: Some(hall.id), ..PlannedHall::named(&hall.name) };
            if file.is_none() {
                planned.aliases.clone_from(&hall.aliases);
                planned.recorder = hall.recorder;
                planned.quality = hall.quality;
                planned.max_connections = hall.max_connections;
                planned.redundancy = hall.redundancy;
                planned.streams = hall.with_origin(StreamOrigin::HallsFile);
                for alias in &hall.aliases {
                    by_name.entry(fold_name(alias)).or_insert(halls.len());
                }
            }
            halls.push(planned);
        }
        let rows = known.iter().map(|k| (k.id, k)).collect();
        Self { rows, file, halls, by_name, of_talk: Vec::new(), warnings: Vec::new() }
    }

    /// Names that the schedule gave known halls, now and before. A name of the halls file wins.
    fn rename(&mut self, renames: &[HallRename]) {
        for at in 0..self.halls.len() {
            let Some(row) = self.row(at) else { continue };
            let new = renames.iter().filter(|r| r.hall == row.id);
            for rename in new.clone() {
                let how = match rename.by {
                    RenamedBy::RoomGuid => "its room has the same guid",
                    RenamedBy::AllTalks => "all its talks have that name now",
                };
                let (old, name) = (shortened(&row.name, 60), shortened(&rename.name, 60));
                let message = format!("hall {name:?} of the schedule is taken for {old:?}: {how}");
                self.warnings.push(Warning { kind: WarningKind::RenamedHall, talk: None, message });
            }
            let mut renamed: Vec<String> = row.renamed.iter().chain(new.map(|r| &r.name)).cloned().collect();
            renamed.sort();
            renamed.dedup();
            for name in &renamed {
                self.by_name.entry(fold_name(name)).or_insert(at);
            }
            self.halls[at].renamed = renamed;
        }
    }

    /// The `guid` of each hall's room, where its talks agree on one that no other hall has.
    fn room_guids(&mut self, talks: &[ScheduledTalk]) {
        let mut of_hall: BTreeMap<usize, HashSet<&str>> = BTreeMap::new();
        let mut halls: HashMap<&str, HashSet<usize>> = HashMap::new();
        for (talk, hall) in talks.iter().zip(&self.of_talk) {
            if let Some(guid) = talk.details.room_guid.as_deref() {
                of_hall.entry(*hall).or_default().insert(guid);
                halls.entry(guid).or_default().insert(*hall);
            }
        }
        for at in 0..self.halls.len() {
            let known = self.row(at).and_then(|row| row.room_guid.clone());
            let named = of_hall.get(&at).filter(|guids| guids.len() == 1).into_iter().flatten().next();
            let named = named.filter(|guid| halls.get(**guid).is_some_and(|halls| halls.len() == 1));
            self.halls[at].room_guid = named.map(|guid| (*guid).to_owned()).or(known);
        }
    }

    fn row(&self, hall: usize) -> Option<&'a KnownHall> {
        self.rows.get(&self.halls[hall].known?).copied()
    }

    /// Each talk into the hall of its LOCATION.
    fn place(&mut self, talks: &[ScheduledTalk]) {
        for talk in talks {
            let name = talk.hall.as_deref().unwrap_or(NO_HALL);
            let halls = &mut self.halls;
            let hall = *self.by_name.entry(fold_name(name)).or_insert_with(|| {
                halls.push(PlannedHall::named(name));
                halls.len() - 1
            });
            self.of_talk.push(hall);
        }
    }

    fn streams(&mut self, talks: &[ScheduledTalk]) {
        let mut named: BTreeMap<usize, Vec<(usize, Vec<String>)>> = BTreeMap::new();
        for (at, talk) in talks.iter().enumerate() {
            let urls = self.checked_urls(talk);
            if !urls.is_empty() {
                named.entry(self.of_talk[at]).or_default().push((at, urls));
            }
        }
        let mut of_own: HashMap<(String, Vec<String>), usize> = HashMap::new();
        for (at, hall) in self.halls.iter().enumerate() {
            let Some(row) = self.row(at) else { continue };
            let urls: Vec<String> = row.with_origin(StreamOrigin::Schedule).into_iter().map(|(url, _)| url).collect();
            if let (Some(base), false) = (base_name(&hall.name), urls.is_empty()) {
                of_own.insert((fold_name(base), urls), at);
            }
        }
        for hall in 0..self.halls.len() {
            let command = self.row(hall).map(|r| r.with_origin(StreamOrigin::Command)).unwrap_or_default();
            if !command.is_empty() {
                self.halls[hall].streams = command;
            } else if self.halls[hall].streams.is_empty()
                && let Some(named) = named.remove(&hall)
            {
                self.split(hall, named, &of_own);
            }
        }
    }

    /// The streams of a hall whose talks name them.
    fn split(&mut self, hall: usize, named: Vec<(usize, Vec<String>)>, of_own: &HashMap<(String, Vec<String>), usize>) {
        let mut count: HashMap<&[String], (usize, usize)> = HashMap::new();
        for (at, (_, urls)) in named.iter().enumerate() {
            count.entry(urls).or_insert((0, at)).0 += 1;
        }
        let had: Vec<String> = self
            .row(hall)
            .map(|r| r.with_origin(StreamOrigin::Schedule).into_iter().map(|(url, _)| url).collect())
            .unwrap_or_default();
        let main: Vec<String> = if count.contains_key(had.as_slice()) {
            had
        } else {
            // Most talks; of two with as many, the first in the schedule.
            let most = count.iter().max_by_key(|(_, (n, at))| (*n, usize::MAX - *at));
            most.map(|(urls, _)| urls.to_vec()).unwrap_or_default()
        };
        let base = self.halls[hall].name.clone();
        let mut own: HashMap<Vec<String>, usize> = HashMap::new();
        let mut number = 2;
        for (talk, urls) in named {
            if urls == main {
                continue;
            }
            let place = match own.get(&urls) {
                Some(place) => *place,
                None => {
                    let found = of_own.get(&(fold_name(&base), urls.clone())).copied();
                    let place = found.unwrap_or_else(|| self.new_own(&base, &mut number));
                    self.halls[place].streams = with(&urls);
                    own.insert(urls, place);
                    place
                }
            };
            self.of_talk[talk] = place;
        }
        self.halls[hall].streams = with(&main);
    }

    fn new_own(&mut self, base: &str, number: &mut usize) -> usize {
        loop {
            let name = format!("{base} ({number})");
            *number += 1;
            if let std::collections::hash_map::Entry::Vacant(free) = self.by_name.entry(fold_name(&name)) {
                free.insert(self.halls.len());
                self.halls.push(PlannedHall::named(&name));
                return self.halls.len() - 1;
            }
        }
    }

    fn checked_urls(&mut self, talk: &ScheduledTalk) -> Vec<String> {
        let private = self.file.is_some_and(|f| f.allow_private_streams);
        let mut urls = Vec::new();
        for text in &talk.stream_urls {
            let read = if private { StreamUrl::parse(text) } else { StreamUrl::parse_from_schedule(text) };
            match read {
                Ok(url) => urls.push(url.secret().to_owned()),
                Err(e) => self.warnings.push(Warning {
                    kind: WarningKind::BadStream,
                    talk: Some(talk_label(talk)),
                    message: format!("line {}: its stream is not used: {}", talk.line, redact_text(&e.to_string())),
                }),
            }
        }
        urls.dedup();
        urls
    }

    fn warn(&mut self, talks: &[ScheduledTalk]) {
        let mut wanted = vec![0_usize; self.halls.len()];
        for (talk, hall) in talks.iter().zip(&self.of_talk) {
            wanted[*hall] += usize::from(!talk.cancelled && !talk.opted_out);
        }
        for (hall, wanted) in self.halls.iter().zip(&wanted).filter(|(h, n)| **n > 0 && h.streams.is_empty()) {
            let talks = if *wanted == 1 { "1 talk".to_owned() } else { format!("{wanted} talks") };
            let message = if hall.name == NO_HALL {
                format!("{talks} without LOCATION: no stream, they will not be recorded")
            } else {
                format!("hall {:?} has no stream: {talks} will not be recorded", shortened(&hall.name, 60))
            };
            self.warnings.push(Warning { kind: WarningKind::UnmappedHall, talk: None, message });
        }
        for hall in self.halls.iter().filter(|h| !h.streams.is_empty()) {
            if let Some(wanted) = hall.redundancy.filter(|n| *n as usize > hall.streams.len()) {
                let message = format!(
                    "hall {:?} has redundancy = {wanted} and {} stream: only that one is recorded",
                    shortened(&hall.name, 60),
                    hall.streams.len()
                );
                self.warnings.push(Warning { kind: WarningKind::FewMirrors, talk: None, message });
            }
        }
        let mut by_url: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for hall in &self.halls {
            for (url, _) in &hall.streams {
                by_url.entry(url).or_default().push(&hall.name);
            }
        }
        for (url, mut halls) in by_url {
            halls.dedup();
            if let [first, rest @ ..] = halls.as_slice()
                && !rest.is_empty()
            {
                let mut message = format!("{} is the stream of {first:?}", redact_text(url));
                for other in rest.iter().take(4) {
                    let _ = write!(message, " and {other:?}");
                }
                message.push_str(": what is recorded there may be the same");
                self.warnings.push(Warning { kind: WarningKind::SharedStream, talk: None, message });
            }
        }
    }
}

impl PlannedHall {
    fn named(name: &str) -> Self {
        Self {
            known: None,
            name: name.to_owned(),
            aliases: Vec::new(),
            renamed: Vec::new(),
            room_guid: None,
            recorder: None,
            quality: None,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            redundancy: None,
            streams: Vec::new(),
            requests: None,
        }
    }
}

impl KnownHall {
    fn with_origin(&self, origin: StreamOrigin) -> Vec<(String, StreamOrigin)> {
        self.streams.iter().filter(|s| s.origin == origin).map(|s| (s.url.clone(), origin)).collect()
    }
}

fn with(urls: &[String]) -> Vec<(String, StreamOrigin)> {
    urls.iter().map(|url| (url.clone(), StreamOrigin::Schedule)).collect()
}

fn asked(url: &StreamUrl) -> Option<(String, StreamRequest)> {
    (!url.request().is_empty()).then(|| (url.secret().to_owned(), url.request().clone()))
}

/// `Saal 1` of `Saal 1 (2)`.
fn base_name(name: &str) -> Option<&str> {
    let (base, number) = name.strip_suffix(')')?.rsplit_once(" (")?;
    number.parse::<usize>().ok().map(|_| base)
}

/// UID or title, for messages.
#[must_use]
pub fn talk_label(talk: &ScheduledTalk) -> String {
    shortened(talk.uid.as_deref().unwrap_or(&talk.title), 100)
}
