//! The file of approved definitions: written whole, for the owner only, then given its name; signed
//! where there is a key.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::baseline::{Baseline, Known};
use crate::types::BackendId;
use crate::types::signing::{PrivateKey, PublicKey};

/// What the file says it is.
const FORMAT: &str = "cortex.baseline";
/// Its version.
const VERSION: u64 = 1;
/// Largest file.
const MAX_FILE: u64 = 512 * 1024 * 1024;

/// Why a file of approved definitions cannot be used.
#[derive(Debug, Error)]
pub enum BadFile {
    /// It cannot be read or written.
    #[error("`{path}`: {why}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It is something else.
    #[error("`{path}` is no file of approved tool definitions: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It is not signed, and must be.
    #[error("`{0}` is not signed; hint: `cortex-gateway baseline sign` signs it")]
    Unsigned(PathBuf),
    /// Somebody changed it, or another key signed it.
    #[error("the signature of `{0}` does not hold: it was changed, or another key signed it")]
    WrongSignature(PathBuf),
}

impl BadFile {
    pub(super) fn broken(error: &tokio::task::JoinError) -> Self {
        Self::Io {
            path: PathBuf::new(),
            why: error.to_string(),
        }
    }
}

/// The baseline as a document, without a signature.
pub(super) fn document(baseline: &Baseline) -> Value {
    let mut tools: Map<String, Value> = Map::new();
    for (backend, tool, known) in baseline.iter() {
        let of = tools
            .entry(backend.to_string())
            .or_insert_with(|| json!({}));
        of[tool] = json!(known);
    }
    json!({ "format": FORMAT, "version": VERSION, "backends": tools })
}

/// Writes a document; signs it if there is a key.
///
/// # Errors
/// [`BadFile::Io`].
pub fn write(path: &Path, document: &Value, sign: Option<&PrivateKey>) -> Result<(), BadFile> {
    let io = |error: std::io::Error| BadFile::Io {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let mut document = document.clone();
    if let Some(members) = document.as_object_mut() {
        members.remove("signature");
    }
    if let Some(key) = sign {
        document["signature"] = key.sign(signed(&document).as_bytes()).into();
    }
    let unfinished = path.with_extension(format!("{}.part", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(io)?;
    let written = file
        .write_all(format!("{document:#}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&unfinished, path));
    if let Err(error) = written {
        // It is of no use to anybody; that it cannot be removed is no news beside the rest.
        let _ = fs::remove_file(&unfinished);
        return Err(io(error));
    }
    // The name, too, has to survive a power cut.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(io)
}

/// Reads a document; `None`: there is no file. With a key it must be signed.
///
/// # Errors
/// [`BadFile`].
pub fn read(path: &Path, verify: Option<&PublicKey>) -> Result<Option<Baseline>, BadFile> {
    let io = |why: String| BadFile::Io {
        path: path.to_owned(),
        why,
    };
    let unreadable = |why: String| BadFile::Unreadable {
        path: path.to_owned(),
        why,
    };
    match fs::metadata(path) {
        Ok(about) if about.len() > MAX_FILE => return Err(io("it is too large".to_owned())),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error.to_string())),
    }
    let bytes = fs::read(path).map_err(|error| io(error.to_string()))?;
    let mut document: Value =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    let signature = document
        .as_object_mut()
        .and_then(|members| members.remove("signature"));
    if let Some(key) = verify {
        let signature = signature.as_ref().and_then(Value::as_str);
        let signature = signature.ok_or_else(|| BadFile::Unsigned(path.to_owned()))?;
        if !key.verifies(signed(&document).as_bytes(), signature) {
            return Err(BadFile::WrongSignature(path.to_owned()));
        }
    }
    parse(path, document).map(Some)
}

/// The baseline of a document.
///
/// # Errors
/// [`BadFile::Unreadable`].
pub(super) fn parse(path: &Path, document: Value) -> Result<Baseline, BadFile> {
    let unreadable = |why: String| BadFile::Unreadable {
        path: path.to_owned(),
        why,
    };
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Document {
        format: String,
        version: u64,
        backends: std::collections::BTreeMap<String, std::collections::BTreeMap<String, Known>>,
    }
    let document: Document =
        serde_json::from_value(document).map_err(|error| unreadable(error.to_string()))?;
    if (document.format.as_str(), document.version) != (FORMAT, VERSION) {
        return Err(unreadable(format!(
            "it says it is `{}`, version {}; expected `{FORMAT}`, version {VERSION}",
            document.format.escape_debug(),
            document.version
        )));
    }
    let mut baseline = Baseline::default();
    for (backend, tools) in document.backends {
        let backend: BackendId = backend
            .parse()
            .map_err(|error: crate::types::InvalidName| unreadable(error.to_string()))?;
        for (tool, known) in tools {
            baseline.put(&backend, tool, known);
        }
    }
    Ok(baseline)
}

/// What is signed: the document without its signature, without blanks, members sorted.
fn signed(document: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let mut all: Vec<_> = members.iter().collect();
                all.sort_by_key(|(name, _)| name.as_str());
                let all = all
                    .into_iter()
                    .map(|(name, value)| (name.clone(), sorted(value)));
                Value::Object(all.collect())
            }
            Value::Array(values) => values.iter().map(sorted).collect(),
            other => other.clone(),
        }
    }
    sorted(document).to_string()
}
