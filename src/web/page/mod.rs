//! The pages, as HTML: the grid of halls and hours, and one talk.
//!
//! A page is made of parts, each an element with an id; [`super::events`] sends a part again when it has
//! changed. Everything that strangers wrote goes through maud, which escapes it.

mod bar;
mod grid;
mod now;
mod talk_part;

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use rusqlite::Connection as Db;
use serde::Deserialize;

use super::api::status_of;
use super::state::WebState;
use crate::app::daemon::status::Status;
use crate::app::library::report;
use crate::app::support::failure::{Failure, Kind, Result};

/// What a page shows, as its address says.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct View {
    event: Option<String>,
    day: Option<chrono::NaiveDate>,
    talk: Option<i64>,
}

/// The parts of a page that are read from the catalog: id and HTML.
pub(super) fn slow_parts(db: &Db, site: &WebState, view: &View) -> Result<Vec<(&'static str, String)>> {
    Ok(match view.talk {
        Some(id) => {
            let view = one(db, site, id)?;
            vec![
                ("talk", talk_part::talk(db, site, &view)?.into_string()),
                ("details", talk_part::details(db, site, &view)?.into_string()),
            ]
        }
        None => vec![("grid", grid::grid(db, site, view)?.into_string())],
    })
}

/// The part that tells what happens now.
pub(super) fn now_part(status: &Status) -> String {
    now::now(status).into_string()
}

/// The talks of a day, by hall and hour.
pub(super) async fn index(State(site): State<Arc<WebState>>, Query(view): Query<View>) -> Response {
    let live = address(&view);
    let result = site.read(move |db, site| grid::grid(db, site, &view)).await;
    let now = now::now(&site.status());
    respond(result.map(|grid| page("streamrip", &live, &html! { section #now { (now) } section #grid { (grid) } })))
}

/// Everything about one talk.
pub(super) async fn talk(State(site): State<Arc<WebState>>, Path(id): Path<i64>) -> Response {
    let read = move |db: &Db, site: &WebState| {
        let view = one(db, site, id)?;
        let (part, details) = (talk_part::talk(db, site, &view)?, talk_part::details(db, site, &view)?);
        Ok((view.talk.title.clone(), view.talk.opted_out, part, details))
    };
    respond(site.read(read).await.map(|(title, hidden, part, details)| {
        let content = html! {
            section #talk { (part) }
            @if !hidden { (player(id)) }
            section #details { (details) }
        };
        page(&title, &format!("/live?talk={id}"), &content)
    }))
}

/// The player stands apart from the parts that are sent anew.
fn player(id: i64) -> Markup {
    html! {
        section #player data-talk={ "/talks/" (id) } {
            h2 { "Watch" }
            p.note role="status" {}
            video controls playsinline preload="auto" {}
            svg.seek viewBox="0 0 1000 10" preserveAspectRatio="none" role="slider" tabindex="0"
                aria-label="Position in the talk; marks are gaps" aria-valuemin="0" {}
            p.under { span.at {} " " button.live type="button" hidden { "Live" } }
            p.quiet { "In a player: " code { "streamrip watch " (id) } }
        }
        script src="/static/hls.light.min.js" defer {}
        script src="/static/pieces.js" defer {}
        script src="/static/player.js" defer {}
    }
}

/// What is not there.
pub(super) async fn nothing_here() -> Response {
    respond(Err(Failure::new(Kind::NotFound, "there is no such page")))
}

fn one(db: &Db, site: &WebState, id: i64) -> Result<report::TalkView> {
    report::by_id(db, &site.env, id)
}

fn address(view: &View) -> String {
    let mut query = url::form_urlencoded::Serializer::new("/live?".to_owned());
    if let Some(event) = &view.event {
        query.append_pair("event", event);
    }
    if let Some(day) = view.day {
        query.append_pair("day", &day.to_string());
    }
    query.finish()
}

fn respond(result: Result<Markup>) -> Response {
    match result {
        Ok(page) => Html(page.into_string()).into_response(),
        Err(failure) => {
            let text = html! {
                section {
                    h1 { (failure.to_string()) }
                    @if let Some(hint) = &failure.hint { p { (hint) } }
                    p { a href="/" { "To the grid" } }
                }
            };
            (status_of(&failure), Html(page("streamrip", "", &text).into_string())).into_response()
        }
    }
}

/// A whole page; `live` is where its news come from, empty for none.
fn page(title: &str, live: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="/static/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/static/style.css";
                link rel="stylesheet" href="/static/grid.css";
                script src="/static/page.js" defer {}
            }
            body data-live=[Some(live).filter(|l| !l.is_empty())] {
                header {
                    a.home href="/" { "streamrip" }
                    p #gone hidden role="alert" { "No answer from the recorder since " time {} ". This page shows what was known then." }
                }
                main { (content) }
            }
        }
    }
}

/// A word that says a state, with its sign: colour alone says nothing to some.
fn state_chip(state: crate::domain::talk::TalkState) -> Markup {
    use crate::domain::talk::TalkState;
    let sign = match state {
        TalkState::Scheduled => "○",
        TalkState::Recording => "●",
        TalkState::Complete => "✓",
        TalkState::Partial => "◐",
        TalkState::Missed => "✕",
        TalkState::Cancelled | TalkState::Removed => "–",
        TalkState::OptedOut => "⊘",
    };
    html! { span class={ "chip s-" (state.as_str()) } { (PreEscaped(sign)) " " (state.as_str()) } }
}
