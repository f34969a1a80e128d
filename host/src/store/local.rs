//! The engine of one gateway alone: sled, in a folder below `CORTEX_DATA_DIR`.
//!
//! sled blocks, so everything runs on threads that may. A commit is flushed before it is
//! acknowledged: it survives the end of the process; what sled has written is also handed from
//! the system's cache to the disk, so that it survives a power cut.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sled::transaction::{
    ConflictableTransactionError, TransactionError, Transactional as _, TransactionalTree,
};

use super::{Batch, Bytes, Committed, Engine, Range, Scan, Space, StoreError, Tally};

/// Name of the folder.
const FOLDER: &str = "store";
/// Name of the folder in which another store is made that is to take its place.
const ASIDE: &str = "store.importing";
/// What sled may keep in memory, in bytes. Tickets and approvals are few.
const CACHE: u64 = 8 * 1024 * 1024;

/// sled and what is open of it.
#[derive(Clone)]
pub(super) struct Local(Arc<Open>);

struct Open {
    db: sled::Db,
    /// The trees of [`Space::ALL`], in its order.
    trees: Vec<sled::Tree>,
    /// The file that sled writes.
    file: File,
}

impl Local {
    pub(super) async fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let folder = data_dir.join(FOLDER);
        blocking(move || open(folder, false)).await.map(Self)
    }

    pub(super) fn exists(data_dir: &Path) -> bool {
        data_dir.join(FOLDER).is_dir()
    }

    /// In a folder of its own, which goes with it.
    pub(super) async fn temporary() -> Result<Self, StoreError> {
        let name = format!("cortex-gateway-{}", uuid::Uuid::now_v7().simple());
        let folder = std::env::temp_dir().join(name);
        blocking(move || open(folder, true)).await.map(Self)
    }
}

/// A data directory within a data directory, for a store that is to take the place of the one that is there.
pub(super) struct Aside {
    data_dir: PathBuf,
    aside: PathBuf,
}

impl Aside {
    /// As a data directory.
    pub(super) fn path(&self) -> &Path {
        &self.aside
    }

    /// Puts the new store where the old one is, in one step. Neither may be open.
    pub(super) fn take_the_place(self) -> std::io::Result<()> {
        let (new, old) = (self.aside.join(FOLDER), self.data_dir.join(FOLDER));
        // What `sled` locks, so that nobody opens the old one now.
        let locked = File::open(old.join("db"))?;
        rustix::fs::flock(
            &locked,
            rustix::fs::FlockOperation::NonBlockingLockExclusive,
        )?;
        let (cwd, exchange) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
        rustix::fs::renameat_with(cwd, &new, cwd, &old, exchange)?;
        File::open(&self.data_dir)?.sync_all()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // By now what is in it is of no use, and the next import begins with deleting it, too.
        let _ = std::fs::remove_dir_all(&self.aside);
    }
}

impl Local {
    /// Makes room for another store.
    pub(super) fn aside(data_dir: &Path) -> Result<Aside, StoreError> {
        let aside = data_dir.join(ASIDE);
        match std::fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let why = format!("cannot delete `{}`: {error}", aside.display());
                Err(StoreError::Engine(why))
            }
            _ => Ok(Aside {
                data_dir: data_dir.to_owned(),
                aside,
            }),
        }
    }

    /// Puts records there without handing them to the disk.
    pub(super) async fn fill(&self, records: Vec<(Space, Bytes, Bytes)>) -> Result<(), StoreError> {
        let open = Arc::clone(&self.0);
        blocking(move || {
            for (space, key, value) in records {
                let put = open.tree(space).insert(key, value);
                put.map_err(|e| failed(&e))?;
            }
            Ok(())
        })
        .await
    }

    /// Hands everything to the disk.
    pub(super) async fn settle(&self) -> Result<(), StoreError> {
        let open = Arc::clone(&self.0);
        blocking(move || open.settle()).await
    }

    /// How much there is in a space.
    pub(super) async fn tally(&self, space: Space) -> Result<Tally, StoreError> {
        let open = Arc::clone(&self.0);
        blocking(move || {
            let mut tally = Tally::default();
            for pair in open.tree(space) {
                let (key, value) = pair.map_err(|e| failed(&e))?;
                tally.records += 1;
                tally.bytes += (key.len() + value.len()) as u64;
            }
            Ok(tally)
        })
        .await
    }
}

