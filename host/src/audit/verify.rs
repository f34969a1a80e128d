//! Checks the whole trail, one file at a time: that nothing was changed, removed, added or put
//! elsewhere, and that nothing is missing at either end.

use std::collections::BTreeMap;
use std::io::{BufRead, ErrorKind};

use serde::{Deserialize, Serialize};

use super::Reader;
use super::anchor::{Anchor, End};
use super::chain::{self, Broken, Walk};
use super::keys::{KeyError, Named};
use super::line::Line;
use super::query::ReadError;
use super::segment;

/// How far a check has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Where the trail began when the check did, and where it ended at least.
    ends: Option<(Anchor, Option<Anchor>)>,
    next: u64,
    prev: String,
    /// The last file that was looked at.
    file: Option<u64>,
    /// Whether it is over.
    pub done: bool,
    /// Records that hold.
    pub records: u64,
    /// Of how many the personal part is forgotten.
    pub erased: u64,
    /// Of how many the key of the personal part is not known.
    pub unknown: u64,
    /// The first record.
    pub first: u64,
    /// The last record that holds, and its hash.
    pub last: u64,
    /// Its hash.
    pub hash: String,
    /// What is wrong.
    pub finding: Option<Finding>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// With which record, or before it.
    pub sequence: u64,
    /// In words.
    pub what: String,
}

impl Progress {
    fn broken(mut self, sequence: u64, what: &Broken) -> Self {
        self.finding = Some(Finding {
            sequence,
            what: what.to_string(),
        });
        self.done = true;
        self
    }
}

impl Reader {
    /// Checks one more file. Begins with [`Progress::default`], and is over when that is `done`.
    ///
    /// # Errors
    /// When the trail or the store cannot be read.
    pub async fn verify(&self, mut progress: Progress) -> Result<Progress, ReadError> {
        let Some((tail, head)) = progress.ends.clone() else {
            // In this order: what is deleted in the meantime is noticed below.
            let head = End::Head.load(&self.store).await?;
            let tail = End::Tail.load(&self.store).await?;
            let tail = tail.unwrap_or_else(Anchor::beginning);
            return Ok(Progress {
                next: tail.sequence,
                prev: tail.hash.clone(),
                first: tail.sequence,
                ends: Some((tail, head)),
                ..Progress::default()
            });
        };
        let segments = segment::list(&self.dir)?;
        let kept = segments.iter().enumerate().filter(|(n, segment)| {
            // One that is about to be deleted.
            let after = segments.get(n + 1).map_or(u64::MAX, |after| after.first);
            progress
                .file
                .map_or(after > tail.sequence, |last| segment.first > last)
        });
        let Some((_, file)) = kept.map(|(n, segment)| (n, segment.clone())).next() else {
            let head = head.filter(|head| head.sequence >= progress.next);
            if let Some(head) = head {
                let next = progress.next;
                return Ok(progress.broken(next, &Broken::CutOff(head.sequence)));
            }
            progress.done = true;
            return Ok(progress);
        };
        let text = match segment::lines(&file.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return self.anew(progress).await,
            Err(error) => return Err(error.into()),
        };
        if file.first > progress.next && self.begins_later(&tail).await? {
            return self.anew(progress).await;
        }
        progress.file = Some(file.first);
        let mut walk = Walk {
            next: progress.next,
            prev: progress.prev.clone(),
        };
        for text in text.lines() {
            let Some(line) = Line::read(text) else {
                return Ok(progress.broken(walk.next, &Broken::NoRecord));
            };
            let sequence = match walk.step(line.public(), line.hash) {
                Ok(sequence) => sequence,
                Err((sequence, broken)) => return Ok(progress.broken(sequence, &broken)),
            };
            if head
                .as_ref()
                .is_some_and(|head| head.sequence == sequence && head.hash != line.hash)
            {
                return Ok(progress.broken(sequence, &Broken::Changed));
            }
            match self.personal(&line, sequence).await? {
                Held::Yes => {}
                Held::Erased => progress.erased += 1,
                Held::Unknown => progress.unknown += 1,
                Held::No => return Ok(progress.broken(sequence, &Broken::PersonalChanged)),
            }
            progress.records += 1;
            progress.last = sequence;
        }
        progress.next = walk.next;
        progress.hash.clone_from(&walk.prev);
        progress.prev = walk.prev;
        Ok(progress)
    }

    /// Begins again: what was to be checked next was deleted in the meantime.
    async fn anew(&self, before: Progress) -> Result<Progress, ReadError> {
        let Some((tail, _)) = &before.ends else {
            return Ok(Progress::default());
        };
        if self.begins_later(tail).await? {
            return Ok(Progress::default());
        }
        let next = before.next;
        Ok(before.broken(next, &Broken::Missing(next + 1)))
    }

    async fn begins_later(&self, tail: &Anchor) -> Result<bool, ReadError> {
        let now = End::Tail.load(&self.store).await?;
        Ok(now.is_some_and(|now| now.sequence > tail.sequence))
    }

    /// Whether the personal part is the one that the chain stands for.
    async fn personal(&self, line: &Line<'_>, sequence: u64) -> Result<Held, KeyError> {
        #[derive(Deserialize)]
        struct Committed {
            personal_mac: String,
        }
        let key = match self.keys.named(line.key).await? {
            Named::Key(key) => key,
            Named::Erased => return Ok(Held::Erased),
            Named::Unknown => return Ok(Held::Unknown),
        };
        let committed = serde_json::from_str::<Committed>(line.public());
        let opened = key.open(sequence, line.sealed).ok();
        let mac = opened.and_then(|personal| key.commit(sequence, &personal));
        Ok(match (committed, mac) {
            (Ok(committed), Some(mac)) if committed.personal_mac == mac => Held::Yes,
            _ => Held::No,
        })
    }
}

enum Held {
    Yes,
    No,
    Erased,
    Unknown,
}

/// Records that are remembered in case they come again.
const REMEMBERED: usize = 100_000;

/// Checks what an exporter wrote, one record a line. It may begin anywhere, and a record may come
/// again: delivery is at least once.
///
/// # Errors
/// When it cannot be read.
pub fn verify_exported(lines: impl BufRead) -> std::io::Result<Progress> {
    let mut found = Progress {
        done: true,
        ..Progress::default()
    };
    let mut walk: Option<Walk> = None;
    let mut seen: BTreeMap<u64, String> = BTreeMap::new();
    for line in lines.lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let record = match chain::exported(&line) {
            Ok(record) => record,
            Err(what) => {
                let next = walk.map_or(0, |walk| walk.next);
                return Ok(found.broken(next, &what));
            }
        };
        let place = &record.place;
        let walk = walk.get_or_insert_with(|| {
            found.first = place.sequence;
            Walk {
                next: place.sequence,
                prev: place.prev.clone(),
            }
        });
        let again = seen.get(&place.sequence) == Some(&record.hash);
        if again && chain::hash(&place.prev, &record.public) == record.hash {
            continue;
        }
        match walk.step(&record.public, &record.hash) {
            Ok(sequence) => {
                found.records += 1;
                found.last = sequence;
                found.hash.clone_from(&record.hash);
                seen.insert(sequence, record.hash);
                if seen.len() > REMEMBERED {
                    seen.pop_first();
                }
            }
            Err((sequence, what)) => return Ok(found.broken(sequence, &what)),
        }
    }
    Ok(found)
}
