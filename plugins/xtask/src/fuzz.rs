//! `cargo xtask fuzz`: builds the fuzz targets and runs them for a while.
//!
//! They are programs of libFuzzer, built by the stable compiler: `tests/fuzz/rustc.sh` has it
//! instrument our own crates, and no other, so that all the rest is built once for everything.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::{Error, Result};
use crate::{interrupt, process, workspace};

/// The targets there are; each has a folder of seeds.
const TARGETS: [&str; 3] = ["jsonrpc", "headers", "token"];

/// How long each target runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// By the clock.
    Seconds(u32),
    /// By the number of inputs, which are the same each time.
    Runs(u32),
}

impl Default for Bound {
    fn default() -> Self {
        Self::Seconds(60)
    }
}

/// Runs these targets; all of them if none is named.
pub fn task(targets: &[String], bound: Bound) -> Result<()> {
    let targets = chosen(targets)?;
    build()?;
    let mut broken = Vec::new();
    for target in targets {
        eprintln!("xtask: fuzzing: {target}");
        if let Err(error) = run(target, bound) {
            if interrupt::requested().is_some() {
                return Err(error);
            }
            broken.push(target);
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    let program = workspace::target_dir().join("debug/fuzz-TARGET");
    let hint = format!(
        "run it again on the file that is named above: {} FILE",
        program.display()
    );
    Err(Error::new(format!("found what must not be: {}", broken.join(", "))).hint(hint))
}

fn chosen(named: &[String]) -> Result<Vec<&'static str>> {
    if named.is_empty() {
        return Ok(TARGETS.to_vec());
    }
    let find = |name: &String| TARGETS.into_iter().find(|target| target == name);
    let unknown = |name: &String| {
        let error = Error::new(format!("no such fuzz target: `{name}`")).with_exit_code(2);
        error.hint(format!("there are {}", TARGETS.join(", ")))
    };
    (named.iter())
        .map(|name| find(name).ok_or_else(|| unknown(name)))
        .collect()
}

fn build() -> Result<()> {
    let wrapper = workspace::root().join("tests/fuzz/rustc.sh");
    let mut cargo = workspace::cargo();
    // With the features that the whole workspace asks for: what the tests built serves here, too.
    cargo.args([
        "build",
        "--workspace",
        "--features",
        "cortex-fuzz/libfuzzer",
    ]);
    for target in TARGETS {
        cargo.arg("--bin").arg(format!("fuzz-{target}"));
    }
    process::run(cargo.env("RUSTC_WORKSPACE_WRAPPER", wrapper))
}

fn run(target: &str, bound: Bound) -> Result<()> {
    let own = workspace::target_dir().join("fuzz").join(target);
    let corpus = match bound {
        Bound::Seconds(_) => own.join("corpus"),
        // What earlier runs learned would make this one another.
        Bound::Runs(_) => own.join("empty"),
    };
    if matches!(bound, Bound::Runs(_)) && corpus.exists() {
        fs::remove_dir_all(&corpus)
            .map_err(Error::trying(format!("empty {}", corpus.display())))?;
    }
    fs::create_dir_all(&corpus).map_err(Error::trying(format!(
        "make the folder {}",
        corpus.display()
    )))?;
    let mut program = Command::new(workspace::target_dir().join(format!("debug/fuzz-{target}")));
    program
        .args(arguments(bound))
        // With the separator at the end: what is found goes into this folder.
        .arg(format!("-artifact_prefix={}/", own.display()))
        .arg(corpus)
        .arg(
            workspace::root()
                .join(Path::new("tests/fuzz/seeds"))
                .join(target),
        );
    process::run(&mut program)
}

/// What libFuzzer is told.
fn arguments(bound: Bound) -> Vec<String> {
    let bound = match bound {
        Bound::Seconds(seconds) => vec![format!("-max_total_time={seconds}")],
        Bound::Runs(runs) => vec![format!("-runs={runs}"), "-seed=1".to_owned()],
    };
    // A minute for one input is an endless loop, however busy the machine.
    let always = [
        "-max_len=4096",
        "-timeout=60",
        "-print_final_stats=1",
        "-print_funcs=0",
        "-verbosity=0",
    ];
    bound.into_iter().chain(always.map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_built_and_has_seeds() {
        let manifest = workspace::root().join("tests/fuzz/Cargo.toml");
        let manifest = fs::read_to_string(manifest).unwrap();
        for target in TARGETS {
            assert!(
                manifest.contains(&format!("name = \"fuzz-{target}\"")),
                "{target}"
            );
            let seeds = workspace::root().join("tests/fuzz/seeds").join(target);
            assert!(seeds.read_dir().unwrap().count() >= 5, "{target}");
        }
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    }

    #[test]
    fn only_what_is_there_can_be_run() {
        assert_eq!(chosen(&[]), Ok(TARGETS.to_vec()));
        assert_eq!(chosen(&["token".to_owned()]), Ok(vec!["token"]));
        let error = chosen(&["tokens".to_owned()]).unwrap_err().to_string();
        assert!(
            error.contains("`tokens`") && error.contains("jsonrpc"),
            "{error}"
        );
    }
}
