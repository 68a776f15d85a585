//! Importing a schedule, by the user or again and again by the daemon.
//!
//! In two steps: [`gather`] fetches and reads everything, without touching the catalog; [`apply`] is
//! short and runs inside one transaction. So nothing changes unless everything could be read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono_tz::Tz;
use rusqlite::{Connection, TransactionBehavior};
use sha2::{Digest, Sha256};

use super::formats;
use super::opt_outs::apply_opt_outs;
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::catalog::import::{self as catalog_import, EventRow, Known};
use crate::catalog::{self, CatalogError};
use crate::config::halls_file;
use crate::domain::hall::fold_name;
use crate::domain::halls_file::HallsFile;
use crate::domain::ids::TalkId;
use crate::domain::interval::Interval;
use crate::domain::programme::Programme;
use crate::domain::schedule::{Schedule, ScheduledTalk, Warning, WarningKind};
use crate::domain::settings::Settings;
use crate::domain::stream_url::redact_text;
use crate::domain::text::{one_line, shortened};
use crate::domain::time::{HOUR, Ms};
use crate::fetch::{self, Cache, FetchError, Place};
use crate::ical::{self, ReadOptions};
use crate::plan::hall_plan::plan_halls;
use crate::plan::hall_rename::renames;
use crate::plan::kept_recording::{candidates, keep_recordings};
use crate::plan::programme_join::{JoinOptions, Joined, join};
use crate::plan::refresh_guard::{Objections, hold_halls, looks_like, objections};
use crate::plan::schedule_diff::{ChangeKind, KnownTalk, diff};
use crate::plan::schedule_warnings;
use crate::plan::title::without_speakers;
use crate::schedule_xml;

/// Largest halls file, in bytes.
const MAX_HALLS_FILE: usize = 1_000_000;

/// Longest name of an event, in characters.
const MAX_EVENT_NAME: usize = 100;

/// What the user asked for.
#[derive(Clone, Debug, Default)]
pub struct ImportRequest {
    /// A file, `-`, or an http(s) URL.
    pub source: String,
    /// `--event`; `None`: the name of the file.
    pub event: Option<String>,
    /// `--halls`; `None`: `<stem>.toml` beside the file, else the one remembered.
    pub halls: Option<PathBuf>,
    /// `--schedule-xml`; `None`: the one remembered.
    pub schedule_xml: Option<String>,
    /// `--tz`; `None`: the one remembered.
    pub zone: Option<Tz>,
    /// Say what would change, and change nothing.
    pub dry_run: bool,
    /// Apply what a guard objects to.
    pub force: bool,
}

/// Everything an import needs, read and checked.
#[derive(Clone, Debug)]
pub struct Prepared {
    name: String,
    row: EventRow,
    halls_file: Option<HallsFile>,
    pub(super) schedule: Schedule,
    xml_missing: bool,
    digest: [u8; 32],
    /// What says who must not be recorded, and what came of joining it with the calendar.
    programme: Option<Programme>,
    joined: Option<Joined>,
    /// Dates of series were read as far as they lie in it.
    window: Interval,
}

/// What an import did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportReport {
    /// The event's name.
    pub event: String,
    /// What its times are printed in.
    pub zone: Tz,
    /// It was not known before.
    pub is_new: bool,
    /// Nothing was written.
    pub dry_run: bool,
    /// Talks of the schedule.
    pub talks: usize,
    /// Number of talks that are new.
    pub added: usize,
    /// Those with a change.
    pub changed: usize,
    /// No longer in the schedule.
    pub removed: usize,
    /// As they were.
    pub unchanged: usize,
    /// What was odd.
    pub warnings: Vec<Warning>,
    /// By what the talks of schedule.xml were recognised, for people; `None`: there is none.
    pub joined: Option<String>,
    /// In the order of the schedule.
    pub changes: Vec<ReportedChange>,
}

/// One change of one talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedChange {
    /// Kind of change, as in the JSON output.
    pub kind: ChangeKind,
    /// Its id; `None`: it has none yet (`--dry-run`).
    pub talk: Option<TalkId>,
    /// UID of the talk in the calendar.
    pub uid: Option<String>,
    /// Title, the new one.
    pub title: String,
    /// Hall, the new one.
    pub hall: String,
    /// What it was.
    pub before: Option<String>,
    /// New value; `None` where the talk was removed.
    pub after: Option<String>,
}

