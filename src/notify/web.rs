//! Messages and heartbeats over HTTP.

use std::time::Duration;

use serde_json::Value;

use crate::domain::text::{one_line, shortened};

/// Time for one request, from the name's look-up to the answer's head.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The wait after the first failure; doubled after each.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The longest wait.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(60);

/// A message is given up after so long: an outage of the network takes messages with it that say so.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(1800);

/// Why a request failed, without the address: that may be a secret.
#[derive(Debug)]
pub(super) struct DeliveryError {
    /// Error text for the log.
    pub why: String,
    /// The server has understood, and will not have it.
    pub for_good: bool,
}

fn client(url: &str) -> Result<reqwest::Client, String> {
    // Another part of the program may have chosen the same provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        reqwest::Client::builder()
            .user_agent(concat!("streamrip/", env!("CARGO_PKG_VERSION")))
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
    };
    match builder().build() {
        // No root certificates on this machine: http needs none.
        Err(_) if url.starts_with("http:") => builder().tls_certs_only([]).build().map_err(|e| reason(&e)),
        other => other.map_err(|e| reason(&e)),
    }
}

/// The innermost reason, in one line; the outer ones name the address.
fn reason(e: &reqwest::Error) -> String {
    if e.is_timeout() {
        return format!("no answer within {} s", REQUEST_TIMEOUT.as_secs());
    }
    let mut last: &dyn std::error::Error = e;
    let mut text = "it failed".to_owned();
    while let Some(source) = last.source() {
        last = source;
        text = source.to_string();
    }
    shortened(&one_line(&text), 200)
}

/// Sends one request without retrying.
pub(super) async fn once(url: &str, body: &Value) -> Result<(), DeliveryError> {
    let passing = |why| DeliveryError { why, for_good: false };
    let request = client(url).map_err(passing)?.post(url).header("content-type", "application/json");
    let answer = request.body(body.to_string()).send().await.map_err(|e| passing(reason(&e)))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let for_good = !status.is_server_error() && !matches!(status.as_u16(), 408 | 425 | 429);
    Err(DeliveryError { why: format!("the server answered {status}"), for_good })
}

/// Posts until it is taken, at most for half an hour.
pub(super) async fn post(url: &str, body: &Value) -> Result<(), String> {
    let began = tokio::time::Instant::now();
    let mut wait = RETRY_DELAY;
    loop {
        match once(url, body).await {
            Ok(()) => return Ok(()),
            Err(e) if e.for_good => return Err(e.why),
            Err(e) if began.elapsed() + wait > DELIVERY_TIMEOUT => {
                return Err(format!("{}; given up after {} min", e.why, DELIVERY_TIMEOUT.as_secs() / 60));
            }
            Err(e) => tracing::warn!("notify.webhook: {}; again in {} s", e.why, wait.as_secs()),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(MAX_RETRY_DELAY);
    }
}

/// Fetches an address; what it answers with is not read.
pub(super) async fn get(url: &str) -> Result<(), String> {
    let answer = client(url)?.get(url).send().await.map_err(|e| reason(&e))?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(format!("the server answered {status}")) }
}
