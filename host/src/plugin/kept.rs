//! The `kv` import: what plugins keep, each in a space of its own, as much as the operator granted.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use super::instance::State;
use super::v0_2::adapter::cortex::gateway::kv::{Host, KvError};
use crate::store::{Batch, Committed, Scan, Space, Store, StoreError, Table};
use crate::types::PluginName;

/// How often one call may ask for what its plugin keeps.
pub(super) const MOST_KEEPING: u32 = 1_000;
/// Longest key and longest value, in bytes.
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 64 * 1024;
/// Most keys of one answer.
const MOST_KEYS: u32 = 1_000;
/// How often a change is tried that others come before.
const TRIES: usize = 64;

const VALUES: Table<Value> = Table::new(Space::PluginValues, 1);
const USED: Table<Used> = Table::new(Space::PluginUse, 1);

#[derive(Serialize, Deserialize)]
struct Value(String);

/// How much a plugin keeps.
#[derive(Default, Serialize, Deserialize)]
struct Used {
    bytes: u64,
}

/// What all plugins keep.
pub(super) struct Kept(Store);

/// Why a value is not there, or not changed.
enum Failed {
    Full,
    Changed,
    Store(StoreError),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Kept {
    pub(super) fn new(store: &Store) -> Self {
        Self(store.clone())
    }

    async fn get(&self, plugin: &PluginName, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let found = VALUES.get(&self.0, &place(plugin, key)).await?;
        Ok(found.map(|found| found.value.bytes()))
    }

    /// Keeps or forgets a value. `expected`: only if it is this now.
    async fn change(
        &self,
        plugin: &PluginName,
        key: &str,
        expected: Option<Option<&[u8]>>,
        value: Option<&[u8]>,
        quota: u64,
    ) -> Result<(), Failed> {
        let place = place(plugin, key);
        let owner = plugin.as_str().as_bytes();
        for tried in 0..TRIES {
            let before = VALUES.get(&self.0, &place).await?;
            let bytes = before.as_ref().map(|found| found.value.bytes());
            if expected.is_some_and(|expected| expected != bytes.as_deref()) {
                return Err(Failed::Changed);
            }
            let size =
                |value: Option<&[u8]>| value.map_or(0, |value| (key.len() + value.len()) as u64);
            let (was, will) = (size(bytes.as_deref()), size(value));
            let mut batch = Batch::default();
            VALUES.expect(&mut batch, &place, before.as_ref());
            match value {
                Some(value) => VALUES.put(&mut batch, &place, &Value::new(value))?,
                None => VALUES.remove(&mut batch, &place),
            }
            // As much as before: whoever counts something at many gateways is not in the way of all other
            // calls of its plugin.
            if was == will {
                match self.0.commit(batch).await? {
                    Committed::Yes => return Ok(()),
                    Committed::Conflict => {
                        pause(tried).await;
                        continue;
                    }
                }
            }
            let used = USED.get(&self.0, owner).await?;
            let now = used.as_ref().map_or(0, |used| used.value.bytes);
            let next = now.saturating_sub(was).saturating_add(will);
            // What is kept may shrink even where a grant was made smaller.
            if will > was && next > quota {
                return Err(Failed::Full);
            }
            USED.expect(&mut batch, owner, used.as_ref());
            USED.put(&mut batch, owner, &Used { bytes: next })?;
            if self.0.commit(batch).await? == Committed::Yes {
                return Ok(());
            }
            pause(tried).await;
        }
        Err(Failed::Store(StoreError::Contended))
    }

    async fn keys(
        &self,
        plugin: &PluginName,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let scan = Scan {
            prefix: place(plugin, prefix),
            after: after.map(|key| place(plugin, key)),
            backwards: false,
            limit: limit.min(MOST_KEYS) as usize,
        };
        let found = VALUES.scan(&self.0, scan).await?;
        let own = place(plugin, "").len();
        let keys = found.into_iter().filter_map(|(key, _)| {
            let key = key.get(own..)?.to_vec();
            String::from_utf8(key).ok()
        });
        Ok(keys.collect())
    }
}

impl Value {
    fn new(bytes: &[u8]) -> Self {
        Self(STANDARD_NO_PAD.encode(bytes))
    }

    fn bytes(&self) -> Vec<u8> {
        STANDARD_NO_PAD.decode(&self.0).unwrap_or_default()
    }
}

/// Lets whoever was faster finish.
async fn pause(tried: usize) {
    let longest = 1 + tried.min(20) as u64;
    let random = uuid::Uuid::now_v7().as_u128() as u64;
    tokio::time::sleep(Duration::from_millis(random % longest)).await;
}

/// Where a key of a plugin is. No name holds the byte that ends it.
fn place(plugin: &PluginName, key: &str) -> Vec<u8> {
    let mut place = plugin.as_str().as_bytes().to_vec();
    place.push(0);
    place.extend_from_slice(key.as_bytes());
    place
}

fn unavailable(error: &StoreError) -> KvError {
    tracing::warn!(%error, "a plugin's values cannot be kept or found");
    KvError::Unavailable("the gateway's store does not work now".to_owned())
}

fn check(key: &str, value: Option<&[u8]>) -> Result<(), KvError> {
    if !(1..=MAX_KEY).contains(&key.len()) {
        return Err(KvError::Invalid(format!("a key has 1 to {MAX_KEY} bytes")));
    }
    if value.is_some_and(|value| value.len() > MAX_VALUE) {
        return Err(KvError::Invalid(format!(
            "a value has up to {MAX_VALUE} bytes"
        )));
    }
    Ok(())
}

impl State {
    /// What is kept, if anything is granted, and how much of it may be. Counts the question.
    fn kept(&mut self) -> Result<(&Kept, &PluginName, u64), KvError> {
        let profile = &self.profile;
        let quota = profile.grants.kv_bytes();
        let kept = profile.runtime.kept.as_ref().filter(|_| quota > 0);
        let kept = kept.ok_or(KvError::NotGranted)?;
        self.keeping = self.keeping.checked_sub(1).ok_or_else(|| {
            KvError::LimitExceeded(format!("{MOST_KEEPING} questions to `kv` in a call"))
        })?;
        Ok((kept, &profile.name, quota))
    }

