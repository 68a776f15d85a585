//! `streamrip run`.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::{mpsc, watch};

use super::check::finding_line;
use super::render::{self, bars, size};
use crate::app::check::{Level, check};
use crate::app::daemon::status::Status;
use crate::app::daemon::{self, Outcome, RunOptions};
use crate::app::library::rescue;
use crate::app::support::env::Env;
use crate::app::support::failure::{Kind, Result};
use crate::source::Sources;
use crate::source::log::{LineLog, NoLog};
use crate::web::{self, Access};

/// Options of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// End when the last talk is over and everything is joined: exit code 0 if all is complete, 4 if not
    #[arg(long)]
    until_done: bool,
    /// Do not look at programs, streams and disk first
    #[arg(long)]
    no_check: bool,
    /// Show a page of halls, talks and gaps here, such as 127.0.0.1:8273 (setting web.listen)
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

/// Without a terminal, a line about each tape comes this often.
const SUMMARY: Duration = Duration::from_secs(60);

/// Records until it is told to stop, or until done.
///
/// # Errors
/// When it cannot begin: another daemon runs, the catalog cannot be used.
pub async fn run(env: &Env, args: &RunArgs, out: &mut dyn Write) -> Result<ExitCode> {
    // Opened first, so that a missing catalog is an error here and not a day without a tape. What may pass (a full disk,
    // a lock) is waited for there, and what is damaged is mended there.
    if !rescue::is_gone(env)
        && let Err(e) = crate::catalog::open_reader(&env.data_dir)
        && !e.is_transient()
        && !e.is_damage()
    {
        return Err(e.into());
    }
    let (seen, status) = watch::channel(Status::default());
    let problems = show_page(env, args.listen, &status)?;
    let checking = (!args.no_check).then(|| tokio::spawn(preflight(env.clone())));
    let display = tokio::spawn(display(status));
    let options = RunOptions { until_done: args.until_done, scope: None, problems };
    let outcome = daemon::run(env, options, seen, stop_signal()).await;
    display.abort();
    let _ = display.await;
    if let Some(checking) = checking {
        checking.abort();
    }
    finish(outcome?, out)
}

/// Starts the page where one is wanted, and says what is wrong with it. Who asks for it on the command line stands there
/// and is told no; a setting that does not fit any more (its token was lost) must not cost a day of talks.
fn show_page(env: &Env, asked: Option<SocketAddr>, status: &watch::Receiver<Status>) -> Result<Vec<String>> {
    let Some(listen) = asked.or(env.settings.web.listen) else { return Ok(Vec::new()) };
    match web::start(env.clone(), listen, access(env), status.clone()) {
        Ok(()) => Ok(Vec::new()),
        Err(e) if asked.is_some() => Err(e),
        Err(e) => {
            let hint = e.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
            let problem = format!("web.listen: there is no page: {e}{hint}");
            tracing::error!("{problem}; recording goes on without it");
            Ok(vec![problem])
        }
    }
}

/// Who may look at the page: as set, the token from the environment first.
fn access(env: &Env) -> Access {
    let from_env = std::env::var("STREAMRIP_WEB_TOKEN").ok().filter(|token| !token.is_empty());
    let token = from_env.or_else(|| env.settings.web.token.as_ref().map(|secret| secret.0.clone()));
    Access { token, hosts: env.settings.web.hosts.clone() }
}

/// Prints how it ended.
pub(super) fn finish(outcome: Outcome, out: &mut dyn Write) -> Result<ExitCode> {
    let printed = match outcome {
        Outcome::Stopped => writeln!(out, "stopped; every file is closed and in the catalog"),
        Outcome::Behind => writeln!(
            out,
            "stopped; every file is closed, but the catalog did not take its last rows: make space on its disk; the next \
             start brings them in"
        ),
        Outcome::Complete => writeln!(out, "done: all talks are complete"),
        Outcome::Incomplete(n) => {
            writeln!(out, "done: {} not complete; see streamrip list --gaps", render::count(n, "talk"))
        }
    };
    printed.map_err(super::printing)?;
    Ok(match outcome {
        Outcome::Incomplete(_) => ExitCode::from(Kind::Incomplete as u8),
        Outcome::Behind => ExitCode::from(Kind::Catalog as u8),
        Outcome::Stopped | Outcome::Complete => ExitCode::SUCCESS,
    })
}

