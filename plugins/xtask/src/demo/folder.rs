//! Where one demo keeps its plugins, data and logs: a folder that no other running demo has.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// So many demos at one time, at most.
const MOST: u32 = 16;

/// A folder that is this program's until it is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _held: File,
}

impl Folder {
    /// Takes `demo` in that folder; while another demo has it, `demo-2`, `demo-3` and so on.
    pub fn take(target: &Path) -> Result<Self> {
        for number in 1..=MOST {
            let path = target.join(match number {
                1 => "demo".to_owned(),
                _ => format!("demo-{number}"),
            });
            fs::create_dir_all(&path)
                .map_err(Error::trying(format!("make the folder {}", path.display())))?;
            let file = path.join("in-use");
            let held =
                File::create(&file).map_err(Error::trying(format!("write {}", file.display())))?;
            match held.try_lock() {
                Ok(()) => return Ok(Self { path, _held: held }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(Error::trying(format!("lock {}", file.display()))(error));
                }
            }
        }
        Err(Error::new(format!("{MOST} demos are running already")).hint("end one with Ctrl-C"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demos_that_run_at_once_have_folders_of_their_own() {
        let target =
            std::env::temp_dir().join(format!("cortex-demo-folder-{}", std::process::id()));
        let first = Folder::take(&target).unwrap();
        let second = Folder::take(&target).unwrap();
        assert_eq!(first.path(), target.join("demo"));
        assert_eq!(second.path(), target.join("demo-2"));
        drop(first);
        assert_eq!(Folder::take(&target).unwrap().path(), target.join("demo"));
        fs::remove_dir_all(&target).unwrap();
    }
}
