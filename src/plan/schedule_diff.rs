//! What a new schedule changes of the talks that are known.

use std::collections::{HashMap, HashSet};
use std::fmt;

use chrono_tz::Tz;

use super::hall_plan::{HallPlan, talk_label};
use super::moved_talks::{Movable, pairs};
use crate::domain::hall::fold_name;
use crate::domain::ids::{HallId, TalkId};
use crate::domain::interval::Interval;
use crate::domain::schedule::{ScheduledTalk, TalkDetails, Warning, WarningKind};
use crate::domain::talk::{Place, TalkStatus};
use crate::domain::text::shortened;
use crate::domain::time::Ms;

/// A talk of the schedule as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownTalk {
    /// Primary key of the talk.
    pub id: TalkId,
    /// See [`TalkRow::match_key`].
    pub match_key: String,
    /// UID of the talk in the calendar.
    pub uid: Option<String>,
    /// Hall of the talk.
    pub hall: HallId,
    /// Title of the talk.
    pub title: String,
    /// Names of the speakers.
    pub speakers: Vec<String>,
    /// As scheduled, without the user's extension.
    pub slot: Interval,
    /// What the schedule says.
    pub status: TalkStatus,
    /// Must not be recorded.
    pub opted_out: bool,
    /// Address of the talk's web page.
    pub page_url: Option<String>,
    /// What the schedule tells of it.
    pub details: TalkDetails,
    /// Where and when it was recorded, where that is not what the schedule said last: `hall`, `slot` and `status` are the
    /// schedule's word then. A recording whose talk has another row by now is [`TalkStatus::Removed`] here.
    pub kept: Option<Place>,
}

impl KnownTalk {
    /// The hall and slot that its row has: those of its recording, if it has one.
    #[must_use]
    pub fn place(&self) -> Place {
        self.kept.unwrap_or(Place { hall: self.hall, slot: self.slot })
    }

    /// True where its recording is what it will be: it is over, or the schedule has taken it back.
    fn is_past(&self, now: Ms) -> bool {
        self.kept.is_some() || self.slot.end <= now
    }
}

/// A talk as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TalkRow {
    /// `uid:` with UID and recurrence id where that is unique, else `slot:` with hall, start and title.
    pub match_key: String,
    /// UID of the talk in the calendar.
    pub uid: Option<String>,
    /// Place in [`HallPlan::halls`].
    pub hall: usize,
    /// Title of the talk.
    pub title: String,
    /// Names of the speakers.
    pub speakers: Vec<String>,
    /// As scheduled.
    pub slot: Interval,
    /// What the schedule says.
    pub status: TalkStatus,
    /// Must not be recorded.
    pub opted_out: bool,
    /// Address of the talk's web page.
    pub page_url: Option<String>,
    /// What the schedule tells of it.
    pub details: TalkDetails,
}

macro_rules! change_kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal),+ $(,)?) => {
        /// Sorts of changes; the words are `kind` in JSON and in the catalog.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ChangeKind { $($(#[$doc])* $name),+ }

        impl ChangeKind {
            /// The word in JSON and in the catalog.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }
        }
    };
}

change_kinds! {
    /// The talk is new in the schedule.
    Added = "added",
    /// Another time or length.
    Moved = "moved",
    /// Another hall.
    Hall = "hall",
    /// Another title.
    Retitled = "retitled",
    /// STATUS:CANCELLED.
    Cancelled = "cancelled",
    /// No longer cancelled.
    Uncancelled = "uncancelled",
    /// No longer in the schedule.
    Removed = "removed",
    /// In the schedule again.
    Returned = "returned",
    /// Must no longer be recorded.
    OptedOut = "opted-out",
    /// May be recorded again.
    OptedIn = "opted-in",
    /// Other speakers.
    Speakers = "speakers",
    /// Another page.
    Page = "page",
    /// The UID changed; hall, time and title identify the talk.
    Uid = "uid",
    /// The recording stays under the hall and slot it was made under, though the schedule says otherwise.
    Kept = "kept",
}

impl ChangeKind {
    /// True where it says that a talk is not where and when it was.
    #[must_use]
    pub fn is_of_place(self) -> bool {
        matches!(self, Self::Moved | Self::Hall | Self::Cancelled | Self::Removed)
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One change of one talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Kind of change.
    pub kind: ChangeKind,
    /// What it was, for people.
    pub before: Option<String>,
    /// What it is, for people.
    pub after: Option<String>,
}

/// What to do with one talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TalkStep {
    /// Its row; `None`: it is new.
    pub known: Option<TalkId>,
    /// As it is to be.
    pub row: TalkRow,
    /// What the user is told; empty where only the match key changes.
    pub changes: Vec<Change>,
    /// Its slot in its hall is new: what is missing before now was imported late.
    pub newly_known: bool,
    /// Whether its row takes the hall and slot of `row`.
    pub placement: Placement,
}

