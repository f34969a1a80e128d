//! What is known of a plugin's file from looking at it again and again: whether it is as it is meant, or
//! somebody is at it.

use super::scan::Stamp;

/// For so many looks a file must be missing until it is gone: some programs replace a file by
/// removing it first.
const MISSING: u32 = 3;
/// For so many looks settings that were there must be empty or missing until that is meant, about two seconds: who
/// writes a file anew empties it first, and limits and grants must not lapse when a slow disk makes that take longer.
const EMPTIED: u32 = 20;

/// What is known of one file and those beside it.
#[derive(Default)]
pub(super) struct Known {
    /// At the last look.
    seen: Option<Stamp>,
    /// At how many looks before that it was the same.
    alike: u32,
    /// When it was taken.
    pub(super) taken: Option<Stamp>,
    missing: u32,
}

impl Known {
    /// It looks like this now.
    pub(super) fn look(&mut self, stamp: Stamp) {
        self.missing = 0;
        if self.seen.as_ref() == Some(&stamp) {
            self.alike = self.alike.saturating_add(1);
        } else {
            (self.seen, self.alike) = (Some(stamp), 0);
        }
    }

    /// It is not there now. Tells whether it is gone for good.
    pub(super) fn miss(&mut self) -> bool {
        self.missing += 1;
        self.missing >= MISSING
    }

    /// What it is now, if that is something else than what was taken, and nobody is writing it any more.
    pub(super) fn settled(&self) -> Option<Stamp> {
        let seen = self.seen.as_ref()?;
        let taken = self.taken.as_ref();
        let needed = match taken {
            Some(taken) if seen.lost_settings_of(taken) => EMPTIED,
            _ => 1,
        };
        (taken != Some(seen) && self.alike >= needed).then(|| seen.clone())
    }

    /// Whether there is nothing to wait for.
    pub(super) fn is_as_taken(&self) -> bool {
        self.missing == 0 && self.seen == self.taken
    }
}

#[cfg(test)]
mod tests;
