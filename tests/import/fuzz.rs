//! Whatever is done to a real schedule, it is imported or refused: no panic, and a second import of the
//! same bytes writes nothing.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::World;

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
