//! Everything that gateways share, from one engine to another: `cortex-gateway store export` and `import`.
//!
//! What belongs to the audit trail of a data directory stays there, with the trail. Sealed values stay sealed;
//! nothing is read but keys and values.

mod file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::local::Local;
use super::postgres::Shared;
use super::{Bytes, Engine as _, Scan, Space, Store, StoreError};
use crate::config::DatabaseConfig;
use crate::types::hex;
use file::{Records, Writing};

/// Records that are moved at a time.
const PAGE: usize = 500;

/// Why nothing was moved.
#[derive(Debug, Error)]
pub enum TransferError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be read or written.
    #[error("`{0}` cannot be used: {1}")]
    File(PathBuf, #[source] std::io::Error),
    /// Something is there already.
    #[error("`{0}` is there already; hint: name a file that is not")]
    Exists(PathBuf),
    /// It is no export, or one that was changed or cut off.
    #[error("`{0}` is not a whole export: {1}; nothing was changed")]
    Damaged(PathBuf, String),
    /// There is something where it is to be moved to.
    #[error(
        "the store has {0} records already, and nothing was changed; hint: `--replace` deletes them first, or import \
         into an empty one"
    )]
    NotEmpty(u64),
    /// What was written is not what is there.
    #[error("what was written reads otherwise ({0}); nothing was changed")]
    Differs(&'static str),
    /// The folder of the store cannot be put in its place.
    #[error("cannot put the new store in its place in `{0}`: {1}; the old one is as it was")]
    Place(PathBuf, #[source] std::io::Error),
}

/// The records of one space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// How many.
    pub records: u64,
    /// Of their keys and values, in the order of the keys.
    pub sha256: String,
}

/// What was moved, by the name of its space.
pub type Totals = BTreeMap<String, Total>;

pub(super) type Record = (Space, Bytes, Bytes);

/// The spaces that are moved.
fn spaces() -> impl Iterator<Item = Space> {
    Space::ALL.into_iter().filter(|it| !it.is_of_the_trail())
}

/// Adds up what goes by, space by space and key by key.
#[derive(Default)]
struct Adding(BTreeMap<Space, (u64, Sha256)>);

impl Adding {
    fn add(&mut self, (space, key, value): &Record) {
        let (records, hash) = self.0.entry(*space).or_default();
        *records += 1;
        for part in [key, value] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }

    fn totals(self) -> Totals {
        let mut added = self.0;
        spaces()
            .map(|space| {
                let (records, hash) = added.remove(&space).unwrap_or_default();
                let sha256 = hex(&hash.finalize());
                (space.name().to_owned(), Total { records, sha256 })
            })
            .collect()
    }
}

/// Writes everything into a file, as it is at one moment.
///
/// # Errors
/// [`TransferError`]; then there is no such file.
pub async fn export(store: &Store, path: &Path) -> Result<Totals, TransferError> {
    let mut file = Writing::begin(path)?;
    let mut adding = Adding::default();
    match &store.shared {
        Some(shared) => {
            let moment = shared.moment().await?;
            for space in spaces() {
                let mut after = None;
                loop {
                    let page = moment.page(space, after.as_ref(), PAGE).await?;
                    file.write(&page, &mut adding)?;
                    match page.last() {
                        Some((_, key, _)) => after = Some(key.clone()),
                        None => break,
                    }
                }
            }
            moment.over().await;
        }
        // Nobody else has it open, and this process does nothing else.
        None => {
            for space in spaces() {
                let mut after = None;
                loop {
                    let page = page(&store.own, space, after).await?;
                    file.write(&page, &mut adding)?;
                    match page.last() {
                        Some((_, key, _)) => after = Some(key.clone()),
                        None => break,
                    }
                }
            }
        }
    }
    let totals = adding.totals();
    file.end(&totals)?;
    Ok(totals)
}

async fn page(
    local: &Local,
    space: Space,
    after: Option<Bytes>,
) -> Result<Vec<Record>, StoreError> {
    let scan = Scan {
        after,
        limit: PAGE,
        ..Scan::default()
    };
    let found = local.scan(space, scan).await?;
    Ok(found.into_iter().map(|(k, v)| (space, k, v)).collect())
}

