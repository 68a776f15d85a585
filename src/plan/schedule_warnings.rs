//! What is odd in a schedule as a whole: overlaps, cancelled talks that do not say so, opt-outs.

use std::collections::BTreeMap;

use chrono_tz::Tz;

use super::hall_plan::{HallPlan, talk_label};
use crate::domain::schedule::{ScheduledTalk, Warning, WarningKind};
use crate::domain::text::shortened;

/// Overlaps within a hall, CANCELLED in a title, opted-out talks. `zone` is for messages.
#[must_use]
pub fn warnings(talks: &[ScheduledTalk], halls: &HallPlan, zone: Tz) -> Vec<Warning> {
    let mut out = Vec::new();
    for talk in talks {
        let warning = |kind, message: String| Warning { kind, talk: Some(talk_label(talk)), message };
        let title = shortened(&talk.title, 60);
        if talk.opted_out {
            out.push(warning(WarningKind::OptedOut, format!("{title:?} must not be recorded, and will not be")));
        }
        if !talk.cancelled && says_cancelled(&talk.title) {
            let message = format!("line {}: {title:?} is recorded all the same: its STATUS does not say so", talk.line);
            out.push(warning(WarningKind::CancelledInTitle, message));
        }
    }
    out.extend(overlaps(talks, halls, zone));
    out
}

fn says_cancelled(title: &str) -> bool {
    title
        .split(|c: char| !c.is_alphanumeric())
        .any(|word| word.eq_ignore_ascii_case("cancelled") || word.eq_ignore_ascii_case("canceled"))
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
