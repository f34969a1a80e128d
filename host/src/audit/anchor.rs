//! Where the trail begins and ends, kept apart from it, so that cutting off either end shows.

use serde::{Deserialize, Serialize};

use super::chain::GENESIS;
use crate::store::{Batch, Space, Store, StoreError, Table};

const ANCHORS: Table<Anchor> = Table::new(Space::AuditAnchors, 1);

/// One end of the trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Anchor {
    /// Of the tail: the first record that is kept. Of the head: the last that is on the disk for
    /// certain.
    pub sequence: u64,
    /// Of the tail: the hash before that record. Of the head: the hash of that record.
    pub hash: String,
}

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The oldest.
    Tail,
    /// The newest.
    Head,
}

impl End {
    fn key(self) -> &'static [u8] {
        match self {
            Self::Tail => b"tail",
            Self::Head => b"head",
        }
    }

    /// Finds it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn load(self, store: &Store) -> Result<Option<Anchor>, StoreError> {
        let found = ANCHORS.get(store, self.key()).await?;
        Ok(found.map(|found| found.value))
    }

    /// Keeps it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn save(self, store: &Store, anchor: &Anchor) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        ANCHORS.put(&mut batch, self.key(), anchor)?;
        store.commit(batch).await.map(drop)
    }
}

impl Anchor {
    /// The tail of a trail of which nothing was ever deleted.
    pub(super) fn beginning() -> Self {
        Self {
            sequence: 1,
            hash: GENESIS.to_owned(),
        }
    }
}