/// What becomes of the hall and slot that a talk's row has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// They become those of the schedule.
    #[default]
    Follow,
    /// They stay with the recording; what the schedule says is noted beside it.
    Keep,
    /// They stay with the recording; the talk gets a row of its own for what the schedule says.
    Split,
}

impl TalkStep {
    /// True where it is told as such a change.
    #[must_use]
    pub fn is(&self, kind: ChangeKind) -> bool {
        self.changes.iter().any(|c| c.kind == kind)
    }
}

/// The difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// In the order of the schedule, then the removed ones. Talks that stay as they are have none.
    pub steps: Vec<TalkStep>,
    /// Talks of the schedule, copies not counted.
    pub talks: usize,
    /// Talks of the schedule that stay as they are.
    pub unchanged: usize,
    /// duplicate-uid, no-uid.
    pub warnings: Vec<Warning>,
}

/// Compares. `halls` places each of `talks`; `xml_missing` says that the event's schedule.xml could not
/// be read this time, so that speakers and opt-outs stay as they are known. `zone` is for messages.
/// What is over at `now` is recognised by hall, start and title before it is by its UID.
#[must_use]
pub fn diff(
    known: &[KnownTalk],
    talks: &[ScheduledTalk],
    halls: &HallPlan,
    xml_missing: bool,
    now: Ms,
    zone: Tz,
) -> Diff {
    let mut out = Diff::default();
    let keyed = keyed(talks, halls, &mut out.warnings);
    out.talks = keyed.len();
    let places = halls.by_row();
    let mut matched = matched(known, &keyed, &places, now, &mut out.warnings);
    match_moved(known, &keyed, &places, &mut matched);
    let mut gone = vec![true; known.len()];
    for (new, found) in keyed.iter().zip(&matched) {
        let step = match found.map(|at| &known[at]) {
            None => added(new, zone),
            Some(old) => {
                let old_hall = places.get(&old.hall).map(|at| halls.halls[*at].name.as_str());
                changed(old, old_hall, new, halls, xml_missing, zone)
            }
        };
        if let Some(at) = found {
            gone[*at] = false;
        }
        out.unchanged += usize::from(step.changes.is_empty());
        // Other details are written and not told: nothing depends on them.
        let as_it_was = |old: &KnownTalk| old.match_key == new.key && old.details == step.row.details;
        let silent = step.changes.is_empty() && found.is_some_and(|at| as_it_was(&known[at]));
        if !silent {
            out.steps.push(step);
        }
    }
    let wanted: HashSet<&str> = keyed.iter().map(|new| new.key.as_str()).collect();
    for (old, _) in known.iter().zip(&gone).filter(|(_, gone)| **gone) {
        // Of two talks alike the other one may have stayed: then this one's key is its key now.
        let gives_way = wanted.contains(old.match_key.as_str());
        if old.status != TalkStatus::Removed || gives_way {
            let mut step = removed(old, places.get(&old.hall).copied().unwrap_or_default(), zone);
            if gives_way {
                step.row.match_key = format!("gone:{}", old.id);
            }
            if old.status == TalkStatus::Removed {
                step.changes.clear();
            }
            out.steps.push(step);
        }
    }
    out
}

/// A talk of the schedule with its key.
struct Keyed<'a> {
    talk: &'a ScheduledTalk,
    hall: usize,
    key: String,
}

