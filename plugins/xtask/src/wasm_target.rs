//! Gets the target that plugins are built for, and says in one line where it came from.
//!
//! Most machines have it or get it from rustup. For those whose rustup reaches nothing,
//! `wasm-target.sh` beside this crate builds std once from the distribution's packages.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::process;

/// The target that plugins are built for.
pub const TARGET: &str = "wasm32-wasip2";

/// What a plugin build needs besides the active toolchain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// A flag for rustc that names a private sysroot.
    pub sysroot: Option<String>,
    /// Another rustc than the active one.
    pub rustc: Option<String>,
}

/// Makes sure that the target is there. Looks once per process.
pub fn ensure() -> Result<Extras> {
    static FOUND: Mutex<Option<Extras>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(extras) = &*found {
        return Ok(extras.clone());
    }
    Ok(found.insert(find()?).clone())
}

fn find() -> Result<Extras> {
    let may = |way| !skips(way, &env::var("CORTEX_WASM_SKIP").unwrap_or_default());
    if may("native") && toolchain_has_it() {
        eprintln!("xtask: {TARGET} is ready: the active toolchain has it");
        return Ok(Extras::default());
    }
    if cfg!(unix) && process::works("bash", &["-c", "true"]) {
        return by_script();
    }
    if may("native") && may("rustup") && process::works("rustup", &["--version"]) {
        eprintln!("xtask: asking rustup to add {TARGET} to your toolchain");
        process::run(Command::new("rustup").args(["target", "add", TARGET]))
            .map_err(|_| missing())?;
        if toolchain_has_it() {
            eprintln!("xtask: {TARGET} is ready: rustup added it");
            return Ok(Extras::default());
        }
    }
    Err(missing())
}

/// Carried along, so that it is there where this repository is not.
const SCRIPT: &str = include_str!("../wasm-target.sh");

/// Runs the script, which tells its steps on standard error and the result on standard output.
fn by_script() -> Result<Extras> {
    let mut bash = Command::new("bash");
    bash.args(["-c", SCRIPT, "wasm-target.sh", "ensure"]);
    if let Some(cargo) = env::var_os("CARGO") {
        bash.env("CARGO", cargo);
    }
    let lines = process::output_lines(&mut bash).map_err(|error| {
        // The script has said why; what is left is what to do. Ctrl-C is not its failure.
        if error == crate::interrupt::error() {
            error
        } else {
            missing()
        }
    })?;
    Ok(Extras::parse(&lines))
}

fn toolchain_has_it() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let Ok(output) = Command::new(rustc).args(["--print", "sysroot"]).output() else {
        return false;
    };
    let sysroot = String::from_utf8_lossy(&output.stdout);
    let libraries = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(TARGET)
        .join("lib");
    let Ok(mut files) = libraries.read_dir() else {
        return false;
    };
    files.any(|file| {
        file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
    })
}

fn missing() -> Error {
    Error::new(format!(
        "the target {TARGET} is missing, so no component can be built"
    ))
    .hint(format!("`rustup target add {TARGET}`, then once more"))
}

/// True if the list of words names this one.
fn skips(way: &str, words: &str) -> bool {
    words.split_whitespace().any(|word| word == way)
}

impl Extras {
    /// Reads the script's `KEY=VALUE` lines.
    fn parse(lines: &[String]) -> Self {
        let value = |key: &str| {
            let mut values = lines
                .iter()
                .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            values.next().map(str::to_owned)
        };
        Self {
            sysroot: value("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS"),
            rustc: value("RUSTC"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skip_words_are_whole_words() {
        assert!(skips("rustup", "native rustup"));
        assert!(!skips("rust", "native rustup"));
        assert!(!skips("native", ""));
    }

    #[test]
    fn what_the_script_prints_is_understood() {
        let parse = |line: &str| Extras::parse(&[line.to_owned()]);
        let sysroot = parse("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS=--sysroot=/a b");
        assert_eq!(sysroot.sysroot.as_deref(), Some("--sysroot=/a b"));
        assert_eq!(parse("RUSTC=/x/rustc").rustc.as_deref(), Some("/x/rustc"));
        assert_eq!(Extras::parse(&[]), Extras::default());
    }
}
