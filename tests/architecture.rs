//! Holds the code against the layers that `src/lib.rs` promises.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each layer, and what it may use of the crate besides itself.
const LAYERS: [(&str, &[&str]); 19] = [
    ("durable", &[]),
    ("domain", &[]),
    ("plan", &["domain"]),
    ("ical", &["domain", "plan"]),
    ("schedule_json", &["domain", "plan"]),
    ("schedule_xml", &["domain", "plan"]),
    ("streams_v2", &["domain", "plan"]),
    ("config", &["domain", "plan"]),
    ("fetch", &["domain", "plan"]),
    ("catalog", &["durable", "domain", "plan"]),
    ("source", &["domain", "plan"]),
    ("media", &["durable", "domain", "plan"]),
    ("notify", &["domain", "plan"]),
    ("sleep_inhibitor", &["domain"]),
    ("tape", &["domain", "plan", "source"]),
    (
        "app",
        &[
            "durable",
            "domain",
            "plan",
            "ical",
            "schedule_json",
            "schedule_xml",
            "streams_v2",
            "config",
            "fetch",
            "catalog",
            "source",
            "media",
            "notify",
            "sleep_inhibitor",
            "tape",
        ],
    ),
    ("web", &["domain", "plan", "catalog", "app"]),
    ("cli", &["domain", "plan", "config", "catalog", "source", "app", "web"]),
    ("main", &["cli"]),
];

/// Each room of `app`, and the rooms that it may use besides itself.
const ROOMS: [(&str, &[&str]); 6] = [
    ("support", &[]),
    ("library", &["support"]),
    ("schedule", &["support", "library"]),
    ("playback", &["support", "library"]),
    ("daemon", &["support", "library", "schedule", "playback"]),
    ("check", &["support", "library", "schedule", "playback", "daemon"]),
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

/// The module that a file of `src` is, as its path below the crate.
fn module_of(name: &str) -> Vec<String> {
    let name = name.trim_end_matches(".rs").trim_end_matches("/mod");
    name.split('/').filter(|part| *part != "lib").map(str::to_owned).collect()
}

/// The paths that `text` names, a use tree taken apart: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(text: &str, before: &[String], out: &mut Vec<Vec<String>>) {
    let (mut depth, mut part, mut parts) = (0_usize, String::new(), Vec::new());
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    for part in parts.iter().map(|p| p.trim()).filter(|p| !p.is_empty()) {
        let (path, inner) = part.split_once('{').map_or((part, None), |(path, rest)| (path, Some(rest)));
        let names = path.split("::").map(|n| n.split_whitespace().next().unwrap_or_default().to_owned());
        let whole: Vec<String> = before.iter().cloned().chain(names.filter(|n| !n.is_empty())).collect();
        match inner {
            Some(inner) => expand(inner.trim_end().trim_end_matches('}'), &whole, out),
            None => out.push(whole),
        }
    }
}

/// Every path below the crate that a file names, in a `use` or in the middle of its code.
fn paths_in(module: &[String], lines: &[String]) -> Vec<Vec<String>> {
    let text = lines.join("\n");
    let (mut found, mut code) = (Vec::new(), String::new());
    let mut rest = text.as_str();
    while let Some(at) = rest.find("use ") {
        let starts = rest[..at].chars().next_back().is_none_or(char::is_whitespace);
        let Some(end) = rest[at..].find(';').filter(|_| starts) else {
            code.push_str(&rest[..at + 4]);
            rest = &rest[at + 4..];
            continue;
        };
        code.push_str(&rest[..at]);
        expand(&rest[at + 4..at + end], &[], &mut found);
        rest = &rest[at + end..];
    }
    code.push_str(rest);
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let path: String =
                code[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || ['_', ':'].contains(c)).collect();
            found.push(path.split("::").filter(|n| !n.is_empty()).map(str::to_owned).collect());
        }
    }
    let below = |path: Vec<String>| -> Option<Vec<String>> {
        let ups = path.iter().take_while(|n| *n == "super").count();
        match path.first().map(String::as_str) {
            Some("crate") => Some(path[1..].to_vec()),
            Some("super") => {
                let kept = module.len().checked_sub(ups)?;
                Some(module[..kept].iter().chain(&path[ups..]).cloned().collect())
            }
            _ => None,
        }
    };
    found.into_iter().filter_map(below).collect()
}

