//! What one gateway leaves for another, sealed: it is what clients and owners said, and the engine between
//! the gateways is not to read it.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tracing::warn;

use crate::fleet::{Away, Fleet, Shelf};
use crate::pipeline::Gateway;
use crate::seal::{Purpose, Sealer};

/// Largest content, in bytes: sealed and as text it fits on a shelf.
const MAX: usize = 8 * 1024 * 1024;

/// Why nothing was left.
#[derive(Debug, Error)]
pub(in crate::pipeline) enum NotLeft {
    /// The others cannot be reached.
    #[error(transparent)]
    Away(#[from] Away),
    /// It is larger than anything that is passed on.
    #[error("more than {MAX} bytes")]
    TooLarge,
    /// It cannot be written or sealed.
    #[error("{0}")]
    Unfit(String),
}

/// Content that is sealed already: to be left, again and again if need be.
pub(super) struct Parcel {
    shelf: Shelf,
    key: Vec<u8>,
    text: Vec<u8>,
}

impl Parcel {
    /// Seals content for one place on one shelf: nobody opens it from another.
    pub(super) fn seal(
        sealer: &Sealer,
        shelf: Shelf,
        key: &[u8],
        content: &impl Serialize,
    ) -> Result<Self, NotLeft> {
        let content = serde_json::to_vec(content).map_err(|e| NotLeft::Unfit(e.to_string()))?;
        if content.len() > MAX {
            return Err(NotLeft::TooLarge);
        }
        let binding = [shelf.name().as_bytes(), key];
        let text = sealer
            .seal(Purpose::Parcel, &binding, &content)
            .map_err(|e| NotLeft::Unfit(e.to_string()))?;
        Ok(Self {
            shelf,
            key: key.to_vec(),
            text: text.into_bytes(),
        })
    }

    /// Puts it there.
    pub(super) async fn leave(&self, fleet: &Fleet, lives: Duration) -> Result<(), Away> {
        let text = self.text.clone();
        fleet.put(self.shelf, &self.key, text, lives).await
    }
}

/// Leaves something for whoever knows the key.
pub(super) async fn leave(
    gw: &Gateway,
    shelf: Shelf,
    key: &[u8],
    content: &impl Serialize,
    lives: Duration,
) -> Result<(), NotLeft> {
    let parcel = Parcel::seal(&gw.sealer, shelf, key, content)?;
    Ok(parcel.leave(&gw.fleet, lives).await?)
}

/// Looks at what lies there, and leaves it. What cannot be opened counts as not there.
pub(super) async fn look<T: DeserializeOwned>(
    gw: &Gateway,
    shelf: Shelf,
    key: &[u8],
) -> Result<Option<T>, Away> {
    let text = gw.fleet.get(shelf, key).await?;
    Ok(text.and_then(|text| open(gw, shelf, key, &text)))
}

/// Takes what lies there. Of several who try, one gets it.
pub(super) async fn take<T: DeserializeOwned>(
    gw: &Gateway,
    shelf: Shelf,
    key: &[u8],
) -> Result<Option<T>, Away> {
    let text = gw.fleet.take(shelf, key).await?;
    Ok(text.and_then(|text| open(gw, shelf, key, &text)))
}

fn open<T: DeserializeOwned>(gw: &Gateway, shelf: Shelf, key: &[u8], text: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(text).ok()?;
    let binding = [shelf.name().as_bytes(), key];
    let opened = gw.sealer.open(Purpose::Parcel, &binding, text);
    let content = opened.inspect_err(|why| {
        let shelf = shelf.name();
        warn!(
            shelf,
            "what another gateway left cannot be used: {why}; hint: give all gateways the same CORTEX_STATE_KEY"
        );
    });
    serde_json::from_slice(&content.ok()?).ok()
}