    async fn change(
        &mut self,
        key: &str,
        expected: Option<Option<&[u8]>>,
        value: Option<&[u8]>,
    ) -> Result<bool, KvError> {
        check(key, value)?;
        let (kept, plugin, quota) = self.kept()?;
        match kept.change(plugin, key, expected, value, quota).await {
            Ok(()) => Ok(true),
            Err(Failed::Changed) => Ok(false),
            Err(Failed::Full) => Err(KvError::Full(quota)),
            Err(Failed::Store(error)) => Err(unavailable(&error)),
        }
    }
}

impl Host for State {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, KvError> {
        check(&key, None)?;
        let (kept, plugin, _) = self.kept()?;
        kept.get(plugin, &key).await.map_err(|e| unavailable(&e))
    }

    async fn set(&mut self, key: String, value: Option<Vec<u8>>) -> Result<(), KvError> {
        self.change(&key, None, value.as_deref()).await.map(|_| ())
    }

    async fn swap(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
    ) -> Result<bool, KvError> {
        self.change(&key, Some(expected.as_deref()), value.as_deref())
            .await
    }

    async fn keys(
        &mut self,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<String>, KvError> {
        if prefix.len() > MAX_KEY || after.as_ref().is_some_and(|after| after.len() > MAX_KEY) {
            return Err(KvError::Invalid(format!("a key has up to {MAX_KEY} bytes")));
        }
        let (kept, plugin, _) = self.kept()?;
        let found = kept.keys(plugin, &prefix, after.as_deref(), limit).await;
        found.map_err(|e| unavailable(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn kept() -> Kept {
        Kept(Store::temporary(None).await.expect("a store"))
    }

    fn plugin(name: &str) -> PluginName {
        name.parse().expect("a name")
    }

    #[tokio::test]
    async fn a_plugin_keeps_what_it_was_granted_and_sees_nobody_elses() {
        let kept = kept().await;
        let (ann, bob) = (plugin("ann"), plugin("ann-2"));
        let set = async |who: &PluginName, key: &str, value: &[u8]| {
            kept.change(who, key, None, Some(value), 10).await
        };
        assert!(set(&ann, "k", b"12345").await.is_ok());
        assert!(matches!(set(&ann, "l", b"12345").await, Err(Failed::Full)));
        assert!(set(&bob, "k", b"other").await.is_ok());
        assert_eq!(
            kept.get(&ann, "k").await.expect("read").as_deref(),
            Some(&b"12345"[..])
        );
        assert_eq!(kept.get(&ann, "l").await.expect("read"), None);
        // What is written again does not count twice, and what is forgotten no more.
        assert!(set(&ann, "k", b"123456789").await.is_ok());
        assert!(kept.change(&ann, "k", None, None, 0).await.is_ok());
        assert!(set(&ann, "l", b"123456789").await.is_ok());
        let keys = kept.keys(&ann, "", None, 10).await.expect("read");
        assert_eq!(keys, ["l"]);
        let keys = kept.keys(&bob, "k", None, 10).await.expect("read");
        assert_eq!(keys, ["k"]);
        let after = kept.keys(&bob, "", Some("k"), 10).await.expect("read");
        assert!(after.is_empty());
    }

    #[tokio::test]
    async fn of_calls_at_the_same_time_none_is_lost() {
        let kept = std::sync::Arc::new(kept().await);
        let who = plugin("counter");
        let calls = (0..16).map(|_| {
            let (kept, who) = (std::sync::Arc::clone(&kept), who.clone());
            tokio::spawn(async move {
                loop {
                    let before = kept.get(&who, "n").await.expect("read");
                    let number = before.as_ref().and_then(|bytes| bytes.first()).copied();
                    let next = [number.unwrap_or(0) + 1];
                    let expected = Some(before.as_deref());
                    match kept.change(&who, "n", expected, Some(&next), 100).await {
                        Ok(()) => return,
                        Err(Failed::Changed) => {}
                        Err(_) => panic!("the store failed"),
                    }
                }
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.expect("it ends");
        }
        assert_eq!(kept.get(&who, "n").await.expect("read"), Some(vec![16]));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn how_much_a_plugin_keeps_is_right_whoever_changes_it() {
        let store = Store::temporary(None).await.expect("a store");
        let who = plugin("counter");
        let calls = (0..8_u8).map(|n| {
            // Each is a gateway of its own.
            let (kept, who) = (Kept(store.clone()), who.clone());
            tokio::spawn(async move {
                for round in 0..12_u8 {
                    let key = format!("k{}", (n + round) % 5);
                    let long = vec![n; usize::from(1 + (n * 7 + round) % 9)];
                    let value = (round % 4 != 3).then_some(&long[..]);
                    let changed = kept.change(&who, &key, None, value, 10_000).await;
                    assert!(changed.is_ok());
                }
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.expect("it ends");
        }
        let kept = Kept(store.clone());
        let mut there = 0;
        for key in kept.keys(&who, "", None, 100).await.expect("read") {
            let value = kept.get(&who, &key).await.expect("read").expect("there");
            there += (key.len() + value.len()) as u64;
        }
        let used = USED.get(&store, b"counter").await.expect("read");
        assert_eq!(used.expect("there").value.bytes, there);
    }
}
