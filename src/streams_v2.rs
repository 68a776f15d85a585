//! The list of streams that the CCC's video team publishes (`streams/v2.json`) -> rooms and what is offered of each.
//!
//! What is not known in it is passed over, since it grows from year to year: other kinds of streams (DASH, slides),
//! translations, rooms without an address.

use serde_json::Value;
use thiserror::Error;

use crate::domain::offer::{Offer, Room, Tech};
use crate::domain::stream_url::{StreamUrl, redact_text};
use crate::domain::text::{one_line, shortened};

/// More rooms than any congress has.
const MAX_ROOMS: usize = 1000;

/// Why it is no such list.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StreamsError {
    /// The text is not valid JSON.
    #[error("it is no JSON: {0}")]
    Json(String),
    /// JSON of something else.
    #[error("it is no list of conferences with groups and rooms")]
    Shape,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// The rooms of all conferences in it.
    pub rooms: Vec<Room>,
    /// What was wrong with some of it, without passwords.
    pub warnings: Vec<String>,
}

/// Reads the list. `allow_private`: addresses may lead to this machine or a private network.
///
/// # Errors
/// When it is no such list. An address that may not be opened is a warning.
pub fn read(bytes: &[u8], allow_private: bool) -> Result<Offered, StreamsError> {
    let all: Value = serde_json::from_slice(bytes).map_err(|e| StreamsError::Json(e.to_string()))?;
    let conferences = all.as_array().ok_or(StreamsError::Shape)?;
    let mut out = Offered::default();
    for conference in conferences {
        let groups = conference.get("groups").and_then(Value::as_array).ok_or(StreamsError::Shape)?;
        for group in groups {
            let rooms = group.get("rooms").and_then(Value::as_array).ok_or(StreamsError::Shape)?;
            for value in rooms.iter().take(MAX_ROOMS.saturating_sub(out.rooms.len())) {
                let room = room(value, allow_private, &mut out.warnings);
                out.rooms.push(room);
            }
        }
    }
    Ok(out)
}

fn room(value: &Value, allow_private: bool, warnings: &mut Vec<String>) -> Room {
    let names = ["schedulename", "display", "slug"].iter().filter_map(|key| value.get(key)?.as_str());
    let mut room = Room { names: Vec::new(), offers: Vec::new() };
    for name in names.map(|n| shortened(&one_line(n), 200)).filter(|n| !n.is_empty()) {
        if !room.names.contains(&name) {
            room.names.push(name);
        }
    }
    for stream in value.get("streams").and_then(Value::as_array).into_iter().flatten() {
        let kind = stream.get("type").and_then(Value::as_str).unwrap_or_default();
        let translated = stream.get("isTranslated").and_then(Value::as_bool).unwrap_or(false);
        if translated || !matches!(kind, "video" | "audio" | "music") {
            continue;
        }
        let lines = stream.get("videoSize").and_then(|size| u32::try_from(size.get(1)?.as_u64()?).ok());
        // A picture of unknown size is one all the same.
        let lines = if kind == "video" { Some(lines.unwrap_or(0)) } else { None };
        for (word, url) in stream.get("urls").and_then(Value::as_object).into_iter().flatten() {
            let (Ok(tech), Some(text)) = (word.parse::<Tech>(), url.get("url").and_then(Value::as_str)) else {
                continue;
            };
            // Without a scheme it is the one of the list, which is served by both.
            let text = if text.starts_with("//") { format!("https:{text}") } else { text.to_owned() };
            let url = if allow_private { StreamUrl::parse(&text) } else { StreamUrl::parse_from_schedule(&text) };
            match url {
                Ok(url) => room.offers.push(Offer { tech, lines, url }),
                Err(e) => {
                    let name = room.names.first().cloned().unwrap_or_default();
                    warnings.push(redact_text(&format!("{name}: {e}")));
                }
            }
        }
    }
    room
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = include_bytes!("../tests/fixtures/streams-v2.json");

    #[test]
    fn rooms_and_what_is_offered_are_read() {
        let offered = read(LIST, false).expect("a list");
        let names: Vec<_> = offered.rooms.iter().map(|r| r.names.join("/")).collect();
        assert_eq!(names, ["Saal 1/hall-1", "Saal 2/hall-2", "Saal 3/hall-3"]);
        let offers: Vec<_> = offered.rooms[0].offers.iter().map(|o| (o.tech, o.lines, o.url.secret())).collect();
        let want = [
            (Tech::Mp3, None, "http://cdn.example/s1_native.mp3"),
            (Tech::Opus, None, "http://cdn.example/s1_native.opus"),
            (Tech::Webm, Some(1080), "http://cdn.example/s1_native_hd.webm"),
            (Tech::Hls, Some(1080), "https://cdn.example/hls/s1_native_hd.m3u8"),
            (Tech::Hls, Some(576), "http://cdn.example/hls/s1_native_sd.m3u8"),
        ];
        assert_eq!(offers, want);
        // The third room's only address leads into a private network.
        assert!(offered.rooms[2].offers.is_empty());
        assert_eq!(offered.warnings.len(), 1);
        assert!(!offered.warnings[0].contains("s3cret"), "{:?}", offered.warnings);
        assert_eq!(read(LIST, true).expect("a list").rooms[2].offers.len(), 1);
    }

    #[test]
    fn what_is_something_else_is_refused() {
        for text in ["", "{}", "[{}]", "5", "[{\"groups\": [{}]}]", "<html>", "[[[[[[", "[null]"] {
            read(text.as_bytes(), false).expect_err(text);
        }
        assert_eq!(read(b"[]", false), Ok(Offered::default()));
        let odd =
            br#"[{"groups": [{"rooms": [null, 5, {"streams": [null, {"type": "video", "urls": {"hls": 5}}]}]}]}]"#;
        assert_eq!(read(odd, false).expect("odd").rooms.len(), 3);
    }
}
