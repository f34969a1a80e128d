//! The gateway's own key, made at its first start and kept in `CORTEX_DATA_DIR`, so that what it
//! sealed before a restart is opened after it.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tracing::info;
use zeroize::Zeroizing;

use crate::types::{InvalidKey, Key256};

/// Name of the file.
const FILE: &str = "state.key";

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error(
        "cannot keep the gateway's own key in `{path}`; hint: make its directory writable, or set CORTEX_STATE_KEY"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is a file, but no key in it.
    #[error(
        "`{path}` holds no key; hint: delete it (clients then begin new sessions), or set CORTEX_STATE_KEY"
    )]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: InvalidKey,
    },
    /// The machine gives no random bytes.
    #[error("this machine gives no random bytes to make a key of")]
    NoRandom,
}

/// Reads the key of this data directory, or makes it.
///
/// # Errors
/// [`KeyFileError`].
pub fn load_or_create(data_dir: &Path) -> Result<Key256, KeyFileError> {
    let path = data_dir.join(FILE);
    let io = |source| KeyFileError::Io {
        path: path.clone(),
        source,
    };
    match fs::read_to_string(&path).map(Zeroizing::new) {
        Ok(text) => text.trim().parse().map_err(|source| KeyFileError::NoKey {
            path: path.clone(),
            source,
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut bytes = Zeroizing::new([0; 32]);
            aws_lc_rs::rand::fill(bytes.as_mut()).map_err(|_| KeyFileError::NoRandom)?;
            let key = Key256::new(*bytes);
            fs::create_dir_all(data_dir).map_err(io)?;
            write(&path, &key).map_err(io)?;
            info!("made a key for session ids: `{}`", path.display());
            Ok(key)
        }
        Err(error) => Err(io(error)),
    }
}

/// Written whole and for the owner only, then given its name: a crash leaves no half of a key.
fn write(path: &Path, key: &Key256) -> std::io::Result<()> {
    let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
    // Left over by a process of the same id that did not get to the end.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(key.to_text().reveal().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_for_the_owner_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        let made = load_or_create(&data).expect("a key");
        let read = load_or_create(&data).expect("a key");
        assert_eq!(made.reveal(), read.reveal());
        let file = data.join(FILE);
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let files = fs::read_dir(&data).expect("a directory").count();
        assert_eq!(files, 1, "nothing unfinished is left");
        let other = load_or_create(&dir.path().join("other")).expect("a key");
        assert_ne!(made.reveal(), other.reveal());
    }

    #[test]
    fn a_file_that_holds_no_key_is_not_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join(FILE);
        fs::write(&file, "half a k").expect("written");
        let error = load_or_create(dir.path()).expect_err("no key");
        let said = error.to_string();
        assert!(
            said.contains("hint: delete it") && !said.contains("half"),
            "{said}"
        );
        assert_eq!(fs::read_to_string(&file).expect("read"), "half a k");
    }
}
