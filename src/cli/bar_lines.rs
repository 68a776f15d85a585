//! The terminal as the progress bars see it: narrower than it is.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use indicatif::TermLike;

/// What the terminal itself writes at the cursor when Ctrl-C is pressed: `^C`.
const ECHO: u16 = 2;

/// Standard error, with room for what Ctrl-C leaves behind a bar. Bars are filled up to the last column; the
/// `^C` would begin a new line, and the bar above it would never be removed.
#[derive(Debug, Default)]
pub struct BarLines(Mutex<String>);

impl BarLines {
    fn put(&self, n: usize, what: impl FnOnce(&mut String)) -> io::Result<()> {
        if n > 0 {
            what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        }
        Ok(())
    }

    fn motion(&self, n: usize, letter: char) -> io::Result<()> {
        self.put(n, |out| {
            let _ = write!(out, "\x1b[{n}{letter}");
        })
    }
}

impl TermLike for BarLines {
    fn width(&self) -> u16 {
        let size = rustix::termios::tcgetwinsize(io::stderr()).map_or(80, |size| size.ws_col);
        size.saturating_sub(ECHO + 1).max(1)
    }

    fn height(&self) -> u16 {
        rustix::termios::tcgetwinsize(io::stderr()).map_or(24, |size| size.ws_row)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.motion(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.motion(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.motion(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.motion(n, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.put(1, |out| {
            out.push_str(text);
            out.push('\n');
        })
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.put(1, |out| out.push_str(text))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.put(1, |out| out.push_str("\r\x1b[2K"))
    }

    fn flush(&self) -> io::Result<()> {
        let text = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut out = io::stderr().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}