/// How [`apply`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Written, or what a dry run would write.
    Applied(ImportReport),
    /// Written but for the talks of some halls, which stay where they are for these reasons.
    InPart(ImportReport, Vec<String>),
    /// Not written, for these reasons.
    Refused(Vec<String>),
    /// Not written: the new event seems to be this known one.
    LooksLike(String),
}

/// Imports a schedule into the catalog of the data directory, which is made where it is missing, but
/// only once everything could be read.
///
/// # Errors
/// When something cannot be read or is refused; then nothing was changed.
pub async fn import_into(env: &Env, request: &ImportRequest) -> Result<ImportReport> {
    let reader = match catalog::open_reader(&env.data_dir) {
        Ok(db) => db,
        Err(CatalogError::Missing(_)) => catalog::open_in_memory()?,
        Err(e) => return Err(e.into()),
    };
    let gathered = prepare(env, &reader, request).await?;
    if request.dry_run {
        return finish(&mut { reader }, gathered, request, env.clock.now());
    }
    // Where nothing could be read, nothing is made.
    if gathered.prepared.is_err() && gathered.programme.is_none() {
        return Err(gathered.prepared.err().unwrap_or_else(|| Failure::new(Kind::Failed, "nothing was read")));
    }
    drop(reader);
    finish(&mut catalog::open_writer(&env.data_dir)?, gathered, request, env.clock.now())
}

/// Imports a schedule.
///
/// # Errors
/// When something cannot be read or is refused; then nothing was changed but opt-outs.
pub async fn import(env: &Env, db: &mut Connection, request: &ImportRequest) -> Result<ImportReport> {
    let gathered = prepare(env, db, request).await?;
    finish(db, gathered, request, env.clock.now())
}

async fn prepare(env: &Env, db: &Connection, request: &ImportRequest) -> Result<Gathered> {
    let inputs = {
        let source = Place::parse(&request.source).map_err(|e| fetch_failure(&e))?;
        let name = match &request.event {
            Some(name) => one_line(name),
            None => source.stem().unwrap_or_default(),
        };
        if name.is_empty() || name.chars().count() > MAX_EVENT_NAME {
            return Err(Failure::new(Kind::Usage, format!("no event name can be derived from {source}"))
                .hint(format!("give one with --event NAME, at most {MAX_EVENT_NAME} characters")));
        }
        let row = catalog_import::known(db, &name)?.map(|known| known.row);
        inputs(request, name, source, row.as_ref())?
    };
    Ok(gather(&inputs, series_window(&env.settings, env.clock.now())).await)
}

/// What was read for one event.
#[derive(Debug)]
pub(super) struct Gathered {
    /// The event's name.
    pub name: String,
    /// Kept apart: an opt-out does not wait for a calendar that can be read.
    pub programme: Option<Programme>,
    /// All that an import needs, or why there is none.
    pub prepared: Result<Prepared>,
}

/// Dates of a series that are over are looked for this far back: those of today, whatever the zone.
const SERIES_BACK: i64 = 24 * HOUR;

/// Which dates of long series are read.
pub fn series_window(settings: &Settings, now: Ms) -> Interval {
    Interval::new(now.minus(SERIES_BACK), now.plus(settings.refresh.series_ahead_ms))
}

fn finish(db: &mut Connection, gathered: Gathered, request: &ImportRequest, now: Ms) -> Result<ImportReport> {
    let options = ApplyOptions { force: request.force, dry_run: request.dry_run, in_part: false };
    let Gathered { name, programme, prepared } = gathered;
    let programme = programme.filter(|_| !request.dry_run);
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => return Err(with_opt_outs(failure, opt_outs(db, &name, programme.as_ref())?)),
    };
    let prepared = &prepared;
    let outcome = if request.dry_run {
        apply(db, prepared, options, now)?
    } else {
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let outcome = apply(&tx, prepared, options, now)?;
        tx.commit()?;
        outcome
    };
    match outcome {
        Outcome::Applied(report) | Outcome::InPart(report, _) => Ok(report),
        Outcome::Refused(reasons) => {
            let message = format!("this schedule was not applied to {:?}: {}", prepared.name, reasons.join("; "));
            let failure = Failure::new(Kind::BadInput, message).hint("if it is right, import it again with --force");
            Err(with_opt_outs(failure, opt_outs(db, &name, programme.as_ref())?))
        }
        Outcome::LooksLike(event) => {
            let message = format!("this seems to be a schedule of {event:?}, which is known already");
            let hint = format!(
                "to bring that event up to date: --event {event}; to make {:?} an event of its own: --force",
                prepared.name
            );
            Err(Failure::new(Kind::BadInput, message).hint(hint))
        }
    }
}