fn keyed<'a>(talks: &'a [ScheduledTalk], halls: &HallPlan, warnings: &mut Vec<Warning>) -> Vec<Keyed<'a>> {
    type Id<'a> = (&'a str, Option<&'a str>);
    let id = |t: &'a ScheduledTalk| -> Option<Id<'a>> { Some((t.uid.as_deref()?, t.recurrence_id.as_deref())) };
    // The same talk twice is one talk: calendars are glued together from overlapping exports.
    let mut seen = HashSet::new();
    let mut once = Vec::with_capacity(talks.len());
    let mut copies = 0;
    for (talk, hall) in talks.iter().zip(&halls.of_talk) {
        if talk.uid.is_none() || seen.insert((id(talk), *hall, talk.slot, talk.title.as_str())) {
            once.push((talk, *hall));
        } else {
            copies += 1;
        }
    }
    let mut count: HashMap<Id<'a>, usize> = HashMap::new();
    for (talk, _) in &once {
        if let Some(id) = id(talk) {
            *count.entry(id).or_default() += 1;
        }
    }
    let mut slots: HashMap<String, usize> = HashMap::new();
    let mut told = HashSet::new();
    let mut without_uid = 0;
    let mut out = Vec::with_capacity(once.len());
    for (talk, hall) in once {
        let unique = id(talk).filter(|id| count.get(id) == Some(&1));
        let key = match unique {
            Some((uid, None)) => format!("uid:{uid}"),
            Some((uid, Some(date))) => format!("uid:{uid}\n{date}"),
            None => {
                match id(talk) {
                    Some(shared) if told.insert(shared) => warnings.push(Warning {
                        kind: WarningKind::DuplicateUid,
                        talk: Some(talk_label(talk)),
                        message: format!(
                            "{} talks share the UID {}; they are told apart by hall, start and title",
                            count[&shared],
                            shortened(shared.0, 80)
                        ),
                    }),
                    Some(_) => {}
                    None => without_uid += 1,
                }
                let slot =
                    format!("slot:{}\n{}\n{}", fold_name(&halls.halls[hall].name), talk.slot.start.0, talk.title);
                let number = slots.entry(slot.clone()).or_default();
                *number += 1;
                if *number == 1 { slot } else { format!("{slot}\n{number}") }
            }
        };
        out.push(Keyed { talk, hall, key });
    }
    if without_uid > 0 {
        let talks = if without_uid == 1 { "1 talk has".to_owned() } else { format!("{without_uid} talks have") };
        let message = format!("{talks} no UID; they are told apart by hall, start and title");
        warnings.push(Warning { kind: WarningKind::NoUid, talk: None, message });
    }
    if copies > 0 {
        let message = format!("{copies} exact copies of talks were left out");
        warnings.push(Warning { kind: WarningKind::DuplicateUid, talk: None, message });
    }
    out
}

