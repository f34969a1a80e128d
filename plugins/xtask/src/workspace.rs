//! Where things are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's folder.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // plugins/xtask lies two levels below.
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The folder that cargo, and we, build into.
pub fn target_dir() -> PathBuf {
    let own = env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty());
    root().join(own.map_or_else(|| PathBuf::from("target"), PathBuf::from))
}

/// A cargo command, to be run in the workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Names of the packages in a folder of the workspace, sorted: those that have a `Cargo.toml`.
pub fn packages_in(folder: &str) -> Vec<String> {
    let Ok(entries) = root().join(folder).read_dir() else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok())
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// True on a build machine, where what is missing is an error and not a reason to skip.
pub fn is_ci() -> bool {
    env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_workspace() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }
}
