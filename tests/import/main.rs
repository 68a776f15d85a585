//! Importing schedules into a catalog: identity, oddities, refusals, refreshes, output.

mod commands;
mod differential;
mod fuzz;
mod guards;
mod identity;
mod oddities;
mod offered;
mod programmes;
mod recorded;
mod reexports;
mod shared_data;
mod streams;
mod support;
