//! A congress day as the Fahrplan has it: halls side by side, hours down.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{NaiveDate, Timelike};
use chrono_tz::Tz;
use maud::{Markup, html};
use rusqlite::Connection as Db;

use super::bar::bar;
use super::{View, state_chip};
use crate::app::library::report::{self, Day, Selection, TalkView};
use crate::app::support::failure::Result;
use crate::app::support::humanize::{count, length, percent};
use crate::catalog::schedule::{self, TalkFilter};
use crate::domain::event::Event;
use crate::domain::ids::EventId;
use crate::domain::talk::TalkState;
use crate::domain::time::{HOUR, MINUTE, Ms};
use crate::web::asset::{COLUMNS, ROW_MINUTES, ROWS};
use crate::web::state::WebState;

/// One day of one event.
pub(super) fn grid(db: &Db, site: &WebState, view: &View) -> Result<Markup> {
    let env = &site.env;
    let now = env.clock.now();
    let events = schedule::events(db)?;
    let mut days: BTreeMap<EventId, BTreeSet<NaiveDate>> = BTreeMap::new();
    let mut nearest: Option<(i64, EventId, NaiveDate)> = None;
    for talk in schedule::talks(db, TalkFilter::default())? {
        let Some(event) = events.iter().find(|e| e.id == talk.event) else { continue };
        let day = report::congress_day(talk.slot.start, event.zone, &env.settings);
        days.entry(event.id).or_default().insert(day);
        let far = if talk.slot.end <= now { now.since(talk.slot.end) } else { talk.slot.start.since(now).max(0) };
        if talk.is_on() && nearest.is_none_or(|(best, ..)| far < best) {
            nearest = Some((far, event.id, day));
        }
    }
    let wanted = view.event.as_deref().map(|name| report::find_event(&events, name)).transpose()?;
    let Some(event) = wanted.or(nearest.map(|(_, id, _)| id)).and_then(|id| events.iter().find(|e| e.id == id)) else {
        return Ok(html! { p.quiet { "No talks yet. Bring a schedule in with " code { "streamrip import" } "." } });
    };
    let days = days.remove(&event.id).unwrap_or_default();
    let today = nearest.filter(|(_, id, _)| *id == event.id).map(|(.., day)| day);
    let Some(day) = view.day.or(today).or(days.first().copied()) else {
        return Ok(html! { p.quiet { "No talks yet in " (event.name) "." } });
    };
    let selection = Selection { event: Some(event.name.clone()), day: Some(Day::Date(day)), ..Selection::default() };
    let talks = report::select(db, env, &selection)?;
    Ok(html! {
        (head(&events, event, &days, day))
        @if talks.is_empty() { p.quiet { "No talks on this day." } }
        @else { (summary(&talks)) (table(&talks, event.zone, now)) }
    })
}

fn head(events: &[Event], event: &Event, days: &BTreeSet<NaiveDate>, day: NaiveDate) -> Markup {
    let link = |event: &Event, day: Option<NaiveDate>| {
        let mut query = url::form_urlencoded::Serializer::new("/?".to_owned());
        query.append_pair("event", &event.name);
        if let Some(day) = day {
            query.append_pair("day", &day.to_string());
        }
        query.finish()
    };
    html! {
        div.head {
            h1 { (event.name) }
            @if events.len() > 1 {
                nav aria-label="Events" {
                    @for other in events.iter().filter(|e| e.id != event.id) { a href=(link(other, None)) { (other.name) } }
                }
            }
            nav.days aria-label="Days" {
                @for (nth, one) in days.iter().enumerate() {
                    a href=(link(event, Some(*one))) aria-current=[(*one == day).then_some("date")] {
                        "Day " (nth + 1) small { " " (one.format("%a %d %b")) }
                    }
                }
            }
        }
    }
}

fn summary(talks: &[TalkView]) -> Markup {
    let of = |state| talks.iter().filter(|t| t.report.state == state).count();
    html! {
        p.summary {
            (count(talks.len(), "talk"))
            @for state in TalkState::ALL {
                @let n = of(state);
                @if n > 0 { " · " span class={ "s-" (state.as_str()) } { (n) " " (state.as_str()) } }
            }
        }
    }
}

fn table(talks: &[TalkView], zone: Tz, now: Ms) -> Markup {
    let mut halls: Vec<(&str, _)> = talks.iter().map(|t| (t.hall.name.as_str(), t.hall.id)).collect();
    halls.sort_unstable();
    halls.dedup();
    let first = talks.iter().map(|t| t.talk.slot.start).min().unwrap_or(now);
    let last = talks.iter().map(|t| t.talk.slot.end).max().unwrap_or(now);
    // The grid begins at a full hour of the place, not of UTC.
    let begin = first.minus(i64::from(first.in_zone(zone).minute()) * MINUTE + first.0.rem_euclid(MINUTE));
    let row = |at: Ms| (at.since(begin) / (ROW_MINUTES * MINUTE)).clamp(0, ROWS) + 1;
    let hours = (last.since(begin) + HOUR - 1) / HOUR;
    let mut ordered: Vec<&TalkView> = talks.iter().collect();
    ordered.sort_by_key(|t| (t.talk.slot.start, t.hall.name.clone()));
    html! {
        div class={ "grid w" (halls.len().min(COLUMNS)) } {
            @for (nth, (hall, _)) in halls.iter().enumerate() {
                div class={ "hall c" (nth.min(COLUMNS) + 2) } { (hall) }
            }
            div.body {
                @for hour in 0..hours.min(ROWS * ROW_MINUTES / 60) {
                    @let at = begin.plus(hour * HOUR);
                    div class={ "hour r" (row(at)) } { (at.in_zone(zone).format("%H:%M")) }
                }
                @for (nth, view) in ordered.iter().enumerate() {
                    @let column = halls.iter().position(|(_, id)| *id == view.hall.id).unwrap_or(0).min(COLUMNS) + 2;
                    @let slot = view.talk.slot;
                    @let shared = ordered[..nth].iter().any(|o| o.hall.id == view.hall.id && o.talk.slot.overlaps(slot));
                    a href={ "/talks/" (view.talk.id) }
                        class={
                            "talk c" (column) " r" (row(slot.start)) " e" (row(slot.end).max(row(slot.start) + 3))
                            " s-" (view.report.state.as_str()) @if shared { " shared" }
                        } {
                        (card(view, zone))
                    }
                }
                @if begin <= now && now < begin.plus(hours * HOUR) {
                    div class={ "now r" (row(now)) } title=(now.in_zone(zone).format("%H:%M")) {}
                }
            }
        }
    }
}

fn card(view: &TalkView, zone: Tz) -> Markup {
    let slot = view.talk.slot;
    let begun = view.talk.is_on() && !(view.report.covered.is_empty() && view.report.gaps.is_empty());
    let missing: i64 = view.report.gaps.iter().map(|g| g.at.len_ms()).sum();
    html! {
        span.when {
            (slot.start.in_zone(zone).format("%H:%M")) "–" (slot.end.in_zone(zone).format("%H:%M"))
            span.where { " · " (view.hall.name) }
        }
        strong { (view.talk.title) }
        @if !view.talk.speakers.is_empty() { span.who { (view.talk.speakers.join(", ")) } }
        span.what {
            (state_chip(view.report.state))
            @if begun {
                " " (percent(view.report.coverage))
                @if missing >= 100 { ", " (length(missing)) " missing" }
            }
        }
        @if begun { (bar(view)) }
    }
}
