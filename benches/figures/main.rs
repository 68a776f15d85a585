//! The figures of docs/BENCHMARKS.md: `make bench`, or `cargo bench --bench figures -- import list idle` for some of
//! them. Prints one table; each figure is the median of several runs of the real program, beside what it was compared
//! with. `STREAMRIP_BENCH_RUNS=1` makes the long ones short, `TMPDIR` says where the recordings go meanwhile.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

mod assembly;
mod catalog;
mod contest;
mod cost;
mod frames;
mod hls;
mod import;
mod latency;
mod list;
mod loss;
mod many;
mod measure;
mod nginx;
mod peers;
mod recovery;
mod station;
mod taping;

use measure::Figure;

type Group = (&'static str, fn() -> Vec<Figure>);

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let groups: [Group; 12] = [
        ("import", import::figures),
        ("list", list::figures),
        ("idle", taping::idle),
        ("taping", taping::figures),
        ("assembly", assembly::figures),
        ("recovery", recovery::figures),
        ("loss", loss::figures),
        ("hls", hls::figures),
        ("cost", cost::figures),
        ("first-byte", latency::first_byte),
        ("reconnect", latency::reconnect),
        ("many", many::figures),
    ];
    if let [word, folder] = &wanted[..]
        && word == "catalog"
    {
        // Only the large catalog, to try things on.
        return catalog::make(std::path::Path::new(folder));
    }
    measure::print_machine();
    println!("| what | measured | compared with | limit | reached |\n|---|---|---|---|---|");
    for (name, figures) in groups {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            for figure in figures() {
                println!("{figure}");
            }
        }
    }
}
