//! The streams of all halls from the list that a congress publishes.

use rusqlite::{Connection, TransactionBehavior};

use crate::app::schedule::halls;
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::catalog;
use crate::domain::hls::Quality;
use crate::domain::offer::Tech;
use crate::domain::stream_url::StreamUrl;
use crate::fetch::{self, Place};
use crate::plan::stream_choice::{choose, hall_of, shared};
use crate::streams_v2::{self, Offered};

/// Largest list, bytes: that of a congress of five halls has 60 kB.
const MAX_LIST: usize = 10_000_000;

/// What is to be imported.
#[derive(Clone, Debug)]
pub struct HallsImport {
    /// A file, `-`, or an http(s) address.
    pub source: String,
    /// Only halls of this event.
    pub event: Option<String>,
    /// Which of several pictures.
    pub quality: Quality,
    /// What comes first of one quality.
    pub tech: Tech,
    /// Addresses may lead to this machine or a private network.
    pub allow_private: bool,
    /// Change nothing.
    pub dry_run: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HallsImported {
    /// Event, hall and its streams now, the preferred one first.
    pub set: Vec<(String, String, Vec<StreamUrl>)>,
    /// For people, without passwords.
    pub warnings: Vec<String>,
}

/// Fetches the list and sets the streams of the halls that it names, as `halls set` does. But strangers wrote the
/// list: where private addresses are not allowed, its names must not lead to one when they are opened either.
///
/// # Errors
/// When the list cannot be read, no hall of ours is in it, or the catalog fails. Then nothing is changed.
pub async fn import(env: &Env, request: &HallsImport) -> Result<HallsImported> {
    let wrong = |e: String| Failure::new(Kind::BadInput, format!("cannot use {}", shown(&request.source))).because(e);
    let place = Place::parse(&request.source).map_err(|e| wrong(e.to_string()).hint(e.hint()))?;
    let bytes = fetch::fetch(&place, MAX_LIST).await.map_err(|e| wrong(e.to_string()).hint(e.hint()))?;
    let offered = streams_v2::read(&bytes, request.allow_private)
        .map_err(|e| wrong(e.to_string()).hint("a list looks like https://streaming.media.ccc.de/streams/v2.json"))?;
    let imported = choose_all(&catalog::open_reader(&env.data_dir)?, request, offered)?;
    if imported.set.is_empty() {
        let mut failure = Failure::new(Kind::NotFound, "no hall gets a stream from this list");
        if !imported.warnings.is_empty() {
            failure = failure.because(imported.warnings.join("; "));
        }
        return Err(failure.hint("give the halls of the halls file the names of the list as aliases"));
    }
    if !request.dry_run {
        let mut db = catalog::open_writer(&env.data_dir)?;
        // All halls or none.
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(catalog::CatalogError::from)?;
        for (event, hall, urls) in &imported.set {
            halls::set_in(&tx, Some(event), hall, urls, env.clock.now())?;
        }
        tx.commit().map_err(catalog::CatalogError::from)?;
    }
    Ok(imported)
}

fn shown(source: &str) -> String {
    crate::domain::stream_url::redact_text(source)
}

fn choose_all(db: &Connection, request: &HallsImport, offered: Offered) -> Result<HallsImported> {
    let ours = halls::list(db, request.event.as_deref())?;
    let names: Vec<Vec<String>> =
        ours.iter().map(|r| std::iter::once(&r.hall.name).chain(&r.hall.aliases).cloned().collect()).collect();
    let mut out = HallsImported { set: Vec::new(), warnings: offered.warnings };
    let (mut chosen, mut named) = (Vec::new(), vec![false; ours.len()]);
    for room in &offered.rooms {
        let name = room.names.first().cloned().unwrap_or_else(|| "a room without a name".to_owned());
        let Some(place) = hall_of(room, &names) else {
            out.warnings.push(format!("{name}: no hall of the schedule has this name (or several have)"));
            continue;
        };
        let hall = &ours[place];
        if std::mem::replace(&mut named[place], true) {
            out.warnings.push(format!("{name}: {} is in the list twice; the first one counts", hall.hall.name));
            continue;
        }
        let urls = choose(room, request.quality, request.tech);
        if urls.is_empty() {
            out.warnings.push(format!("{name}: the list offers no stream of it that can be recorded"));
            continue;
        }
        chosen.push((hall.hall.name.clone(), urls.clone()));
        out.set.push((hall.event.clone(), hall.hall.name.clone(), urls));
    }
    for (hall, _) in ours.iter().zip(&named).filter(|(hall, named)| !**named && hall.talks > 0) {
        out.warnings.push(format!("{}: it has talks, and is not in the list", hall.hall.name));
    }
    for (url, halls) in shared(&chosen) {
        out.warnings.push(format!("{} have the same stream, {url}: is that right?", halls.join(" and ")));
    }
    Ok(out)
}
