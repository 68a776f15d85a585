//! Which entry of a schedule.xml or schedule.json is which talk of the calendar, and what follows from it. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono_tz::Tz;

use crate::domain::hall::fold_name;
use crate::domain::programme::{Entry, Programme};
use crate::domain::schedule::{Schedule, ScheduledTalk, TalkDetails, Warning, WarningKind};
use crate::domain::text::shortened;
use crate::domain::time::Ms;

/// By what a talk was recognised, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// Its guid stands in the UID.
    Guid,
    /// Code and number of the slot in the UID (pretalx).
    Code,
    /// `id` in the UID (Pentabarf).
    Id,
    /// The address of its page.
    Page,
    /// Start, room and title.
    Place,
    /// Start and title.
    Title,
}

impl By {
    /// The sign, for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guid => "guid",
            Self::Code => "code",
            Self::Id => "id",
            Self::Page => "page",
            Self::Place => "start and room",
            Self::Title => "start and title",
        }
    }
}

/// What came of a join.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// How many talks were recognised by what.
    pub by: BTreeMap<By, usize>,
    /// Talks of the calendar.
    pub talks: usize,
    /// Entries of the programme.
    pub entries: usize,
    /// Opt-outs that meet no talk: title and start.
    pub lost_opt_outs: Vec<(String, Option<Ms>)>,
}

impl Joined {
    /// Talks that were recognised.
    #[must_use]
    pub fn found(&self) -> usize {
        self.by.values().sum()
    }

    /// True where both have talks and share none: a programme of another event.
    #[must_use]
    pub fn is_another_event(&self) -> bool {
        self.talks > 0 && self.entries > 0 && self.found() == 0
    }

    /// For people: `45 by code, 2 by page`.
    #[must_use]
    pub fn summary(&self) -> String {
        let parts: Vec<_> = self.by.iter().map(|(by, count)| format!("{count} by {}", by.as_str())).collect();
        parts.join(", ")
    }
}

/// How to compare.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// For starts that are written without an offset, where the programme names no zone.
    pub zone: Tz,
    /// Folded name of a room -> folded name of its hall, of the halls file's aliases.
    pub aliases: HashMap<String, String>,
}

/// Puts what `programme` says into `schedule`: opt-outs, speakers, details, and times with an offset where the
/// calendar has none.
///
/// For an opt-out, title and start are enough, and where several talks fit it is for all of them: what is recorded
/// against someone's will cannot be taken back.
pub fn join(schedule: &mut Schedule, programme: &Programme, options: &JoinOptions) -> Joined {
    let named: Option<Tz> = programme.time_zone.as_deref().and_then(|name| Tz::from_str_insensitive(name).ok());
    let zone = named.unwrap_or(options.zone);
    if let Some(named) = named {
        schedule.time_zone = Some(named.name().to_owned());
    }
    let finder = Finder::new(programme, zone, &options.aliases, schedule);
    let mut joined = Joined { talks: schedule.talks.len(), entries: programme.entries.len(), ..Joined::default() };
    let mut used = vec![false; programme.entries.len()];
    let mut lacking = Vec::new();
    for (number, talk) in schedule.talks.iter_mut().enumerate() {
        let found = finder.find(talk, number);
        let outs = finder.opt_outs(talk, found.as_ref());
        let Some(found) = found else {
            if !outs.is_empty() {
                talk.opted_out = true;
                talk.in_schedule_xml = true;
                outs.iter().for_each(|at| used[*at] = true);
                *joined.by.entry(By::Title).or_default() += 1;
            } else if !talk.cancelled {
                lacking.push(number);
            }
            continue;
        };
        *joined.by.entry(found.by).or_default() += 1;
        let entry = &programme.entries[found.at];
        outs.iter().for_each(|at| used[*at] = true);
        used[found.at] = true;
        talk.in_schedule_xml = true;
        talk.opted_out = entry.opted_out || !outs.is_empty();
        if let (true, Some(start)) = (found.is_sure, finder.starts[found.at]) {
            schedule.warnings.extend(corrected(talk, entry, start, zone));
        }
        take(talk, entry);
    }
    // The code stands for all slots of a talk: one of them in the calendar is enough.
    for (at, entry) in programme.entries.iter().enumerate().filter(|(_, entry)| entry.opted_out) {
        let shared = entry.details.code.as_deref().is_some_and(|code| finder.met_codes.contains(&code_key(code)));
        if !used[at] && !shared {
            joined.lost_opt_outs.push((entry.title.clone(), finder.starts[at]));
        }
    }
    if joined.found() > 0 {
        for number in lacking {
            let talk = &schedule.talks[number];
            let message = format!(
                "line {}: {:?} is not in schedule.xml: whether it may be recorded is not known, and it will be",
                talk.line,
                shortened(&talk.title, 60)
            );
            let label = talk.uid.as_deref().unwrap_or(&talk.title);
            let warning = Warning { kind: WarningKind::NotInScheduleXml, talk: Some(shortened(label, 100)), message };
            schedule.warnings.push(warning);
        }
    }
    joined
}

