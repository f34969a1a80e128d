//! The file: a line of JSON that says what it is, a line for each record, and a line that says how many there
//! were and what their hashes are.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::Space;
use super::{Adding, Record, Totals, TransferError};

/// The version of this format.
const VERSION: u32 = 1;
/// Longest line: the longest value there can be, and room for its key.
const MAX_LINE: u64 = 64 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Head {
    cortex_store: u32,
    /// Version of the gateway that wrote it.
    gateway: String,
    written: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    space: String,
    key: String,
    value: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tail {
    totals: Totals,
}

/// A file that is being written. Under its name it is there only when it is whole.
pub(super) struct Writing {
    path: PathBuf,
    part: PathBuf,
    to: BufWriter<File>,
}

impl Writing {
    pub(super) fn begin(path: &Path) -> Result<Self, TransferError> {
        let failed = |error| TransferError::File(path.to_owned(), error);
        if path.exists() {
            return Err(TransferError::Exists(path.to_owned()));
        }
        let mut part = path.as_os_str().to_owned();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        // Users' words and plugins' values are in it.
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&part);
        let mut writing = Self {
            path: path.to_owned(),
            part,
            to: BufWriter::new(file.map_err(failed)?),
        };
        let now = OffsetDateTime::now_utc();
        writing.line(&Head {
            cortex_store: VERSION,
            gateway: env!("CARGO_PKG_VERSION").to_owned(),
            written: now.format(&Rfc3339).unwrap_or_default(),
        })?;
        Ok(writing)
    }

    pub(super) fn write(
        &mut self,
        records: &[Record],
        adding: &mut Adding,
    ) -> Result<(), TransferError> {
        for record in records {
            adding.add(record);
            let (space, key, value) = record;
            self.line(&Line {
                space: space.name().to_owned(),
                key: STANDARD.encode(key),
                value: STANDARD.encode(value),
            })?;
        }
        Ok(())
    }

    pub(super) fn end(mut self, totals: &Totals) -> Result<(), TransferError> {
        self.line(&Tail {
            totals: totals.clone(),
        })?;
        let whole = self.to.flush();
        let whole = whole.and_then(|()| self.to.get_ref().sync_all());
        let whole = whole.and_then(|()| std::fs::rename(&self.part, &self.path));
        whole.map_err(|error| TransferError::File(self.path.clone(), error))
    }

    fn line(&mut self, line: &impl Serialize) -> Result<(), TransferError> {
        let text = serde_json::to_vec(line).map_err(std::io::Error::from);
        let written = text.and_then(|mut text| {
            text.push(b'\n');
            self.to.write_all(&text)
        });
        written.map_err(|error| TransferError::File(self.path.clone(), error))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // Gone already when it is whole.
        let _ = std::fs::remove_file(&self.part);
    }
}

/// The records of a file.
pub(super) struct Records {
    path: PathBuf,
    from: BufReader<File>,
    line: usize,
    totals: Option<Totals>,
}

impl Records {
    pub(super) fn open(path: &Path) -> Result<Self, TransferError> {
        let file = File::open(path);
        let file = file.map_err(|error| TransferError::File(path.to_owned(), error))?;
        let mut records = Self {
            path: path.to_owned(),
            from: BufReader::new(file),
            line: 0,
            totals: None,
        };
        let head = records.read()?.unwrap_or_default();
        let Ok(head) = serde_json::from_str::<Head>(&head) else {
            return Err(records.damaged("it does not begin like one"));
        };
        if head.cortex_store != VERSION {
            let why = format!(
                "it has version {}, and this gateway reads {VERSION}",
                head.cortex_store
            );
            return Err(records.damaged(&why));
        }
        Ok(records)
    }

    /// The next ones; `None`: there are no more.
    pub(super) fn next(&mut self, most: usize) -> Result<Option<Vec<Record>>, TransferError> {
        let mut page = Vec::new();
        while page.len() < most && self.totals.is_none() {
            let Some(text) = self.read()? else {
                return Err(self.damaged("its end is missing"));
            };
            if let Ok(tail) = serde_json::from_str::<Tail>(&text) {
                self.totals = Some(tail.totals);
                if self.read()?.is_some() {
                    return Err(self.damaged("it goes on after its end"));
                }
                break;
            }
            page.push(self.record(&text)?);
        }
        Ok((!page.is_empty()).then_some(page))
    }

    fn record(&self, text: &str) -> Result<Record, TransferError> {
        let line: Result<Line, _> = serde_json::from_str(text);
        let line = line.map_err(|_| self.damaged("this is no record"))?;
        let mut known = super::spaces();
        let space: Option<Space> = known.find(|space| space.name() == line.space);
        let space = space.ok_or_else(|| {
            self.damaged("this is of a space that this gateway does not know; is it older than the one that wrote it?")
        })?;
        let decoded = |text: &str| {
            let bytes = STANDARD.decode(text);
            bytes.map_err(|_| self.damaged("this is no base64"))
        };
        Ok((space, decoded(&line.key)?, decoded(&line.value)?))
    }

    /// What it says of itself. It has to have been read to its end.
    pub(super) fn totals(self) -> Result<Totals, TransferError> {
        match self.totals {
            Some(totals) => Ok(totals),
            None => Err(self.damaged("its end is missing")),
        }
    }

    fn read(&mut self) -> Result<Option<String>, TransferError> {
        self.line += 1;
        let mut text = String::new();
        let read = (&mut self.from).take(MAX_LINE).read_line(&mut text);
        match read {
            Ok(0) => Ok(None),
            Ok(_) if text.ends_with('\n') => Ok(Some(text)),
            Ok(_) => Err(self.damaged("this is cut off")),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Err(self.damaged("this is no text"))
            }
            Err(error) => Err(TransferError::File(self.path.clone(), error)),
        }
    }

    fn damaged(&self, why: &str) -> TransferError {
        TransferError::Damaged(self.path.clone(), format!("line {}: {why}", self.line))
    }
}
