//! How things look: tables, lengths of time, sizes, errors, log lines.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use indicatif::{MultiProgress, ProgressDrawTarget};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::bar_lines::BarLines;
use crate::app::support::failure::Failure;
pub use crate::app::support::humanize::{clean, count, length, percent, size};

/// Prints a failure with its hint.
///
/// # Errors
/// When it cannot be printed.
pub fn failure(failure: &Failure, err: &mut dyn Write) -> io::Result<()> {
    let (bold, plain) = if stderr_is_terminal() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    writeln!(err, "{bold}error:{plain} {failure}")?;
    if let Some(hint) = &failure.hint {
        writeln!(err, "  hint: {hint}")?;
    }
    Ok(())
}

/// True where standard error is a terminal.
#[must_use]
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Width for tables: the terminal's, 80 where there is none.
#[must_use]
pub fn width() -> usize {
    let terminal = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
    terminal.filter(|w| *w >= 40).unwrap_or(80)
}

/// The progress bars of this process: log lines go above them.
pub fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(|| {
        let target = if stderr_is_terminal() {
            // As often as indicatif itself.
            ProgressDrawTarget::term_like_with_hz(Box::<BarLines>::default(), 20)
        } else {
            ProgressDrawTarget::hidden()
        };
        MultiProgress::with_draw_target(target)
    })
}

/// Where log lines go: standard error, above the progress bars.
#[must_use]
pub fn log_writer() -> LogWriter {
    LogWriter
}

/// See [`log_writer`].
#[derive(Clone, Copy, Debug)]
pub struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        bars().suspend(|| io::stderr().write_all(line)).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Log lines begin with the time of day where the reader is.
#[derive(Clone, Copy, Debug)]
pub struct LocalTime;

impl tracing_subscriber::fmt::time::FormatTime for LocalTime {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> fmt::Result {
        use crate::domain::clock::Clock;
        let now = crate::app::support::clock::SystemClock.now().to_utc().with_timezone(&chrono::Local);
        write!(w, "{}", now.format("%H:%M:%S"))
    }
}

/// Cuts to at most `max` columns, with an ellipsis where something was cut.
#[must_use]
pub fn fit(text: &str, max: usize) -> String {
    let text = clean(text);
    if text.width() <= max {
        return text;
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w + 1 > max {
            break;
        }
        out.push(c);
        used += w;
    }
    out.truncate(out.trim_end().len());
    if max > 0 {
        out.push('…');
    }
    out
}

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// To the left.
    Left,
    /// To the right.
    Right,
}

/// A plain table: columns two spaces apart; one column gives way so that a line fits.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
    elastic: usize,
}

impl Table {
    /// A table with these columns; the one numbered `elastic` is cut where a line gets too long.
    #[must_use]
    pub fn new(columns: &[(&'static str, Align)], elastic: usize) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), elastic }
    }

    /// Appends one row; cells are given from left to right.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|c| clean(&c)).collect());
    }

    /// The lines, none longer than `width` columns where the elastic column can give enough.
    #[must_use]
    pub fn lines(&self, width: usize) -> Vec<String> {
        let mut widths: Vec<usize> = self.columns.iter().map(|(name, _)| name.width()).collect();
        for row in &self.rows {
            for (w, cell) in widths.iter_mut().zip(row) {
                *w = (*w).max(cell.width());
            }
        }
        let total: usize = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        if let Some(w) = widths.get_mut(self.elastic) {
            *w = w.saturating_sub(total.saturating_sub(width)).max(8);
        }
        let line = |cells: Vec<String>| {
            let mut out = String::new();
            for (i, (cell, w)) in cells.iter().zip(&widths).enumerate() {
                if i > 0 {
                    out.push_str("  ");
                }
                let cell = fit(cell, *w);
                let pad = " ".repeat(w - cell.width().min(*w));
                match self.columns[i].1 {
                    Align::Left => out.extend([cell.as_str(), &pad]),
                    Align::Right => out.extend([pad.as_str(), &cell]),
                }
            }
            out.truncate(out.trim_end().len());
            out
        };
        let head = line(self.columns.iter().map(|(name, _)| (*name).to_owned()).collect());
        std::iter::once(head).chain(self.rows.iter().map(|row| line(row.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_and_hostile_text_stays_in_its_cell() {
        let mut table = Table::new(&[("ID", Align::Right), ("TITLE", Align::Left), ("STATE", Align::Left)], 1);
        table.row(["1".into(), "x".repeat(300), "complete".into()]);
        table.row(["22".into(), "a\nb\u{202e}c\u{1b}[2J 全角文字".into(), "partial".into()]);
        for line in table.lines(80) {
            assert!(line.width() <= 80, "{line:?}");
            assert!(!line.contains(['\n', '\u{1b}', '\u{202e}']), "{line:?}");
        }
    }
}
