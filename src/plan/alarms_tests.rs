use proptest::prelude::*;

use super::*;

const GB: u64 = 1_000_000_000;

fn hall(silent_s: Option<i64>) -> HallFact {
    HallFact {
        hall: HallId(1),
        name: "Saal 1".to_owned(),
        event: "27c3".to_owned(),
        silent_ms: silent_s.map(|s| s * SECOND),
        trouble: Some("http-404".to_owned()),
    }
}

fn halls(halls: Vec<HallFact>) -> AlarmFacts {
    AlarmFacts { halls, ..AlarmFacts::default() }
}

fn told(alarms: &mut Alarms, second: i64, facts: &AlarmFacts) -> Vec<(Topic, Phase, String)> {
    let ms = second * SECOND;
    alarms.evaluate(Ms(ms), ms, facts).into_iter().map(|m| (m.topic, m.phase, m.text)).collect()
}

#[test]
fn a_silent_hall_is_told_once_and_once_when_it_is_over() {
    let mut alarms = Alarms::default();
    let silent = Topic::HallSilent;
    // (second, for how long it has been silent, what is told)
    type Row = (i64, Option<Option<i64>>, Option<(Phase, &'static str)>);
    let table: [Row; 12] = [
        (1000, Some(None), None),
        (1059, Some(None), None),
        (1060, Some(None), Some((Phase::Raised, "Saal 1: no media for 60 s (http-404)"))),
        (1061, Some(None), None),
        (4000, Some(None), None),
        (4001, Some(Some(0)), Some((Phase::Over, "Saal 1: bytes again after 3001 s"))),
        (4060, Some(Some(59)), None),
        (4061, Some(Some(60)), Some((Phase::Raised, "Saal 1: no media for 60 s (http-404)"))),
        // Its talk is over.
        (4070, None, Some((Phase::Over, "Saal 1: no longer to be recorded; it was silent for 69 s"))),
        (4071, None, None),
        // Wanted again: what was long ago does not count.
        (9000, Some(Some(4999)), None),
        (9059, Some(Some(5058)), None),
    ];
    for (second, wanted, want) in table {
        let facts = halls(wanted.map(hall).into_iter().collect());
        let want: Vec<_> = want.into_iter().map(|(phase, text)| (silent, phase, text.to_owned())).collect();
        assert_eq!(told(&mut alarms, second, &facts), want, "second {second}");
    }
}

#[test]
fn each_hall_is_an_incident_of_its_own() {
    let mut alarms = Alarms::default();
    let other = |last| HallFact { hall: HallId(2), name: "Saal 2".to_owned(), ..hall(last) };
    told(&mut alarms, 0, &halls(vec![hall(None), other(None)]));
    let both = alarms.evaluate(Ms(60_000), 60_000, &halls(vec![hall(None), other(None)]));
    assert_eq!(both.len(), 2);
    assert_eq!((both[1].hall.as_deref(), both[1].event.as_deref()), (Some("Saal 2"), Some("27c3")));
    assert_eq!(both[1].since, Ms(0));
    let one = told(&mut alarms, 61, &halls(vec![hall(None), other(Some(0))]));
    assert_eq!(one, [(Topic::HallSilent, Phase::Over, "Saal 2: bytes again after 61 s".to_owned())]);
}

#[test]
fn a_disk_at_its_limit_is_told_once() {
    let mut alarms = Alarms::default();
    type Row = (u64, bool, &'static [(Topic, Phase)]);
    let table: [Row; 9] = [
        (30, false, &[]),
        (19, false, &[(Topic::DiskWarn, Phase::Raised)]),
        // To and fro at the limit.
        (20, false, &[]),
        (19, false, &[]),
        (4, false, &[(Topic::DiskReserve, Phase::Raised)]),
        (5, true, &[]),
        (6, false, &[(Topic::DiskReserve, Phase::Over)]),
        (30, false, &[(Topic::DiskWarn, Phase::Over)]),
        (30, true, &[(Topic::DiskReserve, Phase::Raised)]),
    ];
    for (nth, (free, full, want)) in table.into_iter().enumerate() {
        let facts = AlarmFacts {
            disk_free: Some(free * GB),
            disk_warn: 20 * GB,
            disk_reserve: 5 * GB,
            disk_full: full,
            ..AlarmFacts::default()
        };
        let got: Vec<_> = told(&mut alarms, 0, &facts).into_iter().map(|(topic, phase, _)| (topic, phase)).collect();
        assert_eq!(got, want, "row {nth}");
    }
    // Nobody can tell: nothing begins and nothing ends.
    assert_eq!(told(&mut alarms, 0, &AlarmFacts { disk_warn: GB, ..AlarmFacts::default() }), []);
    let never = AlarmFacts { disk_free: Some(0), ..AlarmFacts::default() };
    assert_eq!(told(&mut Alarms::default(), 0, &never), []);
}

#[test]
fn one_refresh_that_fails_is_no_incident() {
    let mut alarms = Alarms::default();
    let failing = AlarmFacts { refresh: vec![("27c3".to_owned(), Some("503".to_owned()))], ..AlarmFacts::default() };
    let well = AlarmFacts { refresh: vec![("27c3".to_owned(), None)], ..AlarmFacts::default() };
    assert_eq!(told(&mut alarms, 0, &failing), []);
    assert_eq!(told(&mut alarms, 300, &well), []);
    assert_eq!(told(&mut alarms, 600, &failing), []);
    assert_eq!(told(&mut alarms, 959, &failing), []);
    let text = "27c3: its schedule has not been refreshed for 6 min: 503".to_owned();
    assert_eq!(told(&mut alarms, 960, &failing), [(Topic::RefreshFailing, Phase::Raised, text)]);
    assert_eq!(told(&mut alarms, 1200, &failing), []);
    let text = "27c3: its schedule is refreshed again".to_owned();
    assert_eq!(told(&mut alarms, 1201, &well), [(Topic::RefreshFailing, Phase::Over, text)]);
    // It fails until the event is over: nobody shall believe that it works.
    told(&mut alarms, 2000, &failing);
    assert_eq!(told(&mut alarms, 2360, &failing).len(), 1);
    let text = "27c3: its schedule is not refreshed any more: the event is over".to_owned();
    assert_eq!(told(&mut alarms, 90_000, &AlarmFacts::default()), [(Topic::RefreshFailing, Phase::Over, text)]);
}

#[test]
fn a_clock_that_is_set_alarms_nobody_and_changes_no_length() {
    let failing = ("27c3".to_owned(), Some("503".to_owned()));
    for step in [600, 86_400, -600, -86_400] {
        let mut alarms = Alarms::default();
        let mut evaluate = |second: i64, wall: i64, silent, failing: &[(String, Option<String>)]| {
            let facts = AlarmFacts { refresh: failing.to_vec(), ..halls(vec![hall(silent)]) };
            let messages = alarms.evaluate(Ms(wall * SECOND), second * SECOND, &facts);
            assert!(messages.iter().all(|m| m.since <= m.at), "{messages:?}");
            messages.into_iter().map(|m| m.text).collect::<Vec<_>>()
        };
        let (wall, failing) = (1_000_000, [failing.clone()]);
        assert_eq!(evaluate(0, wall, Some(0), &failing), [""; 0]);
        assert_eq!(evaluate(1, wall + step, Some(1), &failing), [""; 0], "a step of {step} s");
        assert_eq!(evaluate(2, wall + step, Some(2), &failing), [""; 0]);
        assert_eq!(evaluate(59, wall, None, &[]), [""; 0], "and back");
        assert_eq!(evaluate(60, wall, Some(60), &[]), ["Saal 1: no media for 60 s (http-404)"]);
        assert_eq!(evaluate(70, wall + step, Some(0), &[]), ["Saal 1: bytes again after 70 s"]);
    }
}

proptest! {
    /// Whatever happens, beginnings and ends of one thing take turns, and a beginning is first.
    #[test]
    fn beginnings_and_ends_take_turns(
        days in prop::collection::vec((1_i64..100, any::<[bool; 4]>(), 0_u64..30), 1..200)
    ) {
        let mut alarms = Alarms::default();
        let mut open = std::collections::BTreeSet::new();
        let (mut passed, mut last) = (0, None);
        for (seconds, [wanted, flows, full, failing], free) in days {
            passed += seconds * SECOND;
            // The clock is set by up to a minute to and fro.
            let now = Ms(passed + (seconds % 3 - 1) * 60 * SECOND);
            if flows {
                last = Some(passed);
            }
            let facts = AlarmFacts {
                halls: wanted.then(|| HallFact { silent_ms: last.map(|last| passed - last), ..hall(None) }).into_iter().collect(),
                disk_free: Some(free * GB),
                disk_warn: 20 * GB,
                disk_reserve: 5 * GB,
                disk_full: full,
                refresh: failing.then(|| ("27c3".to_owned(), Some("503".to_owned()))).into_iter().collect(),
                catalog: None,
            };
            for message in alarms.evaluate(now, passed, &facts) {
                prop_assert!(message.since <= message.at);
                match message.phase {
                    Phase::Raised => prop_assert!(open.insert(message.topic), "raised twice: {message:?}"),
                    Phase::Over => prop_assert!(open.remove(&message.topic), "over, and never raised: {message:?}"),
                    Phase::News => prop_assert!(false, "{message:?}"),
                }
            }
            prop_assert!(!(wanted && flows && open.contains(&Topic::HallSilent)));
        }
    }
}
