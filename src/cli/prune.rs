//! `streamrip prune`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::printing;
use super::render::{count, size};
use crate::app::library::assemble;
use crate::app::library::prune::{PruneRequest, prune};
use crate::app::library::retention::retain;
use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::catalog::open_reader;

/// Options of `prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Print what would be deleted, and why
    #[arg(long)]
    dry_run: bool,
    /// Delete what was recorded of talks that turned out to be opted out, instead of fragments
    #[arg(long)]
    opted_out: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Deletes fragments and files that are no media, of talks that are joined, and what is older than the settings keep.
///
/// # Errors
/// When the catalog cannot be used, or a file cannot be deleted.
pub async fn run(env: &Env, args: &PruneArgs, out: &mut dyn Write) -> Result<ExitCode> {
    drop(open_reader(&env.data_dir)?);
    let (reader, writer) = assemble::open(env)?;
    let request = PruneRequest { dry_run: args.dry_run, opted_out: args.opted_out };
    let mut list = prune(env, &reader, &writer, request).await?;
    if !args.opted_out {
        list.extend(retain(env, &reader, &writer, args.dry_run).await?);
    }
    if args.json {
        let files: Vec<_> = list
            .iter()
            .map(|p| json!({"segment": p.segment.map(|s| s.0), "path": p.path, "bytes": p.bytes, "reason": p.reason}))
            .collect();
        writeln!(out, "{}", json!({"dry_run": args.dry_run, "files": files})).map_err(printing)?;
        return Ok(ExitCode::SUCCESS);
    }
    for gone in &list {
        writeln!(out, "{:>9}  {}  ({})", size(gone.bytes), gone.path.display(), gone.reason).map_err(printing)?;
    }
    let total = size(list.iter().map(|p| p.bytes).sum());
    let files = count(list.len(), "file");
    let said = if list.is_empty() {
        "nothing to prune".to_owned()
    } else if args.dry_run {
        format!("{files}, {total} would be deleted (dry run: nothing was)")
    } else {
        format!("{files}, {total} deleted")
    };
    writeln!(out, "{said}").map_err(printing)?;
    Ok(ExitCode::SUCCESS)
}
