//! A store for tests that can be away, as a database can.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::local::Local;
use super::{Batch, Bytes, Committed, Engine, Scan, Space, Store, StoreError};

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As always.
    Works,
    /// It says that it is away.
    IsAway,
    /// It says nothing.
    Hangs,
}

/// Changes how it is. Clones change the same one.
#[derive(Clone)]
pub(crate) struct Switch(Arc<Mutex<Mood>>);

impl Switch {
    pub(crate) fn to(&self, mood: Mood) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    async fn pass(&self) -> Result<(), StoreError> {
        loop {
            let mood = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match mood {
                Mood::Works => return Ok(()),
                Mood::IsAway => return Err(StoreError::Unavailable("switched off".to_owned())),
                Mood::Hangs => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }
}

struct Moody {
    inner: Local,
    switch: Switch,
}

impl Store {
    /// One that ends with this process, and what changes its mood.
    pub(crate) async fn moody() -> (Self, Switch) {
        let inner = Local::temporary().await.expect("a store");
        let switch = Switch(Arc::new(Mutex::new(Mood::Works)));
        let engine = Moody {
            inner: inner.clone(),
            switch: switch.clone(),
        };
        let store = Self {
            engine: Arc::new(engine),
            own: inner,
            shared: None,
        };
        (store, switch)
    }
}

impl Engine for Moody {
    fn get(&self, space: Space, key: Bytes) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        async move {
            self.switch.pass().await?;
            self.inner.get(space, key).await
        }
        .boxed()
    }

    fn scan(
        &self,
        space: Space,
        scan: Scan,
    ) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>, StoreError>> {
        async move {
            self.switch.pass().await?;
            self.inner.scan(space, scan).await
        }
        .boxed()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        async move {
            self.switch.pass().await?;
            self.inner.commit(batch).await
        }
        .boxed()
    }
}
