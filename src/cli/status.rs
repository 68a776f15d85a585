//! `streamrip status`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::printing;
use super::render::{clean, count, size};
use crate::app::daemon::status::{Status, read};
use crate::app::support::env::Env;
use crate::app::support::failure::{Kind, Result};
use crate::app::support::humanize::clock;

/// Options of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Prints what the daemon does; exit code 4 where none runs.
///
/// # Errors
/// When the status cannot be read.
pub fn run(env: &Env, args: &StatusArgs, out: &mut dyn Write) -> Result<ExitCode> {
    let status = read(&env.data_dir, env.clock.as_ref())?;
    if args.json {
        let text = serde_json::to_string(&status).map_err(|e| printing(e.into()))?;
        writeln!(out, "{text}").map_err(printing)?;
    } else {
        print(&status, env, out).map_err(printing)?;
    }
    Ok(if status.alive { ExitCode::SUCCESS } else { ExitCode::from(Kind::Incomplete as u8) })
}

fn print(status: &Status, env: &Env, out: &mut dyn Write) -> std::io::Result<()> {
    if !status.alive {
        return writeln!(out, "no daemon runs on {}; start one with: streamrip run", env.data_dir.display());
    }
    let pid = status.pid.map(|p| format!(", process {p}")).unwrap_or_default();
    let since = status
        .started_at
        .as_deref()
        .map(|t| format!(" since {} UTC", t.get(..19).unwrap_or(t).replace('T', " ")))
        .unwrap_or_default();
    if status.is_starting() {
        writeln!(out, "a daemon is starting: it looks at what was left from before")?;
    } else {
        writeln!(out, "streamrip {} runs{since}{pid}", status.version)?;
    }
    for problem in &status.problems {
        writeln!(out, "! {}", clean(problem))?;
    }
    if status.is_starting() {
        return Ok(());
    }
    writeln!(out, "\n{}", if status.tapes.is_empty() { "Nothing is being recorded." } else { "Recording" })?;
    for t in &status.tapes {
        let flow = &t.flow;
        let rate = flow.bytes_per_second * 8 / 1000;
        let connections = count(usize::try_from(flow.connections).unwrap_or(usize::MAX), "connection");
        let head = format!(
            "  {}: {}, since {}, until {}, {}, {rate} kbit/s, {connections}",
            t.hall,
            flow.state,
            clock(&t.since),
            clock(&t.until),
            size(flow.bytes),
        );
        writeln!(out, "{}", clean(&head))?;
        for (id, title) in t.talks.iter().zip(&t.titles) {
            writeln!(out, "    talk {id}: {}", clean(title))?;
        }
        for lane in &t.lanes {
            let from = lane.stream.as_deref().map(|s| format!(" from {s}")).unwrap_or_default();
            let rate = lane.bytes_per_second * 8 / 1000;
            let trouble = lane.last_trouble.as_deref().zip(lane.last_trouble_at.as_deref());
            let trouble = trouble.map(|(what, at)| format!("; last trouble {}: {what}", clock(at))).unwrap_or_default();
            let line = format!("    {}{from}, {}, {rate} kbit/s{trouble}", lane.state, size(lane.bytes));
            writeln!(out, "{}", clean(&line))?;
        }
        if !t.lanes.is_empty() {
            continue;
        }
        if let Some(stream) = &flow.stream {
            writeln!(out, "    from {}", clean(stream))?;
        }
        if let (Some(trouble), Some(at)) = (&flow.last_trouble, &flow.last_trouble_at) {
            writeln!(out, "    last trouble {}: {}", clock(at), clean(trouble))?;
        }
    }
    if !status.next.is_empty() {
        writeln!(out, "\nNext")?;
        for next in &status.next {
            let at = next.at.get(..16).unwrap_or(&next.at).replace('T', " ");
            writeln!(out, "  {at}  {}  {} (talk {})", clean(&next.hall), clean(&next.title), next.talk)?;
        }
    }
    let free = status.disk_free.map_or_else(|| "unknown".to_owned(), size);
    writeln!(out, "\n{free} free on disk ({} in reserve)", size(status.disk_reserve))?;
    if let Some(what) = &status.working_on {
        writeln!(out, "now {}", clean(what))?;
    }
    if status.waiting > 0 {
        writeln!(out, "{} to join", count(usize::try_from(status.waiting).unwrap_or(usize::MAX), "talk"))?;
    }
    Ok(())
}
