//! `streamrip import`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use chrono_tz::Tz;
use serde_json::{Value, json};

use super::printing;
use super::render::{clean, count, fit, width};
use crate::app::schedule::import::{ImportReport, ImportRequest, ReportedChange, import_into};
use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::domain::schedule::Warning;
use crate::plan::schedule_diff::ChangeKind;

/// Changes printed at most; `--json` has all.
const MAX_CHANGES: usize = 100;
/// Warnings of one kind printed at most; `--json` has all.
const MAX_WARNINGS: usize = 5;

/// Import a schedule: talks, halls and stream addresses
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The calendar (.ics), schedule.xml or schedule.json, also packed with gzip: a file, an http(s) or webcal address, or
    /// - for standard input
    source: String,
    /// The event's name [default: the file's name without .ics]
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Which streams each hall has [default: the .toml file beside SOURCE, or the one of the last import]
    #[arg(long, value_name = "FILE")]
    halls: Option<PathBuf>,
    /// schedule.xml or schedule.json of the same event: names speakers, and talks that must not be recorded
    #[arg(long, value_name = "FILE|URL")]
    schedule_xml: Option<String>,
    /// Time zone of times that name none, such as Europe/Berlin
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    tz: Option<Tz>,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Import it even if it removes most talks, takes streams away, or looks like another event's
    #[arg(long)]
    force: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

fn zone(name: &str) -> std::result::Result<Tz, String> {
    Tz::from_str_insensitive(name.trim()).map_err(|_| {
        let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        let message = crate::config::settings::suggest(name, names, "time zone");
        if message.len() > 200 {
            "there is no such time zone; names look like Europe/Berlin".to_owned()
        } else {
            message
        }
    })
}

/// Imports and prints what changed to `out`; warnings go to standard error, or with `--json` into it.
///
/// # Errors
/// As [`import_into`], and when `out` cannot be written.
pub async fn run(env: &Env, args: &ImportArgs, out: &mut dyn Write) -> Result<ExitCode> {
    let request = ImportRequest {
        source: args.source.clone(),
        event: args.event.clone(),
        halls: args.halls.clone(),
        schedule_xml: args.schedule_xml.clone(),
        zone: args.tz,
        dry_run: args.dry_run,
        force: args.force,
    };
    let report = import_into(env, &request).await?;
    if args.json {
        let text = serde_json::to_string_pretty(&to_json(&report)).unwrap_or_default();
        writeln!(out, "{text}").map_err(printing)?;
    } else {
        print(&report, out).map_err(printing)?;
        // Standard error may be closed; that is no reason to fail.
        let _ = print_warnings(&report.warnings, &mut io::stderr().lock());
    }
    Ok(ExitCode::SUCCESS)
}

/// The report as the README documents it.
#[must_use]
pub fn to_json(report: &ImportReport) -> Value {
    let warnings =
        report.warnings.iter().map(|w| json!({"kind": w.kind.as_str(), "talk": w.talk, "message": w.message}));
    let changes = report.changes.iter().map(|c| {
        json!({
            "kind": c.kind.as_str(),
            "talk": c.talk.map(|id| id.0),
            "uid": c.uid,
            "title": c.title,
            "hall": c.hall,
            "before": c.before,
            "after": c.after,
        })
    });
    let mut all = json!({
        "event": report.event,
        "talks": report.talks,
        "added": report.added,
        "changed": report.changed,
        "removed": report.removed,
        "unchanged": report.unchanged,
        "warnings": warnings.collect::<Vec<_>>(),
        "changes": changes.collect::<Vec<_>>(),
    });
    if let Some(joined) = &report.joined {
        all["recognised"] = json!(joined);
    }
    all
}

/// Prints the report for people.
///
/// # Errors
/// When `out` cannot be written.
pub fn print(report: &ImportReport, out: &mut dyn Write) -> io::Result<()> {
    let event = clean(&report.event);
    let dry = if report.dry_run { " (dry run: nothing was written)" } else { "" };
    if let Some(joined) = &report.joined {
        writeln!(out, "{event}: talks of schedule.xml recognised: {joined}")?;
    }
    if report.is_new {
        let halls: std::collections::BTreeSet<_> = report.changes.iter().map(|c| &c.hall).collect();
        let (talks, halls) = (count(report.talks, "talk"), count(halls.len(), "hall"));
        return writeln!(out, "{event}: new, {talks} in {halls}, times in {}{dry}", report.zone);
    }
    if report.changes.is_empty() {
        return writeln!(out, "{event}: unchanged, {}{dry}", count(report.talks, "talk"));
    }
    let numbers = [
        (report.added, "added"),
        (report.changed, "changed"),
        (report.removed, "removed"),
        (report.unchanged, "unchanged"),
    ];
    let numbers: Vec<_> = numbers.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    writeln!(out, "{event}: {}, times in {}{dry}", numbers.join(", "), report.zone)?;
    for change in report.changes.iter().take(MAX_CHANGES) {
        print_change(change, out)?;
    }
    if report.changes.len() > MAX_CHANGES {
        writeln!(out, "  and {} more; --json prints all", report.changes.len() - MAX_CHANGES)?;
    }
    Ok(())
}

fn print_change(change: &ReportedChange, out: &mut dyn Write) -> io::Result<()> {
    let id = change.talk.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let head = format!("  {:<11} {id:>4}  ", change.kind.as_str());
    let room = width().saturating_sub(head.len());
    match change.kind {
        ChangeKind::Retitled => {
            // Whole, whatever the width: what differs may be at the end.
            let title = |text: &Option<String>| clean(text.as_deref().unwrap_or_default());
            writeln!(out, "{head}{}", title(&change.before))?;
            writeln!(out, "{:>1$}-> {2}", "", head.len(), title(&change.after))
        }
        _ => {
            writeln!(out, "{head}{}", fit(&change.title, room))?;
            let what = match (&change.before, &change.after) {
                (Some(before), Some(after)) => format!("{before} -> {after}"),
                (Some(one), None) | (None, Some(one)) => format!("{one}, {}", change.hall),
                (None, None) => return Ok(()),
            };
            writeln!(out, "{:>1$}{2}", "", head.len(), fit(&what, room))
        }
    }
}

/// Prints warnings, a few of each kind.
///
/// # Errors
/// When `err` cannot be written.
pub fn print_warnings(warnings: &[Warning], err: &mut dyn Write) -> io::Result<()> {
    let mut by_kind: BTreeMap<_, Vec<&Warning>> = BTreeMap::new();
    for warning in warnings {
        by_kind.entry(warning.kind).or_default().push(warning);
    }
    for (kind, list) in by_kind {
        for warning in list.iter().take(MAX_WARNINGS) {
            let about = match &warning.talk {
                Some(talk) if !warning.message.contains(talk.as_str()) => format!(" ({})", clean(talk)),
                _ => String::new(),
            };
            writeln!(err, "warning: {}: {}{about}", kind.as_str(), clean(&warning.message))?;
        }
        if list.len() > MAX_WARNINGS {
            writeln!(err, "warning: {}: and {} more like these", kind.as_str(), list.len() - MAX_WARNINGS)?;
        }
    }
    Ok(())
}
