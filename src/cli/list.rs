//! `streamrip list`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::printing;
use super::render::{Align, Table, clean, count, length, percent, width};
use crate::app::library::json;
use crate::app::library::report::{self, Day, Selection, TalkView};
use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::catalog::open_reader;
use crate::domain::talk::TalkState;

/// Options of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only this event
    #[arg(long)]
    event: Option<String>,
    /// Only this hall (name or alias)
    #[arg(long)]
    hall: Option<String>,
    /// Only this congress day: today, tomorrow, or a date as 2010-12-27; it turns at 06:00 (setting list.day_starts_at)
    #[arg(long, value_name = "DAY")]
    day: Option<Day>,
    /// Only talks with these words in their title or in a speaker's name
    #[arg(long, value_name = "WORD")]
    search: Option<String>,
    /// Only talks in this state: scheduled, recording, complete, partial, missed, cancelled, removed, opted-out
    #[arg(long)]
    state: Option<TalkState>,
    /// Show each gap: from, to, seconds, cause
    #[arg(long)]
    gaps: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the talks of the catalog.
///
/// # Errors
/// When there is no catalog, or no such event or hall.
pub fn run(env: &Env, args: &ListArgs, out: &mut dyn Write) -> Result<ExitCode> {
    let db = open_reader(&env.data_dir)?;
    let selection = Selection {
        event: args.event.clone(),
        hall: args.hall.clone(),
        day: args.day,
        search: args.search.clone(),
        state: args.state,
        shown_only: false,
        with_details: args.json,
    };
    let views = report::select(&db, env, &selection)?;
    if args.json {
        let all: Vec<_> = views.iter().map(json::talk).collect();
        writeln!(out, "{}", Value::from(all)).map_err(printing)?;
    } else {
        print(&views, env, args, out).map_err(printing)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(views: &[TalkView], env: &Env, args: &ListArgs, out: &mut dyn Write) -> std::io::Result<()> {
    if views.is_empty() {
        return writeln!(out, "no talks");
    }
    let day_of = |v: &TalkView| report::congress_day(v.talk.slot.start, v.event.zone, &env.settings);
    let mut views: Vec<&TalkView> = views.iter().collect();
    views.sort_by_cached_key(|v| (day_of(v), v.event.name.clone(), v.talk.slot.start, v.hall.name.clone()));
    for (nth, day) in views.chunk_by(|a, b| a.event.id == b.event.id && day_of(a) == day_of(b)).enumerate() {
        if nth > 0 {
            writeln!(out)?;
        }
        let first = day[0];
        writeln!(
            out,
            "{} · {} · times in {}",
            first.event.name,
            day_of(first).format("%A %Y-%m-%d"),
            first.event.zone
        )?;
        print_day(day, args.gaps, out)?;
    }
    let summary: Vec<_> = TalkState::ALL
        .into_iter()
        .map(|state| (state, views.iter().filter(|v| v.report.state == state).count()))
        .filter(|(_, n)| *n > 0)
        .map(|(state, n)| format!("{n} {state}"))
        .collect();
    writeln!(out, "\n{}: {}", count(views.len(), "talk"), summary.join(", "))
}

fn print_day(day: &[&TalkView], gaps: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let columns = [
        ("ID", Align::Right),
        ("HALL", Align::Left),
        ("START", Align::Left),
        ("TITLE", Align::Left),
        ("STATE", Align::Left),
        ("COVER", Align::Right),
        ("SEG", Align::Right),
        ("GAPS", Align::Left),
    ];
    let mut table = Table::new(&columns, 3);
    for view in day {
        let begun = !view.report.covered.is_empty() || !view.report.gaps.is_empty();
        table.row([
            view.talk.id.to_string(),
            super::render::fit(&view.hall.name, 12),
            view.talk.slot.start.in_zone(view.event.zone).format("%H:%M").to_string(),
            view.talk.title.clone(),
            view.report.state.to_string(),
            if begun { percent(view.report.coverage) } else { "-".to_owned() },
            view.segments.len().to_string(),
            gap_summary(view),
        ]);
    }
    let lines = table.lines(width());
    writeln!(out, "{}", lines[0])?;
    for (view, line) in day.iter().zip(&lines[1..]) {
        writeln!(out, "{line}")?;
        if let Some(note) = view.schedule_note() {
            writeln!(out, "      {}", clean(&note))?;
        }
        for earlier in &view.earlier {
            writeln!(out, "      earlier file: {}", clean(&earlier.file.path.to_string_lossy()))?;
        }
        if gaps {
            for gap in &view.report.gaps {
                let time = |at: crate::domain::time::Ms| at.in_zone(view.event.zone).format("%H:%M:%S").to_string();
                let seconds = gap.at.len_ms() as f64 / 1000.0;
                writeln!(
                    out,
                    "      gap {} - {}  {seconds:9.1} s  {}",
                    time(gap.at.start),
                    time(gap.at.end),
                    gap.words()
                )?;
            }
        }
    }
    Ok(())
}

fn gap_summary(view: &TalkView) -> String {
    let gaps = &view.report.gaps;
    if gaps.is_empty() {
        return "0".to_owned();
    }
    let missing = gaps.iter().map(|g| g.at.len_ms()).sum();
    format!("{} ({})", gaps.len(), length(missing))
}
