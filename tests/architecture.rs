//! Holds the code against the layers that `src/lib.rs` promises.

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer, and what it may use of the crate besides itself.
const LAYERS: [(&str, &[&str]); 17] = [
    ("domain", &[]),
    ("plan", &["domain"]),
    ("ical", &["domain", "plan"]),
    ("schedule_xml", &["domain", "plan"]),
    ("streams_v2", &["domain", "plan"]),
    ("config", &["domain", "plan"]),
    ("fetch", &["domain", "plan"]),
    ("catalog", &["domain", "plan"]),
    ("source", &["domain", "plan"]),
    ("media", &["domain", "plan"]),
    ("notify", &["domain", "plan"]),
    ("awake", &["domain"]),
    ("tape", &["domain", "plan", "source"]),
    (
        "app",
        &[
            "domain",
            "plan",
            "ical",
            "schedule_xml",
            "streams_v2",
            "config",
            "fetch",
            "catalog",
            "source",
            "media",
            "notify",
            "awake",
            "tape",
        ],
    ),
    ("web", &["domain", "plan", "catalog", "app"]),
    ("cli", &["domain", "plan", "config", "catalog", "source", "app", "web"]),
    ("main", &["cli"]),
];

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// Files of `src` that are not tests: path below `src`, and their lines outside of test modules and comments.
fn code() -> Vec<(String, Vec<String>)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    sources(&src, &mut all);
    all.into_iter()
        .filter_map(|path| {
            let name = path.strip_prefix(&src).expect("below").to_string_lossy().into_owned();
            if name.contains("tests") || name.contains("fixtures") || name.contains("scripted") {
                return None;
            }
            let text = fs::read_to_string(&path).expect("text");
            let lines =
                text.lines().take_while(|l| !l.starts_with("#[cfg(test)]") || text.matches("#[cfg(test)]").count() > 1);
            let lines = lines.filter(|l| !l.trim_start().starts_with("//")).map(str::to_owned).collect();
            Some((name, lines))
        })
        .collect()
}

fn layer_of(name: &str) -> &str {
    name.split(['/', '.']).next().unwrap_or_default()
}

#[test]
fn layers_use_only_what_is_below_them() {
    let mut wrong = Vec::new();
    for (name, lines) in code() {
        let layer = layer_of(&name);
        let Some((_, allowed)) = LAYERS.iter().find(|(known, _)| *known == layer) else {
            assert_eq!(layer, "lib", "{name} belongs to no layer");
            continue;
        };
        for line in &lines {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let is_layer = LAYERS.iter().any(|(known, _)| *known == used);
                if is_layer && used != layer && !allowed.contains(&used.as_str()) {
                    wrong.push(format!("src/{name}: {}", line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "these reach up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_clock_reads_the_time_of_day() {
    for (name, lines) in code() {
        for line in &lines {
            let reads = ["Utc::now", "Local::now", "SystemTime::now"].iter().any(|call| line.contains(call));
            assert!(!reads || name == "app/support/clock.rs", "src/{name}: {}", line.trim());
        }
    }
}

#[test]
fn domain_and_plan_do_nothing_but_think() {
    for (name, lines) in code() {
        if !["domain", "plan"].contains(&layer_of(&name)) {
            continue;
        }
        for line in &lines {
            for what in [
                "std::fs",
                "std::process",
                "std::net::Tcp",
                "std::net::Udp",
                "std::thread",
                "tokio::",
                "rusqlite",
                "async fn",
                "Instant::now",
            ] {
                assert!(!line.contains(what), "src/{name}: {}", line.trim());
            }
        }
    }
}
