//! `streamrip verify`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::printing;
use super::render::{bars, clean, count, size};
use crate::app::library::verify::{Problem, Verified, VerifyRequest, verify};
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::catalog::files::Owner;

/// Options of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Look only whether files are there and have the right size; do not read them
    #[arg(long)]
    fast: bool,
    /// Also decode each joined talk at its begin, its end and its seams. Slow
    #[arg(long, conflicts_with = "fast")]
    deep: bool,
    /// Write into the catalog what the disk shows: unknown files, lost and found ones, missing sums.
    /// Deletes nothing. Not while a daemon runs
    #[arg(long)]
    repair: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Looks at every file and at the catalog; exit code 4 where something is wrong, 7 where the catalog itself
/// is damaged.
///
/// # Errors
/// When there is no catalog, or one cannot repair now.
pub async fn run(env: &Env, args: &VerifyArgs, out: &mut dyn Write) -> Result<ExitCode> {
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {bytes} of {total_bytes} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = bars().add(ProgressBar::new(0).with_style(style).with_message("verifying"));
    let (env, shown) = (env.clone(), bar.clone());
    let request = VerifyRequest { fast: args.fast, repair: args.repair, deep: args.deep };
    let verified = tokio::task::spawn_blocking(move || {
        verify(&env, request, &mut |done, total| {
            shown.set_length(total);
            shown.set_position(done);
        })
    })
    .await
    .unwrap_or_else(|e| Err(Failure::new(Kind::Failed, "verifying ended").because(e)));
    bar.finish_and_clear();
    let verified = verified?;
    let printed = if args.json { print_json(&verified, out) } else { print(&verified, args.fast, out) };
    printed.map_err(printing)?;
    Ok(verified.kind().map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind as u8)))
}

fn print(verified: &Verified, fast: bool, out: &mut dyn Write) -> std::io::Result<()> {
    for line in &verified.repaired {
        writeln!(out, "repaired: {line}")?;
    }
    for problem in &verified.problems {
        let path = problem.path.as_ref().map_or_else(|| "catalog".to_owned(), |p| p.display().to_string());
        writeln!(out, "{}  {}", problem.fault, clean(&format!("{path}: {}", problem.message)))?;
    }
    let earlier = match verified.earlier {
        0 => String::new(),
        n => format!(", {}", count(n, "earlier file")),
    };
    let looked =
        format!("{}, {}{earlier}", count(verified.segments, "segment"), count(verified.assemblies, "joined talk"));
    let read = if fast { "sizes only".to_owned() } else { format!("{} read", size(verified.bytes_read)) };
    let lost = match verified.known_lost {
        0 => String::new(),
        n => format!("; {} known to be lost", count(n, "segment")),
    };
    let problems = match verified.problems.len() {
        0 => "everything is as recorded".to_owned(),
        n => count(n, "problem"),
    };
    writeln!(out, "{looked} ({read}): {problems}{lost}")
}

fn print_json(verified: &Verified, out: &mut dyn Write) -> std::io::Result<()> {
    let problem = |p: &Problem| {
        let (segment, talk) = match p.owner {
            Some(Owner::Segment(id)) => (Some(id.0), None),
            Some(Owner::Assembly(_, talk) | Owner::Earlier(_, talk)) => (None, Some(talk.0)),
            None => (None, None),
        };
        json!({"kind": p.fault.to_string(), "path": p.path, "segment": segment, "talk": talk, "message": p.message})
    };
    let problems: Vec<_> = verified.problems.iter().map(problem).collect();
    let all = json!({
        "ok": verified.is_sound(),
        "segments": verified.segments,
        "assemblies": verified.assemblies,
        "earlier_files": verified.earlier,
        "bytes_read": verified.bytes_read,
        "known_lost": verified.known_lost,
        "repaired": verified.repaired,
        "problems": problems,
    });
    writeln!(out, "{all}")
}
