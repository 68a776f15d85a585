//! What the coming talks need of the disk, hall by hall, with the numbers it is made of.

use std::collections::BTreeMap;

use crate::app::support::humanize::{count, size};
use crate::domain::hall::Hall;
use crate::domain::ids::HallId;
use crate::domain::interval::Interval;
use crate::domain::settings::Record;
use crate::domain::time::{HOUR, Ms, SECOND};
use crate::plan::lanes::lanes;
use crate::plan::wanted::Wanted;

/// What one hall needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// Name of the hall.
    pub hall: String,
    /// What is still to record, milliseconds.
    pub ms: i64,
    /// So many mirrors are taped at the same time.
    pub mirrors: u64,
    /// Measured, of the mirror that brings most; `None`: it could not be.
    pub bytes_per_second: Option<u64>,
}

impl Need {
    /// Segments of each mirror and the joined files stay side by side.
    fn copies(&self) -> u64 {
        self.mirrors + 1
    }

    /// Bytes; 0 where the rate is not known.
    pub(super) fn bytes(&self) -> u64 {
        let seconds = self.ms.max(0).unsigned_abs() / SECOND.unsigned_abs();
        seconds.saturating_mul(self.bytes_per_second.unwrap_or(0)).saturating_mul(self.copies())
    }

    /// `2.0 h x 440 kbit/s x 2 (1 stream as recorded, and the joined files) = 792 MB`.
    pub(super) fn formula(&self) -> String {
        let hours = self.ms as f64 / HOUR as f64;
        let Some(rate) = self.bytes_per_second else {
            return format!("{hours:.1} h, and its rate could not be measured");
        };
        let (kbits, streams) = (rate * 8 / 1000, count(usize::try_from(self.mirrors).unwrap_or(1), "stream"));
        format!(
            "{hours:.1} h x {kbits} kbit/s x {} ({streams} as recorded, and the joined files) = {}",
            self.copies(),
            size(self.bytes())
        )
    }
}

/// What each of these halls needs from `now` on, in their order; not those where nothing will be recorded.
pub(super) fn needs(
    now: Ms,
    plan: &Wanted,
    halls: &[&Hall],
    record: &Record,
    rates: &BTreeMap<HallId, u64>,
) -> Vec<Need> {
    let to_come = Interval::new(now, Ms(i64::MAX));
    let need = |hall: &&Hall| {
        let tapes = plan.tapes.iter().filter(|t| t.hall == hall.id);
        let ms = tapes.map(|t| t.window.intersect(to_come).len_ms()).sum();
        let mirrors = lanes(hall.redundancy.unwrap_or(record.redundancy), hall.streams.len()) as u64;
        Need { hall: hall.name.clone(), ms, mirrors, bytes_per_second: rates.get(&hall.id).copied() }
    };
    halls.iter().filter(|h| !h.streams.is_empty()).map(need).filter(|need| need.ms > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hall::Stream;
    use crate::domain::ids::{EventId, StreamId};
    use crate::domain::stream_url::StreamUrl;
    use crate::plan::wanted::WantedTape;

    #[test]
    fn only_what_is_still_to_record_counts_for_each_mirror_and_the_joined_file() {
        let stream = |id| Stream { id: StreamId(id), url: StreamUrl::parse("http://h.example/x").expect("an address") };
        let hall = |id, streams: i64, redundancy| Hall {
            id: HallId(id),
            event: EventId(1),
            name: format!("Saal {id}"),
            slug: String::new(),
            aliases: Vec::new(),
            streams: (0..streams).map(stream).collect(),
            recorder: None,
            quality: None,
            max_connections: 2,
            redundancy,
        };
        let halls = [hall(1, 2, None), hall(2, 2, Some(2)), hall(3, 1, None), hall(4, 0, None), hall(5, 1, None)];
        let tape = |hall, from: i64, to: i64| WantedTape {
            hall: HallId(hall),
            window: Interval::new(Ms(from * HOUR), Ms(to * HOUR)),
            boundaries: Vec::new(),
            talks: Vec::new(),
        };
        // The first runs since an hour, and has another one to come.
        let tapes = vec![tape(1, 9, 11), tape(1, 12, 13), tape(2, 11, 12), tape(3, 11, 12), tape(4, 11, 12)];
        let plan = Wanted { tapes, ..Wanted::default() };
        let rates = BTreeMap::from([(HallId(1), 125_000), (HallId(2), 125_000)]);
        let all = needs(Ms(10 * HOUR), &plan, &halls.iter().collect::<Vec<_>>(), &Record::default(), &rates);
        let said: Vec<_> = all.iter().map(|need| (need.hall.as_str(), need.bytes(), need.formula())).collect();
        let formulas = [
            "2.0 h x 1000 kbit/s x 2 (1 stream as recorded, and the joined files) = 1.8 GB",
            "1.0 h x 1000 kbit/s x 3 (2 streams as recorded, and the joined files) = 1.4 GB",
            "1.0 h, and its rate could not be measured",
        ];
        assert_eq!(
            said,
            [
                ("Saal 1", 1_800_000_000, formulas[0].to_owned()),
                ("Saal 2", 1_350_000_000, formulas[1].to_owned()),
                ("Saal 3", 0, formulas[2].to_owned()),
            ]
        );
    }
}
