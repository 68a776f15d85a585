//! What happens now: what needs attention, the tapes, the disk.

use maud::{Markup, html};

use crate::app::daemon::status::{Flow, Status, Tape};
use crate::app::support::humanize::{clock, size};

/// A tape that is silent for longer is marked.
const SILENT_SECONDS: f64 = 3.0;

/// The part at the top of the page.
pub(super) fn now(status: &Status) -> Markup {
    html! {
        @if !status.problems.is_empty() {
            ul.attention role="alert" {
                @for problem in &status.problems { li { (problem) } }
            }
        }
        @if status.is_starting() {
            p.quiet { "The recorder is starting: it looks at what was left from before." }
        } @else if status.tapes.is_empty() {
            p.quiet {
                "Nothing is being recorded."
                @if let Some(next) = status.next.first() {
                    " Next: " a href={ "/talks/" (next.talk) } { (next.title) }
                    ", " (next.hall) ", " (day_and_time(&next.at)) "."
                }
            }
        } @else {
            div.tapes { @for tape in &status.tapes { (one(tape)) } }
        }
        p.disk {
            @if let Some(free) = status.disk_free { (size(free)) " free" }
            @if let Some(what) = &status.working_on { " · " (what) }
            @if status.waiting > 0 { " · " (status.waiting) " waiting to be joined" }
        }
    }
}

fn one(tape: &Tape) -> Markup {
    let flow = &tape.flow;
    let flows = flow.state == "recording" && silence(flow).is_none();
    html! {
        div.tape.trouble[!flows] {
            h2 { (tape.hall) }
            p.state {
                @if flows { span.dot {} }
                (state(flow))
            }
            p.rate { (flow.bytes_per_second * 8 / 1000) " kbit/s · " (size(flow.bytes)) }
            @for (id, title) in tape.talks.iter().zip(&tape.titles) {
                p { a href={ "/talks/" (id) } { (title) } }
            }
            @if tape.lanes.is_empty() { (trouble(flow)) }
            @else { ul.lanes { @for lane in &tape.lanes { (one_lane(lane)) } } }
            p.until { "until " (clock(&tape.until)) }
        }
    }
}

/// One of several mirrors that are taped at the same time.
fn one_lane(lane: &Flow) -> Markup {
    let flows = lane.state == "recording" && silence(lane).is_none();
    html! {
        li.trouble[!flows] {
            @if let Some(stream) = &lane.stream { (stream) ": " }
            span.state { (state(lane)) }
            ", " (lane.bytes_per_second * 8 / 1000) " kbit/s"
            (trouble(lane))
        }
    }
}

fn trouble(flow: &Flow) -> Markup {
    html! {
        @if let Some(trouble) = &flow.last_trouble {
            p.trouble-line { "last trouble " (flow.last_trouble_at.as_deref().map(clock).unwrap_or_default()) ": " (trouble) }
        }
    }
}

fn silence(flow: &Flow) -> Option<f64> {
    flow.silent_seconds.filter(|s| *s >= SILENT_SECONDS)
}

fn state(flow: &Flow) -> String {
    match silence(flow) {
        Some(silent) => format!("{}, silent for {silent:.0} s", flow.state),
        None => flow.state.clone(),
    }
}

fn day_and_time(instant: &str) -> String {
    instant.get(..16).unwrap_or(instant).replace('T', " ")
}
