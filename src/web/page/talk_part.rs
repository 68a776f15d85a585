//! Everything about one talk.

use maud::{Markup, html};
use rusqlite::Connection as Db;

use super::bar::bar;
use super::state_chip;
use crate::app::daemon::source_log;
use crate::app::library::report::TalkView;
use crate::app::support::failure::Result;
use crate::app::support::humanize::{clean, length, percent, size};
use crate::catalog::{assembly_queue, schedule_changes, seams};
use crate::domain::talk::TalkStatus;
use crate::domain::time::Ms;
use crate::web::state::WebState;

/// So many lines of the source programs are shown.
const LOG_LINES: usize = 40;

/// What a talk is and how it goes: what is above the player.
pub(super) fn talk(db: &Db, site: &WebState, view: &TalkView) -> Result<Markup> {
    let zone = view.event.zone;
    let slot = view.talk.slot;
    let clock = |at: Ms| at.in_zone(zone).format("%H:%M:%S").to_string();
    let missing: i64 = view.report.gaps.iter().map(|g| g.at.len_ms()).sum();
    let day = crate::app::library::report::congress_day(slot.start, zone, &site.env.settings);
    let back = url::form_urlencoded::Serializer::new("/?".to_owned())
        .append_pair("event", &view.event.name)
        .append_pair("day", &day.to_string())
        .finish();
    Ok(html! {
        p.back { a href=(back) { "← " (view.event.name) ", " (day.format("%A %d %B")) } }
        h1 { (view.talk.title) }
        @if !view.talk.speakers.is_empty() { p.who { (view.talk.speakers.join(", ")) } }
        p.when {
            (view.hall.name) " · " (slot.start.in_zone(zone).format("%a %Y-%m-%d %H:%M")) "–"
            (slot.end.in_zone(zone).format("%H:%M")) " (" (zone) ")"
        }
        p.what {
            (state_chip(view.report.state))
            @if view.window.start <= site.env.clock.now() {
                " " (percent(view.report.coverage)) " · " (length(view.report.recorded_ms)) " recorded"
                @if missing > 0 { " · " (length(missing)) " missing" }
            }
        }
        @if let Some(note) = view.schedule_note() { p.quiet { (clean(&note)) } }
        @if let Some(before) = view.talk.follows {
            p.quiet { "What was recorded under another hall or slot: " a href={ "/talks/" (before) } { "talk " (before) } }
        }
        (bar(view))
        div.scale { span { (clock(slot.start)) } span { (clock(slot.end)) } }
        (file(db, site, view)?)
        @if !view.talk.opted_out {
            @for e in &view.earlier {
                p.quiet { "Earlier file: " code { (e.file.path.display()) } " (" (length(e.file.duration_ms)) "): " (e.reason) }
            }
        }
    })
}

/// What it was recorded in and what went wrong: below the player.
pub(super) fn details(db: &Db, site: &WebState, view: &TalkView) -> Result<Markup> {
    let clock = |at: Ms| at.in_zone(view.event.zone).format("%H:%M:%S").to_string();
    Ok(html! {
        @if !view.report.gaps.is_empty() { (gaps(view, &clock)) }
        @if !view.segments.is_empty() { (segments(view, &clock)) }
        (seams(db, view)?)
        (failed(view, &clock))
        (about(view))
        (log(site, view, &clock))
        (changes(db, view)?)
    })
}

/// What the schedule tells of it. Addresses of strangers are shown as links only where they are web pages.
fn about(view: &TalkView) -> Markup {
    let (details, page) = view.details.clone().unwrap_or_default();
    let link = |url: &str, text: &str| {
        let is_web = url.starts_with("https://") || url.starts_with("http://");
        html! { @if is_web { a href=(url) rel="noreferrer noopener" { (clean(text)) } } @else { (clean(text)) } }
    };
    let facts = [
        ("Track", &details.track),
        ("Type", &details.session_type),
        ("Language", &details.language),
        ("Licence", &details.licence),
    ];
    let nothing = facts.iter().all(|(_, text)| text.is_none())
        && details.summary.is_none()
        && details.description.is_none()
        && page.is_none()
        && details.links.is_empty();
    html! {
        @if !nothing {
            details #about {
                summary { "About this talk" }
                @if let Some(subtitle) = &details.subtitle { p { (subtitle) } }
                @for text in [&details.summary, &details.description].into_iter().flatten() {
                    @for paragraph in text.split("\n\n") { p { (paragraph) } }
                }
                ul {
                    @for (name, text) in facts { @if let Some(text) = text { li { (name) ": " (clean(text)) } } }
                    @if let Some(url) = &page { li { (link(url, url)) } }
                    @for one in &details.links { li { (link(&one.url, one.title.as_deref().unwrap_or(&one.url))) } }
                }
            }
        }
    }
}

