//! Which keys a scan is about, in the same way for every engine.

use super::{Bytes, Scan};

/// Keys from the first (included) to the second (excluded; none: to the end).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: Bytes,
    pub(super) to: Option<Bytes>,
}

impl Range {
    pub(super) fn of(scan: &Scan) -> Self {
        let (mut from, mut to) = (scan.prefix.clone(), beyond(&scan.prefix));
        match &scan.after {
            Some(before) if scan.backwards => {
                to = Some(match to {
                    Some(to) => to.min(before.clone()),
                    None => before.clone(),
                });
            }
            Some(after) => {
                // The very next key that can be.
                let mut next = after.clone();
                next.push(0);
                from = from.max(next);
            }
            None => {}
        }
        Self { from, to }
    }

    /// Whether no key can be in it.
    pub(super) fn is_empty(&self) -> bool {
        self.to.as_ref().is_some_and(|to| *to <= self.from)
    }
}

/// The first key after all that begin with this.
fn beyond(prefix: &[u8]) -> Option<Bytes> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}
