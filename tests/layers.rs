//! The layers of docs/ARCHITECTURE.md, read from the source text: who may use whom, and who reads the clock.

use std::fs;
use std::path::{Path, PathBuf};

const ADAPTERS: [&str; 8] = ["catalog", "config", "fetch", "ical", "media", "schedule_xml", "source", "tape"];

/// What each layer may use of the crate, besides itself.
fn allowed(layer: &str) -> Vec<&'static str> {
    match layer {
        "domain" => vec![],
        "plan" => vec!["domain"],
        // A tape opens sources.
        "tape" => vec!["source", "plan", "domain"],
        "app" => [&ADAPTERS[..], &["plan", "domain"]].concat(),
        "cli" => [&ADAPTERS[..], &["app", "plan", "domain"]].concat(),
        adapter if ADAPTERS.contains(&adapter) => vec!["plan", "domain"],
        other => panic!("{other} is no layer: name it in docs/ARCHITECTURE.md and here"),
    }
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the source").flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// Each source file with its layer and its text, without comments and without what follows its tests.
fn sources() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let is_test =
        |path: &Path| path.file_stem().is_some_and(|s| s == "tests" || s.to_string_lossy().ends_with("_tests"));
    files
        .into_iter()
        .filter(|path| !is_test(path))
        .filter_map(|path| {
            let inside = path.strip_prefix(&src).expect("it is inside").to_owned();
            let layer = inside.iter().next()?.to_str()?.trim_end_matches(".rs").to_owned();
            if layer == "lib" || layer == "main" {
                return None;
            }
            let text = fs::read_to_string(&path).expect("a source file");
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            Some((layer, inside, code.join("\n")))
        })
        .collect()
}

#[test]
fn the_layers_are_one_way() {
    let mut wrong = Vec::new();
    let sources = sources();
    assert!(sources.len() > 50, "the source was not found");
    for (layer, path, code) in &sources {
        let allowed = allowed(layer);
        for (at, _) in code.match_indices("crate::") {
            let name: String =
                code[at + "crate::".len()..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if !name.is_empty() && name != *layer && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{}: {layer} uses {name}", path.display()));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn one_place_reads_the_clock() {
    for (_, path, code) in sources() {
        if path != Path::new("app/clock.rs") {
            for call in ["Utc::now", "Local::now", "SystemTime::now"] {
                assert!(!code.contains(call), "{} calls {call}", path.display());
            }
        }
    }
}

#[test]
fn plan_and_domain_do_no_io() {
    for (layer, path, code) in sources() {
        if layer == "plan" || layer == "domain" {
            for use_of in ["std::fs", "std::process", "TcpStream", "tokio::", "rusqlite", "Instant::now"] {
                assert!(!code.contains(use_of), "{} uses {use_of}", path.display());
            }
        }
    }
}
