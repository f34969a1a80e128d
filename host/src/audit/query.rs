//! Finds records of the trail for a person who asks.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Reader;
use super::anchor::{Anchor, End};
use super::keys::{KeyError, Named};
use super::line::Line;
use super::segment::{self, Segment};
use crate::store::StoreError;

/// Why the trail cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Its files.
    #[error("the audit trail cannot be read: {0}")]
    Files(#[from] std::io::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its keys.
    #[error("the keys of the audit trail cannot be had: {0}")]
    Keys(#[from] KeyError),
}

/// Which records. What is not said does not matter.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Filter {
    /// Whose.
    pub subject: Option<String>,
    /// Calls of this tool.
    pub tool: Option<String>,
    /// At this backend (`target_app`).
    pub backend: Option<String>,
    /// Of this method.
    pub method: Option<String>,
    /// Not before.
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
    /// Not after.
    #[serde(with = "time::serde::rfc3339::option")]
    pub until: Option<OffsetDateTime>,
    /// Only what did not succeed.
    pub failed: bool,
    /// With this `error_code`.
    pub error_code: Option<String>,
    /// Of this request.
    pub request_id: Option<String>,
}

/// Which part of the trail.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// Before this number, newest first; none: from the end on.
    Before(Option<u64>),
    /// After this number, oldest first.
    After(u64),
}

/// What was found in one file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page {
    /// The records, flat, with `erased` in those whose personal part is forgotten.
    pub records: Vec<Map<String, Value>>,
    /// Where to go on; none: that was all.
    pub next: Option<u64>,
}

/// The trail as its files show it.
#[derive(Clone, Debug, Serialize)]
pub struct Extent {
    /// The oldest record.
    pub oldest: u64,
    /// The newest; less than the oldest: there is none.
    pub newest: u64,
    /// Its hash.
    pub hash: String,
    /// Files.
    pub files: usize,
    /// How long they are together.
    pub bytes: u64,
    /// After which records others are missing.
    pub gaps: Vec<u64>,
}

impl Reader {
    /// Looks through one file. The newest record of a page comes first when it is read backwards.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn query(
        &self,
        filter: &Filter,
        wanted: Wanted,
        limit: usize,
    ) -> Result<Page, ReadError> {
        let keys: Option<BTreeSet<String>> = match &filter.subject {
            Some(subject) => Some(self.keys.ids_of(subject).await?.into_iter().collect()),
            None => None,
        };
        let segments = segment::list(&self.dir)?;
        let none = Page {
            records: Vec::new(),
            next: None,
        };
        let Some(file) = choose(&segments, wanted) else {
            return Ok(none);
        };
        let too_old = |since: OffsetDateTime| OffsetDateTime::from(file.written) < since;
        let forwards = matches!(wanted, Wanted::After(_));
        if filter.since.is_some_and(too_old) && !forwards {
            return Ok(none);
        }
        let text = match segment::lines(&file.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error.into()),
        };
        let mut lines: Vec<&str> = text.lines().collect();
        if !forwards {
            lines.reverse();
        }
        let mut page = none;
        for text in lines {
            let Some(line) = Line::read(text) else {
                continue;
            };
            let Some(sequence) = line.place().map(|place| place.sequence) else {
                continue;
            };
            let is_wanted = match wanted {
                Wanted::Before(before) => before.is_none_or(|before| sequence < before),
                Wanted::After(after) => sequence > after,
            };
            let theirs = keys.as_ref().is_none_or(|keys| keys.contains(line.key));
            if !is_wanted || !theirs {
                continue;
            }
            if page.records.len() >= limit {
                return Ok(page);
            }
            let whole = self.whole(&line, sequence).await?;
            if filter.holds(&whole) {
                page.records.push(whole);
            }
            page.next = Some(sequence);
        }
        page.next = if forwards {
            let after = segments.iter().find(|after| after.first > file.first);
            after.map(|after| after.first - 1)
        } else {
            (file.first > segments.first().map_or(0, |oldest| oldest.first)).then_some(file.first)
        };
        Ok(page)
    }

    /// A record as a person sees it.
    async fn whole(&self, line: &Line<'_>, sequence: u64) -> Result<Map<String, Value>, ReadError> {
        let personal = match self.keys.named(line.key).await? {
            Named::Key(key) => key.open(sequence, line.sealed).ok(),
            Named::Erased | Named::Unknown => None,
        };
        let flat = line.flat(personal.as_deref());
        let mut whole: Map<String, Value> = serde_json::from_str(&flat).unwrap_or_default();
        if personal.is_none() {
            whole.insert("erased".to_owned(), true.into());
        }
        Ok(whole)
    }

    /// From where to where the trail goes, by its files, and whether one follows the other.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn extent(&self) -> Result<Extent, ReadError> {
        let tail = End::Tail.load(&self.store).await?;
        let tail = tail.unwrap_or_else(Anchor::beginning);
        let head = End::Head.load(&self.store).await?;
        let segments = segment::list(&self.dir)?;
        let mut extent = Extent {
            oldest: tail.sequence,
            newest: tail.sequence - 1,
            hash: tail.hash,
            files: segments.len(),
            bytes: segments.iter().map(|segment| segment.bytes).sum(),
            gaps: Vec::new(),
        };
        for file in segments.iter().filter(|file| file.bytes > 0) {
            let (first, last) = (segment::first(&file.path)?, segment::ending(file)?.last);
            let (Some(first), Some(last)) = (first, last) else {
                extent.gaps.push(extent.newest);
                continue;
            };
            if first.sequence < extent.oldest && last.sequence < extent.oldest {
                continue;
            }
            if first.sequence != extent.newest + 1 || first.prev != extent.hash {
                extent.gaps.push(extent.newest);
            }
            extent.newest = last.sequence;
            extent.hash = last.hash;
        }
        if head.is_some_and(|head| head.sequence > extent.newest) {
            extent.gaps.push(extent.newest);
        }
        Ok(extent)
    }
}

/// The file in which the wanted records begin.
fn choose(segments: &[Segment], wanted: Wanted) -> Option<&Segment> {
    match wanted {
        Wanted::Before(None) => segments.last(),
        Wanted::Before(Some(before)) => segments.iter().rev().find(|file| file.first < before),
        Wanted::After(after) => {
            let holds = segments.iter().rev().find(|file| file.first <= after + 1);
            holds.or(segments.first())
        }
    }
}

impl Filter {
    fn holds(&self, record: &Map<String, Value>) -> bool {
        let is = |name: &str, wanted: &Option<String>| {
            let wanted = wanted.as_deref();
            wanted.is_none_or(|wanted| record.get(name).and_then(Value::as_str) == Some(wanted))
        };
        let ts = record.get("ts").and_then(Value::as_str);
        let ts = ts.and_then(|ts| OffsetDateTime::parse(ts, &Rfc3339).ok());
        let after = |since| ts.is_some_and(|ts| ts >= since);
        let before = |until| ts.is_some_and(|ts| ts <= until);
        is("caller_sub", &self.subject)
            && is("tool", &self.tool)
            && is("target_app", &self.backend)
            && is("method", &self.method)
            && is("error_code", &self.error_code)
            && is("request_id", &self.request_id)
            && self.since.is_none_or(after)
            && self.until.is_none_or(before)
            && !(self.failed && record.get("success") == Some(&Value::Bool(true)))
    }
}
