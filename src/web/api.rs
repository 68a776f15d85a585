//! The same as `--json`, over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::state::WebState;
use crate::app::library::json;
use crate::app::library::report::{self, Selection};
use crate::app::support::failure::{Failure, Kind, Result};

/// Which talks.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Which {
    event: Option<String>,
    hall: Option<String>,
    day: Option<String>,
    search: Option<String>,
    state: Option<String>,
}

/// A failure as JSON, with the status that a program expects.
pub(super) fn refuse(failure: &Failure) -> Response {
    (status_of(failure), Json(json!({ "error": failure.to_string(), "hint": failure.hint }))).into_response()
}

/// The HTTP status of a failure.
pub(super) fn status_of(failure: &Failure) -> StatusCode {
    match failure.kind {
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Usage | Kind::BadInput => StatusCode::BAD_REQUEST,
        Kind::Busy => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn answer(result: Result<Value>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(failure) => refuse(&failure),
    }
}

/// As `streamrip status --json`.
pub(super) async fn status(State(site): State<Arc<WebState>>) -> Response {
    Json(site.status()).into_response()
}

/// As `streamrip list --json`.
pub(super) async fn talks(State(site): State<Arc<WebState>>, Query(which): Query<Which>) -> Response {
    let read = move |db: &rusqlite::Connection, site: &WebState| {
        let state = which.state.as_deref().map(str::parse).transpose();
        let state = state.map_err(|e: String| Failure::new(Kind::Usage, e))?;
        let day = which.day.as_deref().map(str::parse).transpose();
        let day = day.map_err(|e: String| Failure::new(Kind::Usage, e))?;
        let selection = Selection {
            event: which.event,
            hall: which.hall,
            day,
            search: which.search,
            state,
            shown_only: false,
            with_details: true,
        };
        Ok(report::select(db, &site.env, &selection)?.iter().map(json::talk).collect())
    };
    answer(site.read(read).await)
}

/// As `streamrip show --json`.
pub(super) async fn talk(State(site): State<Arc<WebState>>, Path(id): Path<i64>) -> Response {
    let read = move |db: &rusqlite::Connection, site: &WebState| {
        let view = report::by_id(db, &site.env, id)?;
        json::shown(db, &view)
    };
    answer(site.read(read).await)
}

/// What this API offers, for programs.
pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], include_str!("assets/openapi.json")).into_response()
}
