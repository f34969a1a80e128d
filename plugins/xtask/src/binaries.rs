//! Executables of this machine.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::{messages, process, workspace};

/// A small test of this crate. To build it along makes cargo choose, for everything else, the
/// same features as `cargo test --workspace`: without it the engine is compiled twice, once for
/// the demo and once for the tests, because a dev-dependency somewhere wants one feature more.
const ANY_TEST: &str = "wasm_target";

/// Builds executables of this workspace; returns where they are, in the order asked for.
/// cargo's progress goes to the terminal.
pub fn build(names: &[&str], release: bool) -> Result<Vec<PathBuf>> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--message-format=json-render-diagnostics"]);
    cargo.args(["--workspace", "--test", ANY_TEST]);
    for name in names {
        cargo.args(["--bin", name]);
    }
    if release {
        cargo.arg("--release");
    }
    let built: Vec<PathBuf> = process::output_lines(&mut cargo)?
        .iter()
        .filter_map(|line| messages::string(line, "executable"))
        .map(PathBuf::from)
        .collect();
    let find = |name: &&str| {
        let named = |path: &&PathBuf| path.file_stem().is_some_and(|stem| stem == *name);
        built
            .iter()
            .find(named)
            .cloned()
            .ok_or_else(|| Error::new(format!("cargo built no executable: `{name}`")))
    };
    names.iter().map(find).collect()
}
