//! `streamrip prune`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::printing;
use super::render::{Align, Table, size, width};
use crate::app::assemble::with_catalog;
use crate::app::env::Env;
use crate::app::failure::Result;
use crate::app::prune::{Looked, look, prune};
use crate::catalog::open_reader;

/// Options of `prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Only say what would be deleted, and what not, with the reasons
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Deletes fragments and what is no media, where their talks are assembled.
///
/// # Errors
/// When there is no catalog, or it cannot be used.
pub async fn run(env: &Env, args: &PruneArgs, out: &mut dyn Write) -> Result<ExitCode> {
    let looked = if args.dry_run {
        look(&open_reader(&env.data_dir)?, env)?
    } else {
        // Reading first: without a catalog there is nothing to make one for.
        drop(open_reader(&env.data_dir)?);
        with_catalog(env, async |reader, writer| prune(env, reader, writer, false).await).await?
    };
    if args.json {
        let all: Vec<_> = looked.iter().map(json).collect();
        writeln!(out, "{}", Value::from(all)).map_err(printing)?;
    } else {
        print(&looked, args.dry_run, out).map_err(printing)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn json(looked: &Looked) -> Value {
    json!({
        "segment": looked.segment.0,
        "path": looked.path,
        "bytes": looked.bytes,
        "deleted": looked.goes,
        "reason": looked.reason,
    })
}

fn print(looked: &[Looked], dry: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let (going, staying): (Vec<_>, Vec<_>) = looked.iter().partition(|l| l.goes);
    let mut table =
        Table::new(&[("", Align::Left), ("segment", Align::Right), ("size", Align::Right), ("why", Align::Left)], 3);
    let verb = if dry { "would delete" } else { "deleted" };
    for l in &going {
        table.row([verb.to_owned(), l.segment.to_string(), size(l.bytes), l.reason.clone()]);
    }
    for l in &staying {
        table.row(["kept".to_owned(), l.segment.to_string(), size(l.bytes), l.reason.clone()]);
    }
    if !looked.is_empty() {
        // Reasons are printed whole: they are what one asks for.
        for line in table.lines(width().max(200)) {
            writeln!(out, "{line}")?;
        }
    }
    let bytes = going.iter().map(|l| l.bytes).sum();
    writeln!(out, "{verb} {} of {} fragments and files without media: {}", going.len(), looked.len(), size(bytes))
}
