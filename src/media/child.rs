//! ffmpeg and ffprobe as children: low priority, no terminal, no options out of file names, no network, and the last
//! lines of what they complain about.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;

use super::{MediaError, Result};
use crate::domain::media::ClockRange;

/// So much of the end of a child's complaints is kept, bytes.
const STDERR_TAIL: usize = 4096;

/// Demuxers that may look at a recording. Playlists are not among them: one that a server sent instead
/// of media could name other files of this machine.
const FORMATS: &str = "mpegts,matroska,webm,ogg,asf,mp3,aac,flv,live_flv,mov,mp4,m4a,3gp,3g2,mj2,mpeg,flac,wav,\
                       avi,ac3,eac3,h264,hevc,mpegvideo,m4v,nut,rm";

/// A running child. Dropping it kills it and waits for it.
#[derive(Debug)]
pub struct Child {
    inner: std::process::Child,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

/// Starts a program with its standard output as a pipe.
///
/// # Errors
/// When it is missing or cannot be started.
pub fn spawn(program: &'static str, args: &[OsString]) -> Result<(Child, ChildStdout)> {
    start(program, args, Stdio::null()).map(|(child, _, stdout)| (child, stdout))
}

/// Starts a program as [`spawn`] does, with its standard input as a pipe too. Write and read on different threads: the
/// program stops reading while its output is not taken.
///
/// # Errors
/// As [`spawn`].
pub fn spawn_fed(program: &'static str, args: &[OsString]) -> Result<(Child, ChildStdin, ChildStdout)> {
    let (child, stdin, stdout) = start(program, args, Stdio::piped())?;
    let no_pipe = || MediaError::Spawn { program, source: io::Error::other("no pipe") };
    Ok((child, stdin.ok_or_else(no_pipe)?, stdout))
}

/// Starts a program on what [`input`] says in `args`, with its standard output as a pipe. Where the file is read behind
/// something, both are written into its standard input.
///
/// # Errors
/// As [`spawn`], and when the file cannot be read.
pub fn spawn_on(
    program: &'static str,
    args: &[OsString],
    path: &Path,
    part: ClockRange,
    prefix: &[u8],
) -> Result<(Child, ChildStdout)> {
    if prefix.is_empty() {
        return spawn(program, args);
    }
    let fail = |source| MediaError::File { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(fail)?;
    file.seek(SeekFrom::Start(part.from_byte)).map_err(fail)?;
    let mut bytes = file.take(part.to_byte.map_or(u64::MAX, |to| to.saturating_sub(part.from_byte)));
    let (child, mut stdin, stdout) = spawn_fed(program, args)?;
    let prefix = prefix.to_vec();
    // It ends with the child, which closes the pipe. A file that cannot be read to its end is one that ends there: what
    // is missing shows as packets that are.
    let feeder = move || stdin.write_all(&prefix).and_then(|()| io::copy(&mut bytes, &mut stdin));
    let started = std::thread::Builder::new().name("feeder".to_owned()).spawn(feeder);
    started.map_err(|source| MediaError::Spawn { program, source })?;
    Ok((child, stdout))
}

fn start(program: &'static str, args: &[OsString], stdin: Stdio) -> Result<(Child, Option<ChildStdin>, ChildStdout)> {
    let path = find(program).ok_or(MediaError::ProgramMissing(program))?;
    // A session of its own has no terminal, also for a program that opens `/dev/tty` by name.
    let mut words: Vec<OsString> = find("setsid").into_iter().collect();
    // The recorder's own work always goes first.
    if let Some(nice) = find("nice") {
        words.extend([nice, "-n".into(), "15".into()]);
    }
    if let Some(ionice) = find("ionice") {
        words.extend([ionice, "-c".into(), "3".into(), "-t".into()]);
    }
    words.push(path);
    let fail = |source| MediaError::Spawn { program, source };
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C")
        .env("AV_LOG_FORCE_NOCOLOR", "1")
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(fail)?;
    let stdin = child.stdin.take();
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(fail(io::Error::other("no pipe")));
    };
    // Owned at once: if cannot start a thread, dropping it ends the child.
    let mut child = Child { inner: child, stderr: None };
    let reader = std::thread::Builder::new().name("stderr".to_owned()).spawn(move || tail(stderr)).map_err(fail)?;
    child.stderr = Some(reader);
    Ok((child, stdin, stdout))
}

impl Child {
    /// Waits for its end; what it said at last.
    pub fn wait(mut self) -> (Option<ExitStatus>, String) {
        let status = self.inner.wait().ok();
        (status, self.words())
    }

