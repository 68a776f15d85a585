//! Hostile input: whatever comes, no panic, time that grows with the input's length and no faster, and no
//! memory beyond a small multiple of it.
//!
//! Each test runs for some seconds, or for `STREAMRIP_FUZZ_SECONDS` seconds (`make fuzz`). Files of the folder
//! named by `STREAMRIP_TEST_DATA` are mutated too.

#![allow(clippy::print_stdout, reason = "figures for people, with --nocapture")]

mod blobs;
mod calendars;
mod files;
mod harness;
mod limits;
mod lines;
mod mutation;

/// Counts what is allocated. Only Rust's allocations: SQLite's are not among them.
#[global_allocator]
static ALLOCATOR: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;
