//! `streamrip config`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::printing;
use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::config::settings::{self, Loaded};

/// Options of `config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the settings in force, as a file that could be used as it is.
///
/// # Errors
/// When it cannot be printed.
pub fn run(env: &Env, loaded: &Loaded, args: &ConfigArgs, out: &mut dyn Write) -> Result<ExitCode> {
    let entries = settings::entries(&loaded.settings);
    let origin = |name| if loaded.set.contains(&name) { "file" } else { "default" };
    if args.json {
        let keys: Vec<_> = entries
            .iter()
            .map(|e| serde_json::json!({"name": e.name, "value": e.value.trim_matches('"'), "origin": origin(e.name), "help": e.help}))
            .collect();
        let all = serde_json::json!({"data_dir": env.data_dir, "file": loaded.file, "settings": keys});
        writeln!(out, "{all}").map_err(printing)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!("# data directory: {}\n", env.data_dir.display());
    text += &match &loaded.file {
        Some(file) => format!("# settings file:  {}\n", file.display()),
        None => {
            format!("# settings file:  none ({} would be read)\n", env.data_dir.join(settings::FILE_NAME).display())
        }
    };
    let mut section = "";
    for entry in entries {
        let (here, key) = entry.name.split_once('.').unwrap_or(("", entry.name));
        if here != section {
            section = here;
            text += &format!("\n[{section}]\n");
        }
        let line = format!("{key} = {}", entry.value);
        text += &format!("{line:36} # {}: {}\n", origin(entry.name), entry.help);
    }
    out.write_all(text.as_bytes()).map_err(printing)?;
    Ok(ExitCode::SUCCESS)
}
