//! `cargo xtask test`, `lint` and `bench`.

pub mod peers;

use std::path::Path;
use std::process::Command;

use crate::components::{self, Show};
use crate::error::{Error, Result};
use crate::{binaries, interrupt, process, workspace};

/// `cargo xtask test`: builds what the tests need, then runs them all.
pub fn test(args: &[String]) -> Result<()> {
    build_components()?;
    peers::prepare()?;
    eprintln!(
        "xtask: building the gateway and the tests (about five minutes on two cores the first time)"
    );
    let binaries = ["cortex-gateway", "demo-backend", "cortex-fixture-server"];
    binaries::build(&binaries, false)?;
    process::run(workspace::cargo().args(["test", "--workspace"]).args(args))
}

/// `cargo xtask bench`: measures a release build.
pub fn bench(args: &[String]) -> Result<()> {
    if let Some((word, rest)) = args.split_first()
        && word == "--scaling"
    {
        return scaling(rest);
    }
    let made = workspace::target_dir().join("bench");
    let plugins = made.join("plugins.d");
    components::build_showing(&components::DEFAULT, &plugins, Show::Progress)?;
    let guests = made.join("guests");
    if args.iter().any(|word| word == "--neighbours") {
        components::build_showing(&["mischief"], &guests, Show::Progress)?;
    }
    if args.iter().any(|word| word == "--languages") {
        relays(&guests)?;
    }
    eprintln!(
        "xtask: building the gateway and the benchmark (about ten minutes on two cores the first time)"
    );
    let built = binaries::build(&["cortex-gateway", "cortex-bench"], true)?;
    let [gateway, bench] = &built[..] else {
        return Err(Error::new("cargo built something else than was asked for"));
    };
    let mut bench = Command::new(bench);
    bench
        .arg("--gateway")
        .arg(gateway)
        .arg("--plugins")
        .arg(plugins)
        .arg("--guests")
        .arg(guests)
        .args(args);
    process::run(&mut bench)
}

/// `cargo xtask bench --scaling`: what several gateways cost that share a store.
fn scaling(args: &[String]) -> Result<()> {
    build_components()?;
    eprintln!(
        "xtask: building the gateway and the measurement (about ten minutes on two cores the first time)"
    );
    let built = binaries::build(&["cortex-gateway", "cortex-scaling"], true)?;
    let [gateway, scaling] = &built[..] else {
        return Err(Error::new("cargo built something else than was asked for"));
    };
    process::run(
        Command::new(scaling)
            .arg("--gateway")
            .arg(gateway)
            .args(args),
    )
}

/// The relay adapter in every language whose tools are here.
fn relays(out: &Path) -> Result<()> {
    let script = workspace::root().join("examples/relay/build.sh");
    for language in ["rust", "c", "javascript", "python"] {
        let built = process::run(Command::new("bash").arg(&script).arg(language).arg(out));
        match built {
            Err(error) if interrupt::requested().is_some() => return Err(error),
            Err(error) => eprintln!("xtask: relay in {language}: left out: {error}"),
            Ok(()) => {}
        }
    }
    Ok(())
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
fn build_components() -> Result<()> {
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
