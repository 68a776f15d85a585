//! Style, script and icon: compiled in, nothing comes from elsewhere.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

/// A row of the grid is so many minutes. Talks begin at multiples of five.
pub(super) const ROW_MINUTES: i64 = 5;

/// Rows of the longest day that is drawn: 30 hours, for a congress day may end after it turned.
pub(super) const ROWS: i64 = 360;

/// Halls that get a column of their own; more share the last.
pub(super) const COLUMNS: usize = 40;

/// Places in the grid as classes: the page's policy allows no style attributes.
static GRID: LazyLock<String> = LazyLock::new(|| {
    let mut css = String::new();
    for row in 1..=ROWS + 1 {
        // Writing to a string does not fail.
        let _ = writeln!(css, ".r{row}{{grid-row-start:{row}}}.e{row}{{grid-row-end:{row}}}");
    }
    for column in 1..=COLUMNS + 1 {
        let _ = writeln!(css, ".c{column}{{grid-column-start:{column}}}.w{column}{{--halls:{column}}}");
    }
    css
});

/// One of the page's own files.
pub(super) async fn get(Path(name): Path<String>) -> Response {
    let (kind, body) = match name.as_str() {
        "style.css" => ("text/css; charset=utf-8", include_str!("assets/style.css")),
        "grid.css" => ("text/css; charset=utf-8", GRID.as_str()),
        "page.js" => ("text/javascript; charset=utf-8", include_str!("assets/page.js")),
        "player.js" => ("text/javascript; charset=utf-8", include_str!("assets/player.js")),
        "pieces.js" => ("text/javascript; charset=utf-8", include_str!("assets/pieces.js")),
        "hls.light.min.js" => ("text/javascript; charset=utf-8", include_str!("assets/hls.light.min.js")),
        "icon.svg" => ("image/svg+xml", include_str!("assets/icon.svg")),
        _ => return (StatusCode::NOT_FOUND, "no such file\n").into_response(),
    };
    ([(CONTENT_TYPE, kind)], body).into_response()
}
