//! Reads the trail forwards, from any number on.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Result};
use std::path::{Path, PathBuf};

use super::line::Line;
use super::segment;

/// A record as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Its number.
    pub sequence: u64,
    /// Its line.
    pub text: String,
}

/// Records that are not there any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// The first of them.
    pub from: u64,
    /// The last of them.
    pub to: u64,
}

struct Open {
    first: u64,
    file: BufReader<File>,
}

/// A place in the trail.
pub(super) struct Cursor {
    dir: PathBuf,
    next: u64,
    open: Option<Open>,
}

impl Cursor {
    /// The place before this number.
    pub(super) fn new(dir: &Path, next: u64) -> Self {
        Self {
            dir: dir.to_owned(),
            next,
            open: None,
        }
    }

    /// The number that comes next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Reads so many records at most, up to this number, which must have been written. Tells when
    /// some are gone that should come next.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub(super) fn read(&mut self, newest: u64, limit: usize) -> Result<(Vec<Kept>, Option<Lost>)> {
        let mut kept: Vec<Kept> = Vec::new();
        let mut lost = None;
        while self.next <= newest && kept.len() < limit {
            let Some(open) = &mut self.open else {
                if !self.open_next(None)? {
                    if kept.is_empty() {
                        // All of it is gone.
                        lost = self.skip_to(newest + 1);
                    }
                    break;
                }
                continue;
            };
            let mut text = String::new();
            if open.file.read_line(&mut text)? == 0 {
                let after = open.first;
                if !self.open_next(Some(after))? {
                    self.open = None;
                    if kept.is_empty() {
                        lost = self.skip_to(newest + 1);
                    }
                    break;
                }
                continue;
            }
            let place = Line::read(&text).and_then(|line| line.place());
            // What cannot be read is missed when the next is.
            let Some(place) = place.filter(|place| place.sequence >= self.next) else {
                continue;
            };
            if place.sequence > self.next {
                if !kept.is_empty() {
                    // It is told with the next batch.
                    self.open = None;
                    break;
                }
                lost = self.skip_to(place.sequence);
            }
            self.next = place.sequence + 1;
            text.truncate(text.trim_end().len());
            kept.push(Kept {
                sequence: place.sequence,
                text,
            });
        }
        Ok((kept, lost))
    }

    fn skip_to(&mut self, next: u64) -> Option<Lost> {
        let from = std::mem::replace(&mut self.next, next);
        (from < next).then_some(Lost { from, to: next - 1 })
    }

    /// Opens the file in which the next record is, or the first file after one that is read to its
    /// end.
    fn open_next(&mut self, after: Option<u64>) -> Result<bool> {
        let segments = segment::list(&self.dir)?;
        let found = match after {
            Some(after) => segments.iter().find(|segment| segment.first > after),
            None => {
                let holds = segments.iter().rev();
                let mut holds = holds.filter(|segment| segment.first <= self.next);
                holds.next().or(segments.first())
            }
        };
        let Some(found) = found else {
            return Ok(false);
        };
        self.open = Some(Open {
            first: found.first,
            file: BufReader::new(File::open(&found.path)?),
        });
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
