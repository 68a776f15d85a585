//! `streamrip restore`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::printing;
use super::render::{Align, Table, size, width};
use crate::app::library::backup::{self, Restored};
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};

/// Options of `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// A backup: its path, or its name as --list shows it [default: the newest that is sound]
    #[arg(conflicts_with = "list")]
    file: Option<PathBuf>,
    /// List the backups instead
    #[arg(long)]
    list: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Puts a backup in the catalog's place and takes in what was recorded since.
///
/// # Errors
/// When a daemon runs, or there is no backup that can be used.
pub async fn run(env: &Env, args: &RestoreArgs, out: &mut dyn Write) -> Result<ExitCode> {
    if args.list {
        list(env, args.json, out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (env, file) = (env.clone(), args.file.clone());
    let restored = tokio::task::spawn_blocking(move || backup::restore(&env, file.as_deref()))
        .await
        .unwrap_or_else(|e| Err(Failure::new(Kind::Failed, "restoring ended").because(e)))?;
    let printed = if args.json { print_json(&restored, out) } else { print(&restored, out) };
    printed.map_err(printing)?;
    Ok(ExitCode::SUCCESS)
}

fn list(env: &Env, as_json: bool, out: &mut dyn Write) -> Result<()> {
    let all = backup::list(env)?;
    if as_json {
        let all: Vec<_> = all
            .iter()
            .map(|b| {
                let at = b.at.rfc3339(chrono_tz::Tz::UTC);
                json!({"path": b.path, "at": at, "occasion": b.occasion.to_string(), "bytes": b.bytes})
            })
            .collect();
        return writeln!(out, "{}", json!(all)).map_err(printing);
    }
    if all.is_empty() {
        return writeln!(out, "no backups yet: a daemon makes one each hour").map_err(printing);
    }
    let mut table = Table::new(&[("MADE", Align::Left), ("SIZE", Align::Right), ("NAME", Align::Left)], 2);
    for backup in &all {
        let name = backup.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let made = backup.at.to_utc().with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S").to_string();
        table.row([made, size(backup.bytes), name]);
    }
    table.lines(width()).iter().try_for_each(|line| writeln!(out, "{line}")).map_err(printing)
}

fn print(restored: &Restored, out: &mut dyn Write) -> std::io::Result<()> {
    for (path, why) in &restored.skipped {
        writeln!(out, "not used: {}: {why}", path.display())?;
    }
    writeln!(out, "restored: {}", restored.from.display())?;
    if let Some(aside) = &restored.aside {
        writeln!(out, "the catalog before it is kept: {}", aside.display())?;
    }
    if let Some(done) = restored.recovery.describe() {
        writeln!(out, "since the backup: {done}")?;
    }
    if restored.joined > 0 {
        writeln!(out, "since the backup: {} joined talk(s) taken in", restored.joined)?;
    }
    writeln!(out, "what was imported or extended since the backup is not in it: import the schedule again")
}

fn print_json(restored: &Restored, out: &mut dyn Write) -> std::io::Result<()> {
    let r = &restored.recovery;
    let skipped: Vec<_> = restored.skipped.iter().map(|(path, why)| json!({"path": path, "why": why})).collect();
    let all = json!({
        "restored": restored.from,
        "aside": restored.aside,
        "skipped": skipped,
        "closed": r.closed,
        "adopted": r.adopted,
        "lost": r.lost,
        "found": r.found,
        "joined": restored.joined,
    });
    writeln!(out, "{all}")
}
