//! The end of the trail, as its writer sees it: what comes next and where it is written, and which
//! files can go.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Result, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tracing::{error, warn};

use super::anchor::Anchor;
use super::chain::GENESIS;
use super::segment::{self, Mark, Segment};

/// Where the chain goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// The number of the next record.
    pub sequence: u64,
    /// The hash before it.
    pub prev: String,
}

/// The trail, open for writing.
pub(super) struct Trail {
    dir: PathBuf,
    /// Files that are full, oldest first.
    closed: VecDeque<Segment>,
    active: Segment,
    file: File,
    next: Next,
    /// How long a file may grow.
    segment_bytes: u64,
}

impl Trail {
    /// Opens the trail in a folder, which is made if it is not there. A line that was never finished
    /// is cut off: nobody was told that it is there.
    ///
    /// # Errors
    /// When its files cannot be read or written.
    pub(super) fn open(
        dir: &Path,
        tail: Option<&Anchor>,
        head: Option<&Anchor>,
        segment_bytes: u64,
    ) -> Result<Self> {
        segment::make_folder(dir)?;
        let mut closed: VecDeque<Segment> = segment::list(dir)?.into();
        // Given up before the last stop, which came before they were deleted.
        while let (Some(tail), Some(oldest)) = (tail, closed.front()) {
            let given_up = closed
                .get(1)
                .is_some_and(|next| next.first <= tail.sequence);
            if !given_up {
                break;
            }
            segment::remove(&oldest.path)?;
            closed.pop_front();
        }
        let last = find_last(&mut closed)?;
        let after = |anchor: &Anchor| Next {
            sequence: anchor.sequence + 1,
            prev: anchor.hash.clone(),
        };
        let mut next = match (&last, tail) {
            (Some(last), _) => Next {
                sequence: last.sequence + 1,
                prev: last.hash.clone(),
            },
            // All of it was given up.
            (None, Some(tail)) => Next {
                sequence: tail.sequence,
                prev: tail.hash.clone(),
            },
            (None, None) => Next {
                sequence: 1,
                prev: GENESIS.to_owned(),
            },
        };
        let gone = head.filter(|head| head.sequence >= next.sequence);
        if let Some(head) = gone {
            error!(
                "audit records {} to {} are not in the trail any more; hint: was a file of it deleted or put back, \
                 or did the power fail? `cortex-gateway audit verify` tells of it from now on",
                next.sequence, head.sequence
            );
            // No number is used twice.
            next = after(head);
        }
        // The file that is gone on with. A file has no gap, and begins with what its name says.
        let mut active = None;
        while let Some(newest) = closed.pop_back() {
            if newest.bytes == 0 && newest.first != next.sequence {
                segment::remove(&newest.path)?;
            } else if newest.bytes > 0 && gone.is_some() {
                closed.push_back(newest);
                break;
            } else {
                active = Some(newest);
                break;
            }
        }
        let (active, file) = match active {
            Some(active) => {
                let file = segment::append_to(&active)?;
                (active, file)
            }
            None => begin(dir, next.sequence)?,
        };
        Ok(Self {
            dir: dir.to_owned(),
            closed,
            active,
            file,
            next,
            segment_bytes,
        })
    }

    /// Where the chain goes on.
    pub(super) fn next(&self) -> &Next {
        &self.next
    }

    /// Appends whole lines, after which the chain goes on there. All of them or none.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn append(&mut self, lines: &[u8], next: Next) -> Result<()> {
        if let Err(error) = self.file.write_all(lines) {
            // What was written of them must not stay.
            self.file.set_len(self.active.bytes)?;
            return Err(error);
        }
        self.active.bytes += lines.len() as u64;
        self.active.written = SystemTime::now();
        self.next = next;
        Ok(())
    }

    /// Whether the file is as long as one may be, or was last written to on another day.
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        const DAY: u64 = 24 * 3600;
        let day = |time: SystemTime| {
            time.duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs() / DAY)
        };
        let old = day(now) != day(self.active.written);
        self.active.bytes >= self.segment_bytes || (old && self.active.bytes > 0)
    }

    /// Begins the next file. Returns the one that is full, to be handed to the disk.
    ///
    /// # Errors
    /// When it cannot be made; then the old one goes on.
    pub(super) fn roll(&mut self) -> Result<File> {
        if self.active.bytes == 0 {
            return self.file();
        }
        let (active, file) = begin(&self.dir, self.next.sequence)?;
        let full = std::mem::replace(&mut self.active, active);
        self.closed.push_back(full);
        Ok(std::mem::replace(&mut self.file, file))
    }

    /// The file that is written to, for who hands it to the disk.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(super) fn file(&self) -> Result<File> {
        self.file.try_clone()
    }

    /// How long all files are together.
    pub(super) fn bytes(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(|segment| segment.bytes).sum();
        closed + self.active.bytes
    }

    /// The number of the oldest record that is kept; of the next one, if none is.
    pub(super) fn oldest(&self) -> u64 {
        self.closed.front().unwrap_or(&self.active).first
    }

    /// The oldest file that is full, and where the trail would begin without it.
    ///
    /// # Errors
    /// When the file after it cannot be read.
    pub(super) fn oldest_file(&self) -> Result<Option<(Segment, Anchor)>> {
        let Some(oldest) = self.closed.front() else {
            return Ok(None);
        };
        let after = self.closed.get(1).unwrap_or(&self.active);
        let begins = segment::first(&after.path)?;
        let tail = match begins {
            Some(first) => Anchor {
                sequence: first.sequence,
                hash: first.prev,
            },
            None => Anchor {
                sequence: self.next.sequence,
                hash: self.next.prev.clone(),
            },
        };
        Ok(Some((oldest.clone(), tail)))
    }

    /// Deletes the oldest file that is full.
    ///
    /// # Errors
    /// When it stays.
    pub(super) fn remove_oldest(&mut self) -> Result<()> {
        if let Some(oldest) = self.closed.front() {
            segment::remove(&oldest.path)?;
            self.closed.pop_front();
        }
        Ok(())
    }
}

fn begin(dir: &Path, first: u64) -> Result<(Segment, File)> {
    let (path, file) = segment::create(dir, first)?;
    let active = Segment {
        first,
        path,
        bytes: 0,
        written: SystemTime::now(),
    };
    Ok((active, file))
}

/// The last record of all files. What comes after it was never finished, and is cut off.
fn find_last(segments: &mut VecDeque<Segment>) -> Result<Option<Mark>> {
    for newest in segments.iter_mut().rev() {
        let ending = segment::ending(newest)?;
        if ending.bytes < newest.bytes {
            let file = segment::append_to(newest)?;
            file.set_len(ending.bytes)?;
            file.sync_all()?;
            warn!(
                "the last {} bytes of `{}` are of an audit record that was never finished; they are cut off",
                newest.bytes - ending.bytes,
                newest.path.display()
            );
            newest.bytes = ending.bytes;
        }
        if ending.last.is_some() {
            return Ok(ending.last);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
