//! What a person adds to the schedule: a talk that overruns, a recording without a talk, an address to dump.

use rusqlite::{Connection as Db, TransactionBehavior};

use crate::app::library::report::{find_event, find_halls, find_talk};
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::catalog::{manual, schedule};
use crate::domain::ids::{EventId, HallId, TalkId};
use crate::domain::interval::Interval;
use crate::domain::name::slug;
use crate::domain::stream_url::StreamUrl;
use crate::domain::talk::Talk;
use crate::domain::time::Ms;

/// Adds `by_ms` to a talk's slot; a daemon that runs follows within a second.
///
/// # Errors
/// When no talk, or several, fit; when the talk is cancelled, removed or opted out.
pub fn extend(db: &mut Db, talk: &str, by_ms: i64) -> Result<Talk> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let talk = find_talk(&tx, talk)?;
    if !talk.is_on() {
        let why = if talk.opted_out { "opted out of recording" } else { talk.status.as_str() };
        return Err(Failure::new(
            Kind::BadInput,
            format!("talk {} {:?} is {why}: nothing to extend", talk.id, talk.title),
        ));
    }
    schedule::extend_talk(&tx, talk.id, by_ms)?;
    let extended = schedule::talk(&tx, talk.id)?.unwrap_or(talk);
    tx.commit()?;
    Ok(extended)
}

/// Adds a talk of the user's own in a hall, from now on.
///
/// # Errors
/// When no hall, or several, fit, or it has no stream.
pub fn record(
    db: &mut Db,
    env: &Env,
    event: Option<&str>,
    hall: &str,
    for_ms: i64,
    title: Option<&str>,
) -> Result<Talk> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (events, halls) = (schedule::events(&tx)?, schedule::halls(&tx)?);
    let event = event.map(|name| find_event(&events, name)).transpose()?;
    let found = find_halls(&halls, &events, event, hall)?;
    let [hall_id] = found[..] else {
        let names: Vec<_> = halls
            .iter()
            .filter(|h| found.contains(&h.id))
            .filter_map(|h| events.iter().find(|e| e.id == h.event).map(|e| e.name.as_str()))
            .collect();
        return Err(Failure::new(Kind::NotFound, format!("hall {hall:?} is in several events: {}", names.join(", ")))
            .hint("name the event with --event"));
    };
    let hall = halls.iter().find(|h| h.id == hall_id).ok_or_else(|| Failure::new(Kind::Catalog, "a hall is gone"))?;
    if hall.streams.is_empty() {
        return Err(Failure::new(Kind::BadInput, format!("hall {:?} has no stream", hall.name))
            .hint(format!("set one with: streamrip halls set {:?} URL", hall.name)));
    }
    let event = events.iter().find(|e| e.id == hall.event);
    let now = env.clock.now();
    let zone = event.map_or(chrono_tz::Tz::UTC, |e| e.zone);
    let title =
        title.map_or_else(|| format!("Recording of {}", now.in_zone(zone).format("%Y-%m-%d %H:%M")), str::to_owned);
    let talk = schedule::add_manual_talk(&tx, hall.event, hall.id, &title, Interval::new(now, now.plus(for_ms)), now)?;
    let talk = schedule::talk(&tx, talk)?.ok_or_else(|| Failure::new(Kind::Catalog, "the new talk is gone"))?;
    tx.commit()?;
    Ok(talk)
}

/// The event that `dump` keeps its recordings in.
pub const DUMP_EVENT: &str = "dump";

/// Prepares a dump: a hall for each address (or one hall with all as mirrors), and a talk from now on.
///
/// # Errors
/// When the catalog cannot be written.
pub fn dump(
    db: &mut Db,
    urls: &[StreamUrl],
    name: Option<&str>,
    for_ms: Option<i64>,
    now: Ms,
) -> Result<(EventId, Vec<TalkId>)> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let zone = iana_time_zone::get_timezone().unwrap_or_else(|_| "UTC".to_owned());
    let zone = if zone.parse::<chrono_tz::Tz>().is_ok() { zone } else { "UTC".to_owned() };
    let event = manual::event(&tx, DUMP_EVENT, &zone)?;
    let end = for_ms.map_or(now.plus(FOREVER_MS), |ms| now.plus(ms));
    let mut talks = Vec::new();
    for url in urls {
        let place = format!("{}{}", url.host(), url.path().trim_end_matches('/'));
        let hall_name = match (name, urls.len()) {
            (Some(name), 1) => name.to_owned(),
            (Some(name), _) => format!("{name} {}", talks.len() + 1),
            (None, _) => place,
        };
        let hall = dump_hall(&tx, event, &hall_name, url, now)?;
        talks.push(schedule::add_manual_talk(&tx, event, hall, &hall_name, Interval::new(now, end), now)?);
    }
    tx.commit()?;
    Ok((event, talks))
}

/// A dump without `--for` ends when the user says so; ten days are longer than any congress.
const FOREVER_MS: i64 = 10 * 24 * crate::domain::time::HOUR;

fn dump_hall(db: &Db, event: EventId, name: &str, url: &StreamUrl, now: Ms) -> Result<HallId> {
    let halls = schedule::halls(db)?;
    let hall = match halls.iter().find(|h| h.event == event && h.name == name) {
        Some(hall) => hall.id,
        None => {
            // Two names may have one slug, and folders must differ.
            let base = slug(name, 60);
            let taken = |s: &str| halls.iter().any(|h| h.event == event && h.slug == s);
            let mut numbered = (2..).map(|n| format!("{base}-{n}"));
            let free = Some(base.clone()).filter(|s| !taken(s)).or_else(|| numbered.find(|s| !taken(s)));
            manual::add_hall(db, event, name, &free.unwrap_or(base))?
        }
    };
    let known = halls.iter().any(|h| h.id == hall && h.streams.iter().map(|s| &s.url).eq([url]));
    if !known {
        manual::set_only_stream(db, hall, url, now)?;
    }
    Ok(hall)
}

/// Ends the talks of a dump now, so that they are joined.
///
/// # Errors
/// When the catalog cannot be written.
pub fn end_dump(db: &Db, talks: &[TalkId], now: Ms) -> Result<()> {
    for talk in talks {
        schedule::end_manual_talk(db, *talk, now)?;
    }
    Ok(())
}