/// Takes the entry's start where the calendar wrote its own without an offset; says so where they differ.
fn corrected(talk: &mut ScheduledTalk, entry: &Entry, start: Ms, zone: Tz) -> Option<Warning> {
    if talk.slot.start == start || !matches!(entry.start, crate::domain::programme::EntryStart::Instant(_)) {
        return None;
    }
    let shown = |at: Ms| at.in_zone(zone).format("%Y-%m-%d %H:%M %Z").to_string();
    let (calendar, programme) = (shown(talk.slot.start), shown(start));
    let taken = if talk.offset_known {
        "the calendar's is taken"
    } else {
        "that of schedule.xml is taken, which has an offset"
    };
    let message = format!(
        "line {}: {:?} begins at {calendar} in the calendar and at {programme} in schedule.xml; {taken}",
        talk.line,
        shortened(&talk.title, 60)
    );
    if !talk.offset_known {
        let len = talk.slot.len_ms();
        talk.slot = crate::domain::interval::Interval::new(start, start.plus(len));
        talk.offset_known = true;
    }
    let label = talk.uid.as_deref().unwrap_or(&talk.title);
    Some(Warning { kind: WarningKind::OtherTime, talk: Some(shortened(label, 100)), message })
}

/// Takes what an entry tells of a talk.
fn take(talk: &mut ScheduledTalk, entry: &Entry) {
    if let Some(title) = without_speakers(&talk.title, entry) {
        talk.title = title;
    }
    if !entry.speakers.is_empty() {
        talk.speakers.clone_from(&entry.speakers);
    }
    if talk.page_url.is_none() {
        talk.page_url = entry.url.clone().or_else(|| entry.origin_url.clone());
    }
    let own = std::mem::take(&mut talk.details);
    let new = entry.details.clone();
    talk.details = TalkDetails {
        guid: new.guid.or(own.guid),
        code: new.code.or(own.code),
        id: new.id.or(own.id),
        room_guid: new.room_guid.or(own.room_guid),
        subtitle: new.subtitle.or(own.subtitle),
        summary: new.summary.or(own.summary),
        description: new.description.or(own.description),
        language: new.language.or(own.language),
        track: new.track.or(own.track),
        session_type: new.session_type.or(own.session_type),
        licence: new.licence.or(own.licence),
        links: if new.links.is_empty() { own.links } else { new.links },
    };
}

/// The title of a calendar that writes the speakers after it (`Opening - Ann, Ben`), without them.
fn without_speakers(title: &str, entry: &Entry) -> Option<String> {
    let rest = fold_name(title).strip_prefix(&fold_name(&entry.title))?.to_owned();
    let speakers = fold_name(&entry.speakers.join(", "));
    let same = rest.strip_prefix('-').is_some_and(|after| after == speakers || after.is_empty());
    (same && !entry.title.is_empty()).then(|| entry.title.clone())
}

/// An entry that was found.
#[derive(Clone, Copy, Debug)]
struct Found {
    at: usize,
    by: By,
    /// It can be no other slot of the same talk.
    is_sure: bool,
}

struct Finder<'a> {
    programme: &'a Programme,
    zone: Tz,
    aliases: &'a HashMap<String, String>,
    /// Start of each entry.
    starts: Vec<Option<Ms>>,
    /// Folded title of each entry.
    titles: Vec<String>,
    guids: HashMap<String, usize>,
    /// Entries of each code, by their start.
    codes: HashMap<String, Vec<usize>>,
    ids: HashMap<&'a str, Vec<usize>>,
    pages: HashMap<&'a str, Vec<usize>>,
    by_start: HashMap<Ms, Vec<usize>>,
    /// Opted-out entries whose start is not known as an instant.
    vague_opt_outs: Vec<usize>,
    /// Places of the calendar's talks of each code, by the number of their slot.
    slots: HashMap<String, Vec<usize>>,
    /// Codes that some talk of the calendar has.
    met_codes: HashSet<String>,
    by_number: HashMap<usize, String>,
}

fn code_key(code: &str) -> String {
    code.to_ascii_lowercase()
}