/// Applies the opt-outs of a schedule that is not applied; gives how many are new.
fn opt_outs(db: &mut Connection, event: &str, programme: Option<&Programme>) -> Result<usize> {
    let Some(programme) = programme else { return Ok(0) };
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Some(known) = catalog_import::known(&tx, event)? else { return Ok(0) };
    let talks = apply_opt_outs(&tx, &known, programme)?;
    tx.commit()?;
    Ok(talks.len())
}

fn with_opt_outs(failure: Failure, count: usize) -> Failure {
    match count {
        0 => failure,
        1 => Failure {
            message: format!("{}; 1 talk is opted out of recording all the same", failure.message),
            ..failure
        },
        n => Failure {
            message: format!("{}; {n} talks are opted out of recording all the same", failure.message),
            ..failure
        },
    }
}

/// What is to be read.
#[derive(Clone, Debug)]
pub(super) struct ScheduleInputs {
    name: String,
    source: Place,
    halls: Option<PathBuf>,
    xml: Option<Place>,
    /// The user named it now: that it cannot be read is a failure and not a warning.
    xml_is_asked_for: bool,
    zone_option: Option<Tz>,
    default_zone: Tz,
    paddings: (Option<i64>, Option<i64>),
    /// What was fetched by those who fetch again and again.
    cache: Arc<Cache>,
}

fn inputs(request: &ImportRequest, name: String, source: Place, row: Option<&EventRow>) -> Result<ScheduleInputs> {
    let absolute = |path: &Path| {
        std::path::absolute(path)
            .map_err(|e| Failure::new(Kind::Usage, format!("bad path {}", path.display())).because(e))
    };
    let beside = match &source {
        Place::File(path) => Some(path.with_extension("toml")).filter(|p| p.is_file() && p != path),
        _ => None,
    };
    let halls = match &request.halls {
        Some(path) => Some(absolute(path)?),
        None => beside.or_else(|| row.and_then(|r| r.halls_file.as_ref()).map(PathBuf::from)),
    };
    let xml = request.schedule_xml.as_deref().or(row.and_then(|r| r.schedule_xml.as_deref()));
    let xml = xml.map(Place::parse).transpose().map_err(|e| fetch_failure(&e))?;
    if xml == Some(Place::StandardInput) {
        return Err(
            Failure::new(Kind::Usage, "schedule.xml cannot come from standard input").hint("name a file or an address")
        );
    }
    Ok(ScheduleInputs {
        name,
        source,
        halls,
        xml,
        xml_is_asked_for: request.schedule_xml.is_some(),
        zone_option: request.zone.or(row.and_then(|r| r.zone_option)),
        default_zone: row.map_or_else(system_zone, |r| r.zone),
        paddings: row.map_or((None, None), |r| (r.pre_padding_ms, r.post_padding_ms)),
        cache: Arc::default(),
    })
}

impl ScheduleInputs {
    /// What a known event was imported from.
    pub(super) fn remembered(name: &str, row: &EventRow, cache: &Arc<Cache>) -> Result<Self> {
        let request = ImportRequest::default();
        let source = row.source.as_deref().unwrap_or("-");
        let source = Place::parse(source).map_err(|e| fetch_failure(&e))?;
        let mut inputs = inputs(&request, name.to_owned(), source, Some(row))?;
        inputs.halls = row.halls_file.as_ref().map(PathBuf::from);
        inputs.cache = Arc::clone(cache);
        Ok(inputs)
    }
}

/// The machine's zone; UTC where it cannot be told.
fn system_zone() -> Tz {
    iana_time_zone::get_timezone().ok().and_then(|name| name.parse().ok()).unwrap_or(Tz::UTC)
}

/// Fetches and reads everything. `window`: which dates of long series are read.
pub(super) async fn gather(inputs: &ScheduleInputs, window: Interval) -> Gathered {
    let name = inputs.name.clone();
    match read_xml(inputs).await {
        Ok(programme) => {
            let prepared = gather_with(inputs, Ok(programme.clone()), window).await;
            // A source that is a schedule.xml itself says who must not be recorded.
            let own = prepared.as_ref().ok().and_then(|prepared| prepared.programme.clone());
            Gathered { name, programme: programme.or(own), prepared }
        }
        Err(e) => Gathered { name, programme: None, prepared: gather_with(inputs, Err(e), window).await },
    }
}

