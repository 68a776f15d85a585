//! `streamrip show TALK`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::printing;
use super::render::{Align, Table, clean, length, percent, size, width};
use crate::app::library::json;
use crate::app::library::report::{self, Foreign, TalkView};
use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::catalog::assemblies::Part;
use crate::catalog::{open_reader, schedule_changes, seams};
use crate::domain::segment::Segment;
use crate::domain::time::Ms;

/// Options of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Id, UID, or a unique piece of the title
    talk: String,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Prints everything about one talk.
///
/// # Errors
/// When there is no such talk, or more than one.
pub fn run(env: &Env, args: &ShowArgs, out: &mut dyn Write) -> Result<ExitCode> {
    let db = open_reader(&env.data_dir)?;
    let view = report::one(&db, env, &args.talk)?;
    if args.json {
        writeln!(out, "{}", json::shown(&db, &view)?).map_err(printing)?;
    } else {
        let seams = seams::between(&db, &view.segments)?;
        let (parts, foreign) = (report::parts(&db, &view)?, report::foreign(&db, &view)?);
        let changes = schedule_changes::of_talk(&db, view.talk.id)?;
        print(&view, &seams, (&parts, &foreign), &changes, env.clock.now(), env, out).map_err(printing)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(
    view: &TalkView,
    seams: &[seams::SeamRow],
    (parts, foreign): (&[Part], &Foreign),
    changes: &[schedule_changes::ChangeRow],
    now: Ms,
    env: &Env,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let zone = view.event.zone;
    let time = |at: Ms| at.in_zone(zone).format("%H:%M:%S").to_string();
    let slot = view.talk.slot;
    writeln!(out, "{}", clean(&view.talk.title))?;
    if !view.talk.speakers.is_empty() {
        writeln!(out, "{}", clean(&view.talk.speakers.join(", ")))?;
    }
    writeln!(out)?;
    let mut field = |name: &str, value: String| writeln!(out, "{name:9} {}", clean(&value));
    field("talk", format!("{} of {}", view.talk.id, view.event.name))?;
    if let Some(uid) = &view.talk.uid {
        field("uid", uid.clone())?;
    }
    let (details, page) = view.details.clone().unwrap_or_default();
    for (name, text) in [
        ("track", details.track),
        ("type", details.session_type),
        ("language", details.language),
        ("licence", details.licence),
        ("url", page),
    ] {
        if let Some(text) = text {
            field(name, text)?;
        }
    }
    field("hall", view.hall.name.clone())?;
    let day = slot.start.in_zone(zone).format("%A %Y-%m-%d");
    field("slot", format!("{day}, {} - {} ({zone})", time(slot.start), time(slot.end)))?;
    field("window", format!("{} - {}", time(view.window.start), time(view.window.end)))?;
    let missing = view.report.gaps.iter().map(|g| g.at.len_ms()).sum();
    let recorded = format!(
        "{}, {} recorded ({}), {} missing",
        view.report.state,
        length(view.report.recorded_ms),
        percent(view.report.coverage),
        length(missing)
    );
    field("state", recorded)?;
    let file = match (&view.assembly, &view.pruned) {
        (Some(a), _) => {
            format!("{} ({}, {})", env.data_dir.join(&a.path).display(), length(a.duration_ms), size(a.bytes))
        }
        (None, Some(p)) => format!("deleted {}: {}", p.at.in_zone(zone).format("%Y-%m-%d %H:%M"), p.reason),
        (None, None) => "none yet".to_owned(),
    };
    field("file", file)?;
    for earlier in &view.earlier {
        let (path, length) = (env.data_dir.join(&earlier.file.path), length(earlier.file.duration_ms));
        field("earlier", format!("{} ({length}): {}", path.display(), earlier.reason))?;
    }
    if let Some(note) = view.schedule_note() {
        field("schedule", note)?;
    }
    if let Some(before) = view.talk.follows {
        field("before", format!("talk {before} holds what was recorded under another hall or slot"))?;
    }
    writeln!(out, "\n{} {} {}", time(slot.start), picture(view, now), time(slot.end))?;
    writeln!(out, "         # recorded   ! missing   . not yet")?;
    if !view.report.gaps.is_empty() {
        writeln!(out, "\nGaps")?;
        for gap in &view.report.gaps {
            writeln!(
                out,
                "  {} - {}  {:>9}  {}",
                time(gap.at.start),
                time(gap.at.end),
                length(gap.at.len_ms()),
                gap.words()
            )?;
        }
    }
    if !view.segments.is_empty() {
        writeln!(out, "\nSegments")?;
        print_segments(view, out)?;
    }
    if !seams.is_empty() {
        writeln!(out, "\nSeams")?;
        for seam in seams {
            writeln!(out, "  {}", clean(&seam.describe()))?;
        }
    }
    let used: Vec<_> = parts.iter().filter_map(|p| Some((p, p.place?))).collect();
    if !used.is_empty() {
        writeln!(out, "\nMade of")?;
        for (part, (from, to)) in used {
            let wall = part.wall.map(|w| format!("{} - {}  ", time(w.start), time(w.end))).unwrap_or_default();
            let stream = view.stream_of(part.segment).map(|s| format!(", {s}")).unwrap_or_default();
            let from_other =
                foreign.get(&part.segment).map(|o| format!(", merged from {}", o.data_dir)).unwrap_or_default();
            let line = format!("  {wall}{:>9} of segment {}{stream}{from_other}", length(to - from), part.segment);
            writeln!(out, "{}", clean(&line))?;
        }
    }
    let failed: Vec<_> = view.connections.iter().filter(|c| c.bytes == 0 && c.closed.is_some()).collect();
    if !failed.is_empty() {
        writeln!(out, "\nConnections without data: {}", failed.len())?;
        for c in failed.iter().rev().take(5).rev() {
            let why = c.end.map_or_else(|| "unknown".to_owned(), |r| r.to_string());
            let detail = c.detail.as_deref().map(|d| format!("  {}", clean(d))).unwrap_or_default();
            writeln!(out, "  {}  {why}{detail}", time(c.opened))?;
        }
    }
    if !changes.is_empty() {
        writeln!(out, "\nChanges of the schedule")?;
        for change in changes {
            writeln!(out, "  {}  {}", change.at.in_zone(zone).format("%Y-%m-%d %H:%M"), clean(&change.describe()))?;
        }
    }
    Ok(())
}

fn print_segments(view: &TalkView, out: &mut dyn Write) -> std::io::Result<()> {
    let columns = [
        ("  ID", Align::Right),
        ("FROM", Align::Left),
        ("TO", Align::Left),
        ("MEDIA", Align::Right),
        ("SIZE", Align::Right),
        ("WHAT", Align::Left),
        ("END", Align::Left),
        ("FILE", Align::Left),
    ];
    let mut table = Table::new(&columns, 7);
    let time = |at: Ms| at.in_zone(view.event.zone).format("%H:%M:%S").to_string();
    let what = |s: &Segment| match s.verdict {
        crate::domain::segment::Verdict::Media => s.container.as_str().to_owned(),
        other => format!("{} ({})", s.container.as_str(), other.as_str()),
    };
    for s in &view.segments {
        table.row([
            s.id.to_string(),
            time(s.at.start),
            if s.closed.is_some() { time(s.at.end) } else { "open".to_owned() },
            s.media_ms.map_or_else(|| "?".to_owned(), length),
            size(s.bytes),
            what(s),
            s.end_reason.map_or_else(|| "-".to_owned(), |r| r.to_string()),
            s.path.to_string_lossy().into_owned(),
        ]);
    }
    // The path is for copying: it is not cut, whatever the width.
    for line in table.lines(usize::MAX) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The slot as one line: each character a piece of it, a gap shown however short.
fn picture(view: &TalkView, now: Ms) -> String {
    let slot = view.talk.slot;
    let columns = i64::try_from(width().saturating_sub(20).clamp(20, 100)).unwrap_or(60);
    let at = |i: i64| slot.start.plus(slot.len_ms() * i / columns);
    (0..columns)
        .map(|i| {
            let piece = crate::domain::interval::Interval::new(at(i), at(i + 1));
            if view.report.gaps.iter().any(|g| g.at.overlaps(piece) && g.at.len_ms() >= 1000) {
                '!'
            } else if !view.report.covered.clip(piece).is_empty() {
                '#'
            } else if piece.start >= now {
                '.'
            } else {
                '!'
            }
        })
        .collect()
}
