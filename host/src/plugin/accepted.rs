//! What plugins wanted when they were last let in, by name: so that a version which wants more is noticed,
//! also after a restart.

use super::grants::Want;
use crate::store::{Batch, Committed, Space, Store, StoreError, Table};
use crate::types::PluginName;

const WANTS: Table<Vec<Want>> = Table::new(Space::PluginWants, 1);

/// What it wanted; `None`: it was never there.
pub(super) async fn of(store: &Store, name: &PluginName) -> Result<Option<Vec<Want>>, StoreError> {
    let found = WANTS.get(store, name.as_str().as_bytes()).await?;
    Ok(found.map(|found| found.value))
}

/// Remembers what it wants.
pub(super) async fn remember(
    store: &Store,
    name: &PluginName,
    wants: &[Want],
) -> Result<(), StoreError> {
    if of(store, name).await?.as_deref() == Some(wants) {
        return Ok(());
    }
    let mut batch = Batch::default();
    WANTS.put(&mut batch, name.as_str().as_bytes(), &wants.to_vec())?;
    match store.commit(batch).await? {
        Committed::Yes => Ok(()),
        Committed::Conflict => Err(StoreError::Contended),
    }
}
