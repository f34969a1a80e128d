//! Pairs of Ed25519 keys in files, and texts in files.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::types::signing::PrivateKey;

#[derive(Debug, Args)]
pub(super) struct Keygen {
    /// Where the private key goes; it must not be there yet. The public key is written beside it,
    /// with the ending `.pub`.
    file: PathBuf,
}

impl Keygen {
    /// Makes a pair of keys.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let file = &self.file;
        let (key, text) = PrivateKey::generate()?;
        let mut private = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)
            .with_context(|| format!("cannot make {}", shown(file)))?;
        private.write_all(text.as_bytes())?;
        private.sync_all()?;
        let mut public = file.as_os_str().to_owned();
        public.push(".pub");
        let public = PathBuf::from(public);
        write(&public, &key.public().to_pem())?;
        println!(
            "private key: {}\npublic key:  {}",
            shown(file),
            shown(&public)
        );
        Ok(())
    }
}

/// The text of a file.
pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", shown(file)))
}

/// The bytes of a file.
pub(super) fn read_bytes(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", shown(file)))
}

/// Writes a text to a file.
pub(super) fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", shown(file)))
}

/// A file, for a person.
pub(super) fn shown(file: &Path) -> String {
    format!("`{}`", file.display())
}
