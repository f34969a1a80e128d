//! What is counted of the database.

use std::time::Duration;

use crate::measure::{Counter, Histogram};

/// What it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// One record.
    Get,
    /// Several.
    Scan,
    /// A change.
    Commit,
    /// A lease, given or ended.
    Lease,
}

impl Asked {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Get, Self::Scan, Self::Commit, Self::Lease];

    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Scan => "scan",
            Self::Commit => "commit",
            Self::Lease => "lease",
        }
    }
}

/// Of one kind of question.
#[derive(Debug, Default)]
pub struct OfOne {
    /// How long it took until it was answered, all tries together.
    pub took: Histogram,
    /// Answers.
    pub answered: Counter,
    /// Tries that had to be repeated: the server was away, or others were in the way.
    pub again: Counter,
    /// Questions that were not answered in the end.
    pub failed: Counter,
}

/// Of all kinds, since the start.
#[derive(Debug, Default)]
pub struct Figures([OfOne; Asked::ALL.len()]);

impl Figures {
    /// Of one kind.
    pub fn of(&self, asked: Asked) -> &OfOne {
        &self.0[asked as usize]
    }

    /// Returns how many were answered with it.
    pub(crate) fn took(&self, asked: Asked, took: Duration) -> u64 {
        let of = self.of(asked);
        of.took.observe(took);
        of.answered.one();
        of.answered.get()
    }

    pub(super) fn again(&self, asked: Asked) {
        self.of(asked).again.one();
    }

    pub(crate) fn failed(&self, asked: Asked) {
        self.of(asked).failed.one();
    }
}
