//! `streamrip extend` and `streamrip record`: what overruns, and what no schedule names.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::printing;
use super::render::clean;
use crate::app::schedule::manual;
use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::app::support::lock;
use crate::catalog::{open_writer, schedule};
use crate::config::values::parse_duration;
use crate::domain::talk::Talk;

/// Options of `extend`.
#[derive(Debug, Args)]
pub struct ExtendArgs {
    /// Id, UID, or a unique piece of the title
    talk: String,
    /// How much longer, as 30m
    #[arg(value_parser = parse_duration)]
    by: i64,
}

/// Prolongs a talk's slot.
///
/// # Errors
/// When there is no such talk, or it is off.
pub fn extend(env: &Env, args: &ExtendArgs, out: &mut dyn Write) -> Result<ExitCode> {
    drop(crate::catalog::open_reader(&env.data_dir)?);
    let mut db = open_writer(&env.data_dir)?;
    let talk = manual::extend(&mut db, &args.talk, args.by)?;
    told(env, &db, &talk, out)
}

/// Options of `record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Hall (name or alias)
    hall: String,
    /// For how long, as 1h or 90m
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    length: i64,
    /// Title of the recording
    #[arg(long)]
    title: Option<String>,
    /// Event, where several have such a hall
    #[arg(long)]
    event: Option<String>,
}

/// Adds a recording of a hall, from now on.
///
/// # Errors
/// When there is no such hall, or it has no stream.
pub fn record(env: &Env, args: &RecordArgs, out: &mut dyn Write) -> Result<ExitCode> {
    drop(crate::catalog::open_reader(&env.data_dir)?);
    let mut db = open_writer(&env.data_dir)?;
    let talk = manual::record(&mut db, env, args.event.as_deref(), &args.hall, args.length, args.title.as_deref())?;
    told(env, &db, &talk, out)
}

fn told(env: &Env, db: &rusqlite::Connection, talk: &Talk, out: &mut dyn Write) -> Result<ExitCode> {
    let zone = schedule::events(db)?.iter().find(|e| e.id == talk.event).map_or(chrono_tz::Tz::UTC, |e| e.zone);
    let time = |at: crate::domain::time::Ms| at.in_zone(zone).format("%H:%M:%S");
    let title = clean(&talk.title);
    writeln!(out, "talk {} {title:?}: {} - {} ({zone})", talk.id, time(talk.slot.start), time(talk.slot.end))
        .map_err(printing)?;
    if !lock::is_taken(&env.data_dir) {
        tracing::warn!("no daemon runs: nothing is recorded until you start one with: streamrip run");
    }
    Ok(ExitCode::SUCCESS)
}
