//! News for a page that is open: its parts, sent again when they have changed.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;
use serde_json::json;
use tokio::time::Instant;

use super::page::{self, View};
use super::state::WebState;

/// What changes slowly is looked at this often, and no oftener than it takes ten times as long to look.
const POLL_INTERVAL: Duration = Duration::from_secs(3);

/// Without news the page hears this often that the daemon is there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// Between two looks at what changes all the time.
const TICK: Duration = Duration::from_secs(1);

struct EventStream {
    site: Arc<WebState>,
    view: View,
    sent: HashMap<&'static str, String>,
    waiting: Vec<Event>,
    next_look: Instant,
}

/// Server-sent events: `part` with an element's id and its new content.
pub(super) async fn events(State(site): State<Arc<WebState>>, Query(view): Query<View>) -> impl IntoResponse {
    let reader = EventStream { site, view, sent: HashMap::new(), waiting: Vec::new(), next_look: Instant::now() };
    let news = stream::unfold(reader, |mut reader| async move {
        loop {
            if let Some(event) = reader.waiting.pop() {
                return Some((Ok::<_, Infallible>(event), reader));
            }
            reader.look().await;
            if reader.waiting.is_empty() {
                tokio::time::sleep(TICK).await;
            }
        }
    });
    let alive = KeepAlive::new().interval(KEEPALIVE_INTERVAL).event(Event::default().event("alive").data(""));
    // A proxy (nginx) would keep news back until it has a page full.
    ([("x-accel-buffering", "no")], Sse::new(news).keep_alive(alive))
}

impl EventStream {
    async fn look(&mut self) {
        let mut parts = vec![("now", page::now_part(&self.site.status()))];
        if self.next_look <= Instant::now() {
            let began = Instant::now();
            let view = self.view.clone();
            match self.site.read(move |db, site| page::slow_parts(db, site, &view)).await {
                Ok(slow) => parts.extend(slow),
                Err(failure) => tracing::debug!("the page cannot be brought up to date: {failure}"),
            }
            self.next_look = Instant::now() + POLL_INTERVAL.max(began.elapsed() * 10);
        }
        for (id, html) in parts {
            if self.sent.get(id) == Some(&html) {
                continue;
            }
            let data = json!({ "id": id, "html": html }).to_string();
            self.waiting.push(Event::default().event("part").data(data));
            self.sent.insert(id, html);
        }
    }
}