async fn gather_with(inputs: &ScheduleInputs, xml: Result<Option<Programme>>, window: Interval) -> Result<Prepared> {
    let halls_file = match &inputs.halls {
        Some(path) => Some(read_halls(path).await?),
        None => None,
    };
    let bytes =
        fetch::fetch_again(&inputs.source, ical::MAX_BYTES, &inputs.cache).await.map_err(|e| fetch_failure(&e))?;
    let options = ReadOptions {
        zone: inputs.zone_option,
        halls_zone: halls_file.as_ref().and_then(|f| f.time_zone),
        default_zone: inputs.default_zone,
        window: Some(window),
        hall_from: halls_file.as_ref().and_then(|f| f.hall_from),
        hall_names: halls_file.as_ref().map_or_else(Vec::new, HallsFile::names),
    };
    let assumed = options.zone.or(options.halls_zone);
    let place = inputs.source.clone();
    let (read, digest) = tokio::task::spawn_blocking(move || {
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        let read = formats::unpacked(bytes, ical::MAX_BYTES, &place);
        (read.and_then(|bytes| formats::read(&bytes, &options, &place)), digest)
    })
    .await
    .map_err(|e| Failure::new(Kind::Failed, format!("cannot read {}", inputs.source)).because(e))?;
    let formats::ReadSource { mut schedule, programme: mut own } = read?;
    let (mut xml_missing, mut joined) = (false, None);
    match xml {
        Ok(Some(xml)) => {
            let mut aliases = std::collections::HashMap::new();
            for hall in halls_file.iter().flat_map(|file| &file.halls) {
                aliases.extend(hall.aliases.iter().map(|alias| (fold_name(alias), fold_name(&hall.name))));
            }
            let zone = schedule.time_zone.as_deref().and_then(|name| name.parse().ok());
            let zone = zone.or(assumed).unwrap_or(inputs.default_zone);
            joined = Some(join(&mut schedule, &xml, &JoinOptions { zone, aliases }));
            own = Some(xml);
        }
        Ok(None) => {}
        Err(e) if inputs.xml_is_asked_for => return Err(e),
        Err(e) => {
            xml_missing = true;
            let message = format!("{e}; speakers and opt-outs stay as they are known");
            schedule.warnings.push(Warning { kind: WarningKind::ScheduleXml, talk: None, message });
        }
    }
    for talk in &mut schedule.talks {
        if let Some(bare) = without_speakers(&talk.title, &talk.speakers).map(str::to_owned) {
            talk.title = bare;
        }
    }
    let named = schedule.time_zone.as_deref().and_then(|name| name.parse().ok());
    let zone = named.or(assumed).unwrap_or(inputs.default_zone);
    let paddings = halls_file.as_ref().map_or(inputs.paddings, |f| (f.pre_padding_ms, f.post_padding_ms));
    let row = EventRow {
        zone,
        source: inputs.source.stored(),
        halls_file: inputs.halls.as_ref().map(|p| p.to_string_lossy().into_owned()),
        schedule_xml: inputs.xml.as_ref().and_then(Place::stored),
        zone_option: inputs.zone_option,
        pre_padding_ms: paddings.0,
        post_padding_ms: paddings.1,
        private_streams: halls_file.as_ref().is_some_and(|f| f.allow_private_streams),
    };
    let name = inputs.name.clone();
    Ok(Prepared { name, row, halls_file, schedule, xml_missing, digest, programme: own, joined, window })
}

/// Fetches and reads the event's schedule.xml or schedule.json, if it has one.
async fn read_xml(inputs: &ScheduleInputs) -> Result<Option<Programme>> {
    let Some(place) = &inputs.xml else { return Ok(None) };
    let bytes =
        fetch::fetch_again(place, schedule_xml::MAX_BYTES, &inputs.cache).await.map_err(|e| fetch_failure(&e))?;
    let place = place.clone();
    let shown = place.to_string();
    tokio::task::spawn_blocking(move || {
        let bytes = formats::unpacked(bytes, schedule_xml::MAX_BYTES, &place)?;
        formats::read_programme(&bytes, &place).map(Some)
    })
    .await
    .map_err(|e| Failure::new(Kind::Failed, format!("cannot read {shown}")).because(e))?
}

