//! `cargo xtask`: see [`xtask::cli::USAGE`] or run it without arguments.

use std::process::ExitCode;

use xtask::cli::Task;

fn main() -> ExitCode {
    match Task::parse(std::env::args().skip(1)).and_then(xtask::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
