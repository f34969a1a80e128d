//! `cortex-gateway`: parse the command line, run it, print what went wrong.

use std::process::ExitCode;

fn main() -> ExitCode {
    match cortex_gateway::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
