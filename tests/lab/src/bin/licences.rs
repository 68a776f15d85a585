//! Checks that every crate this project is built of may be used under a licence of the list. Works
//! offline, from what cargo knows of the crates at hand. (Security advisories need a database that has
//! to be fetched: that is `cargo deny check advisories`.)

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::process::{Command, ExitCode};

use serde_json::Value;

/// What may be in a program under MIT OR Apache-2.0 that is given away as a whole.
const ALLOWED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "BSL-1.0",
    "Zlib",
];

/// Crates that name no licence and bring its text: which one it is was read there.
const READ: [(&str, &str); 1] = [("ical", "Apache-2.0")];

fn main() -> ExitCode {
    match check() {
        Ok(crates) => {
            println!("licences: {crates} crates, all under a licence of the list");
            ExitCode::SUCCESS
        }
        Err(complaint) => {
            eprintln!("{complaint}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<usize, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Only crates of this platform are sure to be at hand.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &platform])
        .output()
        .map_err(|e| format!("cargo metadata: {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let bad: Vec<_> = packages
        .iter()
        .filter_map(|package| {
            let read = || READ.iter().find(|(name, _)| package["name"] == *name).map(|(_, licence)| *licence);
            let licence = package["license"].as_str().or_else(read).unwrap_or("(none named)");
            (!allowed(licence)).then(|| format!("{} {}: {licence}", package["name"], package["version"]))
        })
        .collect();
    if bad.is_empty() { Ok(packages.len()) } else { Err(format!("licences not on the list:\n{}", bad.join("\n"))) }
}

/// Whether an SPDX expression can be met with licences of the list. `/` is an old way to write OR.
fn allowed(expression: &str) -> bool {
    let words: Vec<&str> = expression.split(' ').filter(|word| !word.is_empty()).collect();
    let spaced = words.join(" ").replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let (value, rest) = any_of(&tokens);
    value && rest.is_empty()
}

fn any_of<'t, 's>(tokens: &'t [&'s str]) -> (bool, &'t [&'s str]) {
    let (mut value, mut rest) = all_of(tokens);
    while let ["OR", after @ ..] = rest {
        let (next, after) = all_of(after);
        value |= next;
        rest = after;
    }
    (value, rest)
}

fn all_of<'t, 's>(tokens: &'t [&'s str]) -> (bool, &'t [&'s str]) {
    let (mut value, mut rest) = one(tokens);
    while let ["AND", after @ ..] = rest {
        let (next, after) = one(after);
        value &= next;
        rest = after;
    }
    (value, rest)
}

fn one<'t, 's>(tokens: &'t [&'s str]) -> (bool, &'t [&'s str]) {
    match tokens {
        ["(", inside @ ..] => match any_of(inside) {
            (value, [")", rest @ ..]) => (value, rest),
            _ => (false, &[]),
        },
        [id, "WITH", exception, rest @ ..] => (ALLOWED.contains(&format!("{id} WITH {exception}").as_str()), rest),
        [id, rest @ ..] => (ALLOWED.contains(id), rest),
        [] => (false, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn expressions() {
        for (expression, good) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only", true),
            ("MIT AND GPL-3.0-only", false),
            ("MIT/Apache-2.0", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(GPL-2.0 OR LGPL-2.1) AND MIT", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
            ("(MIT", false),
            ("", false),
            ("(none named)", false),
        ] {
            assert_eq!(allowed(expression), good, "{expression:?}");
        }
    }
}
