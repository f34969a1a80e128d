//! Packages → components: `<name>.wasm`, ready for a plugin directory.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::wasm_target::{self, Extras, TARGET};
use crate::{messages, process::output_lines, workspace};

/// The plugins that a gateway starts with.
pub const DEFAULT: [&str; 4] = [
    "audit-stdout",
    "backend-http",
    "backend-mcp",
    "policy-scopes",
];

/// How much of cargo's talk to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// All of its progress.
    Progress,
    /// Only what goes wrong.
    Errors,
}

/// `cargo xtask components`.
pub fn task(packages: &[String], out: Option<&Path>) -> Result<()> {
    let named: Vec<&str> = packages.iter().map(String::as_str).collect();
    let packages = if named.is_empty() {
        &DEFAULT[..]
    } else {
        &named[..]
    };
    let out = match out {
        Some(dir) => dir.to_path_buf(),
        None => workspace::target_dir().join("components"),
    };
    for component in build_showing(packages, &out, Show::Progress)? {
        println!("{}", component.display());
    }
    Ok(())
}

/// Builds packages of this workspace to components in the folder `out`, and returns where
/// they are. For tests: asked for the same again, a process builds once; one line says what
/// is going on, and an error says what to do.
pub fn build(packages: &[&str], out: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    type Request = (Vec<String>, PathBuf);
    static BUILT: Mutex<BTreeMap<Request, Vec<PathBuf>>> = Mutex::new(BTreeMap::new());
    let names = packages.iter().map(|name| (*name).to_owned()).collect();
    let request = (names, out.as_ref().to_path_buf());
    // Whoever asks meanwhile waits here, and then finds it done.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(paths) = built.get(&request) {
        return Ok(paths.clone());
    }
    let paths = build_showing(packages, out.as_ref(), Show::Errors)?;
    built.insert(request, paths.clone());
    Ok(paths)
}

/// Builds packages of this workspace to components in the folder `out`, every time.
pub fn build_showing(packages: &[&str], out: &Path, show: Show) -> Result<Vec<PathBuf>> {
    let extras = wasm_target::ensure()?;
    eprintln!(
        "xtask: building components: {} (under a minute the first time)",
        packages.join(", ")
    );
    fs::create_dir_all(out).map_err(Error::trying(format!("make the folder {}", out.display())))?;
    let mut components = Vec::new();
    for package in packages {
        let built = compile(package, &extras, show)?;
        let component = out.join(format!("{package}.wasm"));
        install(&built, &component)
            .map_err(Error::trying(format!("write {}", component.display())))?;
        components.push(component);
    }
    Ok(components)
}

/// Compiles one package. One at a time, because only so cargo takes a crate type: whatever other
/// types a package lists, a component is linked as if it were the only one.
fn compile(package: &str, extras: &Extras, show: Show) -> Result<PathBuf> {
    let mut cargo = workspace::cargo();
    cargo
        .args([
            "rustc",
            "--package",
            package,
            "--lib",
            "--crate-type=cdylib",
        ])
        .args(["--target", TARGET, "--profile=plugin"])
        .arg("--message-format=json-render-diagnostics")
        // Apart from native builds, which must not wait for this one or it for them.
        .arg("--target-dir")
        .arg(workspace::target_dir().join("plugins"))
        // Flags meant for native code, such as a CPU to build for, would break a component: what
        // is set here takes the place of all others.
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            flags(extras, &cargo_home()).join("\u{1f}"),
        );
    if let Some(rustc) = &extras.rustc {
        cargo.env("RUSTC", rustc);
    }
    if show == Show::Errors {
        cargo.arg("--quiet");
    }
    let file = format!("{}.wasm", package.replace('-', "_"));
    output_lines(&mut cargo)?
        .iter()
        .filter_map(|line| messages::strings(line, "filenames"))
        .flatten()
        .map(PathBuf::from)
        .find(|path| path.file_name().is_some_and(|name| *name == *file))
        .ok_or_else(|| Error::new(format!("cargo built no component: `{package}`")))
}

