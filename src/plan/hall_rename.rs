//! Rooms that are renamed while the conference runs: a name of the schedule that nobody knows may be a new name of a hall
//! that is known. A hall without streams in its place would record nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::hall_plan::KnownHall;
use super::schedule_diff::KnownTalk;
use crate::domain::hall::{HallRename, RenamedBy, fold_name};
use crate::domain::halls_file::HallsFile;
use crate::domain::ids::HallId;
use crate::domain::schedule::ScheduledTalk;
use crate::domain::talk::TalkStatus;

/// Names of `talks` that are new names of known halls. Names that the halls file or the catalog knows are never taken
/// for something else, and a name that could belong to two halls belongs to none.
#[must_use]
pub fn renames(
    known_halls: &[KnownHall],
    known_talks: &[KnownTalk],
    file: Option<&HallsFile>,
    talks: &[ScheduledTalk],
) -> Vec<HallRename> {
    let of_file = file.into_iter().flat_map(|f| &f.halls).flat_map(|h| std::iter::once(&h.name).chain(&h.aliases));
    let of_catalog = known_halls.iter().flat_map(|h| std::iter::once(&h.name).chain(&h.aliases).chain(&h.renamed));
    let names: HashSet<String> = of_file.chain(of_catalog).map(|name| fold_name(name)).collect();
    // Each unknown name as it is first written, with the talks that have it.
    let mut unknown: BTreeMap<String, (&str, Vec<&ScheduledTalk>)> = BTreeMap::new();
    let mut still_named: HashSet<String> = HashSet::new();
    for talk in talks {
        let Some(name) = talk.hall.as_deref() else { continue };
        let folded = fold_name(name);
        if names.contains(&folded) {
            still_named.insert(folded);
        } else {
            unknown.entry(folded).or_insert((name, Vec::new())).1.push(talk);
        }
    }
    if unknown.is_empty() {
        return Vec::new();
    }
    let before = Before::of(known_talks);
    let mut out = Vec::new();
    for (name, talks) in unknown.values() {
        let guids: BTreeSet<Option<&str>> = talks.iter().map(|t| t.details.room_guid.as_deref()).collect();
        let mut by_guid = known_halls
            .iter()
            .filter(|h| h.room_guid.is_some() && guids.len() == 1 && guids.contains(&h.room_guid.as_deref()));
        let halls: BTreeSet<HallId> = talks.iter().filter_map(|talk| before.hall_of(talk)).collect();
        let renamed = match (by_guid.next(), by_guid.next(), halls.first()) {
            (Some(hall), None, _) => Some((hall.id, RenamedBy::RoomGuid)),
            (None, _, Some(hall)) if halls.len() == 1 => Some((*hall, RenamedBy::AllTalks)),
            _ => None,
        };
        let Some((hall, by)) = renamed else { continue };
        // A hall without streams has nothing that its talks would lose.
        let Some(known) = known_halls.iter().find(|h| h.id == hall && !h.streams.is_empty()) else { continue };
        let old_name_is_used = std::iter::once(&known.name)
            .chain(&known.aliases)
            .chain(&known.renamed)
            .any(|name| still_named.contains(&fold_name(name)));
        if by == RenamedBy::AllTalks && old_name_is_used {
            continue;
        }
        out.push(HallRename { hall, name: (*name).to_owned(), by });
    }
    // One hall with two new names was divided, not renamed.
    let count = |hall: HallId| out.iter().filter(|r| r.hall == hall).count();
    let once: Vec<HallRename> =
        out.iter().filter(|r| r.by == RenamedBy::RoomGuid || count(r.hall) == 1).cloned().collect();
    once
}

/// Where talks were at the last import.
struct Before<'a> {
    by_uid: HashMap<&'a str, Option<HallId>>,
    by_slot: HashMap<(i64, &'a str), Option<HallId>>,
}

impl<'a> Before<'a> {
    fn of(known: &'a [KnownTalk]) -> Self {
        let mut out = Self { by_uid: HashMap::new(), by_slot: HashMap::new() };
        // Of several talks that look alike nothing can be said, unless all were in one hall.
        let agree = |found: &mut Option<HallId>, hall| *found = found.filter(|known| *known == hall);
        for talk in known.iter().filter(|t| t.status != TalkStatus::Removed) {
            if let Some(uid) = &talk.uid {
                out.by_uid.entry(uid).and_modify(|f| agree(f, talk.hall)).or_insert(Some(talk.hall));
            }
            let slot = (talk.slot.start.0, talk.title.as_str());
            out.by_slot.entry(slot).and_modify(|f| agree(f, talk.hall)).or_insert(Some(talk.hall));
        }
        out
    }

