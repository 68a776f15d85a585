//! What a schedule tells of a talk beside time and place, as one JSON value in the talk's row: it is shown and searched,
//! and never decides what is recorded.

use std::collections::HashMap;

use rusqlite::Connection;
use serde_json::{Map, Value, json};

use super::{CatalogError, Result};
use crate::domain::ids::TalkId;
use crate::domain::schedule::{TalkDetails, TalkLink};

/// The names of the texts, in the order in which they are stored and shown.
pub const TEXTS: [&str; 11] = [
    "guid",
    "code",
    "id",
    "room_guid",
    "subtitle",
    "summary",
    "description",
    "language",
    "track",
    "session_type",
    "licence",
];

fn texts(details: &TalkDetails) -> [&Option<String>; 11] {
    [
        &details.guid,
        &details.code,
        &details.id,
        &details.room_guid,
        &details.subtitle,
        &details.summary,
        &details.description,
        &details.language,
        &details.track,
        &details.session_type,
        &details.licence,
    ]
}

/// As it is stored.
#[must_use]
pub fn to_json(details: &TalkDetails) -> Value {
    let mut out = Map::new();
    for (name, text) in TEXTS.into_iter().zip(texts(details)) {
        if let Some(text) = text {
            out.insert(name.to_owned(), text.as_str().into());
        }
    }
    if !details.links.is_empty() {
        let links = details.links.iter().map(|link| json!({"url": link.url, "title": link.title}));
        out.insert("links".to_owned(), links.collect());
    }
    out.into()
}

/// What was stored. Members that are not known, or of another type, are left out.
///
/// # Errors
/// When it is no JSON.
pub fn from_json(text: &str) -> Result<TalkDetails> {
    if text == "{}" {
        return Ok(TalkDetails::default());
    }
    let stored: Value = serde_json::from_str(text).map_err(|e| CatalogError::Value(format!("details: {e}")))?;
    let text = |name: &str| stored[name].as_str().map(str::to_owned);
    let links = stored["links"].as_array().into_iter().flatten();
    Ok(TalkDetails {
        guid: text("guid"),
        code: text("code"),
        id: text("id"),
        room_guid: text("room_guid"),
        subtitle: text("subtitle"),
        summary: text("summary"),
        description: text("description"),
        language: text("language"),
        track: text("track"),
        session_type: text("session_type"),
        licence: text("licence"),
        links: links
            .filter_map(|link| {
                let title = link["title"].as_str().map(str::to_owned);
                Some(TalkLink { url: link["url"].as_str()?.to_owned(), title })
            })
            .collect(),
    })
}

/// The details of all talks, or of one, with the address of its page.
///
/// # Errors
/// When SQLite cannot answer.
pub fn of_talks(db: &Connection, talk: Option<TalkId>) -> Result<HashMap<TalkId, (TalkDetails, Option<String>)>> {
    let condition = if talk.is_some() { "id = ?1" } else { "?1 IS NULL" };
    let mut query = db.prepare_cached(&format!("SELECT id, details, page_url FROM talk WHERE {condition}"))?;
    let mut rows = query.query([talk.map(|t| t.0)])?;
    let mut out = HashMap::new();
    while let Some(row) = rows.next()? {
        let details = from_json(row.get_ref(1)?.as_str().unwrap_or("{}"))?;
        out.insert(TalkId(row.get(0)?), (details, row.get(2)?));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_read_back_as_they_were_written() {
        assert_eq!(to_json(&TalkDetails::default()).to_string(), "{}");
        let mut details = TalkDetails {
            guid: Some("g".into()),
            code: Some("c".into()),
            id: Some("i".into()),
            room_guid: Some("r".into()),
            subtitle: Some("s".into()),
            summary: Some("two\nlines \u{0} \"quoted\"".into()),
            description: Some("d".into()),
            language: Some("de".into()),
            track: Some("t".into()),
            session_type: Some("Talk".into()),
            licence: Some("CC BY 4.0".into()),
            links: vec![
                TalkLink { url: "https://a.example/".into(), title: None },
                TalkLink { url: "https://b.example/".into(), title: Some("b".into()) },
            ],
        };
        assert_eq!(from_json(&to_json(&details).to_string()).expect("read"), details);
        details.links.clear();
        details.guid = None;
        assert_eq!(from_json(&to_json(&details).to_string()).expect("read"), details);
        assert_eq!(from_json("{\"unknown\": 1, \"track\": 5}").expect("read"), TalkDetails::default());
    }
}
