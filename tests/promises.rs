//! docs/PROMISES.md names tests that exist.

use std::path::Path;

#[test]
fn every_test_named_in_the_promises_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/PROMISES.md")).expect("the promises");
    let mut named = 0;
    for (file, name) in text.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.split_once("::")) {
        let source = std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let lines: Vec<_> = source.lines().map(str::trim).collect();
        let at = lines.iter().position(|l| {
            let l = l.strip_prefix("async ").unwrap_or(l);
            l.strip_prefix("fn ").is_some_and(|l| l.strip_prefix(name).is_some_and(|l| l.starts_with('(')))
        });
        let at = at.unwrap_or_else(|| panic!("{file} has no test {name}"));
        let is_test = lines[..at]
            .iter()
            .rev()
            .take_while(|l| !l.is_empty())
            .any(|l| l.starts_with("#[test]") || l.starts_with("#[tokio::test"));
        assert!(is_test, "{name} in {file} is no test");
        named += 1;
    }
    // Each has its number, and names a test of its own.
    let sections: Vec<_> = text.split("\n## ").skip(1).filter_map(|section| section.split_once(". ")).collect();
    let numbers: Vec<_> = sections.iter().filter_map(|(number, _)| number.parse::<u32>().ok()).collect();
    assert_eq!(numbers, Vec::from_iter((1_u32..).take(numbers.len())));
    for (number, text) in sections.iter().filter(|(number, _)| number.parse::<u32>().is_ok()) {
        assert!(text.contains(".rs::"), "promise {number} names no test");
    }
    assert!(named > 40, "{named} tests");
}