impl<'a> Finder<'a> {
    fn new(programme: &'a Programme, zone: Tz, aliases: &'a HashMap<String, String>, schedule: &Schedule) -> Self {
        let entries = &programme.entries;
        let mut finder = Self {
            programme,
            zone,
            aliases,
            starts: entries.iter().map(|entry| entry.start.instant(zone)).collect(),
            titles: entries.iter().map(|entry| fold_name(&entry.title)).collect(),
            guids: HashMap::new(),
            codes: HashMap::new(),
            ids: HashMap::new(),
            pages: HashMap::new(),
            by_start: HashMap::new(),
            vague_opt_outs: Vec::new(),
            slots: HashMap::new(),
            met_codes: HashSet::new(),
            by_number: HashMap::new(),
        };
        for (at, entry) in entries.iter().enumerate() {
            if let Some(guid) = &entry.details.guid {
                finder.guids.entry(guid.to_ascii_lowercase()).or_insert(at);
            }
            if let Some(code) = &entry.details.code {
                finder.codes.entry(code_key(code)).or_default().push(at);
            }
            if let Some(id) = &entry.details.id {
                finder.ids.entry(id).or_default().push(at);
            }
            for url in [&entry.url, &entry.origin_url].into_iter().flatten() {
                finder.pages.entry(page(url)).or_default().push(at);
            }
            match finder.starts[at] {
                Some(start) => finder.by_start.entry(start).or_default().push(at),
                None if entry.opted_out => finder.vague_opt_outs.push(at),
                None => {}
            }
        }
        for list in finder.codes.values_mut() {
            list.sort_by_key(|at| finder.starts[*at]);
        }
        finder.note_slots(schedule);
        finder
    }

    /// Which talks of the calendar have which code, in the order of their slots' numbers.
    fn note_slots(&mut self, schedule: &Schedule) {
        let mut numbered: HashMap<String, Vec<(Option<u32>, Ms, usize)>> = HashMap::new();
        for (number, talk) in schedule.talks.iter().enumerate() {
            if let Some((code, slot)) = talk.uid.as_deref().and_then(|uid| self.code_of(uid)) {
                numbered.entry(code.clone()).or_default().push((slot, talk.slot.start, number));
                self.met_codes.insert(code.clone());
                self.by_number.insert(number, code);
            }
        }
        for (code, mut list) in numbered {
            list.sort_unstable();
            self.slots.insert(code, list.into_iter().map(|(_, _, number)| number).collect());
        }
    }

    /// Code and slot of a UID such as `pretalx-EVENT-CODE-1@host`, where an entry has that code.
    fn code_of(&self, uid: &str) -> Option<(String, Option<u32>)> {
        let own = uid.split('@').next().unwrap_or(uid).to_ascii_lowercase();
        if self.codes.contains_key(&own) {
            return Some((own, None));
        }
        let (before, last) = own.rsplit_once(['-', '_', '/', ':'])?;
        if self.codes.contains_key(last) {
            return Some((last.to_owned(), None));
        }
        let slot: u32 = last.parse().ok()?;
        let code = before.rsplit(['-', '_', '/', ':']).next()?;
        self.codes.contains_key(code).then(|| (code.to_owned(), Some(slot)))
    }

    fn find(&self, talk: &ScheduledTalk, number: usize) -> Option<Found> {
        let uid = talk.uid.as_deref();
        let by_guid = || self.by_guid(uid?).map(|at| Found { at, by: By::Guid, is_sure: talk.recurrence_id.is_none() });
        by_guid()
            .or_else(|| self.by_code(talk, number))
            .or_else(|| self.by_page(talk))
            .or_else(|| self.by_id(uid?, talk))
            .or_else(|| self.by_place(talk))
            .or_else(|| self.by_title(talk))
    }

