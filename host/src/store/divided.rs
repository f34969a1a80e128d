//! Where there is a database: it keeps what all gateways share, and the data directory keeps what belongs to
//! the audit trail that lies there.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::local::Local;
use super::postgres::Shared;
use super::{Batch, Bytes, Committed, Engine, Scan, Space, StoreError};

/// Both.
pub(super) struct Divided {
    pub(super) shared: Shared,
    pub(super) own: Local,
}

impl Divided {
    fn of(&self, space: Space) -> &dyn Engine {
        match space.is_of_the_trail() {
            true => &self.own,
            false => &self.shared,
        }
    }
}

impl Engine for Divided {
    fn get(&self, space: Space, key: Bytes) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        self.of(space).get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        scan: Scan,
    ) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>, StoreError>> {
        self.of(space).scan(space, scan)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        let touched = batch.expected.iter().chain(&batch.written);
        let own = touched
            .filter(|(space, ..)| space.is_of_the_trail())
            .count();
        match own {
            0 => self.shared.commit(batch),
            all if all == batch.expected.len() + batch.written.len() => self.own.commit(batch),
            // Two places cannot change as one.
            _ => {
                let why = "a change of what is shared and of what is not";
                async move { Err(StoreError::Engine(why.to_owned())) }.boxed()
            }
        }
    }
}
