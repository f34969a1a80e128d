//! The files of the trail: each named by the number of its first record, each only ever appended to.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Result, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::line::Line;

/// What the names end with.
const ENDING: &str = ".jsonl";
/// Longer than any record: what is read at the end of a file to find the last one.
const LAST: u64 = 256 * 1024;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The number of its first record.
    pub first: u64,
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// When it was last written to.
    pub written: SystemTime,
}

/// A record of a segment: its number and its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Its number.
    pub sequence: u64,
    /// The hash before it.
    pub prev: String,
    /// Its hash.
    pub hash: String,
}

impl Mark {
    fn of(text: &str) -> Option<Self> {
        let line = Line::read(text)?;
        let place = line.place()?;
        Some(Self {
            sequence: place.sequence,
            prev: place.prev,
            hash: line.hash.to_owned(),
        })
    }
}

/// The segments in a folder, oldest first. None, when there is no folder.
///
/// # Errors
/// When it cannot be read.
pub(super) fn list(dir: &Path) -> Result<Vec<Segment>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let first = name.to_str().and_then(|name| name.strip_suffix(ENDING));
        let Some(first) = first.and_then(|digits| digits.parse().ok()) else {
            continue;
        };
        match entry.metadata() {
            Ok(metadata) => segments.push(Segment {
                first,
                path: entry.path(),
                bytes: metadata.len(),
                written: metadata.modified()?,
            }),
            // Deleted in the meantime.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

/// Makes the folder, for this user alone.
///
/// # Errors
/// When it cannot be made.
pub(super) fn make_folder(dir: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(dir)
}

/// Makes the segment that begins with this record.
///
/// # Errors
/// When it cannot be made.
pub(super) fn create(dir: &Path, first: u64) -> Result<(PathBuf, File)> {
    let path = dir.join(format!("{first:020}{ENDING}"));
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    let file = options.open(&path)?;
    // So that the name survives a power cut.
    File::open(dir)?.sync_all()?;
    Ok((path, file))
}

/// Opens a segment to go on writing to it.
///
/// # Errors
/// When it cannot be opened.
pub(super) fn append_to(segment: &Segment) -> Result<File> {
    OpenOptions::new().append(true).open(&segment.path)
}

/// Deletes a segment.
///
/// # Errors
/// When it is there and stays.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Deletes a whole folder of segments.
pub(super) fn remove_folder(dir: &Path) {
    // What is left in a temporary folder harms nobody.
    let _ = fs::remove_dir_all(dir);
}

/// All whole lines of a segment; one that is being written is left out.
///
/// # Errors
/// When it cannot be read.
pub(super) fn lines(path: &Path) -> Result<String> {
    let mut bytes = fs::read(path)?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n');
    bytes.truncate(end.map_or(0, |end| end + 1));
    // A line that is no text is no record, and is told as that.
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned()))
}

/// The first record of a segment, if there is any.
///
/// # Errors
/// When it cannot be read.
pub(super) fn first(path: &Path) -> Result<Option<Mark>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LAST).read_to_end(&mut bytes)?;
    let line = bytes.split(|byte| *byte == b'\n').next();
    let text = line.and_then(|line| std::str::from_utf8(line).ok());
    Ok(text.and_then(Mark::of))
}

/// How a segment ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// Its last record, if it has any.
    pub last: Option<Mark>,
    /// How long it is with everything up to it.
    pub bytes: u64,
}

/// Looks for the last record of a segment. What comes after it was never finished.
///
/// # Errors
/// When it cannot be read.
pub(super) fn ending(segment: &Segment) -> Result<Ending> {
    let mut file = File::open(&segment.path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(LAST);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let mut end = bytes.len();
    while let Some(newline) = bytes[..end].iter().rposition(|byte| *byte == b'\n') {
        let begin = bytes[..newline].iter().rposition(|byte| *byte == b'\n');
        let begin = begin.map_or(0, |at| at + 1);
        let text = std::str::from_utf8(&bytes[begin..newline]).ok();
        if let Some(last) = text.and_then(Mark::of) {
            return Ok(Ending {
                last: Some(last),
                bytes: start + newline as u64 + 1,
            });
        }
        end = begin;
    }
    Ok(Ending {
        last: None,
        bytes: 0,
    })
}
