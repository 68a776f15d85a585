//! streamrip records whole conferences unattended: a schedule in, one playable file per talk out.
//!
//! # Layers
//!
//! ```text
//! main -> cli -> web -> app -> adapters -> plan -> domain
//! ```
//!
//! - [`domain`]: plain types and arithmetic. [`plan`]: decisions, as pure functions. Neither does I/O,
//!   starts a task or reads a clock.
//! - Adapters do one kind of I/O each and do not know each other: [`ical`], [`schedule_xml`], [`schedule_json`], [`streams_v2`] and [`config`]
//!   read what people write, [`fetch`] gets it, [`catalog`] is the database, [`source`] turns a stream into
//!   bytes that end, [`media`] looks into files and joins them, [`notify`] calls people, [`awake`] keeps the machine from sleeping. [`tape`] alone stands on another one: it
//!   drives sources and turns their bytes into files.
//! - [`durable`]: names of files that survive a power cut. Uses nothing, and whoever writes files uses it.
//! - [`app`]: the use cases, in rooms of which each uses only those below it. It joins the adapters and follows the plans.
//! - [`web`]: the page, and the same as JSON: it shows what the use cases say. [`cli`]: parses and prints. Neither
//!   decides anything.
//!
//! `tests/architecture.rs` holds the code against this.
//!
//! # Theory of operation
//!
//! Segments belong to a hall and a time; a talk is a window over its hall's time, so which segments make
//! up a talk is a query and never stored. The daemon reconciles: each second it asks the plan what should
//! run ([`plan::wanted`]), compares that with what runs ([`plan::reconcile`]) and starts, retargets or
//! stops tapes. A tape owns the bytes: it reads what a source writes into a pipe, writes and hashes the
//! file, and judges why a connection ended. What happened goes through one journal into the catalog.
//! Afterwards each closed segment is looked at ([`media::index`]), a talk is planned on packets
//! ([`plan::seam`], [`plan::assembly`]) and joined ([`media::join`]). What is missing, and why, is
//! computed from the same rows ([`plan::coverage`]).
//!
//! More in `docs/design/architecture.md`.

pub mod app;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod domain;
pub mod durable;
pub mod fetch;
pub mod ical;
pub mod media;
pub mod notify;
pub mod plan;
pub mod schedule_json;
pub mod schedule_xml;
pub mod sleep_inhibitor;
pub mod source;
pub mod streams_v2;
pub mod tape;
pub mod web;