/// Builds the package in a folder of somebody else's to a component, and tells where it is. `profile`: of
/// that package.
pub fn project(dir: &Path, profile: &str) -> Result<PathBuf> {
    let extras = wasm_target::ensure()?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(dir)
        .args(["build", "--lib", "--target", TARGET])
        .args(["--profile", profile])
        .arg("--message-format=json-render-diagnostics")
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            project_flags(&extras, dir, &cargo_home()).join("\u{1f}"),
        );
    if let Some(rustc) = &extras.rustc {
        cargo.env("RUSTC", rustc);
    }
    let lines = output_lines(&mut cargo)?;
    let built = (lines.iter())
        .filter_map(|line| messages::strings(line, "filenames"))
        .flatten()
        .map(PathBuf::from);
    // Those of dependencies come before it.
    let component = built
        .rev()
        .find(|path| path.extension().is_some_and(|is| is == "wasm"));
    component.ok_or_else(|| {
        Error::new(format!("cargo built no component in {}", dir.display()))
            .hint("`crate-type = [\"cdylib\"]` below `[lib]` in its Cargo.toml")
    })
}

fn project_flags(extras: &Extras, dir: &Path, cargo_home: &Path) -> Vec<String> {
    let mut flags = vec![
        hide(dir, "."),
        hide(&cargo_home.join("registry").join("src"), "/deps"),
    ];
    flags.extend(extras.sysroot.clone());
    flags
}

fn hide(path: &Path, name: &str) -> String {
    format!("--remap-path-prefix={}={name}", path.display())
}

/// Flags for rustc: where std is, and that the paths of this machine, which panic messages
/// quote, do not end up in what others run.
fn flags(extras: &Extras, cargo_home: &Path) -> Vec<String> {
    let mut flags = vec![
        hide(&workspace::root(), "/cortex"),
        hide(&cargo_home.join("registry").join("src"), "/deps"),
    ];
    flags.extend(extras.sysroot.clone());
    flags
}

/// Where cargo keeps what it fetched.
fn cargo_home() -> PathBuf {
    let named = env::var_os("CARGO_HOME").map(PathBuf::from);
    named
        .or_else(|| Some(env::home_dir()?.join(".cargo")))
        .unwrap_or_default()
}

/// Copies a file so that a reader of `to` sees the old or the new one, never half of it; and
/// leaves it alone if it is the same, because a running gateway watches its plugins.
pub fn install(from: &Path, to: &Path) -> std::io::Result<()> {
    let new = fs::read(from)?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let half = to.with_file_name(format!(".{name}.{}.part", process::id()));
    let written = fs::write(&half, new).and_then(|()| fs::rename(&half, to));
    if written.is_err() {
        drop(fs::remove_file(&half));
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_only_when_it_differs() {
        let dir = std::env::temp_dir().join(format!("xtask-install-{}", process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (from, to) = (dir.join("from"), dir.join("to"));
        let modified = || fs::metadata(&to).unwrap().modified().unwrap();
        fs::write(&from, "one").unwrap();
        install(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"one");

        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        fs::File::options()
            .write(true)
            .open(&to)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        install(&from, &to).unwrap();
        assert_eq!(modified(), long_ago, "the same content is left alone");

        fs::write(&from, "two").unwrap();
        install(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"two");
        assert_eq!(
            fs::read_dir(&dir).unwrap().count(),
            2,
            "nothing else is left behind"
        );
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn flags_name_the_sysroot_and_hide_paths() {
        let extras = Extras {
            sysroot: Some("--sysroot=/a b".into()),
            rustc: None,
        };
        let flags = flags(&extras, Path::new("/home/ann/.cargo"));
        assert!(
            flags
                .iter()
                .any(|flag| flag.ends_with("/registry/src=/deps"))
        );
        assert_eq!(flags.last().map(String::as_str), Some("--sysroot=/a b"));
    }

    #[test]
    fn default_plugins_exist() {
        let plugins = workspace::packages_in("plugins");
        for name in DEFAULT {
            assert!(plugins.iter().any(|plugin| plugin == name), "{name}");
        }
    }
}