/// Resolves at SIGTERM, SIGINT or SIGHUP. A second one ends the process at once: sources die with it, and
/// the next start recovers.
pub(super) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let (told, mut tell) = mpsc::channel::<()>(4);
    for kind in signals {
        match signal(kind) {
            Ok(mut stream) => {
                let told = told.clone();
                tokio::spawn(async move {
                    while stream.recv().await.is_some() {
                        let _ = told.send(()).await;
                    }
                });
            }
            Err(e) => tracing::error!("cannot listen for a signal: {e}"),
        }
    }
    tell.recv().await;
    tokio::spawn(async move {
        tell.recv().await;
        tracing::error!("second signal received: stopping immediately");
        std::process::exit(130);
    });
}

/// What `streamrip check` prints, as log lines beside the daemon: a problem is shown, it stops nothing.
async fn preflight(env: Env) {
    let log: std::sync::Arc<dyn LineLog> = std::sync::Arc::new(NoLog);
    let sources = Sources::programs(&log);
    let (tell, mut findings) = mpsc::unbounded_channel();
    let checking = check(&env, &sources, None, true, tell);
    let telling = async {
        let (mut warnings, mut problems) = (0, 0);
        while let Some(finding) = findings.recv().await {
            let line = finding_line(&finding);
            match finding.level {
                Level::Good => tracing::info!("check: {line}"),
                Level::Warning => tracing::warn!("check: {line}"),
                Level::Problem => tracing::error!("check: {line}"),
            }
            warnings += usize::from(finding.level == Level::Warning);
            problems += usize::from(finding.level == Level::Problem);
        }
        tracing::info!("check: {}, {}", render::count(problems, "problem"), render::count(warnings, "warning"));
    };
    if let (Err(e), ()) = tokio::join!(checking, telling) {
        tracing::error!("check: {e}");
    }
}

/// Shows the tapes: as bars on a terminal, as a line now and then elsewhere.
pub(super) async fn display(mut status: watch::Receiver<Status>) {
    let terminal = render::stderr_is_terminal();
    let mut shown = Shown::default();
    let mut last_summary = tokio::time::Instant::now();
    while status.changed().await.is_ok() {
        let lines = lines_of(&status.borrow_and_update());
        if terminal {
            let shown = &mut shown.0;
            while shown.len() < lines.len() {
                let style = ProgressStyle::with_template("{spinner} {msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner());
                shown.push(bars().add(ProgressBar::new_spinner().with_style(style)));
            }
            while shown.len() > lines.len() {
                if let Some(bar) = shown.pop() {
                    bar.finish_and_clear();
                }
            }
            for (bar, line) in shown.iter().zip(&lines) {
                bar.set_message(render::fit(line, render::width().saturating_sub(4)));
                bar.tick();
            }
        } else if last_summary.elapsed() >= SUMMARY {
            last_summary = tokio::time::Instant::now();
            for line in lines {
                tracing::info!("{line}");
            }
        }
    }
}

/// Bars on the terminal, which go when nobody feeds them any more.
#[derive(Default)]
struct Shown(Vec<ProgressBar>);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.iter().for_each(ProgressBar::finish_and_clear);
    }
}

fn lines_of(status: &Status) -> Vec<String> {
    let mut lines: Vec<String> = status
        .tapes
        .iter()
        .map(|t| {
            let title = t.titles.first().map(|t| format!("  {t}")).unwrap_or_default();
            let kbits = t.flow.bytes_per_second * 8 / 1000;
            let silent = match t.flow.silent_seconds {
                Some(s) if s >= 3.0 => format!(", silent for {s:.0} s"),
                _ => String::new(),
            };
            format!("{}: {}, {}, {kbits} kbit/s{silent}{title}", t.hall, t.flow.state, size(t.flow.bytes))
        })
        .collect();
    if let Some(what) = &status.working_on {
        lines.push(what.clone());
    }
    if lines.is_empty()
        && let Some(next) = status.next.first()
    {
        let at = next.at.get(..16).unwrap_or(&next.at).replace('T', " ");
        lines.push(format!("waiting; next: {at} {} {}", next.hall, next.title));
    }
    lines
}