async fn read_halls(path: &Path) -> Result<HallsFile> {
    let place = Place::File(path.to_owned());
    let bytes = fetch::fetch(&place, MAX_HALLS_FILE).await.map_err(|e| {
        let failure = fetch_failure(&e);
        Failure { message: format!("halls file: {}", failure.message), ..failure }
    })?;
    let wrong = |message: String| {
        Failure::new(Kind::BadInput, message).hint("correct the file and import again; nothing was changed")
    };
    let text = String::from_utf8(bytes).map_err(|e| {
        wrong(format!("halls file {}: not UTF-8 at byte {}", path.display(), e.utf8_error().valid_up_to()))
    })?;
    halls_file::read(&text).map_err(|e| wrong(format!("halls file {}, {e}", path.display())))
}

/// How an import is to be applied.
#[derive(Clone, Copy, Debug, Default)]
pub struct ApplyOptions {
    /// Objections do not count.
    pub force: bool,
    /// Write nothing.
    pub dry_run: bool,
    /// Where only some halls are objected to, apply the rest: their talks stay where they are.
    pub in_part: bool,
}

/// Compares with the catalog and writes the difference, in the caller's transaction.
///
/// # Errors
/// When the catalog fails; the transaction must then be given up.
pub fn apply(db: &Connection, prepared: &Prepared, options: ApplyOptions, now: Ms) -> catalog::Result<Outcome> {
    let known = catalog_import::known(db, &prepared.name)?;
    let talks = &prepared.schedule.talks;
    let (known_halls, known_talks) = known.as_ref().map_or((&[][..], &[][..]), |k| (&k.halls, &k.talks));
    let compared = without_past_dates(known_talks, talks, prepared.window);
    let known_talks = compared.as_slice();
    let zone = prepared.row.zone;
    let renames = renames(known_halls, known_talks, prepared.halls_file.as_ref(), talks);
    let mut halls = plan_halls(known_halls, prepared.halls_file.as_ref(), &renames, talks);
    let mut diff = diff(known_talks, talks, &halls, prepared.xml_missing, now, zone);
    let begun = candidates(&diff, known_talks, &halls, now);
    let recorded = catalog_import::recorded(db, &begun)?;
    let of_settings = crate::catalog::assembly_queue::paddings(db)?.post_padding_ms;
    let post_padding_ms = prepared.row.post_padding_ms.unwrap_or(of_settings);
    keep_recordings(&mut diff, known_talks, &halls, &recorded, post_padding_ms, now, zone);
    let mut held = Vec::new();
    if !options.force {
        let Objections { mut reasons, halls: lost } = objections(known_talks, known_halls, &halls, &diff, now);
        reasons.extend(prepared.joined.iter().flat_map(|joined| programme_objections(joined, now, zone)));
        if diff.talks == 0 {
            reasons.extend(prepared.schedule.warnings.iter().take(MAX_REASONS).map(|w| w.message.clone()));
        }
        if reasons.is_empty() && options.in_part && !lost.is_empty() {
            held = hold_halls(&mut diff, known_talks, &halls, &lost);
            if diff.steps.is_empty() {
                // Nothing else is new.
                return Ok(Outcome::Refused(held));
            }
        } else {
            reasons.extend(lost.iter().map(|lost| lost.reason.clone()));
        }
        if !reasons.is_empty() {
            return Ok(Outcome::Refused(reasons));
        }
        if known.is_none()
            && let Some(like) = looks_like(talks, &catalog_import::known_events(db)?)
        {
            return Ok(Outcome::LooksLike(like.name.clone()));
        }
    }
    let ids: Vec<Option<TalkId>> = if options.dry_run {
        diff.steps.iter().map(|s| s.known).collect()
    } else {
        let (name, row, digest) = (prepared.name.as_str(), &prepared.row, prepared.digest);
        let import = catalog_import::Import { name, known: known.as_ref(), row, halls: &halls, diff: &diff, digest };
        catalog_import::write(db, &import, now)?.into_iter().map(Some).collect()
    };
    let mut warnings = prepared.schedule.warnings.clone();
    warnings.append(&mut diff.warnings);
    warnings.append(&mut halls.warnings);
    warnings.extend(schedule_warnings::warnings(talks, &halls, zone));
    let count = |wanted: &dyn Fn(&crate::plan::schedule_diff::TalkStep) -> bool| {
        diff.steps.iter().filter(|s| !s.changes.is_empty() && wanted(s)).count()
    };
    let (added, removed) = (count(&|s| s.is(ChangeKind::Added)), count(&|s| s.is(ChangeKind::Removed)));
    let changed = count(&|_| true) - added - removed;
    let changes = diff.steps.iter().zip(&ids).flat_map(|(step, id)| {
        let hall = halls.halls.get(step.row.hall).map_or("", |h| h.name.as_str());
        step.changes.iter().map(|change| ReportedChange {
            kind: change.kind,
            talk: *id,
            uid: step.row.uid.clone(),
            title: step.row.title.clone(),
            hall: hall.to_owned(),
            before: change.before.clone(),
            after: change.after.clone(),
        })
    });
    let report = ImportReport {
        event: prepared.name.clone(),
        zone,
        is_new: known.is_none(),
        dry_run: options.dry_run,
        talks: diff.talks,
        added,
        changed,
        removed,
        unchanged: diff.unchanged,
        warnings,
        joined: prepared.joined.as_ref().map(Joined::summary).filter(|text| !text.is_empty()),
        changes: changes.collect(),
    };
    Ok(if held.is_empty() { Outcome::Applied(report) } else { Outcome::InPart(report, held) })
}

