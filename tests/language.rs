//! Holds comments and names of the code against CONTRIBUTING's rules of language.

use std::fs;
use std::path::{Path, PathBuf};

/// Words with which a doc comment would lean on the one before it.
const LEANING: [&str; 5] = ["And", "Likewise", "The same", "So too", "That one"];

/// Shortest text of a doc comment, in characters. Shorter ones repeat the name.
const SHORTEST: usize = 12;

/// Traits and types of std's prelude, and those of std that the code uses: no type of ours has their names.
const STD_NAMES: [&str; 38] = [
    "From",
    "Into",
    "TryFrom",
    "TryInto",
    "Default",
    "Clone",
    "Copy",
    "Debug",
    "Display",
    "Drop",
    "Iterator",
    "IntoIterator",
    "Extend",
    "Fn",
    "FnMut",
    "FnOnce",
    "Read",
    "Write",
    "Seek",
    "BufRead",
    "Hash",
    "Hasher",
    "Ord",
    "Eq",
    "PartialOrd",
    "PartialEq",
    "Send",
    "Sync",
    "ToString",
    "FromStr",
    "Future",
    "Wake",
    "Error",
    "Option",
    "Vec",
    "String",
    "Box",
    "Any",
];

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// Path below the repository, and lines, of each file of `src`.
fn sources() -> Vec<(String, Vec<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    files(&root.join("src"), &mut all);
    all.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("text");
        (name, text.lines().map(str::to_owned).collect())
    };
    all.into_iter().map(read).collect()
}

/// Doc comments of a file: line number of the first line, and the text.
fn doc_comments(lines: &[String]) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    let mut last = None;
    for (n, line) in (1..).zip(lines) {
        let Some(text) = line.trim_start().strip_prefix("///") else { continue };
        if last == Some(n - 1) {
            if let Some((_, known)) = out.last_mut() {
                known.push(' ');
                known.push_str(text.trim());
            }
        } else {
            out.push((n, text.trim().to_owned()));
        }
        last = Some(n);
    }
    out
}

fn leans(text: &str) -> bool {
    let follows = |rest: &str| rest.is_empty() || rest.starts_with([' ', ',', ':', '.', ';']);
    LEANING.iter().any(|word| text.strip_prefix(word).is_some_and(follows))
}

#[test]
fn doc_comments_stand_alone_and_say_more_than_the_name() {
    let mut wrong = Vec::new();
    for (name, lines) in sources() {
        for (n, text) in doc_comments(&lines) {
            if text.chars().count() < SHORTEST {
                wrong.push(format!("{name}:{n}: too short: {text:?}"));
            } else if leans(&text) {
                wrong.push(format!("{name}:{n}: leans on the comment before it: {text:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "these doc comments do not stand alone:\n{}", wrong.join("\n"));
}

#[test]
fn no_name_hides_one_of_std() {
    let mut wrong = Vec::new();
    for (name, lines) in sources() {
        for (n, line) in (1..).zip(&lines) {
            let code = line.split("//").next().unwrap_or_default().trim();
            let words: Vec<&str> =
                code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
            let defined = words.windows(2).find_map(|pair| {
                let is_type = ["struct", "enum", "trait", "type", "union"].contains(&pair[0]);
                let is_alias = pair[0] == "as" && code.starts_with(['u', 'p']) && code.contains("use ");
                ((is_type || is_alias) && STD_NAMES.contains(&pair[1])).then_some(pair[1])
            });
            // An associated type has the name that its trait gave it.
            let is_associated = code.starts_with("type ") && line.starts_with(' ');
            if let Some(hidden) = defined.filter(|_| !is_associated) {
                wrong.push(format!("{name}:{n}: {hidden}: {code}"));
            }
        }
    }
    assert!(wrong.is_empty(), "these names hide std's:\n{}", wrong.join("\n"));
}

#[test]
fn paths_of_the_glossary_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let glossary = fs::read_to_string(root.join("docs/design/glossary.md")).expect("a glossary");
    let rows: Vec<&str> = glossary.lines().filter(|l| l.starts_with("| ") && l.contains("`src/")).collect();
    assert!(rows.len() >= 40, "{} terms", rows.len());
    for row in rows {
        for path in row.split('`').filter(|word| word.starts_with("src/")) {
            assert!(root.join(path).exists(), "{path} is not there: {row}");
        }
    }
}
