//! LLVM's tools, where they are.

use std::cmp::Reverse;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The tools of this name that are here, the most promising first: that in `own`, then those in the search path with a
/// version in their name, the newest first, then the one without.
pub(super) fn found(name: &str, own: Option<&Path>, search: Option<OsString>) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = env::split_paths(&search.unwrap_or_default())
        .flat_map(|dir| versions(name, &dir))
        .collect();
    // Stable: of the same version the one that is found first.
    found.sort_by_key(|(version, _)| Reverse(*version));
    let own = own.into_iter().flat_map(|dir| versions(name, dir));
    own.chain(found).map(|(_, path)| path).collect()
}

/// The tools of this name in a folder, with the versions in their names; 0: there is none.
fn versions(tool: &str, dir: &Path) -> Vec<(u32, PathBuf)> {
    let entries = dir.read_dir().into_iter().flatten().filter_map(|e| e.ok());
    let named = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let version = match name.strip_prefix(tool)? {
            "" => 0,
            rest => rest.strip_prefix('-')?.parse().ok()?,
        };
        Some((version, entry.path()))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_tool_of_the_toolchain_comes_first_and_then_the_newest() {
        let root = env::temp_dir().join(format!("xtask-production-{}", std::process::id()));
        let (toolchain, bin) = (root.join("toolchain"), root.join("bin"));
        let search = env::join_paths([&bin, &root.join("nothing")]).unwrap();
        let find = || found("llvm-profdata", Some(&toolchain), Some(search.clone()));
        assert!(find().is_empty());
        let tool = |dir: &Path, name: &str| {
            fs::create_dir_all(dir).unwrap();
            fs::write(dir.join(name), "").unwrap();
            dir.join(name)
        };
        let unnamed = tool(&bin, "llvm-profdata");
        let old = tool(&bin, "llvm-profdata-9");
        tool(&bin, "llvm-profdata-x");
        let newest = tool(&bin, "llvm-profdata-19");
        let own = tool(&toolchain, "llvm-profdata");
        assert_eq!(find(), [own, newest, old, unnamed]);
        fs::remove_dir_all(root).unwrap();
    }
}
