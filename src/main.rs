//! The program: parse, run, exit. Everything else is in the library.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    // What a shell or a supervisor left open is none of mplayer's business.
    close_fds::set_fds_cloexec(3, &[]);
    streamrip::cli::main(std::env::args_os()).await
}