#[test]
fn rooms_of_app_use_only_the_rooms_below_them() {
    let mut wrong = Vec::new();
    for (name, lines) in code() {
        let module = module_of(&name);
        let [app, room, ..] = module.as_slice() else { continue };
        if app != "app" {
            continue;
        }
        let Some((_, allowed)) = ROOMS.iter().find(|(known, _)| known == room) else {
            panic!("src/{name} lies in no room of app");
        };
        for path in paths_in(&module, &lines) {
            if let [app, used, ..] = path.as_slice()
                && app == "app"
                && used != room
                && !allowed.contains(&used.as_str())
            {
                wrong.push(format!("src/{name}: {}", path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "these reach up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn no_two_files_of_a_folder_need_each_other() {
    let all: Vec<_> = code().into_iter().map(|(name, lines)| (module_of(&name), lines)).collect();
    let modules: BTreeSet<&[String]> = all.iter().map(|(module, _)| module.as_slice()).collect();
    // By folder: which of its modules uses which other one, with all that is in them.
    let mut uses: BTreeMap<&[String], BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for (module, lines) in &all {
        for path in paths_in(module, lines) {
            let Some(used) = (1..=path.len()).rev().find_map(|n| modules.get(&path[..n]).copied()) else { continue };
            let common = module.iter().zip(used).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (module.get(common), used.get(common)) {
                uses.entry(&module[..common]).or_default().entry(from).or_default().insert(to);
            }
        }
    }
    for (folder, mut uses) in uses {
        // What uses nothing that is left cannot be in a circle.
        loop {
            let free: Vec<&str> =
                uses.iter().filter(|(_, to)| !to.iter().any(|t| uses.contains_key(t))).map(|(from, _)| *from).collect();
            if free.is_empty() {
                break;
            }
            uses.retain(|from, _| !free.contains(from));
        }
        assert!(uses.is_empty(), "a circle in src/{}: {uses:?}", folder.join("/"));
    }
}

#[test]
fn a_use_tree_is_taken_apart() {
    let lines =
        ["use super::{a, b::{self, C as D}};".to_owned(), "let x = crate::e::f(super::super::g::H);".to_owned()];
    let module: Vec<String> = ["m", "n", "o"].map(str::to_owned).to_vec();
    let found: Vec<String> = paths_in(&module, &lines).iter().map(|p| p.join("::")).collect();
    assert_eq!(found, ["m::n::a", "m::n::b::self", "m::n::b::C", "e::f", "m::g::H", "m::n::g::H"]);
}

#[test]
fn only_one_module_syncs_folders() {
    for (name, lines) in code() {
        let text: String = lines.join(" ").split_whitespace().collect();
        let by_hand =
            text.contains("File::open(dir)") && text.contains(".sync_all()") || text.contains("dir.sync_all()");
        // A segment's folders are made and synced by their descriptors.
        assert!(
            !by_hand || ["durable.rs", "tape/disk.rs"].contains(&name.as_str()),
            "src/{name} syncs a folder by hand"
        );
    }
}

#[test]
fn only_the_catalog_speaks_sql() {
    let words = [
        "SELECT ",
        "INSERT ",
        "UPDATE ",
        "DELETE FROM",
        "PRAGMA ",
        ".execute(",
        ".execute_batch(",
        ".query_row(",
        ".prepare(",
    ];
    for (name, lines) in code() {
        if layer_of(&name) == "catalog" {
            continue;
        }
        for line in &lines {
            assert!(!words.iter().any(|word| line.contains(word)), "src/{name}: {}", line.trim());
        }
    }
}

/// Functions of a file, each with its body's lines.
fn functions(lines: &[String]) -> Vec<(&str, Vec<&str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in lines {
        if let Some((_, name)) = line.split_once("fn ").filter(|_| !line.starts_with("        ")) {
            found.push((name.split(['(', '<']).next().unwrap_or_default(), Vec::new()));
        }
        if let Some((_, body)) = found.last_mut() {
            body.push(line);
        }
    }
    found
}

#[test]
fn who_changes_a_verdict_tells_the_assembly_queue() {
    // Opening a segment is no reason to join; a merged one is stored by its index right after.
    let exempt = ["open_segment", "insert"];
    for (name, lines) in code().iter().filter(|(name, _)| layer_of(name) == "catalog") {
        for (function, body) in functions(lines) {
            let text = body.join(" ");
            let mut updates = text.split("UPDATE segment SET ").skip(1);
            let changes = updates.any(|sql| sql.split(" WHERE ").next().is_some_and(|set| set.contains("verdict = ")));
            if (changes || text.contains("INTO segment (")) && !exempt.contains(&function) {
                assert!(text.contains("assembly_queue::"), "src/{name}: {function} does not tell the assembly queue");
            }
        }
    }
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
