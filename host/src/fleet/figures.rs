//! What is counted of what the gateways share.

use std::time::Duration;

use super::engine::Trouble;
use crate::measure::{Counter, Histogram};

/// What an engine is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Puts a value on a shelf.
    Put,
    /// Looks at one, or takes it.
    Get,
    /// Looks at a whole shelf.
    All,
    /// Claims a key.
    Claim,
    /// Gets, renews or ends a lease.
    Lease,
    /// Counts a request.
    Spend,
    /// Tells the others something.
    Tell,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Put,
        Self::Get,
        Self::All,
        Self::Claim,
        Self::Lease,
        Self::Spend,
        Self::Tell,
    ];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::All => "all",
            Self::Claim => "claim",
            Self::Lease => "lease",
            Self::Spend => "spend",
            Self::Tell => "tell",
        }
    }

    /// How long one waits for the engine. A request waits for `Spend` before anything else is done for it,
    /// and there is something else to do when it does not come.
    pub(super) fn patience(self) -> Duration {
        match self {
            Self::Spend => Duration::from_millis(250),
            Self::Claim | Self::Lease | Self::Get | Self::Tell => Duration::from_secs(1),
            Self::Put | Self::All => Duration::from_secs(3),
        }
    }
}

/// What is counted.
#[derive(Debug, Default)]
pub struct Figures {
    took: [Histogram; Operation::ALL.len()],
    failed: [Counter; Operation::ALL.len()],
    /// How often the engine went away.
    pub away: Counter,
    /// Pieces of news that were told.
    pub told: Counter,
    /// Pieces of news that were heard from others.
    pub heard: Counter,
    /// How often something may have been missed.
    pub gaps: Counter,
}

impl Figures {
    pub(super) fn answered(&self, operation: Operation, took: Duration) {
        self.took[operation as usize].observe(took);
    }

    pub(super) fn failed(&self, operation: Operation) {
        self.failed[operation as usize].one();
    }

    /// How long the engine took, and how often it did not do it, for each operation.
    pub fn operations(&self) -> impl Iterator<Item = (Operation, &Histogram, u64)> {
        let both = self.took.iter().zip(&self.failed);
        let all = Operation::ALL.iter().zip(both);
        all.map(|(operation, (took, failed))| (*operation, took, failed.get()))
    }
}

/// What of the engine's words may be told: bounded, one line.
pub(super) fn words(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let text = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    text.take(300).collect()
}

/// What has no answer in time is as good as gone.
pub(super) fn no_answer(patience: Duration) -> Trouble {
    Trouble::Lost(format!("no answer in {} ms", patience.as_millis()))
}
