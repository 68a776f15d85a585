//! Whatever is done to a real schedule, it is imported or refused: no panic, and a second import of the
//! same bytes writes nothing.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{World, calendar};

const SCHEDULE: &[u8] = include_bytes!("../../schedules/27c3.ics");

fn mutated(edits: &[(Index, u8, u8, Index)]) -> Vec<u8> {
    // The first talks are enough, and quick.
    let end = SCHEDULE.windows(12).enumerate().filter(|(_, w)| w.starts_with(b"END:VEVENT\r\n")).nth(7);
    let mut bytes = SCHEDULE[..end.map_or(0, |(at, _)| at + 12)].to_vec();
    for (at, what, byte, other) in edits {
        let (at, other) = (at.index(bytes.len()), other.index(bytes.len()));
        match what {
            0 => bytes[at] = *byte,
            1 => bytes.insert(at, *byte),
            2 => bytes[at] = b";:=\"\\,\r\n T9Z"[usize::from(*byte) % 12],
            _ => {
                let piece = bytes[at.min(other)..at.max(other)].to_vec();
                bytes.extend(piece);
            }
        }
    }
    bytes.extend_from_slice(b"END:VCALENDAR\r\n");
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn mutated_schedules(edits in prop::collection::vec((any::<Index>(), 0_u8..4, any::<u8>(), any::<Index>()), 0..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let mut world = World::new();
            let request = world.request(mutated(&edits));
            if let Ok(first) = world.try_import(request.clone()).await {
                let writes = world.db.total_changes();
                let second = world.try_import(request).await.expect("again");
                assert_eq!((second.talks, second.unchanged), (first.talks, first.talks));
                assert_eq!(world.db.total_changes(), writes);
            }
        });
    }
}

/// A schedule of a few talks whose UIDs, halls, times and titles are drawn from so few that they clash.
fn schedule() -> impl Strategy<Value = Vec<String>> {
    let talk = (0_u8..6, 0_u8..3, 0_u8..4, 0_u8..3).prop_map(|(uid, hall, hour, title)| {
        let uid = if uid == 0 { String::new() } else { format!("u{uid}") };
        format!("{uid}|Saal {hall}|28 1{hour}:00|45|Title {title}")
    });
    prop::collection::vec(talk, 1..9)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whatever comes after whatever: the catalog says what the last schedule said, and saying it again
    /// writes nothing.
    #[test]
    fn any_schedule_after_any_other(schedules in prop::collection::vec(schedule(), 1..5)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let mut world = World::new();
            for lines in &schedules {
                let mut request = world.request(calendar(&lines.join("\n")));
                request.force = true;
                let report = world.try_import(request.clone()).await.expect("imported");
                let mut want: Vec<_> = lines.iter().map(|l| l.splitn(5, '|').skip(1).collect::<Vec<_>>().join("|")).collect();
                let mut got: Vec<String> = {
                    let mut query = world.db.prepare(
                        "SELECT hall.name || '|28 ' || strftime('%H:%M', start_ms / 1000 + 3600, 'unixepoch') || '|45|' || title
                         FROM talk JOIN hall ON hall.id = hall_id WHERE status = 'scheduled'",
                    ).expect("sql");
                    query.query_map([], |r| r.get(0)).expect("rows").collect::<Result<_, _>>().expect("talks")
                };
                assert_eq!(got.len(), report.talks);
                // Exact copies with a UID are one talk.
                want.sort();
                got.sort();
                want.dedup();
                got.dedup();
                assert_eq!(got, want);
                let writes = world.db.total_changes();
                let again = world.try_import(request).await.expect("again");
                assert_eq!(again.unchanged, again.talks, "{:?}", again.changes);
                assert_eq!(world.db.total_changes(), writes);
            }
        });
    }
}
