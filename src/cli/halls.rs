//! `streamrip halls` and `streamrip halls set`.

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::printing;
use super::render::{clean, count};
use crate::app::schedule::halls::{self, HallReport};
use crate::app::schedule::halls_import::{self, HallsImport, HallsImported};
use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::catalog;
use crate::domain::hls::Quality;
use crate::domain::offer::Tech;
use crate::domain::stream_url::{StreamUrl, redact_text};

/// List halls and their streams, or set the streams of one
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct HallsArgs {
    #[command(subcommand)]
    command: Option<HallsCommand>,
    /// Only halls of this event
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum HallsCommand {
    /// Set the streams of all halls from the congress' own list (streams/v2.json of the CCC)
    Import {
        /// A file, -, or an address such as https://streaming.media.ccc.de/streams/v2.json
        source: String,
        /// Which of several pictures: best, worst, audio or a height such as 720p
        #[arg(long, default_value = "best")]
        quality: Quality,
        /// What comes first of one quality: hls, webm, opus or mp3
        #[arg(long, default_value = "hls")]
        tech: Tech,
        /// Only halls of this event
        #[arg(long, value_name = "NAME")]
        event: Option<String>,
        /// Take addresses of this machine and of private networks too
        #[arg(long)]
        allow_private: bool,
        /// Say what would be set, and set nothing
        #[arg(long)]
        dry_run: bool,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Set the streams of a hall, the preferred one first; a running daemon takes them at once
    Set {
        /// Its name or an alias
        hall: String,
        /// Addresses of its streams: mirrors of each other
        #[arg(required_unless_present = "clear", value_name = "URL")]
        urls: Vec<String>,
        /// Forget what was set; the next import takes the streams of the halls file or the schedule
        #[arg(long, conflicts_with = "urls")]
        clear: bool,
        /// The event, where several have such a hall
        #[arg(long, value_name = "NAME")]
        event: Option<String>,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Lists or sets, and prints to `out`.
///
/// # Errors
/// When the catalog fails, a hall or event does not exist, an address is not allowed, or `out` cannot
/// be written.
pub async fn run(env: &Env, args: &HallsArgs, out: &mut dyn Write) -> Result<ExitCode> {
    match &args.command {
        None => {
            let db = catalog::open_reader(&env.data_dir)?;
            let halls = halls::list(&db, args.event.as_deref())?;
            print(&halls, args.json, out)
        }
        Some(HallsCommand::Import { source, quality, tech, event, allow_private, dry_run, json }) => {
            let request = HallsImport {
                source: source.clone(),
                event: event.clone(),
                quality: *quality,
                tech: *tech,
                allow_private: *allow_private,
                dry_run: *dry_run,
            };
            let imported = halls_import::import(env, &request).await?;
            print_imported(&imported, *dry_run, *json, out).map_err(printing)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(HallsCommand::Set { hall, urls, clear: _, event, json }) => {
            // A catalog that is not there yet has no hall to set: it must not be made for that.
            drop(catalog::open_reader(&env.data_dir)?);
            let mut db = catalog::open_writer(&env.data_dir)?;
            let hall = halls::set(&mut db, event.as_deref(), hall, urls, env.clock.now())?;
            print(&[hall], *json, out)
        }
    }
}

fn print(halls: &[HallReport], json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    if json {
        let text = serde_json::to_string_pretty(&halls.iter().map(to_json).collect::<Vec<_>>()).unwrap_or_default();
        writeln!(out, "{text}").map_err(printing)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut event = None;
    for report in halls {
        if event != Some(&report.event) {
            writeln!(out, "{}", clean(&report.event)).map_err(printing)?;
            event = Some(&report.event);
        }
        print_hall(report, out).map_err(printing)?;
    }
    if halls.is_empty() {
        writeln!(out, "no halls yet").map_err(printing)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print_imported(imported: &HallsImported, dry_run: bool, json: bool, out: &mut dyn Write) -> std::io::Result<()> {
    if json {
        let urls = |urls: &[StreamUrl]| urls.iter().map(ToString::to_string).collect::<Vec<_>>();
        let set: Vec<_> = imported
            .set
            .iter()
            .map(|(event, hall, streams)| json!({"event": event, "hall": hall, "streams": urls(streams)}))
            .collect();
        return writeln!(out, "{}", json!({"halls": set, "warnings": imported.warnings, "dry_run": dry_run}));
    }
    for (_, hall, streams) in &imported.set {
        writeln!(out, "{}", clean(hall))?;
        for url in streams {
            writeln!(out, "  {url}")?;
        }
    }
    for warning in &imported.warnings {
        writeln!(out, "warning: {}", clean(warning))?;
    }
    if dry_run {
        writeln!(out, "dry run: nothing was set")?;
    }
    Ok(())
}

fn print_hall(report: &HallReport, out: &mut dyn Write) -> std::io::Result<()> {
    let hall = &report.hall;
    let mut notes = vec![count(report.talks, "talk")];
    if !hall.aliases.is_empty() {
        notes.push(format!("also {}", hall.aliases.join(", ")));
    }
    notes.extend(hall.recorder.map(|r| r.to_string()));
    notes.extend(hall.quality.map(|q| q.to_string()));
    if hall.max_connections != crate::domain::halls_file::DEFAULT_MAX_CONNECTIONS {
        notes.push(count(hall.max_connections as usize, "connection"));
    }
    notes.extend(hall.redundancy.filter(|n| *n > 1).map(|n| format!("{n} mirrors at once")));
    writeln!(out, "  {}: {}", clean(&hall.name), clean(&notes.join(", ")))?;
    for stream in &hall.streams {
        writeln!(out, "    {} ({})", clean(&redact_text(&stream.url)), stream.origin.as_str())?;
    }
    if hall.streams.is_empty() {
        let missing = if report.talks > 0 { "no stream: its talks will not be recorded" } else { "no stream" };
        writeln!(out, "    {missing}")?;
    }
    Ok(())
}

fn to_json(report: &HallReport) -> Value {
    let hall = &report.hall;
    let streams = hall.streams.iter().map(|s| json!({"url": redact_text(&s.url), "origin": s.origin.as_str()}));
    json!({
        "event": report.event,
        "hall": hall.name,
        "aliases": hall.aliases,
        "talks": report.talks,
        "streams": streams.collect::<Vec<_>>(),
        "recorder": hall.recorder.map(|r| r.to_string()),
        "quality": hall.quality.map(|q| q.to_string()),
        "max_connections": hall.max_connections,
        "redundancy": hall.redundancy,
    })
}
