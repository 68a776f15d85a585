//! The schedule of a simulated congress: a calendar, a halls file and a schedule.xml that can be changed
//! and written out.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chrono_tz::Tz;
use streamrip::domain::interval::Interval;
use streamrip::domain::time::{MINUTE, Ms};

use crate::script::Change;

/// The zone of all of it.
pub const ZONE: Tz = chrono_tz::Europe::Berlin;

/// A talk as the calendar has it.
#[derive(Clone, Debug)]
pub struct Talk {
    uid: String,
    title: String,
    hall: usize,
    slot: Interval,
    cancelled: bool,
    removed: bool,
    opted_out: bool,
}

/// A schedule.
#[derive(Clone, Debug)]
pub struct Calendar {
    pub talks: Vec<Talk>,
    /// Names that halls have had, the newest last.
    halls: Vec<Vec<String>>,
    /// Streams of each hall.
    mirrors: Vec<usize>,
    uid_round: u32,
    padding_min: (i64, i64),
}

impl Calendar {
    /// A short day: three halls, some talks of some minutes each, sometimes past midnight or in the night
    /// in which the clocks are changed.
    pub fn short(rng: &mut fastrand::Rng) -> Self {
        // 2010-12-27 10:00 and 23:30, and half past one in the nights of the changes of 2010-10-31 and
        // 2011-03-27, in Berlin.
        let starts = [1_293_440_400_000, 1_293_489_000_000, 1_288_481_400_000, 1_301_185_800_000];
        let start = Ms(starts[rng.usize(0..starts.len())]).plus(10 * MINUTE);
        let mut talks = Vec::new();
        for hall in 0..3 {
            let mut at = start.plus(rng.i64(0..5) * MINUTE);
            for _ in 0..rng.usize(2..5) {
                let slot = Interval::new(at, at.plus(rng.i64(4..12) * MINUTE));
                talks.push(Talk::new(talks.len(), hall, slot));
                at = slot.end.plus([0, 1, 2, 3, 9][rng.usize(0..5)] * MINUTE);
            }
        }
        let mirrors = (0..3).map(|_| rng.usize(1..3)).collect();
        Self { talks, mirrors, ..Self::empty((1, 2)) }
    }

    /// Some minutes with four talks.
    pub fn tiny() -> Self {
        let start = Ms(1_293_440_400_000).plus(10 * MINUTE);
        let slot = |from: i64, to: i64| Interval::new(start.plus(from * MINUTE), start.plus(to * MINUTE));
        let places = [(0, slot(0, 1)), (0, slot(1, 3)), (1, slot(0, 2)), (2, slot(1, 3))];
        let talks = (0..).zip(places).map(|(n, (hall, slot))| Talk::new(n, hall, slot)).collect();
        Self { talks, mirrors: vec![1; 3], ..Self::empty((1, 1)) }
    }

    /// The whole of 27C3, from the calendar that comes with the program.
    pub fn congress() -> Self {
        let text = include_bytes!("../../schedules/27c3.ics");
        let read = streamrip::ical::read(text, &streamrip::ical::ReadOptions::new(ZONE)).expect("a calendar");
        let mut out = Self { mirrors: vec![1; 3], ..Self::empty((5, 15)) };
        for talk in read.talks {
            let hall = talk.hall.as_deref().and_then(|h| h.strip_prefix("Saal ")).and_then(|n| n.parse().ok());
            let hall: usize = hall.expect("one of three halls");
            out.talks.push(Talk { title: talk.title, ..Talk::new(out.talks.len(), hall - 1, talk.slot) });
        }
        out
    }

    fn empty(padding_min: (i64, i64)) -> Self {
        let halls = (1..=3).map(|n| vec![format!("Saal {n}")]).collect();
        Self { talks: Vec::new(), halls, mirrors: Vec::new(), uid_round: 0, padding_min }
    }

    /// From the first window to the last.
    pub fn extent(&self) -> Interval {
        let start = self.talks.iter().map(|t| t.slot.start).min().expect("talks");
        let end = self.talks.iter().map(|t| t.slot.end).max().expect("talks");
        Interval::new(start, end).padded(self.padding_min.0 * MINUTE, self.padding_min.1 * MINUTE)
    }