/// Warnings that a refusal of an empty schedule shows.
const MAX_REASONS: usize = 5;
/// Opt-outs that an objection names.
const MAX_NAMED: usize = 5;

/// Known talks without dates of series that are over: the window lacks those, and they stay as they are known.
fn without_past_dates(known: &[KnownTalk], talks: &[ScheduledTalk], window: Interval) -> Vec<KnownTalk> {
    let there: std::collections::HashSet<(&str, &str)> =
        talks.iter().filter_map(|talk| Some((talk.uid.as_deref()?, talk.recurrence_id.as_deref()?))).collect();
    let series: std::collections::HashSet<&str> = there.iter().map(|(uid, _)| *uid).collect();
    let stays = |talk: &&KnownTalk| {
        let date = talk.match_key.strip_prefix("uid:").and_then(|key| key.split_once('\n'));
        let over = talk.slot.start < window.start;
        !date.is_some_and(|(uid, date)| over && series.contains(uid) && !there.contains(&(uid, date)))
    };
    known.iter().filter(stays).cloned().collect()
}

/// Why what a schedule.xml says of opt-outs cannot be right for this calendar. An opt-out must not be lost silently.
fn programme_objections(joined: &Joined, now: Ms, zone: Tz) -> Vec<String> {
    if joined.is_another_event() {
        return vec![format!(
            "its schedule.xml is one of another event: none of its {} talks is in the calendar",
            joined.entries
        )];
    }
    let lost: Vec<_> = joined.lost_opt_outs.iter().filter(|(_, start)| start.is_none_or(|start| start > now)).collect();
    if lost.is_empty() {
        return Vec::new();
    }
    let named: Vec<_> = lost
        .iter()
        .take(MAX_NAMED)
        .map(|(title, start)| {
            let at = start.map(|at| at.in_zone(zone).format(" (%Y-%m-%d %H:%M)").to_string()).unwrap_or_default();
            format!("{:?}{at}", shortened(title, 60))
        })
        .collect();
    let more = if lost.len() > MAX_NAMED { ", ..." } else { "" };
    let talks = if lost.len() == 1 { "1 talk".to_owned() } else { format!("{} talks", lost.len()) };
    vec![format!(
        "its schedule.xml forbids to record {talks} that the calendar does not have: {}{more}",
        named.join(", ")
    )]
}

/// True where an event's row was imported from the same places.
pub(super) fn same_places(known: &Known, row: &EventRow) -> bool {
    let places = |r: &EventRow| (r.source.clone(), r.halls_file.clone(), r.schedule_xml.clone(), r.zone_option);
    places(&known.row) == places(row)
}

fn fetch_failure(e: &FetchError) -> Failure {
    let kind = match e {
        FetchError::Scheme(_) => Kind::Usage,
        FetchError::File { .. } | FetchError::TooLarge { .. } | FetchError::Status { .. } => Kind::BadInput,
        FetchError::StandardInput(_) | FetchError::NoTls { .. } | FetchError::Web { .. } => Kind::Failed,
    };
    Failure::new(kind, redact_text(&e.to_string())).hint(e.hint())
}
