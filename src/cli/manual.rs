//! `streamrip completions` and `streamrip man`: what packages install beside the program.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, printing, reference};
use crate::app::support::failure::{Failure, Kind, Result};

/// Options of `completions`.
#[derive(Clone, Copy, Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

/// Options of `man`.
#[derive(Clone, Debug, Args)]
pub struct ManArgs {
    /// A folder, which is made where it is missing
    dir: PathBuf,
}

/// Prints the completions of a shell.
///
/// # Errors
/// When they cannot be printed.
pub fn completions(args: CompletionsArgs, out: &mut dyn Write) -> Result<ExitCode> {
    // Into memory first: the crate panics where it cannot write.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "streamrip", &mut text);
    out.write_all(&text).map_err(printing)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the manual pages: one for each command (`streamrip.1`, `streamrip-run.1`, ...) and, in section 5, those of the
/// settings and of the halls file.
///
/// # Errors
/// When they cannot be written.
pub fn man(args: &ManArgs, out: &mut dyn Write) -> Result<ExitCode> {
    let dir = &args.dir;
    let failed = |e: std::io::Error| Failure::new(Kind::Failed, format!("cannot write {}", dir.display())).because(e);
    std::fs::create_dir_all(dir).map_err(failed)?;
    let mut command = Cli::command();
    command.build();
    let mut pages = write_pages(&command, "streamrip", dir).map_err(failed)?;
    for (name, text) in reference::manual_pages() {
        std::fs::write(dir.join(name), text).map_err(failed)?;
        pages += 1;
    }
    writeln!(out, "{pages} pages in {}", dir.display()).map_err(printing)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command and of those below it; says how many.
fn write_pages(command: &clap::Command, name: &str, dir: &Path) -> std::io::Result<usize> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name).render(&mut text)?;
    std::fs::write(dir.join(format!("{name}.1")), text)?;
    let mut pages = 1;
    for below in command.get_subcommands().filter(|c| c.get_name() != "help" && !c.is_hide_set()) {
        pages += write_pages(below, &format!("{name}-{}", below.get_name()), dir)?;
    }
    Ok(pages)
}
