//! How a record is written: one byte with the version of its shape, then JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Why a record cannot be read or written.
#[derive(Debug, Error)]
pub enum BadRecord {
    /// Another version of the gateway wrote it.
    #[error("a record of `{space}` has version {found}, this gateway reads version {known}")]
    Version {
        /// Where it is.
        space: &'static str,
        /// Its version.
        found: u8,
        /// What this gateway reads.
        known: u8,
    },
    /// It is not what its version says.
    #[error("a record of `{0}` is damaged: {1}")]
    Damaged(&'static str, String),
    /// It cannot be written.
    #[error("a record cannot be written: {0}")]
    Unwritable(String),
}

pub(super) fn write<T: Serialize>(version: u8, value: &T) -> Result<Vec<u8>, BadRecord> {
    let mut bytes = vec![version];
    serde_json::to_writer(&mut bytes, value).map_err(|e| BadRecord::Unwritable(e.to_string()))?;
    Ok(bytes)
}

pub(super) fn read<T: DeserializeOwned>(
    space: &'static str,
    version: u8,
    bytes: &[u8],
) -> Result<T, BadRecord> {
    let (found, json) = bytes
        .split_first()
        .ok_or_else(|| BadRecord::Damaged(space, "it is empty".to_owned()))?;
    if *found != version {
        return Err(BadRecord::Version {
            space,
            found: *found,
            known: version,
        });
    }
    serde_json::from_slice(json).map_err(|e| BadRecord::Damaged(space, e.to_string()))
}
