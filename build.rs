//! Tells the program which commit it is built from, for `streamrip --version`. Nothing here may fail a build: where git or
//! its repository is missing (a packed crate, a tarball), the commit is not known, and the program says so.
//!
//! A packager who knows it can say it: `STREAMRIP_COMMIT`.
#![allow(clippy::print_stdout, reason = "it is how cargo is told")]

use std::path::Path;
use std::process::Command;

/// What the program is made of: other changes (tests, documentation) make no other program.
const SOURCES: [&str; 5] = ["src", "migrations", "build.rs", "Cargo.toml", "Cargo.lock"];

fn main() {
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let said = std::env::var("STREAMRIP_COMMIT").ok().filter(|text| !text.is_empty());
    let commit = said.or_else(|| commit(&root)).unwrap_or_default();
    println!("cargo::rustc-env=STREAMRIP_COMMIT={commit}");
    println!("cargo::rerun-if-env-changed=STREAMRIP_COMMIT");
    for path in SOURCES.iter().filter(|path| Path::new(&root).join(path).exists()) {
        println!("cargo::rerun-if-changed={path}");
    }
    // A development build names the commit that its sources were taken from, and is not made anew for each
    // commit that changes none. What is given to others names the newest one.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        for name in ["HEAD", "logs/HEAD"] {
            let path = git(&root, &["rev-parse", "--git-path", name]);
            if let Some(path) = path.filter(|path| Path::new(&root).join(path).exists()) {
                println!("cargo::rerun-if-changed={path}");
            }
        }
    }
}

/// The commit whose files lie in `root`, with `-dirty` where they were changed since; `None`: not known.
fn commit(root: &str) -> Option<String> {
    // Not that of some repository above, such as one of the user's home.
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != Path::new(root).canonicalize().ok()? {
        return None;
    }
    let head = git(root, &["rev-parse", "--short=12", "HEAD"])?;
    let mut status = vec!["--no-optional-locks", "status", "--porcelain", "--"];
    status.extend(SOURCES);
    let changed = git(root, &status)?;
    Some(if changed.is_empty() { head } else { format!("{head}-dirty") })
}

/// What git says, without the line's end; `None`: it is missing or fails.
fn git(root: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    // A hook of another repository may have built us.
    command.current_dir(root).args(arguments).env_remove("GIT_DIR").env_remove("GIT_WORK_TREE");
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
