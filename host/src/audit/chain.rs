//! The chain: each record carries the hash of the one before, so that one that is changed, taken away
//! or put elsewhere shows.
//!
//! `hash` is the SHA-256 of `prev`, a line break, and the public part with `prev`, `sequence` and
//! `personal_mac` in it. The personal part is in the chain by its MAC only: it can be forgotten, and
//! the chain still holds.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::record::PERSONAL;
use crate::types::hex;

/// The hash before the first record.
pub(super) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The hash of a record: `public` is its public part, canonical.
pub(super) fn hash(prev: &str, public: &str) -> String {
    let digest = Sha256::new()
        .chain_update(prev)
        .chain_update(b"\n")
        .chain_update(public)
        .finalize();
    hex(&digest)
}

/// Its place in the chain, as the public part of a record says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Place {
    /// Its number.
    pub sequence: u64,
    /// The hash of the one before.
    pub prev: String,
}

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Broken {
    /// It is none.
    #[error("there is something that is no record")]
    NoRecord,
    /// Its hash is not that of what it says.
    #[error("it was changed")]
    Changed,
    /// It does not follow the one before.
    #[error("the records before it are not those that were there when it was written")]
    Unchained,
    /// Others were before it.
    #[error("records are missing: {0} comes next")]
    Missing(u64),
    /// It has been there already.
    #[error("it is out of order: {0} was expected")]
    Misplaced(u64),
    /// Its personal part is not the one that it was written with.
    #[error("its personal part was changed")]
    PersonalChanged,
    /// There must be more.
    #[error("records are missing at the end: there were some up to {0}")]
    CutOff(u64),
}

/// Walks a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    /// The number that comes next.
    pub next: u64,
    /// The hash that it must name.
    pub prev: String,
}

impl Walk {
    /// Takes the next record: its public part, canonical, and its hash. Returns its number.
    ///
    /// # Errors
    /// With the number at which the chain is [`Broken`].
    pub(super) fn step(&mut self, public: &str, told: &str) -> Result<u64, (u64, Broken)> {
        let Ok(place) = serde_json::from_str::<Place>(public) else {
            return Err((self.next, Broken::NoRecord));
        };
        if hash(&place.prev, public) != told {
            return Err((self.next, Broken::Changed));
        }
        if place.sequence > self.next {
            return Err((self.next, Broken::Missing(place.sequence)));
        }
        if place.sequence < self.next {
            return Err((place.sequence, Broken::Misplaced(self.next)));
        }
        if place.prev != self.prev {
            return Err((place.sequence, Broken::Unchained));
        }
        self.next += 1;
        told.clone_into(&mut self.prev);
        Ok(place.sequence)
    }
}

/// A record as exporters got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exported {
    /// Its public part, canonical.
    pub public: String,
    /// Its hash.
    pub hash: String,
    /// Its place.
    pub place: Place,
}

/// Reads a record as exporters got it; its members may have been sorted anew since.
///
/// # Errors
/// [`Broken::NoRecord`].
pub(super) fn exported(json: &str) -> Result<Exported, Broken> {
    let none = |_| Broken::NoRecord;
    let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json).map_err(none)?;
    let hash = members.remove("hash").ok_or(Broken::NoRecord)?;
    let hash: String = serde_json::from_str(hash.get()).map_err(none)?;
    for name in PERSONAL {
        members.remove(name);
    }
    // Numbers stay as they are written; everything else is written anew.
    let mut public = String::from("{");
    for (n, (name, value)) in members.iter().enumerate() {
        if n > 0 {
            public.push(',');
        }
        public.push_str(&Value::from(name.as_str()).to_string());
        public.push(':');
        match value.get().as_bytes().first() {
            Some(b'"' | b'[' | b'{') => {
                let value: Value = serde_json::from_str(value.get()).map_err(none)?;
                public.push_str(&value.to_string());
            }
            _ => public.push_str(value.get()),
        }
    }
    public.push('}');
    let place = serde_json::from_str(&public).map_err(none)?;
    Ok(Exported {
        public,
        hash,
        place,
    })
}

#[cfg(test)]
mod tests;
