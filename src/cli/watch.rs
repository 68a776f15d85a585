//! `streamrip watch TALK|HALL`.

use std::ffi::OsString;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use chrono::NaiveTime;
use clap::{Args, ValueEnum};
use tokio::sync::watch;

use super::printing;
use super::render::clean;
use crate::app::daemon::status::Status;
use crate::app::library::report::TalkView;
use crate::app::playback::follow::{self as watching, PlaybackPath, ReadStep, TalkReader, find, joined};
use crate::app::playback::remux::remux;
use crate::app::playback::start_at::{StartAt, instant};
use crate::app::playback::timeshift::{self, KeyframeCache, place_of};
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::catalog::open_reader;
use crate::web;

/// Options of `watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// A talk (id, UID, a unique piece of its title), or a hall: the talk that is on there
    talk: String,
    /// Begin at the newest instead of the talk's start
    #[arg(long, conflicts_with = "at")]
    live: bool,
    /// Begin at this time of day, as 12:30
    #[arg(long, value_name = "TIME", value_parser = time_of_day)]
    at: Option<NaiveTime>,
    /// What plays it [default: the first that is installed]
    #[arg(long, conflicts_with = "output")]
    player: Option<Player>,
    /// Write the joined stream to standard output instead
    #[arg(short, long, value_name = "-", value_parser = ["-"])]
    output: Option<String>,
}

/// Programs that play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Player {
    /// Play with mpv
    Mpv,
    /// Play with VLC
    Vlc,
    /// Play with MPlayer
    Mplayer,
}

impl Player {
    fn program(self) -> &'static str {
        match self {
            Self::Mpv => "mpv",
            Self::Vlc => "vlc",
            Self::Mplayer => "mplayer",
        }
    }

    fn is_installed(self) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(self.program()).is_file())
    }
}

fn time_of_day(text: &str) -> std::result::Result<NaiveTime, String> {
    ["%H:%M", "%H:%M:%S"]
        .iter()
        .find_map(|format| NaiveTime::parse_from_str(text, format).ok())
        .ok_or_else(|| "a time of day is wanted, such as 12:30".to_owned())
}

/// Plays a talk from its start, also while it is recorded.
///
/// # Errors
/// When there is no such talk, no player, or the player fails.
pub async fn run(env: &Env, args: &WatchArgs, out: &mut dyn Write) -> Result<ExitCode> {
    let view = find(&open_reader(&env.data_dir)?, env, &args.talk)?;
    let from = match (args.live, args.at) {
        (true, _) => StartAt::Live,
        (_, Some(time)) => StartAt::At(time),
        _ => StartAt::Start,
    };
    let file = joined(&view, env);
    if args.output.is_some() {
        if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            return Err(
                Failure::new(Kind::Usage, "a terminal shows no video").hint("streamrip watch TALK -o - | mpv -")
            );
        }
        return match file {
            Some(_) if from != StartAt::Start => Err(Failure::new(
                Kind::Usage,
                "this talk is over: its file is written as a whole, so --at and --live say nothing",
            )
            .hint("without -o a player begins at that time")),
            Some(file) => copy(&file, out),
            None => follow(env, &view, from, out),
        };
    }
    let player = match args.player {
        Some(player) if player.is_installed() => player,
        Some(player) => return Err(Failure::new(Kind::Failed, format!("{} is not installed", player.program()))),
        None => {
            [Player::Mpv, Player::Vlc, Player::Mplayer].into_iter().find(|p| p.is_installed()).ok_or_else(|| {
                Failure::new(Kind::Failed, "no player is installed")
                    .hint("apt-get install mpv; or pipe: streamrip watch TALK -o - | PLAYER")
            })?
        }
    };
    tracing::info!("{}: {} plays {}", view.hall.name, player.program(), clean(&view.talk.title));
    match (file, player) {
        (Some(file), player) => {
            let at = match from {
                StartAt::At(time) => instant(time, &view),
                StartAt::Start | StartAt::Live => view.talk.slot.start,
            };
            let start = watching::place_in_file(&open_reader(&env.data_dir)?, &view, at)?;
            play(player, file.into_os_string(), start, from, &view)
        }
        (None, Player::Mplayer) => pipe_to(player, env, &view, from),
        (None, player) => match watching::way(env, view.talk.id.0)? {
            PlaybackPath::Pieces => by_hls(env, player, &view, from),
            PlaybackPath::Remux => pipe_to(player, env, &view, from),
        },
    }
}

