//! One look at the plugin directory.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Result};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::plugin::trust::signature_file;

/// What tells a file from an earlier one of the same name, with what is beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    component: FileStamp,
    settings: Option<FileStamp>,
    signature: Option<FileStamp>,
    /// Whatever the lock says may concern it.
    lock: Option<FileStamp>,
}

impl Stamp {
    /// Whether there were settings before, and now are none.
    pub(super) fn lost_settings_of(&self, before: &Self) -> bool {
        let has_some = |stamp: &Self| stamp.settings.as_ref().is_some_and(|file| file.size > 0);
        has_some(before) && !has_some(self)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FileStamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The components of a directory, which may be locked.
pub(super) fn scan(dir: &Path, lock: &Path) -> Result<BTreeMap<String, Stamp>> {
    let mut found = BTreeMap::new();
    let lock = stamp(lock)?;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let is_component = path
            .extension()
            .is_some_and(|extension| extension == "wasm");
        // A name that is no text is nobody's plugin.
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if !is_component {
            continue;
        }
        if let Some(component) = stamp(&path)? {
            let settings = stamp(&path.with_extension("toml"))?;
            let stamp = Stamp {
                component,
                settings,
                signature: stamp(&signature_file(&path))?,
                lock: lock.clone(),
            };
            found.insert(name.to_owned(), stamp);
        }
    }
    Ok(found)
}

/// The signature beside a component.
pub(in crate::plugin) fn signature(component: &Path) -> Option<String> {
    std::fs::read_to_string(signature_file(component)).ok()
}

/// SHA-256 of the settings beside a component.
pub(super) fn settings_digest(component: &Path) -> Option<[u8; 32]> {
    let text = std::fs::read(component.with_extension("toml"));
    text.ok().map(|text| Sha256::digest(text).into())
}

/// `None`: there is no such file, or not any more.
fn stamp(path: &Path) -> Result<Option<FileStamp>> {
    match std::fs::metadata(path) {
        Ok(about) if about.is_file() => Ok(Some(FileStamp {
            inode: about.ino(),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        })),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_a_component_or_its_settings_is_seen() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).expect("written");
        };
        let look = || scan(dir.path(), &dir.path().join("lock")).expect("readable");
        assert!(look().is_empty());
        write("a.wasm", "1");
        write("notes.txt", "1");
        std::fs::create_dir(dir.path().join("b.wasm")).expect("made");
        let mut before = look();
        assert_eq!(before.keys().collect::<Vec<_>>(), ["a.wasm"]);
        assert_eq!(look(), before);
        let replace = || {
            write("new", "1");
            let (from, to) = (dir.path().join("new"), dir.path().join("a.wasm"));
            std::fs::rename(from, to).expect("renamed");
        };
        let changes: [&dyn Fn(); 5] = [
            &|| write("lock", "1"),
            &|| write("a.wasm", "12"),
            &|| write("a.toml", "x = 1"),
            &|| std::fs::remove_file(dir.path().join("a.toml")).expect("removed"),
            &replace,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            change();
            let now = look();
            assert_ne!(now, before, "{number}");
            before = now;
        }
    }
}
