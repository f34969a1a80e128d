//! `cargo xtask bench` and `soak`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::components::{self, Show};
use crate::error::{Error, Result};
use crate::{binaries, checks, interrupt, process, production, workspace};

/// Loaded by the gateways that are measured, besides the default ones, and not used: five plugins are what an
/// ordinary gateway has.
const FIFTH: &str = "backend-openapi";

/// `cargo xtask bench`: measures a release build, or the one of [`production`].
pub fn bench(args: &[String]) -> Result<()> {
    if let Some((word, rest)) = args.split_first()
        && word == "--scaling"
    {
        return scaling(rest);
    }
    let (asked, args): (Vec<_>, Vec<_>) = args.iter().partition(|word| *word == "--production");
    let plugins = plugins()?;
    let guests = made().join("guests");
    if args.iter().any(|word| *word == "--neighbours") {
        components::build_showing(&["mischief"], &guests, Show::Progress)?;
    }
    if args.iter().any(|word| *word == "--languages") {
        relays(&guests)?;
    }
    let (gateway, bench) = if asked.is_empty() {
        eprintln!(
            "xtask: building the gateway and the benchmark (about ten minutes on two cores the first time)"
        );
        let built = binaries::build(&["cortex-gateway", "cortex-bench"], true)?;
        let [gateway, bench] = &built[..] else {
            return Err(Error::new("cargo built something else than was asked for"));
        };
        (gateway.clone(), bench.clone())
    } else {
        (production::build()?, self::built("cortex-bench")?)
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
    checks::build_components()?;
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

/// `cargo xtask bench --micro`: measures parts of a request by themselves.
pub fn micro(args: &[String]) -> Result<()> {
    let plugins = plugins()?;
    eprintln!("xtask: building the benchmark (about ten minutes on two cores the first time)");
    let bench = || {
        let mut cargo = workspace::cargo();
        // With the features of the workspace: what the gateway was built from is used again.
        cargo.args(["bench", "--workspace", "--bench", "parts"]);
        cargo
    };
    process::run(bench().arg("--no-run"))?;
    let mut measuring = bench();
    measuring
        .arg("--quiet")
        .arg("--")
        .args(args)
        .env("CORTEX_BENCH_PLUGINS", plugins)
        // Audit records: an exporter is one of the parts.
        .stderr(Stdio::null());
    process::run(&mut measuring)
}

/// `cargo xtask soak`: the test of that name for a long time, with a release build of the gateway.
pub fn soak(minutes: u64) -> Result<()> {
    checks::build_components()?;
    eprintln!("xtask: building the gateway (about ten minutes on two cores the first time)");
    let gateway = built("cortex-gateway")?;
    let mut test = workspace::cargo();
    test.args(["test", "--workspace", "--test", "it", "--"])
        .args(["--nocapture", "under_load_and_change"])
        .env("CORTEX_TESTS_GATEWAY", gateway)
        .env("CORTEX_SOAK_SECONDS", (minutes * 60).to_string());
    process::run(&mut test)
}

/// A release build of one executable.
pub(crate) fn built(name: &str) -> Result<PathBuf> {
    let mut built = binaries::build(&[name], true)?;
    let built = built.pop();
    built.ok_or_else(|| Error::new("cargo built something else than was asked for"))
}

fn made() -> PathBuf {
    workspace::target_dir().join("bench")
}

/// The components of the gateways that are measured.
pub(crate) fn plugins() -> Result<PathBuf> {
    let plugins = made().join("plugins.d");
    let mut packages = components::DEFAULT.to_vec();
    packages.push(FIFTH);
    components::build_showing(&packages, &plugins, Show::Progress)?;
    Ok(plugins)
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
