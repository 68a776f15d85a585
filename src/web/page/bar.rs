//! The coverage bar: a slot drawn to scale.

use maud::{Markup, html};

use crate::app::library::report::TalkView;
use crate::app::support::humanize::length;
use crate::domain::interval::Interval;
use crate::domain::time::Ms;

/// Width of the drawing; a gap is at least three of it wide, or it could not be seen.
const WIDTH: i64 = 1000;

/// See [`WIDTH`]. More would swallow what was recorded between two gaps of a stream that stutters.
const LEAST: i64 = 3;

/// A bar of a talk's slot: recorded, missing (each gap with its cause as a tooltip), not yet.
pub(super) fn bar(view: &TalkView) -> Markup {
    let slot = view.talk.slot;
    let x = |at: Ms| (at.since(slot.start).clamp(0, slot.len_ms()) * WIDTH).checked_div(slot.len_ms()).unwrap_or(0);
    let piece = |at: Interval, least: i64| {
        let width = (x(at.end) - x(at.start)).max(least);
        (x(at.start).min(WIDTH - width), width)
    };
    let clock = |at: Ms| at.in_zone(view.event.zone).format("%H:%M:%S").to_string();
    let gaps = &view.report.gaps;
    html! {
        svg.bar viewBox={ "0 0 " (WIDTH) " 10" } preserveAspectRatio="none" role="img" aria-label=(spoken(view)) {
            rect.ahead x="0" y="0" width=(WIDTH) height="10" {}
            @for at in view.report.covered.iter() {
                @let (x, width) = piece(at, 1);
                rect.have x=(x) y="0" width=(width) height="10" {}
            }
            @for gap in gaps {
                @let (x, width) = piece(gap.at, LEAST);
                rect.gap x=(x) y="0" width=(width) height="10" {
                    title {
                        (clock(gap.at.start)) " to " (clock(gap.at.end)) ", " (length(gap.at.len_ms())) ": " (gap.words())
                    }
                }
            }
        }
    }
}

fn spoken(view: &TalkView) -> String {
    let gaps = &view.report.gaps;
    let missing: i64 = gaps.iter().map(|g| g.at.len_ms()).sum();
    match gaps.len() {
        0 => format!("{} recorded, no gap", length(view.report.recorded_ms)),
        n => format!("{} recorded, {} missing in {n} gaps", length(view.report.recorded_ms), length(missing)),
    }
}
