//! What is odd in a schedule as a whole: overlaps, cancelled talks that do not say so, opt-outs, slots of days.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use unicode_normalization::UnicodeNormalization;

use super::hall_plan::{HallPlan, talk_label};
use crate::domain::schedule::{ScheduledTalk, Warning, WarningKind};
use crate::domain::text::shortened;
use crate::domain::time::HOUR;

/// A slot from this length on is no talk. Milliseconds.
const LONG_SLOT: i64 = 24 * HOUR;

/// Overlaps within a hall, CANCELLED in a title, opted-out talks, slots of a day or longer. `zone` is for messages.
#[must_use]
pub fn warnings(talks: &[ScheduledTalk], halls: &HallPlan, zone: Tz) -> Vec<Warning> {
    let mut out = Vec::new();
    for talk in talks {
        let warning = |kind, message: String| Warning { kind, talk: Some(talk_label(talk)), message };
        let title = shortened(&talk.title, 60);
        if talk.opted_out {
            out.push(warning(WarningKind::OptedOut, format!("{title:?} must not be recorded, and will not be")));
        }
        if talk.slot.len_ms() >= LONG_SLOT && !talk.cancelled && !talk.opted_out {
            let message = format!(
                "line {}: {title:?} is {} long: its hall is recorded all that time",
                talk.line,
                length(talk.slot.len_ms())
            );
            out.push(warning(WarningKind::LongSlot, message));
        }
        if !talk.cancelled && says_cancelled(&talk.title) {
            let message = format!("line {}: {title:?} is recorded all the same: its STATUS does not say so", talk.line);
            out.push(warning(WarningKind::CancelledInTitle, message));
        }
    }
    out.extend(overlaps(talks, halls, zone));
    out
}

/// Words that say that a talk does not take place: English, German, French, Spanish, Italian, Dutch.
const CANCELLED: [&str; 29] = [
    "cancelled",
    "canceled",
    "abgesagt",
    "abgesagter",
    "abgesagte",
    "abgesagtes",
    "entfällt",
    "entfaellt",
    "storniert",
    "gestrichen",
    "annulé",
    "annulée",
    "annulés",
    "annulées",
    "supprimé",
    "supprimée",
    "cancelado",
    "cancelada",
    "anulado",
    "anulada",
    "suspendido",
    "suspendida",
    "annullato",
    "annullata",
    "cancellato",
    "cancellata",
    "geannuleerd",
    "afgelast",
    "vervallen",
];

/// A length of days for people.
fn length(ms: i64) -> String {
    match ms / LONG_SLOT {
        1 => "1 day".to_owned(),
        days if days < 365 => format!("{days} days"),
        days => format!("{} years", (days + 183) / 365),
    }
}

/// Several words that say it.
const CANCELLED_PHRASES: [&[&str]; 3] = [&["fällt", "aus"], &["faellt", "aus"], &["gaat", "niet", "door"]];

fn says_cancelled(title: &str) -> bool {
    let lower = title.nfc().collect::<String>().to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    words.iter().any(|word| CANCELLED.contains(word))
        || CANCELLED_PHRASES.iter().any(|phrase| words.windows(phrase.len()).any(|w| w == *phrase))
}

/// Each talk that begins before an earlier one in its hall has ended.
fn overlaps(talks: &[ScheduledTalk], halls: &HallPlan, zone: Tz) -> Vec<Warning> {
    let mut by_hall: BTreeMap<usize, Vec<&ScheduledTalk>> = BTreeMap::new();
    for (talk, hall) in talks.iter().zip(&halls.of_talk) {
        if !talk.cancelled && !talk.slot.is_empty() {
            by_hall.entry(*hall).or_default().push(talk);
        }
    }
    let mut out = Vec::new();
    for (hall, mut talks) in by_hall {
        talks.sort_by_key(|t| (t.slot, t.line));
        let mut longest: Option<&ScheduledTalk> = None;
        for talk in talks {
            if let Some(before) = longest.filter(|b| b.slot.overlaps(talk.slot) && !is_copy(b, talk)) {
                out.push(Warning {
                    kind: WarningKind::Overlap,
                    talk: Some(talk_label(talk)),
                    message: format!(
                        "{:?} begins in {} at {}, before {:?} ends at {}",
                        shortened(&talk.title, 40),
                        shortened(&halls.halls[hall].name, 30),
                        talk.slot.start.in_zone(zone).format("%Y-%m-%d %H:%M"),
                        shortened(&before.title, 40),
                        before.slot.end.in_zone(zone).format("%H:%M"),
                    ),
                });
            }
            if longest.is_none_or(|b| b.slot.end < talk.slot.end) {
                longest = Some(talk);
            }
        }
    }
    out
}

fn is_copy(a: &ScheduledTalk, b: &ScheduledTalk) -> bool {
    a.uid.is_some() && a.uid == b.uid && a.slot == b.slot && a.title == b.title
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::interval::Interval;
    use crate::domain::time::Ms;

    #[test]
    fn a_title_says_that_its_talk_is_cancelled() {
        for title in [
            "Talk -- CANCELLED",
            "[canceled] Talk",
            "ABGESAGT: Talk",
            "Talk (entfällt)",
            "Talk fällt aus",
            "ANNULÉ - Talk",
            "Talk (annule\u{301}e)",
            "CANCELADO: Talk",
            "Talk - annullato",
            "Geannuleerd: Talk",
        ] {
            assert!(says_cancelled(title), "{title}");
        }
        for title in ["Cancellation of radar", "Ausfälle", "Der Abgesang", "Annulus", "What falls out"] {
            assert!(!says_cancelled(title), "{title}");
        }
    }

    #[test]
    fn a_slot_of_days_is_said() {
        let long = |hours: i64| ScheduledTalk::new("T", Interval::new(Ms(0), Ms(hours * HOUR)));
        let halls = HallPlan { of_talk: vec![0], ..HallPlan::default() };
        for (hours, said) in [(23, None), (24, Some("1 day")), (72, Some("3 days")), (366 * 24 * 2, Some("2 years"))] {
            let found = warnings(&[long(hours)], &halls, Tz::UTC);
            let long = found.iter().find(|w| w.kind == WarningKind::LongSlot).map(|w| w.message.clone());
            assert_eq!(long.is_some(), said.is_some(), "{hours}");
            assert!(said.is_none_or(|said| long.is_some_and(|m| m.contains(said))), "{hours}");
        }
    }
}
