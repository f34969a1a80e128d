//! The relay adapter in several languages, built by its own script.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::SystemTime;

/// What `build.sh` exits with where a tool that it needs is missing.
const TOOL_MISSING: i32 = 3;

/// The component in one of the languages of `examples/relay`; `None`, with a line that says so, where its
/// tools are missing and this is no build machine.
pub fn relay(language: &str) -> Option<PathBuf> {
    // One at a time: they share a folder.
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one = BUILDING.lock();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let out = super::built_dir().join("relay");
    let component = out.join(format!("relay-{language}.wasm"));
    let made = newest(&component);
    let sources = [root.join("examples/relay"), root.join("wit/v0.2")];
    if made.is_some() && sources.iter().all(|source| newest(source) < made) {
        return Some(component);
    }
    let script = root.join("examples/relay/build.sh");
    let built = Command::new("bash")
        .arg(script)
        .arg(language)
        .arg(&out)
        .output()
        .expect("bash runs");
    if built.status.success() {
        return Some(component);
    }
    let why = String::from_utf8_lossy(&built.stderr).into_owned();
    let is_ci = std::env::var_os("CI").is_some();
    assert!(
        built.status.code() == Some(TOOL_MISSING) && !is_ci,
        "the relay in {language} cannot be built: {why}"
    );
    eprintln!("skipped: {why}");
    None
}

/// When the newest file of a folder was written, or a file.
fn newest(path: &Path) -> Option<SystemTime> {
    let about = std::fs::metadata(path).ok()?;
    if !about.is_dir() {
        return about.modified().ok();
    }
    let entries = std::fs::read_dir(path).ok()?.flatten();
    let times = entries.filter_map(|entry| newest(&entry.path()));
    times.max()
}
