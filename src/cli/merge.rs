//! `streamrip merge OTHER_DATA_DIR`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::assemble::{outcome_json, outcome_text, progress};
use super::printing;
use super::render::{clean, count, length, size};
use crate::app::library::merge::{self, Filling};
use crate::app::support::env::Env;
use crate::app::support::failure::{Kind, Result};
use crate::catalog::open_reader;

/// Options of `merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// Data directory of another recorder of the same conference; nothing is changed there
    other: PathBuf,
    /// Print what would be taken over
    #[arg(long)]
    dry_run: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Takes over what fills our gaps, with progress on the terminal. Exit code 4 where something could not be
/// taken, 1 where a talk could not be joined.
///
/// # Errors
/// When a catalog cannot be used, the two have nothing in common, or another merge is at work.
pub async fn run(env: &Env, args: &MergeArgs, out: &mut dyn Write) -> Result<ExitCode> {
    let plan = {
        let db = open_reader(&env.data_dir)?;
        merge::plan(env, &db, &args.other)?
    };
    let (fillings, notes) = (plan.fillings.clone(), plan.notes.clone());
    if !args.json {
        for note in &notes {
            tracing::warn!("{}", clean(note));
        }
        for filling in &fillings {
            writeln!(out, "{}", clean(&line(filling))).map_err(printing)?;
        }
        if fillings.is_empty() {
            writeln!(out, "nothing there that would fill a gap").map_err(printing)?;
        }
    }
    let mut all = json!({
        "other": args.other.display().to_string(),
        "dry_run": args.dry_run,
        "segments": fillings.iter().map(filling_json).collect::<Vec<_>>(),
        "notes": notes,
    });
    if args.dry_run || fillings.is_empty() {
        if args.json {
            writeln!(out, "{all}").map_err(printing)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (bar, progress) = progress("copying");
    let result = merge::merge(env, &args.other, plan, progress).await;
    bar.finish_and_clear();
    let done = result?;
    let failed = done.talks.iter().any(|(.., outcome)| outcome.is_err());
    if args.json {
        all["taken"] = done.segments.into();
        all["bytes"] = done.bytes.into();
        all["refused"] = done.refused.clone().into();
        all["talks"] =
            done.talks.iter().map(|(id, title, outcome)| outcome_json(*id, title, outcome)).collect::<Value>();
        writeln!(out, "{all}").map_err(printing)?;
    } else {
        for refused in &done.refused {
            tracing::error!("{}", clean(refused));
        }
        let taken = format!("{} taken over, {}", count(done.segments, "segment"), size(done.bytes));
        writeln!(out, "{taken}").map_err(printing)?;
        for (id, title, outcome) in &done.talks {
            writeln!(out, "talk {id} {:?}: {}", clean(title), outcome_text(outcome)).map_err(printing)?;
        }
    }
    Ok(match (failed, done.refused.is_empty()) {
        (true, _) => ExitCode::from(Kind::Failed as u8),
        (false, false) => ExitCode::from(Kind::Incomplete as u8),
        (false, true) => ExitCode::SUCCESS,
    })
}

fn line(f: &Filling) -> String {
    let clock = match f.taken.shared_packets {
        0 => "clocks trusted".to_owned(),
        n => format!("clock {:+.1} s, by {}", f.taken.clock_ms as f64 / 1000.0, count(n, "equal packet")),
    };
    let path = f.foreign.segment.path.display();
    format!("{} {}: {path} fills {} ({}; {clock})", f.event, f.hall, length(f.fills_ms), size(f.foreign.segment.bytes))
}

fn filling_json(f: &Filling) -> Value {
    let utc = chrono_tz::Tz::UTC;
    json!({
        "event": f.event,
        "hall": f.hall,
        "uuid": f.foreign.segment.uuid.to_string(),
        "path": f.foreign.segment.path,
        "to": f.taken.path,
        "bytes": f.foreign.segment.bytes,
        "fills_seconds": f.fills_ms as f64 / 1000.0,
        "start": f.wall.start.rfc3339(utc),
        "end": f.wall.end.rfc3339(utc),
        "clock_seconds": f.taken.clock_ms as f64 / 1000.0,
        "shared_packets": f.taken.shared_packets,
    })
}
