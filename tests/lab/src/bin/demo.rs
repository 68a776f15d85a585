//! The demo (not yet).

fn main() {}