    /// Changes it.
    pub fn change(&mut self, change: Change) {
        let n = self.talks.len();
        match change {
            Change::Move(at, min) => {
                let slot = &mut self.talks[at % n].slot;
                *slot = Interval::new(slot.start.plus(min * MINUTE), slot.end.plus(min * MINUTE));
            }
            Change::OtherHall(at) => self.talks[at % n].hall = (self.talks[at % n].hall + 1) % self.halls.len(),
            Change::Prolong(at, min) => self.talks[at % n].slot.end = self.talks[at % n].slot.end.plus(min * MINUTE),
            Change::Cancel(at) => self.talks[at % n].cancelled ^= true,
            Change::Remove(at) => self.talks[at % n].removed ^= true,
            Change::OptOut(at) => self.talks[at % n].opted_out ^= true,
            Change::Double(at) => {
                let old = self.talks[at % n].clone();
                self.talks.push(Talk::new(n, old.hall, old.slot));
            }
            Change::RenameHall(at) => {
                let names = &mut self.halls[at % 3];
                let next = format!("Hall {} v{}", at % 3 + 1, names.len());
                names.push(next);
            }
            Change::NewUids => self.uid_round += 1,
            Change::Nothing => {}
        }
    }

    /// Writes it into a folder, and gives the path of the calendar, of the halls file and of the schedule.xml.
    pub fn write(&self, dir: &Path) -> [PathBuf; 3] {
        let mut ics = String::from("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nX-WR-TIMEZONE:Europe/Berlin\r\n");
        let mut xml = String::from("<schedule><day index='1'><room name='all'>");
        for talk in self.talks.iter().filter(|t| !t.removed) {
            let uid = format!("{}-{}", talk.uid, self.uid_round);
            let utc = |at: Ms| at.to_utc().format("%Y%m%dT%H%M%SZ").to_string();
            let hall = self.halls[talk.hall].last().expect("a name");
            let _ = write!(
                ics,
                "BEGIN:VEVENT\r\nUID:{uid}@sim\r\nDTSTART:{}\r\nDTEND:{}\r\nLOCATION:{hall}\r\nSUMMARY:{}\r\n{}END:VEVENT\r\n",
                utc(talk.slot.start),
                utc(talk.slot.end),
                talk.title.replace(',', "\\,").replace(';', "\\;"),
                if talk.cancelled { "STATUS:CANCELLED\r\n" } else { "" },
            );
            let _ = write!(
                xml,
                "<event guid='{uid}'><title>x</title><recording><optout>{}</optout></recording></event>",
                talk.opted_out
            );
        }
        ics.push_str("END:VCALENDAR\r\n");
        xml.push_str("</room></day></schedule>");
        let mut toml = format!(
            "time_zone = \"Europe/Berlin\"\npre_padding = \"{}m\"\npost_padding = \"{}m\"\n",
            self.padding_min.0, self.padding_min.1
        );
        for (n, names) in self.halls.iter().enumerate() {
            let (name, others) = names.split_last().expect("a name");
            let streams: Vec<_> = (0..self.mirrors[n]).map(|m| format!("\"http://sim.example/{n}/{m}\"")).collect();
            let _ =
                write!(toml, "[[hall]]\nname = {name:?}\naliases = {others:?}\nstreams = [{}]\n", streams.join(", "));
        }
        let paths = ["congress.ics", "congress.toml", "congress.xml"].map(|name| dir.join(name));
        for (path, content) in paths.iter().zip([ics, toml, xml]) {
            std::fs::write(path, content).expect("written");
        }
        paths
    }
}

impl Talk {
    fn new(n: usize, hall: usize, slot: Interval) -> Self {
        Self {
            uid: format!("{n:08x}-0000-4000-8000-{n:012x}"),
            title: format!("Talk number {n}"),
            hall,
            slot,
            cancelled: false,
            removed: false,
            opted_out: false,
        }
    }
}
