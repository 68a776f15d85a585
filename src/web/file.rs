//! The joined file of a talk, whole or in ranges.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use tower_http::services::ServeFile;

use super::api;
use super::state::WebState;
use crate::app::library::report;
use crate::app::support::failure::{Failure, Kind, Result};

/// Sends the file of a talk. The path comes from the catalog, never from the request.
pub(super) async fn assembly(State(site): State<Arc<WebState>>, Path(id): Path<i64>, request: Request) -> Response {
    let path = match site.read(move |db, site| one(db, site, id)).await {
        Ok(path) => path,
        Err(failure) => return api::refuse(&failure),
    };
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut service = ServeFile::new(&path);
    let mut answer = match service.try_call(request).await {
        Ok(answer) => answer.into_response(),
        Err(e) => return api::refuse(&Failure::new(Kind::Failed, "cannot read the file").because(e)),
    };
    let kind = if name.ends_with(".mka") { "audio/x-matroska" } else { "video/x-matroska" };
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // File names are made of letters, digits, dashes and underscores.
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        answer.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    answer
}

fn one(db: &rusqlite::Connection, site: &WebState, id: i64) -> Result<std::path::PathBuf> {
    let view = report::by_id(db, &site.env, id)?;
    if view.talk.opted_out {
        return Err(Failure::new(Kind::NotFound, "this talk must not be shown"));
    }
    let assembly = view.assembly.ok_or_else(|| {
        Failure::new(Kind::NotFound, "this talk has no file yet").hint("it is joined when its window is over")
    })?;
    Ok(site.env.data_dir.join(assembly.path))
}
