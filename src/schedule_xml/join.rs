//! Which entry of a schedule.xml is which talk of the calendar. Pure.

use std::collections::HashMap;

use super::{ScheduleXml, XmlTalk};
use crate::domain::hall::fold_name;
use crate::domain::schedule::{Schedule, ScheduledTalk};
use crate::domain::time::Ms;

/// Puts speakers and opt-outs of `xml` into `schedule`. An entry belongs to a talk if, in this order,
/// its guid stands in the talk's UID, its code or id is the UID's own part (`4253@...`, `...-38PPT7@...`),
/// it names the same page, or it begins in the same room at the same time with the same title.
pub fn join(schedule: &mut Schedule, xml: &ScheduleXml) {
    let finder = Finder::new(xml);
    for talk in &mut schedule.talks {
        let Some(entry) = finder.find(talk) else { continue };
        talk.in_schedule_xml = true;
        talk.opted_out = entry.opted_out;
        if !entry.speakers.is_empty() {
            talk.speakers.clone_from(&entry.speakers);
        }
    }
}

struct Finder<'a> {
    guids: HashMap<String, &'a XmlTalk>,
    codes: HashMap<&'a str, &'a XmlTalk>,
    ids: HashMap<&'a str, &'a XmlTalk>,
    pages: HashMap<&'a str, &'a XmlTalk>,
    slots: HashMap<(Ms, String), Vec<&'a XmlTalk>>,
}

impl<'a> Finder<'a> {
    fn new(xml: &'a ScheduleXml) -> Self {
        let mut finder = Self {
            guids: HashMap::new(),
            codes: HashMap::new(),
            ids: HashMap::new(),
            pages: HashMap::new(),
            slots: HashMap::new(),
        };
        for talk in &xml.talks {
            // Of two entries for one name the one that is opted out wins: that is the safe error.
            fn put<'a, K: std::hash::Hash + Eq>(map: &mut HashMap<K, &'a XmlTalk>, key: K, talk: &'a XmlTalk) {
                let entry = map.entry(key).or_insert(talk);
                if talk.opted_out {
                    *entry = talk;
                }
            }
            if let Some(guid) = &talk.guid {
                put(&mut finder.guids, guid.to_ascii_lowercase(), talk);
            }
            if let Some(code) = &talk.code {
                put(&mut finder.codes, code.as_str(), talk);
            }
            if let Some(id) = &talk.id {
                put(&mut finder.ids, id.as_str(), talk);
            }
            if let Some(url) = &talk.url {
                put(&mut finder.pages, page(url), talk);
                // Older pretalx writes its code only into the page's address: .../talk/38PPT7/
                if let Some(code) = url.trim_end_matches('/').rsplit_once("/talk/").map(|(_, code)| code) {
                    put(&mut finder.codes, code, talk);
                }
            }
            if let (Some(start), Some(room)) = (talk.start, &talk.room) {
                finder.slots.entry((start, fold_name(room))).or_default().push(talk);
            }
        }
        finder
    }

    fn find(&self, talk: &ScheduledTalk) -> Option<&'a XmlTalk> {
        talk.uid
            .as_deref()
            .and_then(|uid| self.by_uid(uid))
            .or_else(|| talk.page_url.as_deref().and_then(|url| self.pages.get(page(url)).copied()))
            .or_else(|| self.by_slot(talk))
    }

    fn by_uid(&self, uid: &str) -> Option<&'a XmlTalk> {
        let lower = uid.to_ascii_lowercase();
        if let Some(found) = self.guids.get(&lower) {
            return Some(found);
        }
        // A guid is a run of letters, digits and dashes; others may stand around it.
        for part in lower.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
            if let Some(found) = self.guids.get(part) {
                return Some(found);
            }
            if part.len() > 36 && part.is_ascii() {
                let windows = (0..=part.len() - 36).filter_map(|at| part.get(at..at + 36));
                if let Some(found) = windows.filter_map(|w| self.guids.get(w)).next() {
                    return Some(found);
                }
            }
        }
        let own = uid.split('@').next().unwrap_or(uid);
        let last = own.rsplit(['-', '_', '/', ':']).next().unwrap_or(own);
        [own, last].into_iter().find_map(|key| self.codes.get(key).or_else(|| self.ids.get(key)).copied())
    }

    /// The calendar's title may have the speakers after it ("Opening - hexchen").
    fn by_slot(&self, talk: &ScheduledTalk) -> Option<&'a XmlTalk> {
        let room = fold_name(talk.hall.as_deref()?);
        let title = fold_name(&talk.title);
        let same = |entry: &&&XmlTalk| !entry.title.is_empty() && title.starts_with(&fold_name(&entry.title));
        self.slots.get(&(talk.slot.start, room))?.iter().find(same).copied()
    }
}

/// A page's address without what differs between exports.
fn page(url: &str) -> &str {
    let url = url.split_once("://").map_or(url, |(_, rest)| rest);
    url.trim_end_matches('/')
}
