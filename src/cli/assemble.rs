//! `streamrip assemble`.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::printing;
use super::render::{bars, clean, count, fit, length};
use crate::app::library::assemble::{self, AssembleOutcome, Progress};
use crate::app::library::report::{self, Selection};
use crate::app::support::env::Env;
use crate::app::support::failure::{Kind, Result};
use crate::catalog::open_reader;
use crate::domain::ids::TalkId;
use crate::domain::talk::TalkState;

/// Options of `assemble`.
#[derive(Debug, Args)]
pub struct AssembleArgs {
    /// Talks: id, UID, or a unique piece of the title [default: all that are over]
    talks: Vec<String>,
    /// Make the file anew even where it is up to date
    #[arg(long)]
    force: bool,
    /// Print what each file would be made of
    #[arg(long)]
    dry_run: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Joins talks, with progress on the terminal; exit code 1 where one failed.
///
/// # Errors
/// When there is no such talk, or the catalog cannot be used.
pub async fn run(env: &Env, args: &AssembleArgs, out: &mut dyn Write) -> Result<ExitCode> {
    let db = open_reader(&env.data_dir)?;
    let talks = talks(&db, env, args)?;
    let mut all = Vec::new();
    if args.dry_run {
        for (id, title) in talks {
            let (_, plan) = assemble::plan_talk(&db, env, id)?;
            let lines = plan.describe();
            if args.json {
                all.push(
                    json!({"talk": id.0, "title": title, "seconds": plan.duration_ms as f64 / 1000.0, "plan": lines}),
                );
                continue;
            }
            writeln!(out, "talk {id} {:?}: {}", clean(&title), length(plan.duration_ms)).map_err(printing)?;
            for line in lines.iter().filter(|l| !l.starts_with("tag ") && !l.starts_with("title: ")) {
                writeln!(out, "  {}", clean(line)).map_err(printing)?;
            }
        }
        if args.json {
            writeln!(out, "{}", Value::from(all)).map_err(printing)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    drop(db);
    let (reader, writer) = assemble::open(env)?;
    let mut failed = 0;
    for (id, title) in talks {
        let (bar, progress) = progress(&title);
        let outcome = assemble::assemble_by_hand(env, &reader, &writer, id, args.force, progress).await;
        bar.finish_and_clear();
        failed += usize::from(outcome.is_err());
        if args.json {
            all.push(outcome_json(id, &title, &outcome));
        } else {
            writeln!(out, "talk {id} {:?}: {}", clean(&title), outcome_text(&outcome)).map_err(printing)?;
        }
    }
    if args.json {
        writeln!(out, "{}", Value::from(all)).map_err(printing)?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(Kind::Failed as u8) })
}

fn talks(db: &rusqlite::Connection, env: &Env, args: &AssembleArgs) -> Result<Vec<(TalkId, String)>> {
    if args.talks.is_empty() {
        let views = report::select(db, env, &Selection::default())?;
        let over = views
            .into_iter()
            .filter(|v| matches!(v.report.state, TalkState::Complete | TalkState::Partial) && !v.segments.is_empty());
        return Ok(over.map(|v| (v.talk.id, v.talk.title)).collect());
    }
    args.talks.iter().map(|text| report::find_talk(db, text).map(|talk| (talk.id, talk.title))).collect()
}

pub(super) fn progress(title: &str) -> (ProgressBar, Progress) {
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {percent} % {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = bars().add(ProgressBar::new(0).with_style(style).with_message(fit(title, 30)));
    let shown = bar.clone();
    let progress: Progress = Arc::new(move |done, total| {
        shown.set_length(total);
        shown.set_position(done);
    });
    (bar, progress)
}

pub(super) fn outcome_text(outcome: &Result<AssembleOutcome>) -> String {
    match outcome {
        Ok(AssembleOutcome::Made { path, duration_ms, gaps }) => {
            let gaps = if *gaps == 0 { "no gap".to_owned() } else { count(*gaps, "gap") };
            format!("{}, {gaps}: {}", length(*duration_ms), path.display())
        }
        Ok(AssembleOutcome::UpToDate(path)) => format!("up to date: {}", path.display()),
        Ok(AssembleOutcome::Kept(path)) => format!("kept, it has more than could be made now: {}", path.display()),
        Ok(AssembleOutcome::Pruned(gone)) => {
            format!("its file was deleted by prune ({}); --force makes it of what is left", gone.reason)
        }
        Ok(AssembleOutcome::Nothing(why)) => format!("nothing to join: {why}"),
        Err(failure) => match &failure.hint {
            Some(hint) => format!("failed: {failure} (hint: {hint})"),
            None => format!("failed: {failure}"),
        },
    }
}

pub(super) fn outcome_json(id: TalkId, title: &str, outcome: &Result<AssembleOutcome>) -> Value {
    let (word, path, detail) = match outcome {
        Ok(AssembleOutcome::Made { path, .. }) => ("made", Some(path), None),
        Ok(AssembleOutcome::UpToDate(path)) => ("up-to-date", Some(path), None),
        Ok(AssembleOutcome::Kept(path)) => ("kept", Some(path), None),
        Ok(AssembleOutcome::Pruned(gone)) => ("pruned", None, Some(gone.reason.clone())),
        Ok(AssembleOutcome::Nothing(why)) => ("nothing", None, Some(why.clone())),
        Err(failure) => ("failed", None, Some(failure.to_string())),
    };
    json!({"talk": id.0, "title": title, "outcome": word, "path": path, "detail": detail})
}