fn copy(file: &Path, out: &mut dyn Write) -> Result<ExitCode> {
    let cannot = |e: std::io::Error| Failure::new(Kind::Failed, format!("cannot read {}", file.display())).because(e);
    let mut file = std::fs::File::open(file).map_err(cannot)?;
    std::io::copy(&mut file, out).map_err(printing)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes what was recorded, then what is being recorded, until the talk is over.
fn follow(env: &Env, view: &TalkView, from: StartAt, out: &mut dyn Write) -> Result<ExitCode> {
    if watching::way(env, view.talk.id.0)? == PlaybackPath::Remux {
        let mut give = |bytes: &[u8]| out.write_all(bytes).and_then(|()| out.flush()).map_err(printing);
        remux(env, view.talk.id.0, from, &mut give)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut follow = TalkReader::new(env, view.talk.id.0, from)?;
    loop {
        match follow.step()? {
            ReadStep::Piece(mut piece) => {
                while let Some(block) = piece.block().map_err(unreadable)? {
                    out.write_all(&block).map_err(printing)?;
                }
                out.flush().map_err(printing)?;
            }
            ReadStep::Wait => follow.wait(),
            ReadStep::End => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn unreadable(e: std::io::Error) -> Failure {
    Failure::new(Kind::Failed, "a segment cannot be read").because(e)
}

/// A player that gets the bytes: it can seek in what it has cached. MPlayer knows no HLS, and what is taken apart is
/// none.
fn pipe_to(player: Player, env: &Env, view: &TalkView, from: StartAt) -> Result<ExitCode> {
    let program = player.program();
    let mut command = Command::new(program);
    let title = clean(&view.talk.title);
    match player {
        Player::Mpv => command.arg(format!("--force-media-title={title}")).args(["--cache=yes", "-"]),
        Player::Vlc => command.args(vlc_arguments()).arg("--meta-title").arg(title).arg("-"),
        Player::Mplayer => {
            command.args(["-really-quiet", "-nolirc", "-cache", "524288", "-cache-min", "0.1", "-demuxer", "lavf", "-"])
        }
    };
    let mut child = command.stdin(Stdio::piped()).spawn().map_err(|e| not_started(program, e))?;
    let Some(mut pipe) = child.stdin.take() else {
        return Err(Failure::new(Kind::Failed, format!("{program} has no input")));
    };
    let fed = follow(env, view, from, &mut pipe);
    drop(pipe);
    let status = child.wait();
    // A player that was closed before the end is no failure.
    match (fed, status) {
        (Err(e), _) if e.cause.as_deref() != Some(super::READER_GONE) => Err(e),
        (_, status) => ended(program, status),
    }
}

/// The others read the talk as HLS from a server on this machine, for as long as they run: that is how they
/// can seek in all of it while it grows.
fn by_hls(env: &Env, player: Player, view: &TalkView, from: StartAt) -> Result<ExitCode> {
    let id = view.talk.id.0;
    let shift = timeshift::talk_playlist(&open_reader(&env.data_dir)?, env, &KeyframeCache::default(), id)?;
    let at = match from {
        StartAt::Live => 0.0,
        StartAt::Start => place_of(&shift.entries, view.talk.slot.start),
        StartAt::At(time) => place_of(&shift.entries, instant(time, view)),
    };
    let free = |e: std::io::Error| Failure::new(Kind::Failed, "cannot serve the talk to the player").because(e);
    let listener = TcpListener::bind("127.0.0.1:0").map_err(free)?;
    let address = listener.local_addr().map_err(free)?;
    let (alive, status) = watch::channel(Status::default());
    web::start_on(env.clone(), listener, status)?;
    let result = play(player, format!("http://{address}/talks/{id}/play.m3u8").into(), at, from, view);
    drop(alive);
    result
}

/// Without a display VLC takes commands from its standard input, which is the stream here, or nothing, and then it ends.
fn vlc_arguments() -> &'static [&'static str] {
    let has_display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if has_display { &["--play-and-exit"] } else { &["--play-and-exit", "-I", "dummy"] }
}

fn play(player: Player, what: OsString, start_seconds: f64, from: StartAt, view: &TalkView) -> Result<ExitCode> {
    let mut command = Command::new(player.program());
    let title = clean(&view.talk.title);
    let start = format!("{start_seconds:.3}");
    match player {
        Player::Mpv => {
            command.arg(format!("--force-media-title={title}"));
            if from != StartAt::Live {
                // Without it a list that grows is played from its end.
                command.arg(format!("--start={start}")).arg("--demuxer-lavf-o=live_start_index=0");
            }
        }
        Player::Vlc => {
            command.args(vlc_arguments()).arg("--meta-title").arg(title);
            if from != StartAt::Live {
                command.arg(format!("--start-time={start}"));
            }
        }
        Player::Mplayer => {
            command.args(["-really-quiet", "-nolirc"]);
            command.args(["-ss", &start]);
        }
    }
    // An absolute path or an address: never an option.
    let program = player.program();
    let status = command.arg(PathBuf::from(what)).status();
    match status {
        Ok(_) => ended(program, status),
        Err(e) => Err(not_started(program, e)),
    }
}

fn not_started(program: &str, e: std::io::Error) -> Failure {
    Failure::new(Kind::Failed, format!("cannot start {program}")).because(e)
}

fn ended(program: &str, status: std::io::Result<std::process::ExitStatus>) -> Result<ExitCode> {
    match status {
        Ok(status) if status.success() => Ok(ExitCode::SUCCESS),
        Ok(status) => Err(Failure::new(Kind::Failed, format!("{program} ended with {status}"))),
        Err(e) => Err(Failure::new(Kind::Failed, format!("cannot wait for {program}")).because(e)),
    }
}
