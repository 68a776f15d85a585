//! The figures of docs/BENCHMARKS.md: `make bench`, or `cargo bench -- import list idle taping assembly`
//! for some of them. Prints one table; each figure is the median of several runs of the real program, beside
//! what it was compared with.

#![allow(clippy::print_stdout, reason = "a program for people")]

mod assembly;
mod catalog;
mod import;
mod list;
mod measure;
mod recovery;
mod taping;

use measure::Figure;

type Group = (&'static str, fn() -> Vec<Figure>);

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let groups: [Group; 6] = [
        ("import", import::figures),
        ("list", list::figures),
        ("idle", taping::idle),
        ("taping", taping::figures),
        ("assembly", assembly::figures),
        ("recovery", recovery::figures),
    ];
    if let [word, folder] = &wanted[..]
        && word == "catalog"
    {
        // Only the large catalog, to try things on.
        return catalog::make(std::path::Path::new(folder));
    }
    measure::print_machine();
    println!("| what | measured | compared with | limit |\n|---|---|---|---|");
    for (name, figures) in groups {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            for figure in figures() {
                println!("{figure}");
            }
        }
    }
}
