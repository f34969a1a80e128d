//! `cargo xtask production`: the release build that costs least where it is used, with the allocator jemalloc, and arranged by
//! what serving makes it do (profile-guided optimisation): built to count what runs, used by the benchmark, and built again.
//! Where LLVM's BOLT is there, the finished binary is used once more, and laid out by the ways through it that are taken.

mod layout;
mod tools;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::{measures, messages, process, workspace};
use layout::Bolt;

/// What the gateway does while it is counted, as arguments of the benchmark: calls of both eras, to both kinds of
/// backends, by one client and by many; then lists.
const USES: [&[&str]; 2] = [
    &[
        "--full",
        "--only",
        "calls,eras,native",
        "--connections",
        "1,32",
    ],
    &["--only", "lists", "--connections", "32"],
];

/// And how much of it.
const MUCH: &[&str] = &["--rounds", "1", "--calls", "3000", "--seconds", "8"];

/// What merges the counts: LLVM's own tool. That of another version than rustc's will do, if it knows the format.
const MERGER: &str = "llvm-profdata";
/// How to get it.
const HINT: &str =
    "`rustup component add llvm-tools`, or a package of your distribution (Debian: llvm-19)";

/// Builds it, and puts it where it is asked for.
pub fn task(out: Option<&Path>) -> Result<()> {
    let built = build()?;
    let place = match out {
        Some(out) => {
            // One that runs cannot be written to, but another one can take its name.
            let new = out.with_extension("new");
            let written = fs::copy(&built, &new).and_then(|_| fs::rename(&new, out));
            written.map_err(Error::trying(format_args!("write {}", out.display())))?;
            out.to_owned()
        }
        None => built,
    };
    println!("{}", place.display());
    Ok(())
}

/// Builds it; returns where it is.
pub fn build() -> Result<PathBuf> {
    // First what may be missing: the rest takes a while.
    let (sysroot, host) = (rustc(&["--print", "sysroot"])?, host()?);
    let own = Path::new(&sysroot)
        .join("lib/rustlib")
        .join(&host)
        .join("bin");
    let mergers = tools::found(MERGER, Some(&own), env::var_os("PATH"));
    if mergers.is_empty() {
        return Err(Error::new(format!("`{MERGER}` is not there")).hint(HINT));
    }
    let bolt = Bolt::find(env::var_os("PATH"));
    if bolt.is_none() {
        eprintln!("xtask: {}", layout::ABSENT);
    }
    let plugins = measures::plugins()?;
    eprintln!(
        "xtask: building the benchmark, then the gateway twice (about half an hour on two cores the first time)"
    );
    let bench = measures::built("cortex-bench")?;
    let made = workspace::target_dir().join("production");
    let counts = made.join("counts");
    // Those of another build would not fit.
    if counts.exists() {
        let deleted = fs::remove_dir_all(&counts);
        deleted.map_err(Error::trying("delete what was counted before"))?;
    }
    let used = |gateway: &Path, variables: &[(&str, PathBuf)]| {
        eprintln!("xtask: using it, to see what runs (about a minute)");
        for uses in USES {
            let mut use_it = Command::new(&bench);
            use_it.arg("--gateway").arg(gateway);
            use_it.arg("--plugins").arg(&plugins);
            use_it.args(uses).args(MUCH);
            use_it.envs(variables.iter().map(|(name, value)| (name, value)));
            process::output_lines(&mut use_it)?;
        }
        Ok(())
    };
    let counting = gateway(&made, &host, &flag("profile-generate", &counts), false)?;
    // Each process has a file of its own.
    used(
        &counting,
        &[("LLVM_PROFILE_FILE", counts.join("%p.profraw"))],
    )?;
    let merged = made.join("merged.profdata");
    merge(&mergers, &counts, &merged)?;
    let built = gateway(&made, &host, &flag("profile-use", &merged), bolt.is_some())?;
    match bolt {
        Some(bolt) => bolt.lay_out(&built, &made.join("layout"), |counting| used(counting, &[])),
        None => Ok(built),
    }
}

