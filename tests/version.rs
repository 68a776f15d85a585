//! `--version` names the commit that the program is built from, or says that it is not known.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use streamrip_lab::Streamrip;

fn run(command: &mut Command) -> String {
    let output = command.output().expect("started");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn git(dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(dir).args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(arguments);
    run(&mut command).trim().to_owned()
}

#[test]
fn it_says_version_commit_and_recorders() {
    let text = Streamrip::new(env!("CARGO_BIN_EXE_streamrip")).ok(&["--version"]).stdout;
    let first = text.lines().next().expect("a line");
    assert!(first.starts_with(concat!("streamrip ", env!("CARGO_PKG_VERSION"), " (")), "{text}");
    assert!(text.contains("recorders: auto, mplayer, ffmpeg, http, hls"), "{text}");
    let short = Streamrip::new(env!("CARGO_BIN_EXE_streamrip")).ok(&["-V"]).stdout;
    assert_eq!(short.trim(), first);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if root.join(".git").exists() && Command::new("git").arg("--version").output().is_ok() {
        let commit = first.split("commit ").nth(1).expect(&text).trim_end_matches([')']).trim_end_matches("-dirty");
        assert_eq!(git(root, &["cat-file", "-t", commit]), "commit", "{text}");
    } else {
        assert!(first.ends_with("(unknown commit)"), "{text}");
    }
}

/// The build script on folders of all sorts.
#[test]
fn the_commit_is_that_of_the_sources_or_not_known() {
    let dir = tempfile::tempdir().expect("a folder");
    let script: PathBuf = dir.path().join("script");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
    run(Command::new(rustc).args(["--edition", "2024", "-o"]).arg(&script).arg(source));
    let says = |root: &Path, change: &dyn Fn(&mut Command)| {
        let mut command = Command::new(&script);
        command.env_remove("STREAMRIP_COMMIT").env("CARGO_MANIFEST_DIR", root).env("PROFILE", "release");
        change(&mut command);
        let text = run(&mut command);
        let line = text.lines().find_map(|line| line.strip_prefix("cargo::rustc-env=STREAMRIP_COMMIT="));
        (line.expect("a commit").to_owned(), text)
    };
    let nothing = |_: &mut Command| {};

    let packed = dir.path().join("packed");
    fs::create_dir(&packed).expect("made");
    assert_eq!(says(&packed, &nothing).0, "");
    assert_eq!(says(&packed, &|c| _ = c.env("STREAMRIP_COMMIT", "v1")).0, "v1");

    let repository = dir.path().join("repository");
    fs::create_dir_all(repository.join("src")).expect("made");
    fs::write(repository.join("src/main.rs"), "fn main() {}").expect("written");
    git(&repository, &["init", "-q"]);
    git(&repository, &["add", "."]);
    git(&repository, &["commit", "-q", "-m", "one"]);
    let head = git(&repository, &["rev-parse", "--short=12", "HEAD"]);
    let (commit, text) = says(&repository, &nothing);
    assert_eq!(commit, head);
    assert!(text.contains("rerun-if-changed=src\n") && text.contains("HEAD\n"), "{text}");
    // Other files are no part of the program.
    fs::write(repository.join("notes"), "x").expect("written");
    assert_eq!(says(&repository, &nothing).0, head);
    fs::write(repository.join("src/main.rs"), "fn main() { }").expect("written");
    assert_eq!(says(&repository, &nothing).0, format!("{head}-dirty"));
    // In a repository that is not ours; without git.
    fs::create_dir(repository.join("vendored")).expect("made");
    assert_eq!(says(&repository.join("vendored"), &nothing).0, "");
    assert_eq!(says(&repository, &|c| _ = c.env("PATH", "/nonexistent")).0, "");
}
