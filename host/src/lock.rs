//! `cortex.lock`: what a gateway may run and offer, in one file. Components by digest, what each was granted,
//! and the approved definitions of tools. With it there, anything that is not in it is withheld.
//!
//! Knows nothing of plugins and definitions but their shape in the file.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// What the file says it is.
const FORMAT: &str = "cortex.lock";
/// Its version.
const VERSION: u64 = 1;
/// Largest file.
const MAX_FILE: u64 = 512 * 1024 * 1024;

/// Why a lock file cannot be used.
#[derive(Clone, Debug, Error)]
#[error("`{path}` cannot be used as a lock: {why}")]
pub struct BadLock {
    path: PathBuf,
    why: String,
}

/// One component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// SHA-256 of the component, in hexadecimal digits.
    pub sha256: String,
    /// What it was granted, a line each, as `plugin list` has it.
    pub grants: Vec<String>,
}

/// What is locked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    format: String,
    version: u64,
    /// By the name of the file in the plugin directory.
    pub plugins: BTreeMap<String, Pinned>,
    /// As `baseline export` writes them.
    pub definitions: Value,
}

impl Lock {
    /// Of these.
    pub fn new(plugins: BTreeMap<String, Pinned>, definitions: Value) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            plugins,
            definitions,
        }
    }

    /// Reads a lock. `None`: there is none, so nothing is locked.
    ///
    /// # Errors
    /// [`BadLock`]; then nothing may run.
    pub fn read(path: &Path) -> Result<Option<Self>, BadLock> {
        let bad = |why: String| BadLock {
            path: path.to_owned(),
            why,
        };
        match fs::metadata(path) {
            Ok(about) if about.len() > MAX_FILE => return Err(bad("it is too large".to_owned())),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(bad(error.to_string())),
        }
        let bytes = fs::read(path).map_err(|error| bad(error.to_string()))?;
        let lock: Self = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        if (lock.format.as_str(), lock.version) != (FORMAT, VERSION) {
            return Err(bad(format!(
                "it says it is `{}`, version {}; expected `{FORMAT}`, version {VERSION}",
                lock.format.escape_debug(),
                lock.version
            )));
        }
        Ok(Some(lock))
    }

    /// Writes a lock: whole, then it gets its name.
    ///
    /// # Errors
    /// [`BadLock`].
    pub fn write(&self, path: &Path) -> Result<(), BadLock> {
        let bad = |why: String| BadLock {
            path: path.to_owned(),
            why,
        };
        let text = serde_json::to_string_pretty(self).map_err(|error| bad(error.to_string()))?;
        let unfinished = path.with_extension(format!("{}.part", std::process::id()));
        let written = fs::File::create(&unfinished).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&unfinished, path)
        });
        written.map_err(|error| {
            // It is of no use to anybody; that it cannot be removed is no news beside the rest.
            let _ = fs::remove_file(&unfinished);
            bad(error.to_string())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_lock_is_read_as_it_was_written_and_what_is_none_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("cortex.lock");
        assert!(Lock::read(&path).expect("no error").is_none());
        let pinned = Pinned {
            sha256: "00".to_owned(),
            grants: vec!["kv: keeps up to 4 KiB".to_owned()],
        };
        let plugins = BTreeMap::from([("a.wasm".to_owned(), pinned)]);
        let lock = Lock::new(plugins.clone(), json!({ "x": 1 }));
        lock.write(&path).expect("written");
        let read = Lock::read(&path).expect("read").expect("there");
        assert_eq!(
            (read.plugins, read.definitions),
            (plugins, json!({ "x": 1 }))
        );
        for wrong in [
            "",
            "{}",
            r#"{"format":"other","version":1,"plugins":{},"definitions":{}}"#,
        ] {
            fs::write(&path, wrong).expect("written");
            assert!(Lock::read(&path).is_err(), "{wrong}");
        }
    }
}
