//! `cortex-gateway`: parse the command line, run it, print what went wrong.

use std::process::ExitCode;

/// Chosen by measurement, with the settings in `.cargo/config.toml`: docs/performance.md, "For production".
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match cortex_gateway::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
