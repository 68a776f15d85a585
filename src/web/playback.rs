//! The talk so far as HLS: an EVENT playlist over the recorded segments, which grows while it is recorded.
//!
//! RFC 8216. Pieces are cut from the segments as they are asked for; nothing is encoded anew.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono_tz::Tz;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::api;
use super::state::WebState;
use crate::app::playback::timeshift::{self, SliceBytes, TalkPlaylist, TargetFormat, place_of};
use crate::app::support::failure::{Failure, Kind, Result};
use crate::domain::ids::SegmentId;
use crate::domain::time::SECOND;
use crate::plan::timeshift::ENTRY_MS;

/// Codecs that browsers play from these pieces.
const PLAYABLE: [u8; 4] = [0x1b, 0x0f, 0x03, 0x04];

/// What is not ready is waited for no longer than this: a player asks again, and hls.js gives a list up after 10 s.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

/// It is looked for so often.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// What of a talk can be watched, as soon as it is as much as was recorded, so that a list does not begin anew.
async fn shift(site: &Arc<WebState>, id: i64) -> Result<TalkPlaylist> {
    let began = Instant::now();
    loop {
        let shift = site.read(move |db, site| timeshift::talk_playlist(db, &site.env, &site.scans, id)).await?;
        if !shift.catching_up || began.elapsed() > READY_TIMEOUT {
            return Ok(shift);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The playlist.
pub(super) async fn playlist(State(site): State<Arc<WebState>>, Path(id): Path<i64>) -> Response {
    match shift(&site, id).await {
        Ok(shift) if matches!(shift.form, Some(TargetFormat::WebM(_))) => {
            api::refuse(&Failure::new(Kind::NotFound, "this talk is given in pieces of WebM, which HLS does not know"))
        }
        Ok(shift) => ([(CONTENT_TYPE, "application/vnd.apple.mpegurl")], text(&shift)).into_response(),
        Err(failure) => api::refuse(&failure),
    }
}

fn text(shift: &TalkPlaylist) -> String {
    // A player may not be told of a longer one later, so there is room for distant key pictures.
    let longest = shift.entries.iter().map(|c| c.length_us / 1000).chain([ENTRY_MS * 2]).max().unwrap_or(ENTRY_MS);
    let target = (longest + SECOND - 1) / SECOND;
    let mut out = format!(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-MEDIA-SEQUENCE:0\n"
    );
    for (nth, chunk) in shift.entries.iter().enumerate() {
        // Writing to a string does not fail.
        if chunk.breaks {
            let _ = writeln!(out, "#EXT-X-DISCONTINUITY");
        }
        if chunk.breaks || nth == 0 {
            let _ = writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", chunk.wall.rfc3339(Tz::UTC));
        }
        let seconds = chunk.length_us as f64 / 1e6;
        let _ = writeln!(out, "#EXTINF:{seconds:.6},\nchunks/{}-{}-{}.ts", chunk.segment, chunk.from, chunk.to);
    }
    if shift.ended {
        out.push_str("#EXT-X-ENDLIST\n");
    }
    out
}

/// The bytes of one piece: `SEGMENT-FROM-TO.ts`, or `.webm`.
pub(super) async fn chunk(State(site): State<Arc<WebState>>, Path((id, name)): Path<(i64, String)>) -> Response {
    let kind = if name.ends_with(".webm") { "video/webm" } else { "video/mp2t" };
    let parsed = (|| {
        let mut numbers = name.strip_suffix(".ts").or(name.strip_suffix(".webm"))?.split('-').map(str::parse::<u64>);
        let (segment, from, to) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        numbers.next().is_none().then_some((SegmentId(i64::try_from(segment).ok()?), from..to))
    })();
    let Some((segment, bytes)) = parsed else {
        return api::refuse(&Failure::new(Kind::NotFound, "this talk has no such media segment"));
    };
    let began = Instant::now();
    loop {
        let bytes = bytes.clone();
        match site.read(move |db, site| timeshift::entry_bytes(db, &site.env, &site.scans, id, segment, bytes)).await {
            Ok(piece) => return ([(CONTENT_TYPE, kind)], Body::from_stream(blocks(piece))).into_response(),
            Err(failure) if failure.kind == Kind::Busy && began.elapsed() < READY_TIMEOUT => {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            Err(failure) => return api::refuse(&failure),
        }
    }
}

/// Which pieces a player has not heard of yet.
#[derive(Debug, Default, Deserialize)]
pub(super) struct After {
    #[serde(default)]
    from: usize,
}

/// The talk so far in pieces of WebM, for the page's own player: what the playlist says of MPEG-TS. The list only grows.
pub(super) async fn pieces(
    State(site): State<Arc<WebState>>,
    Path(id): Path<i64>,
    Query(After { from }): Query<After>,
) -> Response {
    let shift = match shift(&site, id).await {
        Ok(shift) => shift,
        Err(failure) => return api::refuse(&failure),
    };
    let mut at_us = 0;
    let mut pieces = Vec::new();
    for (nth, chunk) in shift.entries.iter().enumerate() {
        if nth >= from {
            let kind = shift.types.iter().find(|(segment, _)| *segment == chunk.segment);
            pieces.push(json!({
                "name": format!("chunks/{}-{}-{}.webm", chunk.segment, chunk.from, chunk.to),
                "type": kind.map(|(_, kind)| kind),
                "at": at_us as f64 / 1e6,
                "seconds": chunk.length_us as f64 / 1e6,
                "media": chunk.media_us as f64 / 1e6,
            }));
        }
        at_us += chunk.length_us;
    }
    Json(json!({ "pieces": pieces, "ended": shift.ended })).into_response()
}

/// Reads on only when the client has taken what was read: however many are slow, each has one block waiting for it.
fn blocks(piece: SliceBytes) -> impl Stream<Item = io::Result<Bytes>> {
    try_unfold(piece, |mut piece| async {
        let read = move || piece.block().map(|block| block.map(|block| (Bytes::from(block), piece)));
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    })
}

/// What the player of the page draws: where the slot begins, where something is missing, whether it can play at all.
pub(super) async fn timeline(State(site): State<Arc<WebState>>, Path(id): Path<i64>) -> Response {
    let shift = match shift(&site, id).await {
        Ok(shift) => shift,
        Err(failure) => return api::refuse(&failure),
    };
    let view = &shift.view;
    let zone = view.event.zone;
    let gaps: Vec<_> = view
        .report
        .gaps
        .iter()
        .map(|gap| {
            json!({
                "at": place_of(&shift.entries, gap.at.start),
                "start": gap.at.start.rfc3339(zone),
                "end": gap.at.end.rfc3339(zone),
                "seconds": gap.at.len_ms() as f64 / 1000.0,
                "cause": gap.words(),
            })
        })
        .collect();
    let unplayable = shift.streams.iter().find(|s| !PLAYABLE.contains(&s.kind));
    let obstacle = shift.obstacle.clone().or(unplayable.map(|s| format!("browsers do not play {}", s.codec())));
    Json(json!({
        "seconds": shift.entries.iter().map(|c| c.length_us).sum::<i64>() as f64 / 1e6,
        "slot_at": place_of(&shift.entries, view.talk.slot.start),
        "ended": shift.ended,
        "webm": matches!(shift.form, Some(TargetFormat::WebM(_))),
        "begun": !shift.entries.is_empty(),
        "obstacle": obstacle,
        "gaps": gaps,
    }))
    .into_response()
}