/// For each new talk the known one that the schedule said the same of last time: hall, start, title and UID. Of several
/// alike, the one with its key: they would change places at each import otherwise, and each import would write.
fn match_exactly(known: &[KnownTalk], new: &[Keyed<'_>], places: &HashMap<HallId, usize>) -> Vec<Option<usize>> {
    type Said<'a> = (usize, Ms, &'a str, Option<&'a str>);
    let mut by_word: HashMap<Said<'_>, Vec<usize>> = HashMap::new();
    for (at, old) in known.iter().enumerate().filter(|(_, old)| old.status != TalkStatus::Removed) {
        if let Some(hall) = places.get(&old.hall) {
            by_word.entry((*hall, old.slot.start, &old.title, old.uid.as_deref())).or_default().push(at);
        }
    }
    let mut out = vec![None; new.len()];
    for with_key in [true, false] {
        for (talk, found) in new.iter().zip(&mut out).filter(|(_, found)| found.is_none()) {
            let Keyed { talk, hall, key } = talk;
            let Some(alike) = by_word.get_mut(&(*hall, talk.slot.start, &talk.title, talk.uid.as_deref())) else {
                continue;
            };
            // A date of a series is that date, wherever the others are moved.
            let any = !with_key && !key.starts_with("uid:");
            let one = alike.iter().position(|at| any || known[*at].match_key == *key);
            *found = one.map(|one| alike.remove(one));
        }
    }
    out
}

/// For each new talk the known one that it is.
fn matched(
    known: &[KnownTalk],
    new: &[Keyed<'_>],
    places: &HashMap<HallId, usize>,
    now: Ms,
    warnings: &mut Vec<Warning>,
) -> Vec<Option<usize>> {
    let mut by_place: HashMap<(usize, Ms, &str), Vec<usize>> = HashMap::new();
    for (at, old) in known.iter().enumerate() {
        let place = old.place();
        if let Some(hall) = places.get(&place.hall) {
            by_place.entry((*hall, place.slot.start, &old.title)).or_default().push(at);
        }
    }
    let by_key: HashMap<&str, usize> = known.iter().enumerate().map(|(at, k)| (k.match_key.as_str(), at)).collect();
    // A slot key may name a hall that was renamed: those are compared by the hall itself, below.
    let by_uid = |talk: &Keyed<'_>| by_key.get(talk.key.as_str()).copied().filter(|_| talk.key.starts_with("uid:"));
    let mut out = match_exactly(known, new, places);
    let mut free = vec![true; known.len()];
    for at in out.iter().flatten() {
        free[*at] = false;
    }
    // Slots of one talk change their UIDs among them (pretalx counts them anew). What is over was recorded where and when
    // it was, so there hall, start and title say more than the UID.
    let is_past = |at: Option<usize>| at.is_some_and(|at| known[at].is_past(now));
    for (talk, found) in new.iter().zip(&mut out).filter(|(_, found)| found.is_none()) {
        let same_uid = by_uid(talk).filter(|at| free[*at]);
        let at_its_place = by_place.get(&(talk.hall, talk.talk.slot.start, talk.talk.title.as_str()));
        let mut same_place = at_its_place.into_iter().flatten().copied().filter(|at| free[*at]);
        let same_place = same_place.clone().find(|at| Some(*at) == same_uid).or_else(|| same_place.next());
        if is_past(same_place) || is_past(same_uid) {
            *found = same_place;
        }
        if let Some(at) = *found {
            free[at] = false;
        }
    }
    for (talk, found) in new.iter().zip(&mut out).filter(|(_, found)| found.is_none()) {
        *found = by_uid(talk).filter(|at| free[*at]);
        if let Some(at) = *found {
            free[at] = false;
        }
    }
    // What is left is matched by hall, start and title; of two, the one that is not removed.
    let mut by_slot: HashMap<(Option<usize>, Ms, &str), Vec<usize>> = HashMap::new();
    for (at, old) in known.iter().enumerate().rev() {
        if free[at] {
            by_slot.entry((places.get(&old.hall).copied(), old.slot.start, &old.title)).or_default().push(at);
        }
    }
    for list in by_slot.values_mut() {
        list.sort_by_key(|at| known[*at].status != TalkStatus::Removed);
    }
    let (mut new_uids, mut same_uids) = (0_usize, 0_usize);
    for (talk, found) in new.iter().zip(&mut out) {
        if found.is_some() {
            same_uids += usize::from(talk.talk.uid.is_some());
            continue;
        }
        let slot = (Some(talk.hall), talk.talk.slot.start, talk.talk.title.as_str());
        let Some(at) = by_slot.get_mut(&slot).and_then(Vec::pop) else { continue };
        *found = Some(at);
        let old = &known[at];
        new_uids += usize::from(old.uid.is_some() && talk.talk.uid.is_some() && old.uid != talk.talk.uid);
    }
    if new_uids > 0 {
        let talks = if new_uids == 1 { "1 talk was".to_owned() } else { format!("{new_uids} talks were") };
        let message = match same_uids {
            0 => format!("every UID of this calendar is new: {talks} recognised by hall, start and title"),
            _ => format!("{talks} recognised by hall, start and title: they have another UID than before"),
        };
        warnings.push(Warning { kind: WarningKind::NoUid, talk: None, message });
    }
    out
}

/// Matches what is left by what stays when a series or a whole day is moved: the UID of a series, else hall and title.
fn match_moved(known: &[KnownTalk], new: &[Keyed<'_>], places: &HashMap<HallId, usize>, found: &mut [Option<usize>]) {
    let series = |key: &str| Some(key.strip_prefix("uid:")?.split_once('\n')?.0.to_owned());
    for by_series in [true, false] {
        let taken: HashSet<usize> = found.iter().flatten().copied().collect();
        let title = |hall: Option<usize>, title: &str| format!("{hall:?} {title}");
        let olds =
            known.iter().enumerate().filter(|(at, old)| !taken.contains(at) && old.status != TalkStatus::Removed);
        let olds = olds.filter_map(|(at, old)| {
            let hall = places.get(&old.hall).copied();
            let group = if by_series { series(&old.match_key)? } else { title(hall, &old.title) };
            Some(Movable { at, group, start: old.slot.start })
        });
        let news = new.iter().enumerate().filter(|(at, _)| found[*at].is_none());
        let news = news.filter_map(|(at, new)| {
            let group = if by_series { series(&new.key)? } else { title(Some(new.hall), &new.talk.title) };
            Some(Movable { at, group, start: new.talk.slot.start })
        });
        for (old, new) in pairs(olds.collect(), news.collect()) {
            found[new] = Some(old);
        }
    }
}

fn row(new: &Keyed<'_>, opted_out: bool, speakers: Vec<String>) -> TalkRow {
    TalkRow {
        match_key: new.key.clone(),
        uid: new.talk.uid.clone(),
        hall: new.hall,
        title: new.talk.title.clone(),
        speakers,
        slot: new.talk.slot,
        status: if new.talk.cancelled { TalkStatus::Cancelled } else { TalkStatus::Scheduled },
        opted_out,
        page_url: new.talk.page_url.clone(),
        details: new.talk.details.clone(),
    }
}

fn added(new: &Keyed<'_>, zone: Tz) -> TalkStep {
    let row = row(new, new.talk.opted_out, new.talk.speakers.clone());
    let after = slot_text(row.slot, zone);
    let changes = vec![Change { kind: ChangeKind::Added, before: None, after: Some(after) }];
    TalkStep { known: None, row, changes, newly_known: true, placement: Placement::Follow }
}

fn removed(old: &KnownTalk, hall: usize, zone: Tz) -> TalkStep {
    let row = TalkRow {
        match_key: old.match_key.clone(),
        uid: old.uid.clone(),
        hall,
        title: old.title.clone(),
        speakers: old.speakers.clone(),
        slot: old.slot,
        status: TalkStatus::Removed,
        opted_out: old.opted_out,
        page_url: old.page_url.clone(),
        details: old.details.clone(),
    };
    let before = Some(slot_text(old.slot, zone));
    let changes = vec![Change { kind: ChangeKind::Removed, before, after: None }];
    TalkStep { known: Some(old.id), row, changes, newly_known: false, placement: Placement::Follow }
}

fn changed(
    old: &KnownTalk,
    old_hall: Option<&str>,
    new: &Keyed<'_>,
    halls: &HallPlan,
    xml_missing: bool,
    zone: Tz,
) -> TalkStep {
    // What schedule.xml said stays until it says otherwise: an opt-out must not end because a file
    // could not be fetched or a talk was not found in it.
    let opted_out = if new.talk.in_schedule_xml { new.talk.opted_out } else { old.opted_out };
    let speakers = if xml_missing && !old.speakers.is_empty() { &old.speakers } else { &new.talk.speakers };
    let mut row = row(new, opted_out, speakers.clone());
    if xml_missing {
        row.details.keep_from(&old.details);
    }
    let mut changes = Vec::new();
    let mut tell = |kind, before: Option<String>, after: Option<String>| changes.push(Change { kind, before, after });
    let back = match (old.status, row.status) {
        (TalkStatus::Removed, _) => Some(ChangeKind::Returned),
        (TalkStatus::Cancelled, TalkStatus::Scheduled) => Some(ChangeKind::Uncancelled),
        _ => None,
    };
    if let Some(kind) = back {
        tell(kind, None, Some(slot_text(row.slot, zone)));
    }
    if row.status == TalkStatus::Cancelled && old.status != TalkStatus::Cancelled {
        tell(ChangeKind::Cancelled, Some(slot_text(old.slot, zone)), None);
    }
    if row.slot != old.slot {
        tell(ChangeKind::Moved, Some(slot_text(old.slot, zone)), Some(slot_text(row.slot, zone)));
    }
    let other_hall = halls.halls[row.hall].known != Some(old.hall);
    if other_hall {
        tell(ChangeKind::Hall, old_hall.map(str::to_owned), Some(halls.halls[row.hall].name.clone()));
    }
    if row.title != old.title {
        tell(ChangeKind::Retitled, Some(old.title.clone()), Some(row.title.clone()));
    }
    match (old.opted_out, row.opted_out) {
        (false, true) => tell(ChangeKind::OptedOut, None, None),
        (true, false) => tell(ChangeKind::OptedIn, None, None),
        _ => {}
    }
    if row.speakers != old.speakers {
        tell(ChangeKind::Speakers, Some(old.speakers.join(", ")), Some(row.speakers.join(", ")));
    }
    if row.page_url != old.page_url {
        tell(ChangeKind::Page, old.page_url.clone(), row.page_url.clone());
    }
    if row.uid != old.uid {
        tell(ChangeKind::Uid, old.uid.clone(), row.uid.clone());
    }
    // A talk that only ends later was known all the time.
    let newly_known = row.slot.start != old.slot.start || other_hall || back.is_some();
    TalkStep { known: Some(old.id), row, changes, newly_known, placement: Placement::Follow }
}

/// A slot for people: `2010-12-27 11:30-12:30`.
#[must_use]
pub fn slot_text(slot: Interval, zone: Tz) -> String {
    let (start, end) = (slot.start.in_zone(zone), slot.end.in_zone(zone));
    let end_format = if end.date_naive() == start.date_naive() || slot.len_ms() < 24 * 3_600_000 {
        "%H:%M"
    } else {
        "%Y-%m-%d %H:%M"
    };
    format!("{}-{}", start.format("%Y-%m-%d %H:%M"), end.format(end_format))
}