    fn words(&mut self) -> String {
        let bytes = self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        last_line(&String::from_utf8_lossy(&bytes))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Already waited for: both do nothing.
        let _ = self.inner.kill();
        let _ = self.inner.wait();
    }
}

/// How a child ended that did not get to judge its input: killed (by whoever is short of memory), crashed, or
/// not even loaded. `None`: its exit code is its judgement. A broken pipe is our own doing.
///
/// # Errors
/// [`MediaError::Died`].
pub fn died(program: &'static str, status: Option<ExitStatus>) -> Result<()> {
    const SIGPIPE: i32 = 13;
    let how = match status {
        Some(status) => match (status.signal(), status.code()) {
            (Some(SIGPIPE), _) => return Ok(()),
            (Some(signal), _) => format!("signal {signal}"),
            // What a shell and the loader say of programs that cannot be run.
            (None, Some(code @ 126..=127)) => format!("exit code {code}"),
            (None, _) => return Ok(()),
        },
        None => "it could not be waited for".to_owned(),
    };
    Err(MediaError::Died { program, how })
}

fn tail(mut from: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0_u8; 2048];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..n]);
        if kept.len() > 2 * STDERR_TAIL {
            kept.drain(..kept.len() - STDERR_TAIL);
        }
    }
    kept
}

/// The last line with words, without the address of the part of ffmpeg that spoke.
fn last_line(text: &str) -> String {
    let line = text.lines().map(str::trim).rfind(|l| !l.is_empty()).unwrap_or_default();
    let line = match line.split_once("] ") {
        Some((head, rest)) if head.starts_with('[') => rest,
        _ => line,
    };
    line.chars().filter(|c| !c.is_control()).take(300).collect()
}

/// Absolute path of a program, by PATH; looked up once for each.
fn find(program: &'static str) -> Option<OsString> {
    static FOUND: [OnceLock<Option<OsString>>; 5] = [const { OnceLock::new() }; 5];
    let look = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|dir| dir.join(program)).find(|p| p.is_file()).map(Into::into)
    };
    match ["setsid", "nice", "ionice", "ffmpeg", "ffprobe"].iter().position(|known| *known == program) {
        Some(at) => FOUND[at].get_or_init(look).clone(),
        None => look(),
    }
}

/// Options for an input that comes through standard input while it is recorded.
#[must_use]
pub fn fed_input() -> Vec<OsString> {
    // As [`input`], but what is not known after some seconds is not waited for: somebody watches.
    let options = ["-protocol_whitelist", "pipe", "-format_whitelist", FORMATS];
    let search = ["-probesize", "4M", "-analyzeduration", "3M", "-fflags", "+genpts", "-i", "pipe:0"];
    options.into_iter().chain(search).map(Into::into).collect()
}

/// Options common to both programs, and the input: never an option, whatever the file's name, and never
/// anything but this file. One that is read behind something (`prefix`) comes through standard input: [`spawn_on`].
#[must_use]
pub fn input(path: &Path, part: ClockRange, prefix: &[u8]) -> Vec<OsString> {
    let mut name = OsString::new();
    if prefix.is_empty() {
        if part.from_byte > 0 || part.to_byte.is_some() {
            // 0 as the end means the end of the file.
            name.push(format!("subfile,,start,{},end,{},,:", part.from_byte, part.to_byte.unwrap_or(0)));
        }
        name.push("file:");
        name.push(path);
    } else {
        name.push("pipe:0");
    }
    let mut args: Vec<OsString> = [
        "-protocol_whitelist",
        "file,pipe,subfile",
        "-format_whitelist",
        FORMATS,
        // Parameter sets of H.264 come with the keyframes only, which may be many seconds apart; the
        // search ends as soon as everything is known.
        "-probesize",
        "64M",
        "-analyzeduration",
        "30M",
        "-fflags",
        "+genpts",
        "-i",
    ]
    .map(Into::into)
    .into();
    args.push(name);
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_kept_without_addresses() {
        assert_eq!(last_line("a\n[mpegts @ 0x55] no\u{7} PAT\n\n"), "no PAT");
        assert_eq!(last_line(""), "");
        assert!(tail(io::repeat(b'x').take(100_000)).len() <= 2 * STDERR_TAIL);
    }

    #[test]
    fn a_child_that_was_killed_or_crashed_has_judged_nothing() {
        for (script, judged) in [
            ("exit 0", true),
            ("exit 1", true),
            ("exit 183", true),
            ("kill -PIPE $$", true),
            ("kill -KILL $$", false),
            ("kill -SEGV $$", false),
            ("kill -TERM $$", false),
            ("exit 127", false),
        ] {
            let status = Command::new("sh").args(["-c", script]).status().expect("a shell");
            assert_eq!(died("ffprobe", Some(status)).is_ok(), judged, "{script}");
        }
    }

    #[test]
    fn a_file_name_is_never_an_option_or_another_protocol() {
        let whole = ClockRange { from_byte: 0, to_byte: None, shift_ms: 0, start_ms: 0 };
        for name in ["-y", "concat:a|b", "http://x/", "pipe:0", "a%d"] {
            let args = input(Path::new(name), whole, &[]);
            assert_eq!(args.last().and_then(|a| a.to_str()), Some(format!("file:{name}").as_str()));
        }
        let part = input(Path::new("/x"), ClockRange { from_byte: 5, to_byte: Some(9), shift_ms: 0, start_ms: 0 }, &[]);
        assert_eq!(part.last().and_then(|a| a.to_str()), Some("subfile,,start,5,end,9,,:file:/x"));
    }
}
