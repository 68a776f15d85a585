//! What the bytes of a source are: a calendar, a schedule.xml or a schedule.json, packed or not.

use std::io::Read;

use crate::app::support::failure::{Failure, Kind, Result};
use crate::domain::programme::Programme;
use crate::domain::schedule::Schedule;
use crate::fetch::Place;
use crate::ical::{self, CalendarError, ReadOptions};
use crate::plan::programme_schedule;
use crate::schedule_json;
use crate::schedule_xml;

/// A source that was read.
#[derive(Clone, Debug)]
pub(super) struct ReadSource {
    /// The talks of the source.
    pub schedule: Schedule,
    /// What was read, where it is a schedule.xml or schedule.json: it says itself who must not be recorded.
    pub programme: Option<Programme>,
}

/// Unpacks what is packed with gzip, whatever its name is; at most `max` bytes.
///
/// # Errors
/// When it is damaged or unpacks to more.
pub(super) fn unpacked(bytes: Vec<u8>, max: usize, place: &Place) -> Result<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes.as_slice()).take(limit).read_to_end(&mut out).map_err(|e| {
        Failure::new(Kind::BadInput, format!("{place} is packed with gzip and cannot be unpacked"))
            .because(e)
            .hint("download it again; nothing was changed")
    })?;
    if out.len() > max {
        return Err(Failure::new(Kind::BadInput, format!("{place} unpacks to more than {} MB", max / 1_000_000))
            .hint("is it the right file? nothing was changed"));
    }
    Ok(out)
}

/// Reads a source by what it is.
///
/// # Errors
/// When it is neither a calendar nor one of the others, or is refused by its reader.
pub(super) fn read(bytes: &[u8], options: &ReadOptions, place: &Place) -> Result<ReadSource> {
    let programme = if is_schedule_xml(bytes) || schedule_json::looks_like(bytes) {
        Some(read_programme(bytes, place)?)
    } else {
        None
    };
    if let Some(programme) = programme {
        let zone = options.zone.or(options.halls_zone).unwrap_or(options.default_zone);
        let schedule = programme_schedule::schedule(&programme, zone);
        return Ok(ReadSource { schedule, programme: Some(programme) });
    }
    let schedule = ical::read(bytes, options).map_err(|e| calendar_failure(place, &e))?;
    Ok(ReadSource { schedule, programme: None })
}

/// Reads a schedule.xml or schedule.json.
///
/// # Errors
/// When it is neither.
pub(super) fn read_programme(bytes: &[u8], place: &Place) -> Result<Programme> {
    let failure = |what: &str| Failure::new(Kind::BadInput, format!("{place} is not a {what}"));
    let hint =
        "the schedule.xml or schedule.json of frab, pretalx, Pentabarf or the C3 hub is meant; nothing was changed";
    if schedule_json::looks_like(bytes) {
        return schedule_json::read(bytes).map_err(|e| failure("schedule.json").because(e).hint(hint));
    }
    schedule_xml::read(bytes).map_err(|e| failure("schedule.xml").because(e).hint(hint))
}

/// True for XML with a root of that name near its beginning; a web page is left to the calendar's reader, which says
/// what it is.
fn is_schedule_xml(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(4096)];
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.starts_with('<') && (text.contains("<schedule") || text.starts_with("<?xml")) && !text.contains("<html")
}

fn calendar_failure(source: &Place, e: &CalendarError) -> Failure {
    let hint = match e {
        CalendarError::Empty | CalendarError::Truncated { .. } => "download it again; nothing was changed",
        CalendarError::WebPage(_) => {
            "open the address in a browser: the calendar has moved, or needs a login; nothing was changed"
        }
        CalendarError::NotACalendar(_) => {
            "a calendar (.ics), a schedule.xml or a schedule.json is needed; nothing was changed"
        }
        CalendarError::TooLarge | CalendarError::TooManyTalks { .. } => "is it the right file? nothing was changed",
        CalendarError::UnknownZone { .. } => "nothing was changed",
    };
    Failure::new(Kind::BadInput, format!("cannot import {source}")).because(e).hint(hint)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use chrono_tz::Tz;

    use super::*;

    const ICS: &str = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:a\r\nDTSTART:20270110T100000Z\r\nDURATION:PT1H\r\nSUMMARY:T\r\nLOCATION:Saal 1\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    const XML: &str = "<?xml version='1.0'?>\n<!-- made by hand -->\n<schedule><conference><time_zone_name>Europe/Berlin</time_zone_name></conference><day date='2027-01-10'><room name='Saal 1'><event id='1' guid='a'><title>T</title><start>11:00</start><duration>01:00</duration></event></room></day></schedule>";
    const JSON: &str = r#"{"schedule": {"conference": {"time_zone_name": "Europe/Berlin", "days": [{"date": "2027-01-10", "rooms": {"Saal 1": [{"guid": "a", "title": "T", "date": "2027-01-10T11:00:00+01:00", "duration": "01:00"}]}}]}}}"#;

    #[test]
    fn sources_are_known_by_what_they_are_and_say_the_same() {
        let place = Place::parse("/x/source").expect("place");
        let options = ReadOptions::new(Tz::UTC);
        for text in [ICS, XML, JSON] {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(text.as_bytes()).expect("packed");
            for bytes in [text.as_bytes().to_vec(), packed.finish().expect("packed")] {
                let bytes = unpacked(bytes, 10_000, &place).expect("unpacked");
                let talks = read(&bytes, &options, &place).expect(text).schedule.talks;
                let told: Vec<_> = talks
                    .iter()
                    .map(|t| {
                        (
                            t.uid.as_deref(),
                            t.title.as_str(),
                            t.hall.as_deref(),
                            t.slot.start.rfc3339(Tz::UTC),
                            t.slot.len_ms(),
                        )
                    })
                    .collect();
                assert_eq!(told, [(Some("a"), "T", Some("Saal 1"), "2027-01-10T10:00:00Z".to_owned(), 3_600_000)]);
            }
        }
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        bomb.write_all(&vec![b' '; 100_000]).expect("packed");
        let refused = unpacked(bomb.finish().expect("packed"), 10_000, &place).expect_err("too large").to_string();
        assert!(refused.contains("unpacks to more"), "{refused}");
        assert!(unpacked(vec![0x1f, 0x8b, 8, 0, 1], 100, &place).is_err());
        for (bytes, what) in [
            ("<!DOCTYPE html><html><title>404</title></html>", "web page"),
            ("{\"error\": 1}", "schedule.json"),
            ("<?xml version='1.0'?><rss/>", "schedule.xml"),
        ] {
            let refused = read(bytes.as_bytes(), &options, &place).expect_err(what).to_string();
            assert!(refused.contains(what), "{refused}");
        }
    }
}