/// Puts everything that is in a file into the store of a data directory, or into a database: all of it or
/// nothing. The file is checked before, and the store after, before it counts. `replace`: whatever is there
/// goes.
///
/// # Errors
/// [`TransferError`]; then nothing was changed.
pub async fn import(
    data_dir: &Path,
    database: Option<&DatabaseConfig>,
    path: &Path,
    replace: bool,
) -> Result<Totals, TransferError> {
    let totals = check(path)?;
    match database {
        Some(config) => into_database(config, path, &totals, replace).await?,
        None => into_folder(data_dir, path, &totals, replace).await?,
    }
    Ok(totals)
}

/// Reads a file to its end, and whether it is what it says.
fn check(path: &Path) -> Result<Totals, TransferError> {
    let mut adding = Adding::default();
    let mut records = Records::open(path)?;
    while let Some(page) = records.next(PAGE)? {
        page.iter().for_each(|record| adding.add(record));
    }
    let (said, found) = (records.totals()?, adding.totals());
    match differing(&said, &found) {
        Some(space) => {
            let why = format!("the records of `{space}` are not those that it says");
            Err(TransferError::Damaged(path.to_owned(), why))
        }
        None => Ok(found),
    }
}

/// The first space that is not the same.
fn differing(said: &Totals, found: &Totals) -> Option<&'static str> {
    let mut names = spaces().map(Space::name);
    names.find(|name| said.get(*name) != found.get(*name))
}

async fn into_database(
    config: &DatabaseConfig,
    path: &Path,
    totals: &Totals,
    replace: bool,
) -> Result<(), TransferError> {
    let shared = Shared::open(config).await?;
    let filling = shared.filling().await?;
    let there = filling.count().await?;
    if there > 0 && !replace {
        return Err(TransferError::NotEmpty(there));
    }
    filling.clear().await?;
    let mut records = Records::open(path)?;
    while let Some(page) = records.next(PAGE)? {
        filling.add(&page).await?;
    }
    let read = async |space, after| filling.page(space, Option::as_ref(&after), PAGE).await;
    verify(totals, read).await?;
    Ok(filling.keep().await?)
}

/// Whether there is now what there should be. `read`: records of a space, from where an earlier page ended.
async fn verify(
    totals: &Totals,
    read: impl AsyncFn(Space, Option<Bytes>) -> Result<Vec<Record>, StoreError>,
) -> Result<(), TransferError> {
    let mut adding = Adding::default();
    for space in spaces() {
        let mut after = None;
        loop {
            let page = read(space, after).await?;
            page.iter().for_each(|record| adding.add(record));
            match page.last() {
                Some((_, key, _)) => after = Some(key.clone()),
                None => break,
            }
        }
    }
    match differing(totals, &adding.totals()) {
        Some(space) => Err(TransferError::Differs(space)),
        None => Ok(()),
    }
}

async fn into_folder(
    data_dir: &Path,
    path: &Path,
    totals: &Totals,
    replace: bool,
) -> Result<(), TransferError> {
    // Nobody may have it open; what there is of the trail is taken along.
    let before = Local::open(data_dir).await?;
    let mut there = 0;
    for space in spaces() {
        there += before.tally(space).await?.records;
    }
    if there > 0 && !replace {
        return Err(TransferError::NotEmpty(there));
    }
    let aside = Local::aside(data_dir)?;
    let new = Local::open(aside.path()).await?;
    for space in Space::ALL.into_iter().filter(|it| it.is_of_the_trail()) {
        let mut after = None;
        loop {
            let page = page(&before, space, after).await?;
            match page.last() {
                Some((_, key, _)) => after = Some(key.clone()),
                None => break,
            }
            new.fill(page).await?;
        }
    }
    let mut records = Records::open(path)?;
    while let Some(page) = records.next(PAGE)? {
        new.fill(page).await?;
    }
    new.settle().await?;
    drop(new);
    // Read as the next start reads it.
    let new = Local::open(aside.path()).await?;
    verify(totals, async |space, after| page(&new, space, after).await).await?;
    drop((new, before));
    let placed = aside.take_the_place();
    placed.map_err(|error| TransferError::Place(data_dir.to_owned(), error))
}
