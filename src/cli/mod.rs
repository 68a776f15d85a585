//! The command line: parses and prints, decides nothing. Data goes to standard output, everything else to
//! standard error.

pub mod assemble;
mod bar_lines;
pub mod check;
pub mod config;
pub mod dump;
pub mod export;
pub mod extend;
pub mod halls;
pub mod import;
pub mod list;
pub mod log;
pub mod manual;
pub mod merge;
pub mod prune;
pub mod reference;
pub mod render;
pub mod restore;
pub mod run;
pub mod show;
pub mod status;
pub mod verify;
pub mod version;
pub mod watch;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::config::settings;

/// Records whole conferences unattended: a schedule in, one playable file per talk out.
#[derive(Debug, Parser)]
#[command(name = "streamrip", version = version::SHORT.as_str(), long_version = version::LONG.as_str(), max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    /// Where the catalog and the recordings are [default: streamrip in the XDG data directory]
    #[arg(long, global = true, value_name = "DIR", env = "STREAMRIP_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
    /// Settings file [default: streamrip.toml in the data directory]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say more (twice: everything)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// How log lines look [default: human; under systemd they go to the journal]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<log::LogFormat>,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
A congress day:
  streamrip import 27c3.ics     talks, halls and stream addresses into the catalog
  streamrip check               does everything work, now, before it begins?
  streamrip run                 record, reconnect, join: all day, unattended
  streamrip list --gaps         every talk: state, coverage, what is missing and why

Exit codes: 0 done; 1 failed; 2 wrong usage or settings; 3 bad input, nothing changed;
4 done, but something is missing; 5 busy, try later; 6 no such talk, hall or event; 7 catalog damaged.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Import a conference schedule (iCal): talks, halls, stream addresses
    Import(import::ImportArgs),
    /// List halls and their streams, or set them
    Halls(halls::HallsArgs),
    /// Look at programs, streams, disk and schedule before it begins
    Check(check::CheckArgs),
    /// Record all day, unattended: connect, reconnect, join, prune
    Run(run::RunArgs),
    /// What the daemon is doing now
    Status(status::StatusArgs),
    /// List talks: state, coverage, segments, gaps
    List(list::ListArgs),
    /// Everything about one talk
    Show(show::ShowArgs),
    /// Play a talk from its start, also while it is recorded
    Watch(watch::WatchArgs),
    /// Prolong a talk that overruns
    Extend(extend::ExtendArgs),
    /// Record a hall now, whatever its schedule says
    Record(extend::RecordArgs),
    /// Record addresses now, without a schedule
    Dump(dump::DumpArgs),
    /// Join the recordings of talks into one file each
    Assemble(assemble::AssembleArgs),
    /// Fill gaps from another recorder's data directory
    Merge(merge::MergeArgs),
    /// Delete fragments that were joined, what is no media, and what is older than you keep it
    Prune(prune::PruneArgs),
    /// Is every file there, and as it was recorded?
    Verify(verify::VerifyArgs),
    /// Bring back a backup of the catalog
    Restore(restore::RestoreArgs),
    /// Print the joined files as a playlist or a table
    Export(export::ExportArgs),
    /// Print the completions of a shell
    Completions(manual::CompletionsArgs),
    /// Write the manual's pages
    Man(manual::ManArgs),
    /// Print the settings in force and where each came from
    Config(config::ConfigArgs),
    /// Write the generated pages of the documentation
    #[command(hide = true)]
    Reference(reference::ReferenceArgs),
}

/// Runs the program with these arguments.
pub async fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        // clap prints help to standard output and errors to standard error by itself.
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(u8::from(e.use_stderr()) * Kind::Usage as u8);
        }
    };
    start_log(&cli);
    let mut out = std::io::stdout().lock();
    let result = run(&cli, &mut out).await;
    let result = result.and_then(|code| out.flush().map(|()| code).map_err(printing));
    result.unwrap_or_else(|failure| {
        // A reader that has gone away (`| head`) is no failure worth a word.
        if failure.cause.as_deref() == Some(READER_GONE) {
            return ExitCode::SUCCESS;
        }
        let _ = render::failure(&failure, &mut std::io::stderr());
        ExitCode::from(failure.kind as u8)
    })
}

async fn run(cli: &Cli, out: &mut dyn Write) -> Result<ExitCode> {
    // These need neither data nor settings: a package is built where there is none.
    match &cli.command {
        Command::Completions(args) => return manual::completions(*args, out),
        Command::Man(args) => return manual::man(args, out),
        Command::Reference(args) => return reference::run(args, out),
        _ => {}
    }
    let data_dir = data_dir(cli.data_dir.clone())?;
    let loaded = settings::load(cli.config.as_deref(), &data_dir).map_err(|e| {
        Failure::new(Kind::Usage, e.to_string()).hint("streamrip config prints every key with its default")
    })?;
    let env = Env::real(data_dir, loaded.settings.clone());
    match &cli.command {
        Command::Import(args) => import::run(&env, args, out).await,
        Command::Halls(args) => halls::run(&env, args, out).await,
        Command::Check(args) => check::run(&env, args, out).await,
        Command::Run(args) => run::run(&env, args, out).await,
        Command::Status(args) => status::run(&env, args, out),
        Command::Extend(args) => extend::extend(&env, args, out),
        Command::Record(args) => extend::record(&env, args, out),
        Command::Dump(args) => dump::run(&env, args, out).await,
        Command::Assemble(args) => assemble::run(&env, args, out).await,
        Command::Merge(args) => merge::run(&env, args, out).await,
        Command::Prune(args) => prune::run(&env, args, out).await,
        Command::Verify(args) => verify::run(&env, args, out).await,
        Command::Restore(args) => restore::run(&env, args, out).await,
        Command::List(args) => list::run(&env, args, out),
        Command::Show(args) => show::run(&env, args, out),
        Command::Watch(args) => watch::run(&env, args, out).await,
        Command::Export(args) => export::run(&env, args, out),
        Command::Completions(args) => manual::completions(*args, out),
        Command::Man(args) => manual::man(args, out),
        Command::Config(args) => config::run(&env, &loaded, args, out),
        Command::Reference(args) => reference::run(args, out),
    }
}

/// The data directory as an absolute path.
fn data_dir(given: Option<PathBuf>) -> Result<PathBuf> {
    let no_home = |e: String| {
        Failure::new(Kind::Usage, "no data directory is known").because(e).hint("give one with --data-dir DIR")
    };
    let dir = match given {
        Some(dir) if dir.as_os_str().is_empty() => return Err(no_home("--data-dir is empty".to_owned())),
        Some(dir) => dir,
        None => {
            use etcetera::BaseStrategy;
            etcetera::choose_base_strategy().map_err(|e| no_home(e.to_string()))?.data_dir().join("streamrip")
        }
    };
    std::path::absolute(&dir).map_err(|e| no_home(e.to_string()))
}

fn start_log(cli: &Cli) {
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => "streamrip=error",
        (_, 0) => "streamrip=info",
        (_, 1) => "streamrip=debug",
        _ => "debug",
    };
    log::start(cli.log_format, level);
}

/// Why a write to standard output failed that nobody waits for.
pub(crate) const READER_GONE: &str = "the reader has gone away";

/// A write to standard output failed: a closed pipe, a full disk.
pub(crate) fn printing(e: std::io::Error) -> Failure {
    let failure = Failure::new(Kind::Failed, "cannot print");
    if e.kind() == std::io::ErrorKind::BrokenPipe { failure.because(READER_GONE) } else { failure.because(e) }
}
