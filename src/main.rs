//! The program: parse, run, exit. Everything else is in the library.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    streamrip::cli::main(std::env::args_os()).await
}