    fn by_guid(&self, uid: &str) -> Option<usize> {
        let lower = uid.to_ascii_lowercase();
        if let Some(found) = self.guids.get(&lower) {
            return Some(*found);
        }
        // A guid is a run of letters, digits and dashes; others may stand around it.
        for part in lower.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
            if let Some(found) = self.guids.get(part) {
                return Some(*found);
            }
            if part.len() > 36 {
                let windows = (0..=part.len() - 36).filter_map(|at| part.get(at..at + 36));
                if let Some(found) = windows.filter_map(|w| self.guids.get(w)).next() {
                    return Some(*found);
                }
            }
        }
        None
    }

    /// Of several entries for one name: the one that begins when the talk does; else the one with its number, where
    /// both have as many; else the nearest one.
    fn of(&self, list: &[usize], talk: &ScheduledTalk, rank: Option<(usize, usize)>) -> Option<(usize, bool)> {
        if let [one] = list {
            return Some((*one, rank.is_none_or(|(_, count)| count == 1)));
        }
        if let Some(at) = list.iter().find(|at| self.starts[**at] == Some(talk.slot.start)) {
            return Some((*at, true));
        }
        if let Some((rank, count)) = rank
            && count == list.len()
        {
            return list.get(rank).map(|at| (*at, true));
        }
        let away =
            |at: &&usize| self.starts[**at].map_or(i64::MAX, |start| start.since(talk.slot.start).saturating_abs());
        list.iter().min_by_key(away).map(|at| (*at, false))
    }

    fn by_code(&self, talk: &ScheduledTalk, number: usize) -> Option<Found> {
        let code = self.by_number.get(&number)?;
        let slots = self.slots.get(code)?;
        let rank = slots.iter().position(|n| *n == number)?;
        let (at, is_sure) = self.of(self.codes.get(code)?, talk, Some((rank, slots.len())))?;
        Some(Found { at, by: By::Code, is_sure })
    }

    fn by_page(&self, talk: &ScheduledTalk) -> Option<Found> {
        let list = self.pages.get(page(talk.page_url.as_deref()?))?;
        self.of(list, talk, None).map(|(at, is_sure)| Found { at, by: By::Page, is_sure: is_sure && list.len() == 1 })
    }

    /// An id is a small number, and so may be a slot or a year: it counts only where no entry has a code.
    fn by_id(&self, uid: &str, talk: &ScheduledTalk) -> Option<Found> {
        let own = uid.split('@').next().unwrap_or(uid);
        let last = || own.rsplit(['-', '_', '/', ':']).next().filter(|_| self.codes.is_empty());
        let list = self.ids.get(own).or_else(|| self.ids.get(last()?))?;
        let (at, is_sure) = self.of(list, talk, None)?;
        // The number of something else, where neither title nor start agree.
        let agrees = self.starts[at].is_none_or(|start| start == talk.slot.start) || self.same_title(at, talk);
        agrees.then_some(Found { at, by: By::Id, is_sure })
    }

    fn by_place(&self, talk: &ScheduledTalk) -> Option<Found> {
        let hall = self.hall(talk.hall.as_deref()?);
        let entries = self.by_start.get(&talk.slot.start)?;
        let fits = |at: &&usize| {
            self.programme.entries[**at].rooms.iter().any(|room| self.hall(room) == hall) && self.same_title(**at, talk)
        };
        entries.iter().find(fits).map(|at| Found { at: *at, by: By::Place, is_sure: true })
    }

    fn by_title(&self, talk: &ScheduledTalk) -> Option<Found> {
        let entries = self.by_start.get(&talk.slot.start)?;
        let mut fitting = entries.iter().filter(|at| self.same_title(**at, talk));
        let first = fitting.next()?;
        fitting.next().is_none().then_some(Found { at: *first, by: By::Title, is_sure: true })
    }

    /// All entries by which a talk is opted out.
    fn opt_outs(&self, talk: &ScheduledTalk, found: Option<&Found>) -> Vec<usize> {
        let entries = &self.programme.entries;
        let of_code = found.filter(|f| f.by == By::Code).and_then(|f| entries[f.at].details.code.as_deref());
        let of_code = of_code.and_then(|code| self.codes.get(&code_key(code))).map_or(&[][..], Vec::as_slice);
        let of_page = talk.page_url.as_deref().and_then(|url| self.pages.get(page(url))).map_or(&[][..], Vec::as_slice);
        let at_start = self.by_start.get(&talk.slot.start).map_or(&[][..], Vec::as_slice);
        let named = of_code.iter().chain(of_page).filter(|at| entries[**at].opted_out);
        let titled = at_start.iter().filter(|at| entries[**at].opted_out && self.same_title(**at, talk));
        let day = talk.slot.start.in_zone(self.zone).date_naive();
        let vague = self.vague_opt_outs.iter().filter(|at| {
            self.same_title(**at, talk) && entries[**at].start.day(self.zone).is_none_or(|of_entry| of_entry == day)
        });
        let mut out: Vec<usize> = named.chain(titled).chain(vague).copied().collect();
        out.sort_unstable();
        out.dedup();
        out
    }

    fn hall(&self, name: &str) -> String {
        let folded = fold_name(name);
        self.aliases.get(&folded).cloned().unwrap_or(folded)
    }

    /// The calendar's title may have the speakers or a subtitle after it ("Opening - hexchen").
    fn same_title(&self, at: usize, talk: &ScheduledTalk) -> bool {
        let entry = self.titles[at].as_str();
        let title = fold_name(&talk.title);
        let rest = title.strip_prefix(entry);
        !entry.is_empty() && rest.is_some_and(|rest| rest.chars().next().is_none_or(|c| !c.is_alphanumeric()))
    }
}

/// A page's address without what differs between exports.
fn page(url: &str) -> &str {
    let url = url.split_once("://").map_or(url, |(_, rest)| rest);
    url.trim_end_matches('/')
}

#[cfg(test)]
#[path = "programme_join_tests.rs"]
mod tests;
