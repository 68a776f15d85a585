//! What happens now: what needs attention, the tapes, the disk.

use maud::{Markup, html};

use crate::app::daemon::status::{Status, Tape};
use crate::app::words::size;

/// A tape that is silent for longer is marked.
const SILENT_SECONDS: f64 = 3.0;

/// The part at the top of the page.
pub(super) fn now(status: &Status) -> Markup {
    html! {
        @if !status.alive {
            p.attention role="alert" { "No recorder runs here. Start it with " code { "streamrip run" } "." }
        }
        @if !status.problems.is_empty() {
            ul.attention role="alert" {
                @for problem in &status.problems { li { (problem) } }
            }
        }
        @if status.tapes.is_empty() {
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
    let silent = flow.silent_seconds.filter(|s| *s >= SILENT_SECONDS);
    let flows = flow.state == "recording" && silent.is_none();
    html! {
        div.tape.trouble[!flows] {
            h2 { (tape.hall) }
            p.state {
                @if flows { span.dot {} }
                (flow.state)
                @if let Some(silent) = silent { ", silent for " (format!("{silent:.0} s")) }
            }
            p.rate { (flow.bytes_per_second * 8 / 1000) " kbit/s · " (size(flow.bytes)) }
            @for (id, title) in tape.talks.iter().zip(&tape.titles) {
                p { a href={ "/talks/" (id) } { (title) } }
            }
            @if let Some(trouble) = &flow.last_trouble {
                p.trouble-line { "last trouble " (flow.last_trouble_at.as_deref().map(clock).unwrap_or_default()) ": " (trouble) }
            }
            p.until { "until " (clock(&tape.until)) }
        }
    }
}

/// The time of day of an RFC 3339 instant, as it is written there.
fn clock(instant: &str) -> &str {
    instant.get(11..19).unwrap_or(instant)
}

fn day_and_time(instant: &str) -> String {
    instant.get(..16).unwrap_or(instant).replace('T', " ")
}