    fn hall_of(&self, talk: &ScheduledTalk) -> Option<HallId> {
        let by_uid = talk.uid.as_deref().and_then(|uid| self.by_uid.get(uid));
        by_uid.or_else(|| self.by_slot.get(&(talk.slot.start.0, talk.title.as_str()))).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::StreamId;
    use crate::domain::interval::Interval;
    use crate::domain::time::Ms;
    use crate::plan::hall_plan::{KnownStream, StreamOrigin};

    fn hall(id: i64, name: &str, room_guid: Option<&str>) -> KnownHall {
        KnownHall {
            id: HallId(id),
            name: name.to_owned(),
            aliases: Vec::new(),
            renamed: Vec::new(),
            room_guid: room_guid.map(str::to_owned),
            recorder: None,
            quality: None,
            max_connections: 2,
            redundancy: None,
            streams: vec![KnownStream {
                id: StreamId(id),
                url: format!("http://h.example/{id}"),
                origin: StreamOrigin::HallsFile,
            }],
        }
    }

    fn slot(n: i64) -> Interval {
        Interval::new(Ms(n * 1000), Ms(n * 1000 + 900))
    }

    /// Talks `a` and `b` were in hall 1, `c` in hall 2.
    fn known() -> Vec<KnownTalk> {
        [("a", 1, 1), ("b", 1, 2), ("c", 2, 1)]
            .map(|(uid, hall, n)| KnownTalk {
                id: crate::domain::ids::TalkId(n),
                match_key: format!("uid:{uid}"),
                uid: Some(uid.to_owned()),
                hall: HallId(hall),
                title: uid.to_owned(),
                speakers: Vec::new(),
                slot: slot(n),
                status: TalkStatus::Scheduled,
                opted_out: false,
                page_url: None,
                details: crate::domain::schedule::TalkDetails::default(),
                kept: None,
            })
            .into()
    }

    fn talk(uid: &str, hall: &str, room_guid: Option<&str>) -> ScheduledTalk {
        let mut talk = ScheduledTalk::new(uid, slot(9));
        talk.uid = Some(uid.to_owned());
        talk.hall = Some(hall.to_owned());
        talk.details.room_guid = room_guid.map(str::to_owned);
        talk
    }

    fn found(halls: &[KnownHall], talks: &[ScheduledTalk]) -> Vec<(i64, String)> {
        renames(halls, &known(), None, talks).into_iter().map(|r| (r.hall.0, r.name)).collect()
    }

    #[test]
    fn a_hall_all_of_whose_talks_name_a_new_one_was_renamed() {
        let halls = [hall(1, "Saal 1", None), hall(2, "Saal 2", None)];
        let all = [talk("a", "Halle A", None), talk("b", "halle a", None), talk("c", "Saal 2", None)];
        assert_eq!(found(&halls, &all), [(1, "Halle A".to_owned())]);
        // A talk that is new says nothing against it.
        let with_new = [&all[..], &[talk("new", "Halle A", None)]].concat();
        assert_eq!(found(&halls, &with_new), [(1, "Halle A".to_owned())]);
        // One talk stayed: the other one was moved.
        assert_eq!(found(&halls, &[talk("a", "Halle A", None), talk("b", "Saal 1", None)]), []);
        // The hall was divided.
        assert_eq!(found(&halls, &[talk("a", "Halle A", None), talk("b", "Halle B", None)]), []);
        // Two halls became one.
        assert_eq!(found(&halls, &all.clone().map(|t| ScheduledTalk { hall: Some("Halle".to_owned()), ..t })), []);
        // Only talks that nobody knows.
        assert_eq!(found(&halls, &[talk("new", "Halle A", None), talk("a", "Saal 1", None)]), []);
        // Without a stream there is nothing to keep.
        let bare = halls.map(|h| KnownHall { streams: Vec::new(), ..h });
        assert_eq!(found(&bare, &all), []);
    }

    #[test]
    fn a_room_keeps_its_guid_when_it_is_renamed() {
        let halls = [hall(1, "Saal 1", Some("g1")), hall(2, "Saal 2", Some("g2"))];
        let talks = [talk("new", "Halle A", Some("g1")), talk("c", "Saal 1", Some("g1"))];
        assert_eq!(found(&halls, &talks), [(1, "Halle A".to_owned())]);
        assert_eq!(found(&halls, &[talk("new", "Halle A", Some("g3"))]), []);
        let two = [talk("new", "Halle A", Some("g1")), talk("new2", "Halle A", Some("g2"))];
        assert_eq!(found(&halls, &two), []);
    }
}
