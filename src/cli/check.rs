//! `streamrip check`.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::sync::mpsc;

use super::printing;
use super::render::{clean, count};
use crate::app::check::{Finding, Level, check, check_services};
use crate::app::env::Env;
use crate::app::failure::{Kind, Result};
use crate::app::lock;
use crate::source::Sources;
use crate::source::log::{LineLog, NoLog};

/// Options of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Only this event
    #[arg(long)]
    event: Option<String>,
    /// Print JSON
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
    let mut printed = Ok(());
    let everything = async {
        check(env, &sources, args.event.as_deref(), daemon, tell.clone()).await?;
        check_services(env, args.event.as_deref(), &tell).await?;
        drop(tell);
        Result::Ok(())
    };
    let (checked, ()) = tokio::join!(everything, async {
        while let Some(finding) = found.recv().await {
            if !args.json && printed.is_ok() {
                printed = writeln!(out, "{:7}  {}", finding.level.as_str(), finding_line(&finding))
                    .and_then(|()| out.flush());
            }
            all.push(finding);
        }
    });
    checked?;
    printed.map_err(printing)?;
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
        writeln!(out, "\n{}, {}", count(problems, "problem"), count(warnings, "warning")).map_err(printing)?;
    }
    Ok(if problems == 0 { ExitCode::SUCCESS } else { ExitCode::from(Kind::Incomplete as u8) })
}

/// One finding in one line.
pub(super) fn finding_line(finding: &Finding) -> String {
    clean(&format!("{} {}: {}", finding.kind, finding.what, finding.message))
}
