//! `streamrip export`: the joined files for players, programs and tables.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::printing;
use super::render::clean;
use crate::app::library::report::{self, Selection, TalkView};
use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::catalog::open_reader;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A playlist of the joined files, in the order of the talks
    M3u,
    /// A list of all talks, each with its file where it has one
    Json,
    /// A table with a header row, as CSV (RFC 4180)
    Csv,
}

/// Options of `export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// What is written
    format: Format,
    /// Only this event
    #[arg(long)]
    event: Option<String>,
}

/// Prints the talks that are not opted out.
///
/// # Errors
/// When there is no catalog or no such event.
pub fn run(env: &Env, args: &ExportArgs, out: &mut dyn Write) -> Result<ExitCode> {
    let db = open_reader(&env.data_dir)?;
    let views =
        report::select(&db, env, &Selection { event: args.event.clone(), shown_only: true, ..Selection::default() })?;
    let rows: Vec<_> = views.iter().map(|view| Row::of(view, &env.data_dir)).collect();
    let text = match args.format {
        Format::M3u => m3u(&rows),
        Format::Json => format!("{}\n", serde_json::Value::from(rows.iter().map(Row::json).collect::<Vec<_>>())),
        Format::Csv => csv(&rows),
    };
    out.write_all(text.as_bytes()).map_err(printing)?;
    Ok(ExitCode::SUCCESS)
}

/// One talk as a row of the table.
#[derive(Clone, Debug, Default)]
struct Row {
    id: i64,
    event: String,
    hall: String,
    title: String,
    speakers: Vec<String>,
    start: String,
    end: String,
    state: String,
    coverage: f64,
    /// Absolute path, seconds.
    file: Option<(PathBuf, f64)>,
    /// Files that stayed when that took their place: absolute path, seconds.
    earlier: Vec<(PathBuf, f64)>,
}

impl Row {
    fn of(view: &TalkView, data_dir: &Path) -> Self {
        let zone = view.event.zone;
        Self {
            id: view.talk.id.0,
            event: view.event.name.clone(),
            hall: view.hall.name.clone(),
            title: view.talk.title.clone(),
            speakers: view.talk.speakers.clone(),
            start: view.talk.slot.start.rfc3339(zone),
            end: view.talk.slot.end.rfc3339(zone),
            state: view.report.state.to_string(),
            coverage: view.report.coverage,
            file: view.assembly.as_ref().map(|a| (data_dir.join(&a.path), a.duration_ms as f64 / 1000.0)),
            earlier: view
                .earlier
                .iter()
                .map(|e| (data_dir.join(&e.file.path), e.file.duration_ms as f64 / 1000.0))
                .collect(),
        }
    }

    fn path(&self) -> Option<String> {
        self.file.as_ref().map(|(path, _)| path.to_string_lossy().into_owned())
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "id": self.id, "event": self.event, "hall": self.hall, "title": self.title, "speakers": self.speakers,
            "start": self.start, "end": self.end, "state": self.state, "coverage": self.coverage,
            "path": self.path(), "seconds": self.file.as_ref().map(|(_, seconds)| seconds),
            "earlier_files": self.earlier.iter().map(|(path, _)| path.to_string_lossy()).collect::<Vec<_>>(),
        })
    }
}

fn m3u(rows: &[Row]) -> String {
    let mut out = "#EXTM3U\n".to_owned();
    for row in rows {
        for (path, seconds) in &row.earlier {
            let _ = writeln!(out, "#EXTINF:{seconds:.0},{} (earlier file)\n{}", clean(&row.title), path.display());
        }
        let Some((path, seconds)) = &row.file else { continue };
        let _ = writeln!(out, "#EXTINF:{seconds:.0},{}\n{}", clean(&row.title), path.display());
    }
    out
}

fn csv(rows: &[Row]) -> String {
    // Spreadsheets take a cell that begins so for a formula; the schedule's text is written by strangers.
    let harmless = |text: &str| if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    let cell = |text: &str| format!("\"{}{}\"", harmless(text), text.replace('"', "\"\""));
    let mut out = "id,event,hall,title,speakers,start,end,state,coverage,seconds,path,earlier_files\r\n".to_owned();
    for row in rows {
        let seconds = row.file.as_ref().map(|(_, seconds)| format!("{seconds:.3}")).unwrap_or_default();
        let words = [&row.event, &row.hall, &row.title, &row.speakers.join("; ")].map(|text| cell(text)).join(",");
        let _ = write!(
            out,
            "{},{words},{},{},{},{:.4},{seconds},{},{}\r\n",
            row.id,
            row.start,
            row.end,
            row.state,
            row.coverage,
            cell(&row.path().unwrap_or_default()),
            cell(&row.earlier.iter().map(|(path, _)| path.to_string_lossy()).collect::<Vec<_>>().join("; "))
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_wrote_stays_in_its_cell_and_its_line() {
        let row = Row {
            id: 7,
            title: "A \"b\", c\n#EXTINF:1,x".to_owned(),
            hall: "Saal 1".to_owned(),
            file: Some((PathBuf::from("/data/talks/a.mkv"), 1800.4)),
            earlier: vec![(PathBuf::from("/data/talks/b.mkv"), 60.0)],
            ..Row::default()
        };
        let without = Row { id: 8, title: "no file".to_owned(), ..Row::default() };
        let list = m3u(&[row.clone(), without.clone()]);
        let lines: Vec<_> = list.lines().collect();
        assert_eq!(lines.len(), 5, "{list}");
        assert!(lines[1].ends_with("(earlier file)") && lines[2] == "/data/talks/b.mkv", "{list}");
        assert!(lines[3].starts_with("#EXTINF:1800,A \"b\", c") && lines[4] == "/data/talks/a.mkv", "{list}");
        let table = csv(&[row, without]);
        assert!(table.contains("7,\"\",\"Saal 1\",\"A \"\"b\"\", c\n#EXTINF:1,x\",\"\","), "{table}");
        assert!(
            table.ends_with(",\"\",\"\"\r\n")
                && table.contains("1800.400,\"/data/talks/a.mkv\",\"/data/talks/b.mkv\"\r\n"),
            "{table}"
        );
        let formula = Row { title: "=1+2".to_owned(), hall: "@x".to_owned(), ..Row::default() };
        assert!(csv(&[formula]).contains("\"'@x\",\"'=1+2\""));
    }
}
