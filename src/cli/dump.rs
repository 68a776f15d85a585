//! `streamrip dump URL...`: tape these addresses now, without a schedule.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use tokio::sync::watch;

use super::printing;
use super::render::{length, size};
use super::run::{display, stop_signal};
use crate::app::daemon::status::Status;
use crate::app::daemon::{self, RunOptions};
use crate::app::library::{assemble, report};
use crate::app::schedule::manual;
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::app::support::lock;
use crate::catalog::{open_reader, open_writer};
use crate::config::values::parse_duration;
use crate::domain::stream_url::StreamUrl;

/// Options of `dump`.
#[derive(Debug, Args)]
pub struct DumpArgs {
    /// Stream addresses, recorded side by side
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// Name of the recording [default: the address]
    #[arg(long)]
    name: Option<String>,
    /// For how long, as 2h [default: until Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    length: Option<i64>,
}

/// Records until Ctrl-C or the time is up, then joins what came.
///
/// # Errors
/// When an address is not allowed, a daemon runs on the data directory, or the catalog cannot be used.
pub async fn run(env: &Env, args: &DumpArgs, out: &mut dyn Write) -> Result<ExitCode> {
    let urls = args
        .urls
        .iter()
        .map(|url| StreamUrl::parse(url).map_err(|e| Failure::new(Kind::BadInput, e.to_string())))
        .collect::<Result<Vec<_>>>()?;
    if lock::is_taken(&env.data_dir) {
        return Err(Failure::new(Kind::Busy, format!("a daemon already runs on {}", env.data_dir.display()))
            .hint("it can record a hall with: streamrip record HALL --for 1h; or dump elsewhere with --data-dir DIR"));
    }
    let now = env.clock.now();
    let (event, talks) = manual::dump(&mut open_writer(&env.data_dir)?, &urls, args.name.as_deref(), args.length, now)?;
    let (seen, status) = watch::channel(Status::default());
    let display = tokio::spawn(display(status));
    // With a length the daemon ends by itself once everything is joined.
    let options = RunOptions { until_done: args.length.is_some(), scope: Some(event), ..RunOptions::default() };
    let mut env_of_dump = env.clone();
    // Nothing follows that could still change what is joined.
    env_of_dump.settings.assemble.settle_ms = 0;
    // The dump ends when it is told to, not when its files are closed some seconds later.
    let told = std::sync::OnceLock::new();
    let stop = async {
        stop_signal().await;
        let _ = told.set(env.clock.now());
    };
    let outcome = daemon::run(&env_of_dump, options, seen, stop).await;
    display.abort();
    let _ = display.await;
    let db = open_writer(&env.data_dir)?;
    manual::end_dump(&db, &talks, told.get().copied().unwrap_or_else(|| env.clock.now()))?;
    drop(db);
    outcome?;
    for talk in &talks {
        // What was stopped by hand is joined here; what is joined already is found up to date.
        assemble::assemble_now(env, *talk).await?;
    }
    let db = open_reader(&env.data_dir)?;
    let mut nothing = 0;
    for talk in talks {
        let view = report::one(&db, env, &talk.to_string())?;
        let missing = view.report.gaps.iter().map(|g| g.at.len_ms()).sum();
        match &view.assembly {
            Some(a) => {
                let path = env.data_dir.join(&a.path);
                writeln!(
                    out,
                    "{}  {}, {}, {} missing",
                    path.display(),
                    length(a.duration_ms),
                    size(a.bytes),
                    length(missing)
                )
            }
            None => {
                nothing += 1;
                let why = view.report.gaps.last().map_or_else(|| "nothing came".to_owned(), |g| g.cause.to_string());
                writeln!(out, "{}: nothing was recorded ({why})", view.hall.name)
            }
        }
        .map_err(printing)?;
    }
    Ok(if nothing == 0 { ExitCode::SUCCESS } else { ExitCode::from(Kind::Incomplete as u8) })
}
