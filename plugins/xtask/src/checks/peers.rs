//! Other people's MCP clients, which some tests run against the gateway.
//!
//! `tests/peers/setup.sh` installs them into `target/peers` with Python's and Node's own
//! package managers, and knows what it needs. A machine that lacks it runs all other tests;
//! a build machine must not.

use std::process::Command;

use crate::error::{Error, Result};
use crate::{interrupt, process, workspace};

/// What the script exits with where a tool that it needs is missing.
const TOOL_MISSING: u8 = 3;

/// Installs the peers, or says that the tests which need them are skipped, and why.
pub fn prepare() -> Result<()> {
    let script = workspace::root().join("tests/peers/setup.sh");
    let outcome = process::run(Command::new("sh").arg(&script));
    match outcome {
        Ok(()) => Ok(()),
        Err(error) if interrupt::requested().is_some() => Err(error),
        Err(error) => without(&error, workspace::is_ci()),
    }
}

/// Goes on without peers, except on a build machine.
fn without(error: &Error, is_ci: bool) -> Result<()> {
    let why = match error.exit_code() {
        TOOL_MISSING => "a tool is missing here".to_owned(),
        _ => error.to_string(),
    };
    if is_ci {
        return Err(Error::new(format!("the MCP SDKs for the tests cannot be had: {why}"))
            .hint("install python3 with venv, and node with npm; or unset CI to go on without these tests"));
    }
    eprintln!("xtask: tests/peers: skipped, because {why}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_build_machine_insists() {
        let error = Error::new("`sh` failed").with_exit_code(TOOL_MISSING);
        assert_eq!(without(&error, false), Ok(()));
        assert!(
            without(&error, true)
                .unwrap_err()
                .to_string()
                .contains("a tool is missing here")
        );
        let error = Error::new("`sh` failed").with_exit_code(1);
        assert!(
            without(&error, true)
                .unwrap_err()
                .to_string()
                .contains("`sh` failed")
        );
    }
}
