//! Storage and figures of a plugin, faked for one thread.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::kv::KvError;

/// The quota in bytes, and what is kept.
type Kept = (u64, BTreeMap<String, Vec<u8>>);

thread_local! {
    static KV: RefCell<Kept> = const { RefCell::new((0, BTreeMap::new())) };
    static COUNTERS: RefCell<BTreeMap<String, u64>> = const { RefCell::new(BTreeMap::new()) };
    static GAUGES: RefCell<BTreeMap<String, f64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Grants this thread so many KiB of [storage](crate::kv), and forgets what was there.
pub fn grant_kv(kib: u64) {
    KV.set((kib * 1024, BTreeMap::new()));
}

pub(crate) fn kv_get(key: &str) -> Result<Option<Vec<u8>>, KvError> {
    KV.with_borrow(|(quota, values)| match quota {
        0 => Err(KvError::NotGranted),
        _ => Ok(values.get(key).cloned()),
    })
}

pub(crate) fn kv_set(key: &str, value: Option<&[u8]>) -> Result<(), KvError> {
    let before = kv_get(key)?;
    kv_swap(key, before.as_deref(), value).map(|_| ())
}

pub(crate) fn kv_swap(
    key: &str,
    expected: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<bool, KvError> {
    if kv_get(key)?.as_deref() != expected {
        return Ok(false);
    }
    if key.is_empty() || key.len() > 256 || value.is_some_and(|value| value.len() > 65_536) {
        return Err(KvError::Invalid(
            "a key has 1 to 256 bytes, a value up to 65,536".into(),
        ));
    }
    KV.with_borrow_mut(|(quota, values)| {
        let mut next = values.clone();
        match value {
            Some(value) => next.insert(key.to_owned(), value.to_vec()),
            None => next.remove(key),
        };
        let size: usize = next
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        if value.is_some() && size as u64 > *quota {
            return Err(KvError::Full(*quota));
        }
        *values = next;
        Ok(true)
    })
}

pub(crate) fn kv_keys(
    prefix: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<String>, KvError> {
    kv_get("")?;
    KV.with_borrow(|(_, values)| {
        let keys = values.keys().filter(|key| key.starts_with(prefix));
        let keys = keys.filter(|key| after.is_none_or(|after| key.as_str() > after));
        Ok(keys.take(limit.min(1_000) as usize).cloned().collect())
    })
}

/// What this thread has added to a counter of [`metrics`](crate::metrics).
pub fn counted(name: &str) -> u64 {
    COUNTERS.with_borrow(|counters| counters.get(name).copied().unwrap_or(0))
}

/// What this thread has set a gauge of [`metrics`](crate::metrics) to.
pub fn gauged(name: &str) -> Option<f64> {
    GAUGES.with_borrow(|gauges| gauges.get(name).copied())
}

pub(crate) fn count(name: &str, by: u64) {
    COUNTERS.with_borrow_mut(|counters| *counters.entry(name.to_owned()).or_default() += by);
}

pub(crate) fn gauge(name: &str, value: f64) {
    GAUGES.with_borrow_mut(|gauges| gauges.insert(name.to_owned(), value));
}