fn open(folder: PathBuf, temporary: bool) -> Result<Arc<Open>, StoreError> {
    let shown = || folder.display().to_string();
    std::fs::create_dir_all(&folder)
        .map_err(|e| StoreError::Engine(format!("cannot make `{}`: {e}", shown())))?;
    let opened = sled::Config::new()
        .path(&folder)
        .temporary(temporary)
        .cache_capacity(CACHE)
        .flush_every_ms(None)
        .open();
    let db = opened.map_err(|error| match &error {
        // sled tells of a lock that is taken in words only.
        sled::Error::Io(io) if io.to_string().contains("could not acquire lock") => {
            StoreError::InUse(shown())
        }
        _ => failed(&error),
    })?;
    let trees: Result<Vec<_>, _> = Space::ALL.iter().map(|s| db.open_tree(s.name())).collect();
    let file = File::open(folder.join("db"))
        .map_err(|e| StoreError::Engine(format!("cannot open `{}`: {e}", shown())))?;
    Ok(Arc::new(Open {
        trees: trees.map_err(|e| failed(&e))?,
        db,
        file,
    }))
}

impl Engine for Local {
    fn get(&self, space: Space, key: Bytes) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        let open = Arc::clone(&self.0);
        blocking(move || {
            let found = open.tree(space).get(key).map_err(|e| failed(&e))?;
            Ok(found.map(|value| value.to_vec()))
        })
        .boxed()
    }

    fn scan(
        &self,
        space: Space,
        scan: Scan,
    ) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>, StoreError>> {
        let open = Arc::clone(&self.0);
        blocking(move || open.scan(space, scan)).boxed()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        let open = Arc::clone(&self.0);
        blocking(move || open.commit(&batch)).boxed()
    }
}

impl Open {
    fn tree(&self, space: Space) -> &sled::Tree {
        &self.trees[index(space)]
    }

    fn scan(&self, space: Space, scan: Scan) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let range = Range::of(&scan);
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let end = range.to.map_or(Bound::Unbounded, Bound::Excluded);
        let tree = self.tree(space);
        let found = tree.range::<Bytes, _>((Bound::Included(range.from), end));
        let read = |pair: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = pair.map_err(|e| failed(&e))?;
            Ok((key.to_vec(), value.to_vec()))
        };
        match scan.backwards {
            true => found.rev().take(scan.limit).map(read).collect(),
            false => found.take(scan.limit).map(read).collect(),
        }
    }

    fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let touched = batch.expected.iter().chain(&batch.written);
        let places: BTreeMap<Space, usize> = touched
            .map(|(space, ..)| *space)
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .enumerate()
            .map(|(place, space)| (space, place))
            .collect();
        let trees: Vec<sled::Tree> = places.keys().map(|s| self.tree(*s).clone()).collect();
        if trees.is_empty() {
            return Ok(Committed::Yes);
        }
        let outcome = trees
            .as_slice()
            .transaction(|trees: &Vec<TransactionalTree>| {
                for (space, key, expected) in &batch.expected {
                    let found = trees[places[space]].get(key)?;
                    if found.as_deref() != expected.as_deref() {
                        return Err(ConflictableTransactionError::Abort(()));
                    }
                }
                for (space, key, value) in &batch.written {
                    let tree = &trees[places[space]];
                    match value {
                        Some(value) => tree.insert(key.as_slice(), value.as_slice())?,
                        None => tree.remove(key.as_slice())?,
                    };
                }
                Ok(())
            });
        match outcome {
            Ok(()) => {
                self.settle()?;
                Ok(Committed::Yes)
            }
            Err(TransactionError::Abort(())) => Ok(Committed::Conflict),
            Err(TransactionError::Storage(error)) => Err(failed(&error)),
        }
    }
}

impl Open {
    fn settle(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(|e| failed(&e))?;
        let synced = self.file.sync_data();
        synced.map_err(|e| StoreError::Engine(format!("cannot write to the disk: {e}")))
    }
}

fn index(space: Space) -> usize {
    Space::ALL.iter().position(|s| *s == space).unwrap_or(0)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Engine(error.to_string())),
    }
}

fn failed(error: &sled::Error) -> StoreError {
    StoreError::Engine(error.to_string())
}
