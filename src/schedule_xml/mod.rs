//! schedule.xml of frab, pretalx, Pentabarf and the C3 hub: the bytes of the file -> [`Programme`]. It says who speaks
//! and which talks must not be recorded, which a calendar cannot.

#[cfg(test)]
mod tests;

use roxmltree::{Document, Node, ParsingOptions};
use thiserror::Error;

use crate::domain::programme::{Day, Entry, Programme, clock, code_of_page, duration_ms, instant, says_something};
use crate::domain::schedule::{TalkDetails, TalkLink};
use crate::domain::text::{one_line, paragraphs, shortened};

/// Largest schedule.xml, in bytes.
pub const MAX_BYTES: usize = 50_000_000;
/// Most talks: as many as a calendar may have.
pub const MAX_TALKS: usize = 100_000;
/// Most elements and texts. The tree takes about 100 bytes of memory for each, and the shortest has four
/// bytes in the file; 100,000 talks have 3 million.
pub const MAX_NODES: u32 = 4_000_000;

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
pub fn read(bytes: &[u8]) -> Result<Programme, ScheduleXmlError> {
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
    let conference = child(root, "conference");
    let of_conference = |name| conference.and_then(|c| child(c, name)).and_then(line_of);
    let mut programme = Programme {
        title: of_conference("title"),
        acronym: of_conference("acronym"),
        time_zone: of_conference("time_zone_name"),
        entries: Vec::new(),
    };
    let change = of_conference("day_change").and_then(|text| clock(&text));
    let mut lines = Lines { text, at: 0, line: 1 };
    let mut day = Day { change, ..Day::default() };
    for node in root.descendants() {
        if node.has_tag_name("day") {
            let attribute = |name| node.attribute(name).map(str::trim);
            day.date = attribute("date").and_then(|d| chrono::NaiveDate::parse_from_str(d.get(..10)?, "%Y-%m-%d").ok());
            day.start = attribute("start").and_then(instant);
        } else if node.has_tag_name("event") {
            let entry = Entry { line: lines.of(node.range().start), ..entry(node, &day) };
            if !is_empty(&entry) {
                programme.entries.push(entry);
            }
            if programme.entries.len() > MAX_TALKS {
                return Err(ScheduleXmlError::TooManyTalks);
            }
        }
    }
    Ok(programme)
}

/// Counts lines, for places that rise.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn of(&mut self, place: usize) -> usize {
        if let Some(between) = self.text.as_bytes().get(self.at..place) {
            self.line += between.iter().filter(|b| **b == b'\n').count();
            self.at = place;
        }
        self.line
    }
}

/// An entry that names nothing is none: a file of empty elements must not cost a talk for each.
fn is_empty(entry: &Entry) -> bool {
    let details = &entry.details;
    entry.title.is_empty() && details.guid.is_none() && details.id.is_none() && details.code.is_none()
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

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|n| n.has_tag_name(name))
}

/// A text of one line; `None` where it says nothing.
fn line_of(node: Node<'_, '_>) -> Option<String> {
    Some(one_line(&whole_text(node))).filter(|text| says_something(text))
}

/// Speakers and links kept of one entry.
const MAX_LIST: usize = 100;

fn entry(event: Node<'_, '_>, day: &Day) -> Entry {
    let text = |name| child(event, name).and_then(line_of);
    let long = |name| child(event, name).map(|n| paragraphs(&whole_text(n))).filter(|text| says_something(text));
    let attribute = |name| event.attribute(name).map(one_line).filter(|t| !t.is_empty());
    let around = event.parent().filter(|p| p.has_tag_name("room"));
    let around_name = around.and_then(|p| p.attribute("name")).map(one_line).filter(|r| !r.is_empty());
    let room_guid = around.and_then(|p| p.attribute("guid")).map(one_line).filter(|g| !g.is_empty());
    let own = text("room");
    // The guid is that of the room around it.
    let room_guid = room_guid.filter(|_| own.is_none() || own == around_name);
    let mut rooms: Vec<String> = own.into_iter().chain(around_name).collect();
    rooms.dedup();
    let all = |list: &'static str, item: &'static str| {
        event
            .children()
            .filter(move |n| n.has_tag_name(list))
            .flat_map(move |node| node.children().filter(move |n| n.has_tag_name(item)))
            .take(MAX_LIST)
    };
    let person = |person: Node<'_, '_>| {
        let name = line_of(person).or_else(|| person.attribute("name").map(one_line));
        name.filter(|name| !name.is_empty())
    };
    let link = |link: Node<'_, '_>| {
        let url = link.attribute("href").map(str::trim).filter(|url| is_page(url))?.to_owned();
        Some(TalkLink { url, title: line_of(link) })
    };
    let address = |name| text(name).filter(|url| is_page(url));
    let (url, origin_url) = (address("url"), address("origin_url"));
    let of_page = |url: &Option<String>| url.as_deref().and_then(code_of_page).map(str::to_owned);
    let code = attribute("code").or_else(|| text("code")).or_else(|| of_page(&url)).or_else(|| of_page(&origin_url));
    Entry {
        title: text("title").unwrap_or_default(),
        rooms,
        start: day.start_of(text("date").as_deref(), text("start").as_deref()),
        duration_ms: text("duration").as_deref().and_then(duration_ms),
        speakers: all("persons", "person").filter_map(person).collect(),
        opted_out: opted_out(event),
        url,
        origin_url,
        details: TalkDetails {
            guid: attribute("guid"),
            code,
            id: attribute("id"),
            room_guid,
            subtitle: text("subtitle"),
            summary: long("abstract"),
            description: long("description"),
            language: text("language"),
            track: text("track"),
            session_type: text("type"),
            licence: child(event, "recording").and_then(|r| child(r, "license")).and_then(line_of),
            links: all("links", "link").filter_map(link).collect(),
        },
        line: 0,
    }
}

fn opted_out(event: Node<'_, '_>) -> bool {
    let yes = |text: &str| matches!(text.trim().to_ascii_lowercase().as_str(), "true" | "1" | "yes");
    let recordings = || event.children().filter(|n| n.has_tag_name("recording"));
    recordings().any(|r| r.attribute("optout").is_some_and(yes))
        || recordings().flat_map(|r| r.children()).filter(|n| n.has_tag_name("optout")).any(|n| yes(&whole_text(n)))
        || event.children().filter(|n| n.has_tag_name("do_not_record")).any(|n| yes(&whole_text(n)))
}

/// An address that may become a link.
fn is_page(url: &str) -> bool {
    url.len() <= 2000
        && url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// Its own texts (there may be several, around comments). Not those of elements inside it: a file of titles
/// within titles would be read again for each of them (71 s for a megabyte, found by the fuzz test).
fn whole_text(node: Node<'_, '_>) -> String {
    node.children().filter_map(|n| n.is_text().then(|| n.text()).flatten()).collect()
}
