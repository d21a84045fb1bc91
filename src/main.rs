//! Reads the command line, runs one command, and says how it went by the exit code.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    roster::cli::main().await
}
