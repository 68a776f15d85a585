//! Tapes in simulated time, on scripted sources and real files.

mod bench;
mod garbage;
mod handover;
mod hedge;
mod leaving;
mod lives;
mod orders;
mod outside;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::app::support::clock::TestClock;
use crate::domain::clock::Clock as _;
use crate::domain::hall::Recorder;
use crate::domain::ids::{HallId, StreamId};
use crate::domain::segment::{Container, Mark};
use crate::domain::settings::Record;
use crate::domain::stream_url::StreamUrl;
use crate::source::{Running, Source, SourceEnd, Sources};
use crate::tape::events::{TapeEvent, TapeSink};
use bench::Step::{Bytes, Deaf, End, Media, Missing, Silence};
use bench::{Bench, LONG, START, Step, eof, failed, id_of, marks_of, word};