/// Builds the gateway with one more flag for rustc, for which what runs on this machine while building is not
/// changed: that is what naming the target does. One that is `movable` says what its parts are called, and where they
/// speak of each other.
fn gateway(target_dir: &Path, host: &str, flag: &str, movable: bool) -> Result<PathBuf> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--message-format=json-render-diagnostics"]);
    // With the features of the workspace, as everywhere.
    cargo.args(["--workspace", "--bin", "cortex-gateway"]);
    cargo.args(["--features", "cortex-gateway/jemalloc"]);
    cargo.args(["--release", "--target", host]);
    cargo.env("CARGO_TARGET_DIR", target_dir);
    let own = env::var("RUSTFLAGS").unwrap_or_default();
    let mut flags = format!("{own} {flag}").trim().to_owned();
    if movable {
        flags.push_str(" -Clink-arg=-Wl,--emit-relocs");
        cargo.env("CARGO_PROFILE_RELEASE_STRIP", "none");
    }
    cargo.env("RUSTFLAGS", flags);
    let lines = process::output_lines(&mut cargo)?;
    let built = lines
        .iter()
        .filter_map(|line| messages::string(line, "executable"))
        .map(PathBuf::from)
        .find(|path| {
            path.file_stem()
                .is_some_and(|stem| stem == "cortex-gateway")
        });
    built.ok_or_else(|| Error::new("cargo built no executable: `cortex-gateway`"))
}

fn flag(name: &str, path: &Path) -> String {
    format!("-C{name}={}", path.display())
}

/// Merges what was counted, with the first tool that can read it: those of older versions cannot.
fn merge(mergers: &[PathBuf], counts: &Path, merged: &Path) -> Result<()> {
    let counted = files(counts, "profraw");
    if counted.is_empty() {
        return Err(Error::new("the gateway that counts has counted nothing"));
    }
    let mut why = String::new();
    for merger in mergers {
        let mut merge = Command::new(merger);
        merge.args(["merge", "-o"]).arg(merged).args(&counted);
        let done = merge.output().map_err(Error::trying("merge the counts"))?;
        if done.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        why = format!(
            "{} says: {}",
            merger.display(),
            said.lines().next().unwrap_or_default()
        );
    }
    Err(Error::new(format!(
        "no `{MERGER}` that is here can read what was counted; {why}"
    ))
    .hint(HINT))
}

/// Files in a folder whose names end so, sorted.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = dir.read_dir().into_iter().flatten().filter_map(|e| e.ok());
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == extension))
        .collect();
    paths.sort();
    paths
}

/// The target that this machine is.
fn host() -> Result<String> {
    let told = rustc(&["-vV"])?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| Error::new("rustc does not say for what machine it is"))
}

fn rustc(args: &[&str]) -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let lines = process::output_lines(Command::new(rustc).args(args))?;
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_cannot_read_it_is_passed_over() {
        let root = env::temp_dir().join(format!("xtask-merge-{}", std::process::id()));
        let (counts, merged) = (root.join("counts"), root.join("merged"));
        let run = |mergers: &[&str]| {
            let mergers: Vec<PathBuf> = mergers.iter().map(PathBuf::from).collect();
            merge(&mergers, &counts, &merged).map_err(|error| error.to_string())
        };
        let nothing = run(&["true"]).unwrap_err();
        assert!(nothing.contains("counted nothing"), "{nothing}");
        fs::create_dir_all(&counts).unwrap();
        fs::write(counts.join("1.profraw"), "").unwrap();
        assert_eq!(run(&["false", "true"]), Ok(()));
        let told = run(&["false"]).unwrap_err();
        assert!(told.contains("rustup component add llvm-tools"), "{told}");
        fs::remove_dir_all(root).unwrap();
    }
}