/// The joined file; else why there is none.
fn file(db: &Db, site: &WebState, view: &TalkView) -> Result<Markup> {
    if view.talk.opted_out {
        return Ok(html! { p.quiet { "This talk is opted out of recording: nothing of it is shown." } });
    }
    if let Some(a) = &view.assembly {
        return Ok(html! {
            p {
                a.button href={ "/talks/" (view.talk.id) "/file" } { "Download" }
                " " (length(a.duration_ms)) ", " (size(a.bytes))
            }
        });
    }
    let to_do = assembly_queue::of(db, view.talk.id)?;
    let why = if view.pruned.is_some() {
        "The joined file was deleted: it was old enough.".to_owned()
    } else if view.talk.is_on() && view.window.end > site.env.clock.now() {
        let end = view.window.end.in_zone(view.event.zone).format("%H:%M");
        format!("No joined file yet: it is made when the window is over, at {end}.")
    } else if view.segments.is_empty() {
        match view.talk.status {
            TalkStatus::Scheduled => "There is no file: nothing of this talk was recorded.".to_owned(),
            gone => format!("There is no file: the talk is {}.", gone.as_str()),
        }
    } else {
        match to_do {
            Some(Some(problem)) => format!("No joined file yet: joining failed and is tried again ({problem})."),
            Some(None) => "No joined file yet: the talk waits to be joined.".to_owned(),
            None => "There is no file: nothing of what was recorded can be joined.".to_owned(),
        }
    };
    Ok(html! { p.quiet { (clean(&why)) } })
}

fn gaps(view: &TalkView, clock: &dyn Fn(Ms) -> String) -> Markup {
    html! {
        h2 { "Missing" }
        div.scroll { table {
            thead { tr { th { "From" } th { "To" } th.n { "Length" } th { "Cause" } } }
            tbody { @for gap in &view.report.gaps {
                tr { td { (clock(gap.at.start)) } td { (clock(gap.at.end)) } td.n { (length(gap.at.len_ms())) } td { (gap.words()) } }
            } }
        } }
    }
}

fn segments(view: &TalkView, clock: &dyn Fn(Ms) -> String) -> Markup {
    html! {
        h2 { "Segments" }
        div.scroll { table {
            thead { tr { th.n { "Id" } th { "From" } th { "To" } th.n { "Media" } th.n { "Size" } th { "What" } th { "Ended" } th { "From where" } } }
            tbody { @for s in &view.segments {
                tr {
                    td.n { (s.id) }
                    td { (clock(s.at.start)) }
                    td { @if s.closed.is_some() { (clock(s.at.end)) } @else { "open" } }
                    td.n { (s.media_ms.map_or_else(|| "?".to_owned(), length)) }
                    td.n { (size(s.bytes)) }
                    td { (s.container.as_str()) @if s.verdict.as_str() != "media" { " (" (s.verdict.as_str()) ")" } }
                    td { (s.end_reason.map_or_else(|| "-".to_owned(), |r| r.to_string())) }
                    td.path { (s.stream.and_then(|id| view.streams.get(&id)).map_or("", String::as_str)) }
                }
            } }
        } }
    }
}

fn seams(db: &Db, view: &TalkView) -> Result<Markup> {
    let all = seams::between(db, &view.segments)?;
    Ok(html! {
        @if !all.is_empty() {
            details #seams { summary { "Seams (" (all.len()) ")" } ul { @for seam in &all { li { (seam.describe()) } } } }
        }
    })
}

fn failed(view: &TalkView, clock: &dyn Fn(Ms) -> String) -> Markup {
    let failed: Vec<_> = view.connections.iter().filter(|c| c.bytes == 0 && c.closed.is_some()).collect();
    html! {
        @if !failed.is_empty() {
            details #failed {
                summary { "Connections without data (" (failed.len()) ")" }
                ul { @for c in failed.iter().rev().take(LOG_LINES).rev() {
                    li {
                        (clock(c.opened)) " " (c.end.map_or_else(|| "unknown".to_owned(), |r| r.to_string()))
                        @if let Some(detail) = &c.detail { " · " (clean(detail)) }
                    }
                } }
            }
        }
    }
}

fn log(site: &WebState, view: &TalkView, clock: &dyn Fn(Ms) -> String) -> Markup {
    let hall = format!("{}/{}", view.event.slug, view.hall.slug);
    let lines = source_log::lines(&site.env.data_dir, &hall, view.window, LOG_LINES);
    html! {
        @if !lines.is_empty() {
            details #log {
                summary { "Log of the recording programs" }
                pre { @for (at, line) in &lines { (clock(*at)) " " (clean(line)) "\n" } }
            }
        }
    }
}

fn changes(db: &Db, view: &TalkView) -> Result<Markup> {
    let all = schedule_changes::of_talk(db, view.talk.id)?;
    Ok(html! {
        @if !all.is_empty() {
            details #changes {
                summary { "Changes of the schedule (" (all.len()) ")" }
                ul { @for c in &all {
                    li { (c.at.in_zone(view.event.zone).format("%Y-%m-%d %H:%M")) " " (clean(&c.describe())) }
                } }
            }
        }
    })
}
