//! schedule.xml of frab, pretalx and Pentabarf: who speaks, and which talks must not be recorded. A
//! calendar cannot say the latter.

mod join;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use chrono::DateTime;
use roxmltree::{Document, Node, ParsingOptions};
use thiserror::Error;

pub use join::join;

use crate::domain::text::{one_line, shortened};
use crate::domain::time::Ms;

/// Largest schedule.xml, in bytes.
pub const MAX_BYTES: usize = 50_000_000;
/// Most talks: as many as a calendar may have.
pub const MAX_TALKS: usize = 100_000;
/// Most elements and texts. The tree takes about 100 bytes of memory for each, and the shortest has four
/// bytes in the file; 100,000 talks have 3 million.
pub const MAX_NODES: u32 = 4_000_000;

/// A schedule.xml, as far as it is of use here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleXml {
    /// In the order of the file.
    pub talks: Vec<XmlTalk>,
}

/// One `<event>` of a schedule.xml, which is a talk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XmlTalk {
    /// Attribute `guid` of the event element.
    pub guid: Option<String>,
    /// Attribute `id` of the event element.
    pub id: Option<String>,
    /// `code` (newer pretalx).
    pub code: Option<String>,
    /// `<url>`: the talk's page.
    pub url: Option<String>,
    /// Content of `<title>`.
    pub title: String,
    /// `<room>`, or the room it stands in.
    pub room: Option<String>,
    /// `<date>`, where it is a full instant.
    pub start: Option<Ms>,
    /// `<persons>`.
    pub speakers: Vec<String>,
    /// `<recording><optout>true`.
    pub opted_out: bool,
}

/// Why a schedule.xml is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ScheduleXmlError {
    /// More than [`MAX_BYTES`].
    #[error("it is larger than 50 MB")]
    TooLarge,
    /// More than [`MAX_TALKS`].
    #[error("it has more than 100,000 talks")]
    TooManyTalks,
    /// The file has no bytes.
    #[error("it is empty")]
    Empty,
    /// Neither UTF-8 nor readable as such.
    #[error("it is not UTF-8 (byte {0})")]
    NotUtf8(usize),
    /// Not well-formed.
    #[error("line {line}, column {column}: {what}")]
    NotXml {
        /// Line number, counted from 1.
        line: u32,
        /// Column number, counted from 1.
        column: u32,
        /// The parser's words.
        what: String,
    },
    /// XML of another sort: a web page, a feed.
    #[error("its root is <{0}>, not <schedule>")]
    NotASchedule(String),
}

/// Reads a schedule.xml.
///
/// # Errors
/// When it is not well-formed, no schedule, or too large.
pub fn read(bytes: &[u8]) -> Result<ScheduleXml, ScheduleXmlError> {
    if bytes.len() > MAX_BYTES {
        return Err(ScheduleXmlError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|e| ScheduleXmlError::NotUtf8(e.valid_up_to()))?;
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.is_empty() {
        return Err(ScheduleXmlError::Empty);
    }
    if let Some(line) = overloaded(text) {
        let what = "more attributes or name spaces than any schedule has".to_owned();
        return Err(ScheduleXmlError::NotXml { line, column: 1, what });
    }
    // Entities of a DTD could blow up; no known schedule.xml has one.
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|e| {
        if text.get(..200.min(text.len())).unwrap_or(text).to_ascii_lowercase().contains("<!doctype html") {
            return ScheduleXmlError::NotASchedule("html".to_owned());
        }
        let at = e.pos();
        ScheduleXmlError::NotXml { line: at.row, column: at.col, what: shortened(&e.to_string(), 120) }
    })?;
    let root = document.root_element();
    if root.tag_name().name() != "schedule" {
        return Err(ScheduleXmlError::NotASchedule(shortened(root.tag_name().name(), 40)));
    }
    let talks: Vec<_> = root.descendants().filter(|n| n.has_tag_name("event")).take(MAX_TALKS + 1).map(talk).collect();
    if talks.len() > MAX_TALKS {
        return Err(ScheduleXmlError::TooManyTalks);
    }
    Ok(ScheduleXml { talks })
}

/// The line of a tag with too many attributes, or of one name space too many: the parser compares each
/// with each (63 s for a megabyte of attributes, found by the fuzz test).
fn overloaded(text: &str) -> Option<u32> {
    const MAX_ATTRIBUTES: usize = 256;
    const MAX_NAME_SPACES: usize = 1000;
    let (mut line, mut name_spaces) = (1_u32, 0);
    // In XML no value holds a `<`, so each piece is one tag and the text behind it.
    for piece in text.split('<') {
        let attributes = piece.split('=').skip(1).filter(|v| v.trim_start().starts_with(['"', '\''])).count();
        name_spaces += piece.matches("xmlns").count();
        if attributes > MAX_ATTRIBUTES || name_spaces > MAX_NAME_SPACES {
            return Some(line);
        }
        line = line.saturating_add(u32::try_from(piece.matches('\n').count()).unwrap_or(u32::MAX));
    }
    None
}

fn talk(event: Node<'_, '_>) -> XmlTalk {
    let mut text: HashMap<&str, String> = HashMap::new();
    for child in event.children().filter(Node::is_element) {
        if matches!(child.tag_name().name(), "title" | "room" | "date" | "url") {
            text.entry(child.tag_name().name()).or_insert_with(|| one_line(&whole_text(child)));
        }
    }
    let mut take = |name| text.remove(name).filter(|t| !t.is_empty());
    let attribute = |name| event.attribute(name).map(one_line).filter(|t| !t.is_empty());
    let room = event.parent().filter(|p| p.has_tag_name("room")).and_then(|p| p.attribute("name")).map(one_line);
    let speakers = event
        .children()
        .filter(|n| n.has_tag_name("persons"))
        .flat_map(|persons| persons.children().filter(|n| n.has_tag_name("person")))
        .map(|person| one_line(&whole_text(person)))
        .filter(|name| !name.is_empty())
        .collect();
    let opted_out = event
        .children()
        .filter(|n| n.has_tag_name("recording"))
        .flat_map(|recording| recording.children().filter(|n| n.has_tag_name("optout")))
        .any(|optout| matches!(whole_text(optout).trim().to_ascii_lowercase().as_str(), "true" | "1" | "yes"));
    XmlTalk {
        guid: attribute("guid"),
        id: attribute("id"),
        code: attribute("code"),
        url: take("url"),
        title: take("title").unwrap_or_default(),
        room: take("room").or(room).filter(|r| !r.is_empty()),
        start: take("date").and_then(|d| DateTime::parse_from_rfc3339(&d).ok()).map(|d| d.to_utc().into()),
        speakers,
        opted_out,
    }
}

/// Its own texts (there may be several, around comments). Not those of elements inside it: a file of titles
/// within titles would be read again for each of them (71 s for a megabyte, found by the fuzz test).
fn whole_text(node: Node<'_, '_>) -> String {
    node.children().filter_map(|n| n.is_text().then(|| n.text()).flatten()).collect()
}
