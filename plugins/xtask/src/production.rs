//! `cargo xtask production`: the release build that costs least where it is used, with the allocator jemalloc, and arranged by
//! what serving makes it do (profile-guided optimisation): built to count what runs, used by the benchmark, and built again.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::{measures, messages, process, workspace};

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
    let mergers = mergers(Path::new(&sysroot), &host, env::var_os("PATH"));
    if mergers.is_empty() {
        return Err(Error::new(format!("`{MERGER}` is not there")).hint(HINT));
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
    let counting = gateway(&made, &host, &flag("profile-generate", &counts))?;
    eprintln!("xtask: using it, to see what runs (about a minute)");
    for uses in USES {
        let mut use_it = Command::new(&bench);
        use_it.arg("--gateway").arg(&counting);
        use_it.arg("--plugins").arg(&plugins);
        use_it.args(uses).args(MUCH);
        // Each process has a file of its own.
        use_it.env("LLVM_PROFILE_FILE", counts.join("%p.profraw"));
        process::output_lines(&mut use_it)?;
    }
    let merged = made.join("merged.profdata");
    merge(&mergers, &counts, &merged)?;
    gateway(&made, &host, &flag("profile-use", &merged))
}

/// Builds the gateway with one more flag for rustc, for which what runs on this machine while building is not
/// changed: that is what naming the target does.
fn gateway(target_dir: &Path, host: &str, flag: &str) -> Result<PathBuf> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--message-format=json-render-diagnostics"]);
    // With the features of the workspace, as everywhere.
    cargo.args(["--workspace", "--bin", "cortex-gateway"]);
    cargo.args(["--features", "cortex-gateway/jemalloc"]);
    cargo.args(["--release", "--target", host]);
    cargo.env("CARGO_TARGET_DIR", target_dir);
    let own = env::var("RUSTFLAGS").unwrap_or_default();
    cargo.env("RUSTFLAGS", format!("{own} {flag}").trim());
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

/// The tools that are here, the most promising first: that of the toolchain, then those in the search path with a
/// version in their name, the newest first, then the one without.
fn mergers(sysroot: &Path, host: &str, search: Option<OsString>) -> Vec<PathBuf> {
    let own = sysroot.join("lib/rustlib").join(host).join("bin");
    let mut found: Vec<(u32, PathBuf)> = env::split_paths(&search.unwrap_or_default())
        .flat_map(|dir| versions(&dir))
        .collect();
    // Stable: of the same version the one that is found first.
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    let own = versions(&own).into_iter();
    own.chain(found).map(|(_, path)| path).collect()
}

/// The tools in a folder, with the versions in their names; 0: there is none.
fn versions(dir: &Path) -> Vec<(u32, PathBuf)> {
    let entries = dir.read_dir().into_iter().flatten().filter_map(|e| e.ok());
    let named = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let version = match name.strip_prefix(MERGER)? {
            "" => 0,
            rest => rest.strip_prefix('-')?.parse().ok()?,
        };
        Some((version, entry.path()))
    });
    named.collect()
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

    fn tool(dir: &Path, name: &str, script: &str) -> PathBuf {
        fs::create_dir_all(dir).unwrap();
        let path = dir.join(name);
        fs::write(&path, script).unwrap();
        path
    }

    #[test]
    fn the_tool_of_the_toolchain_comes_first_and_then_the_newest() {
        let root = env::temp_dir().join(format!("xtask-production-{}", std::process::id()));
        let (sysroot, bin) = (root.join("sysroot"), root.join("bin"));
        let search = env::join_paths([&bin, &root.join("nothing")]).unwrap();
        let find = || mergers(&sysroot, "host", Some(search.clone()));
        assert!(find().is_empty());
        let unnamed = tool(&bin, "llvm-profdata", "");
        let old = tool(&bin, "llvm-profdata-9", "");
        tool(&bin, "llvm-profdata-x", "");
        let newest = tool(&bin, "llvm-profdata-19", "");
        let own = tool(&sysroot.join("lib/rustlib/host/bin"), "llvm-profdata", "");
        assert_eq!(find(), [own, newest, old, unnamed]);
        fs::remove_dir_all(root).unwrap();
    }

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
        tool(&counts, "1.profraw", "");
        assert_eq!(run(&["false", "true"]), Ok(()));
        let told = run(&["false"]).unwrap_err();
        assert!(told.contains("rustup component add llvm-tools"), "{told}");
        fs::remove_dir_all(root).unwrap();
    }
}
