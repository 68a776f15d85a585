//! `streamrip check`.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::sync::mpsc;

use super::printing;
use super::render::{Align, Table, clean, count};
use crate::app::check::{Finding, Level, check, check_services};
use crate::app::support::env::Env;
use crate::app::support::failure::{Kind, Result};
use crate::app::support::lock;
use crate::source::Sources;
use crate::source::log::{LineLog, NoLog};

/// Options of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Only this event
    #[arg(long)]
    event: Option<String>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Looks at programs, streams, disk and schedule; exit code 4 where a talk would be missed.
///
/// # Errors
/// When there is no catalog or no such event.
pub async fn run(env: &Env, args: &CheckArgs, out: &mut dyn Write) -> Result<ExitCode> {
    let log: Arc<dyn LineLog> = Arc::new(NoLog);
    let sources = Sources::programs(&log);
    let (tell, mut found) = mpsc::unbounded_channel();
    let daemon = lock::is_taken(&env.data_dir);
    let mut all = Vec::new();
    let everything = async {
        check(env, &sources, args.event.as_deref(), daemon, tell.clone()).await?;
        check_services(env, args.event.as_deref(), &tell).await?;
        drop(tell);
        Result::Ok(())
    };
    let (checked, ()) = tokio::join!(everything, async {
        while let Some(finding) = found.recv().await {
            all.push(finding);
        }
    });
    checked?;
    let of = |level| all.iter().filter(|f| f.level == level).count();
    let (problems, warnings) = (of(Level::Problem), of(Level::Warning));
    if args.json {
        let findings: Vec<_> = all
            .iter()
            .map(|f| serde_json::json!({"level": f.level.as_str(), "kind": f.kind, "what": f.what, "message": f.message}))
            .collect();
        let all = serde_json::json!({"problems": problems, "warnings": warnings, "findings": findings});
        writeln!(out, "{all}").map_err(printing)?;
    } else {
        print(all, out).map_err(printing)?;
        writeln!(out, "\n{}, {}", count(problems, "problem"), count(warnings, "warning")).map_err(printing)?;
    }
    Ok(if problems == 0 { ExitCode::SUCCESS } else { ExitCode::from(Kind::Incomplete as u8) })
}

/// A table: what is about all of it, then hall by hall, then what recording leaves behind.
fn print(mut all: Vec<Finding>, out: &mut dyn Write) -> std::io::Result<()> {
    all.sort_by_key(|finding| {
        let hall = || finding.what.clone();
        match finding.kind {
            "soon" | "hall" | "overlap" | "stream" | "mirror" | "forecast" => (1, hall()),
            "disk" | "refresh" | "notify" => (2, String::new()),
            _ => (0, String::new()),
        }
    });
    let columns = [("", Align::Left), ("KIND", Align::Left), ("WHAT", Align::Left), ("FOUND", Align::Left)];
    let mut table = Table::new(&columns, 3);
    for finding in all {
        table.row([finding.level.as_str().to_owned(), finding.kind.to_owned(), finding.what, finding.message]);
    }
    // What was found is to be read, and addresses are for copying: nothing is cut, whatever the width.
    table.lines(usize::MAX).iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// One finding in one line.
pub(super) fn finding_line(finding: &Finding) -> String {
    clean(&format!("{} {}: {}", finding.kind, finding.what, finding.message))
}
