//! `streamrip assemble`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::printing;
use super::render::{bars, clean, length, size, stderr_is_terminal};
use crate::app::assemble::{self, AssembleOutcome, Prepared, carry_out, prepare, with_catalog};
use crate::app::env::Env;
use crate::app::failure::{Failure, Kind, Result};
use crate::app::report::{self, Selection};
use crate::catalog::open_reader;
use crate::domain::ids::TalkId;
use crate::domain::talk::TalkState;

/// Options of `assemble`.
#[derive(Debug, Args)]
pub struct AssembleArgs {
    /// Talks, by id, UID or a piece of the title [default: all whose time is over]
    #[arg(value_name = "TALK")]
    talks: Vec<String>,
    /// Also those whose file is up to date, or whose time is not over
    #[arg(long)]
    force: bool,
    /// Only print the plans
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Makes the files of talks.
///
/// # Errors
/// When there is no such talk or no catalog, or when a file could not be made.
pub async fn run(env: &Env, args: &AssembleArgs, out: &mut dyn Write) -> Result<ExitCode> {
    let talks = {
        let db = open_reader(&env.data_dir)?;
        if args.talks.is_empty() {
            let past = [TalkState::Complete, TalkState::Partial];
            let all = report::select(&db, env, &Selection::default())?;
            all.iter().filter(|v| past.contains(&v.report.state)).map(|v| v.talk.id).collect::<Vec<_>>()
        } else {
            args.talks.iter().map(|t| Ok(report::find_talk(&db, t)?.id)).collect::<Result<_>>()?
        }
    };
    let done = with_catalog(env, async |reader, writer| {
        let mut done: Vec<(TalkId, String, Result<AssembleOutcome>, Vec<String>)> = Vec::new();
        for talk in talks {
            let _lock = assemble::lock(env).await?;
            let result = match prepare(env, reader, writer, talk, args.force).await {
                Ok(prepared) => {
                    let plan = prepared.plan.describe();
                    let title = prepared.view.talk.title.clone();
                    let outcome = if args.dry_run {
                        Ok(prepared.settled.clone().unwrap_or_else(|| would(&prepared)))
                    } else {
                        let bar = bar(&prepared);
                        let outcome = carry_out(env, reader, writer, &prepared, &mut |ms| bar.set_position(ms)).await;
                        bar.finish_and_clear();
                        outcome
                    };
                    (talk, title, outcome, plan)
                }
                Err(e) => (talk, String::new(), Err(e), Vec::new()),
            };
            if !args.json {
                print(&result, args.dry_run, out).map_err(printing)?;
            }
            done.push(result);
        }
        Ok(done)
    })
    .await?;
    if args.json {
        let all: Vec<_> = done.iter().map(|d| json(d, args.dry_run)).collect();
        writeln!(out, "{}", Value::from(all)).map_err(printing)?;
    }
    let failed = done.iter().filter(|(_, _, outcome, _)| outcome.is_err()).count();
    match done.into_iter().find_map(|(_, _, outcome, _)| outcome.err()) {
        None => Ok(ExitCode::SUCCESS),
        Some(e) if failed == 1 => Err(e),
        Some(e) => {
            Err(Failure::new(Kind::Failed, format!("{failed} talks could not be joined, the first since")).because(e))
        }
    }
}

/// What carrying out would give.
fn would(prepared: &Prepared) -> AssembleOutcome {
    AssembleOutcome::Made { path: prepared.path.clone(), bytes: 0, duration_ms: prepared.plan.duration_ms }
}

fn bar(prepared: &Prepared) -> ProgressBar {
    if !stderr_is_terminal() || prepared.settled.is_some() {
        return ProgressBar::hidden();
    }
    let total = u64::try_from(prepared.plan.duration_ms).unwrap_or_default();
    let style = ProgressStyle::with_template("{prefix} {bar:30} {percent:>3} %")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let title: String = clean(&prepared.view.talk.title).chars().take(40).collect();
    bars().add(ProgressBar::new(total).with_style(style).with_prefix(title))
}

fn print(
    (talk, title, outcome, plan): &(TalkId, String, Result<AssembleOutcome>, Vec<String>),
    dry: bool,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let title = clean(title);
    match outcome {
        Ok(AssembleOutcome::Made { path, duration_ms, .. }) if dry => {
            writeln!(out, "{talk} {title}: would make {}, {}", path.display(), length(*duration_ms))?;
        }
        Ok(AssembleOutcome::Made { path, bytes, duration_ms }) => {
            writeln!(out, "{talk} {title}: made {}, {}, {}", path.display(), length(*duration_ms), size(*bytes))?;
        }
        Ok(AssembleOutcome::UpToDate { path }) => writeln!(out, "{talk} {title}: up to date: {}", path.display())?,
        Ok(AssembleOutcome::Kept { path, reason }) => {
            writeln!(out, "{talk} {title}: kept {}: {reason}", path.display())?;
        }
        Ok(AssembleOutcome::Nothing { reason }) => writeln!(out, "{talk} {title}: {reason}")?,
        Err(e) => writeln!(out, "{talk} {title}: failed: {e}")?,
    }
    if dry {
        for line in plan {
            writeln!(out, "    {}", clean(line))?;
        }
    }
    Ok(())
}

fn json((talk, title, outcome, plan): &(TalkId, String, Result<AssembleOutcome>, Vec<String>), dry: bool) -> Value {
    let mut value = match outcome {
        Ok(AssembleOutcome::Made { path, bytes, duration_ms }) => json!({
            "outcome": if dry { "would-make" } else { "made" },
            "path": path,
            "bytes": if dry { Value::Null } else { json!(bytes) },
            "seconds": *duration_ms as f64 / 1000.0,
        }),
        Ok(AssembleOutcome::UpToDate { path }) => json!({ "outcome": "up-to-date", "path": path }),
        Ok(AssembleOutcome::Kept { path, reason }) => json!({ "outcome": "kept", "path": path, "reason": reason }),
        Ok(AssembleOutcome::Nothing { reason }) => json!({ "outcome": "nothing", "reason": reason }),
        Err(e) => json!({ "outcome": "failed", "reason": e.to_string() }),
    };
    value["talk"] = json!(talk.0);
    value["title"] = json!(title);
    value["plan"] = json!(plan);
    value
}
