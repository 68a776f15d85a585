//! Files beside a joined file that tell of it, where the user wants them: JSON for programs, NFO for media
//! centres. They follow the file: made after it, named as it is, gone with it. Nothing depends on them, so what goes
//! wrong with them is told to the log and stops nothing. Each bears a mark: a file of such a name without it, from a
//! media centre for instance, is left alone. Who edits one and wants to keep it takes the mark out.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::app::library::json;
use crate::app::library::report::{self, TalkView};
use crate::app::support::blocking::{Reader, media, media_failure, read};
use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::domain::ids::TalkId;
use crate::domain::schedule::TalkDetails;
use crate::domain::settings::SidecarFormat;
use crate::durable;
use crate::media::MediaError;
use crate::media::join::publish;
use crate::plan::nfo::{Film, MARK, nfo};

/// The mark in JSON: name and value.
const MADE_BY: (&str, &str) = ("made_by", "streamrip");

/// What joined files end with.
const FILMS: [&str; 2] = ["mkv", "mka"];

/// The files that may lie beside a joined file.
fn beside(file: &Path) -> impl Iterator<Item = PathBuf> {
    SidecarFormat::ALL.into_iter().map(|format| file.with_extension(format.as_str()))
}

/// True where nothing of this name would be lost but what this program wrote.
fn is_ours(path: &Path) -> bool {
    match std::fs::read(path) {
        Ok(bytes) if path.extension().is_some_and(|e| e == SidecarFormat::Json.as_str()) => {
            serde_json::from_slice(&bytes).is_ok_and(|told: serde_json::Value| told[MADE_BY.0] == MADE_BY.1)
        }
        Ok(bytes) => bytes.windows(MARK.len()).any(|at| at == MARK.as_bytes()),
        Err(e) => e.kind() == std::io::ErrorKind::NotFound,
    }
}

/// True where a path is one of a file that tells of a joined one.
#[must_use]
pub(super) fn is_one(path: &str) -> bool {
    let extension = Path::new(path).extension().and_then(|e| e.to_str());
    SidecarFormat::ALL.into_iter().any(|format| extension == Some(format.as_str()))
}

/// True where the file that a sidecar tells of is among these.
pub(super) fn has_film(path: &str, files: &HashSet<String>) -> bool {
    FILMS.iter().any(|extension| files.contains(Path::new(path).with_extension(extension).to_string_lossy().as_ref()))
}

/// Writes what is wanted beside the file of a talk, where it is not there already with the same content.
pub(super) async fn refresh(env: &Env, reader: &Reader, talk: TalkId) {
    if env.settings.assemble.sidecar.is_empty() {
        return;
    }
    if let Err(e) = write(env, reader, talk).await {
        tracing::warn!("talk {talk}: cannot write the sidecar files (.nfo, .info.json) of its file: {e}");
    }
}

async fn write(env: &Env, reader: &Reader, talk: TalkId) -> Result<()> {
    let env_for = env.clone();
    let files = read(reader, move |db| {
        let view = report::by_id(db, &env_for, talk.0)?;
        let Some(file) = view.assembly.as_ref().map(|a| env_for.data_dir.join(&a.path)) else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        for format in env_for.settings.assemble.sidecar.iter().filter(|_| file.is_file()) {
            out.push((file.with_extension(format.as_str()), content(db, &view, *format)?));
        }
        Ok(out)
    })
    .await?;
    for (path, content) in files {
        let write = move |cancel: &_| {
            if std::fs::read(&path).is_ok_and(|known| known == content.as_bytes()) {
                return Ok(());
            }
            if !is_ours(&path) {
                tracing::info!("{} was not written by streamrip and is left unchanged", path.display());
                return Ok(());
            }
            publish(&path, cancel, |mut file, temp| {
                let at = |source| MediaError::File { path: temp.to_owned(), source };
                file.write_all(content.as_bytes()).map_err(at)?;
                Ok((file, ()))
            })
            .map(drop)
        };
        media(write).await.map_err(|e| media_failure(&e))?;
    }
    Ok(())
}

fn content(db: &Connection, view: &TalkView, format: SidecarFormat) -> Result<String> {
    Ok(match format {
        SidecarFormat::Json => {
            let mut told = json::shown(db, view)?;
            told[MADE_BY.0] = MADE_BY.1.into();
            format!("{told:#}\n")
        }
        SidecarFormat::Nfo => nfo(&Film {
            talk: &view.talk,
            event: &view.event.name,
            hall: &view.hall.name,
            zone: view.event.zone,
            gaps: &view.report.gaps,
            duration_ms: view.assembly.as_ref().map_or(0, |a| a.duration_ms),
            details: view.details.as_ref().map_or(&TalkDetails::default(), |(details, _)| details),
            url: view.details.as_ref().and_then(|(_, url)| url.as_deref()),
        }),
    })
}

/// The file has another name: so have those beside it. Paths are relative to the data directory.
pub(super) fn follow(env: &Env, from: &Path, to: &Path) {
    let ours = |path: &Path| is_ours(&env.data_dir.join(path));
    for (from, to) in beside(from).zip(beside(to)).filter(|(from, to)| from != to && ours(from) && ours(to)) {
        match durable::rename(&env.data_dir.join(&from), &env.data_dir.join(&to)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!("{} keeps its name: {e}", from.display());
            }
            _ => {}
        }
    }
}

/// The file is gone from its place: so are those beside it. The path is relative to the data directory.
pub(super) fn remove(env: &Env, file: &Path) {
    for path in beside(file).filter(|path| is_ours(&env.data_dir.join(path))) {
        match std::fs::remove_file(env.data_dir.join(&path)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!("{} cannot be deleted: {e}", path.display());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "sidecar_tests.rs"]
mod tests;
