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

/// What merges the counts. LLVM's own tool; of an older LLVM, too, as long as it knows the format.
const MERGER: &str = "llvm-profdata";

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
    let merger = merger(Path::new(&sysroot), &host, env::var_os("PATH"))?;
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
    let counted = files(&counts, "profraw");
    if counted.is_empty() {
        return Err(Error::new("the gateway that counts has counted nothing"));
    }
    process::run(
        Command::new(merger)
            .args(["merge", "-o"])
            .arg(&merged)
            .args(&counted),
    )?;
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

/// The tool: that of the toolchain, or the newest in the search path.
fn merger(sysroot: &Path, host: &str, search: Option<OsString>) -> Result<PathBuf> {
    let own = sysroot.join("lib/rustlib").join(host).join("bin");
    let search = search.unwrap_or_default();
    let dirs = std::iter::once(own).chain(env::split_paths(&search));
    let mut found: Option<(u32, PathBuf)> = None;
    for (n, dir) in dirs.enumerate() {
        for (version, path) in versions(&dir) {
            // One without a number is the one that is meant.
            let version = version.unwrap_or(u32::MAX);
            if found.as_ref().is_none_or(|(best, _)| version > *best) {
                found = Some((version, path));
            }
        }
        if n == 0 && found.is_some() {
            break;
        }
    }
    found.map(|(_, path)| path).ok_or_else(|| {
        Error::new(format!("`{MERGER}` is not there")).hint(
            "`rustup component add llvm-tools`, or a package of your distribution (Debian: llvm-19)",
        )
    })
}

/// The tools in a folder, with the versions in their names.
fn versions(dir: &Path) -> Vec<(Option<u32>, PathBuf)> {
    let entries = dir.read_dir().into_iter().flatten().filter_map(|e| e.ok());
    let named = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let version = match name.strip_prefix(MERGER)? {
            "" => None,
            rest => Some(rest.strip_prefix('-')?.parse().ok()?),
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

    fn tool(dir: &Path, name: &str) -> PathBuf {
        fs::create_dir_all(dir).unwrap();
        let path = dir.join(name);
        fs::write(&path, "").unwrap();
        path
    }

    #[test]
    fn the_tool_of_the_toolchain_is_taken_or_else_the_newest() {
        let root = env::temp_dir().join(format!("xtask-production-{}", std::process::id()));
        let (sysroot, bin) = (root.join("sysroot"), root.join("bin"));
        let search = env::join_paths([&bin, &root.join("nothing")]).unwrap();
        let find = || merger(&sysroot, "host", Some(search.clone()));
        let told = find().unwrap_err().to_string();
        assert!(told.contains("rustup component add llvm-tools"), "{told}");
        tool(&bin, "llvm-profdata-9");
        tool(&bin, "llvm-profdata-x");
        let newest = tool(&bin, "llvm-profdata-19");
        assert_eq!(find().unwrap(), newest);
        let meant = tool(&bin, "llvm-profdata");
        assert_eq!(find().unwrap(), meant);
        let own = tool(&sysroot.join("lib/rustlib/host/bin"), "llvm-profdata");
        assert_eq!(find().unwrap(), own);
        fs::remove_dir_all(root).unwrap();
    }
}
