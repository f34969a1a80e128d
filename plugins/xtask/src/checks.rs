//! `cargo xtask test` and `lint`.

pub mod peers;
mod watched;

use crate::components::{self, Show};
use crate::error::{Error, Result};
use crate::{binaries, interrupt, process, workspace};

/// What says how many tests run at one time.
const THREADS: &str = "RUST_TEST_THREADS";

/// `cargo xtask test`: builds what the tests need, then runs them all.
pub fn test(args: &[String]) -> Result<()> {
    build_components()?;
    peers::prepare()?;
    eprintln!(
        "xtask: building the gateway and the tests (about five minutes on two cores the first time)"
    );
    let binaries = ["cortex-gateway", "demo-backend", "cortex-fixture-server"];
    binaries::build(&binaries, false)?;
    let mut tests = workspace::cargo();
    tests.args(["test", "--workspace"]).args(args);
    if std::env::var_os(THREADS).is_none() {
        tests.env(THREADS, at_one_time().to_string());
    }
    watched::run(&mut tests)
}

/// How many tests run at one time: one more than there are processors, as most wait for others most of the time.
fn at_one_time() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get()) + 1
}

/// `cargo xtask lint`: runs every check, and fails at the end if one has.
pub fn lint() -> Result<()> {
    let mut failed = Vec::new();
    for (name, check) in [
        ("formatting", "fmt --all --check"),
        ("clippy", "clippy --workspace --all-targets -- -D warnings"),
        // Advisories are fetched from the network: a job of their own, not part of every change.
        (
            "dependencies",
            "deny --workspace check --hide-inclusion-graph licenses bans sources",
        ),
    ] {
        let words: Vec<&str> = check.split(' ').collect();
        let tool = words[0];
        if !has_tool(tool) {
            eprintln!(
                "xtask: {name}: skipped, because `cargo {tool}` is not installed ({})",
                how_to_get(tool)
            );
            continue;
        }
        eprintln!("xtask: {name}: cargo {check}");
        if let Err(error) = process::run(workspace::cargo().args(words)) {
            if interrupt::requested().is_some() {
                return Err(error);
            }
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::new(format!("failed: {}", failed.join(", "))))
}

/// Components of the default plugins, of the examples, and of the guests that tests need.
pub fn build_components() -> Result<()> {
    let mut packages: Vec<String> = components::DEFAULT.map(str::to_owned).to_vec();
    packages.push("hello-backend".to_owned());
    packages.extend(workspace::packages_in("tests/guests"));
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    // Apart from what operators take: some of these misbehave on purpose.
    let out = workspace::target_dir().join("test").join("components");
    components::build_showing(&packages, &out, Show::Progress).map(drop)
}

fn has_tool(tool: &str) -> bool {
    let mut cargo = workspace::cargo();
    let quiet = cargo
        .args([tool, "--version"])
        .stdout(std::process::Stdio::null());
    quiet
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn how_to_get(tool: &str) -> &'static str {
    match tool {
        "fmt" => "rustup component add rustfmt",
        "clippy" => "rustup component add clippy",
        _ => "cargo install cargo-deny --locked",
    }
}
