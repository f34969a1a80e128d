//! What a plugin keeps: values by key, in the gateway's store, as much as the operator
//! [granted](crate::Description::wants_kv). Backend adapters and audit exporters only.
//!
//! ```
//! use cortex_plugin_sdk::{kv, testing};
//!
//! testing::grant_kv(1);
//! kv::set("seen/ann", Some(b"1"))?;
//! assert_eq!(kv::get("seen/ann")?.as_deref(), Some(&b"1"[..]));
//! // Calls run at the same time: what depends on what was there goes by `update`.
//! kv::update("visits", |before| {
//!     let visits = before.and_then(|bytes| bytes.first().copied()).unwrap_or(0);
//!     Some(vec![visits + 1])
//! })?;
//! assert_eq!(kv::keys("", None, 10)?, ["seen/ann", "visits"]);
//! # Ok::<(), kv::KvError>(())
//! ```
//!
//! All calls of the plugin see the same, whoever makes them: put the subject into the key of what belongs
//! to a subject.

#[cfg(target_family = "wasm")]
use crate::bindings::cortex::gateway::kv::{
    get as host_get, keys as host_keys, set as host_set, swap as host_swap,
};
#[cfg(not(target_family = "wasm"))]
use crate::testing::{
    kv_get as host_get, kv_keys as host_keys, kv_set as host_set, kv_swap as host_swap,
};

pub use crate::bindings::cortex::gateway::kv::KvError;

/// How often [`update`] tries before it says that others are always first.
const TRIES: u32 = 32;

/// The value of a key (1 to 256 bytes).
///
/// # Errors
///
/// When nothing is granted, or the store does not work.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, KvError> {
    host_get(key)
}

/// Keeps a value (65,536 bytes at most); `None` forgets it. It is on disk when this returns.
///
/// # Errors
///
/// When nothing is granted, there is no room, or the store does not work. Nothing has changed then.
pub fn set(key: &str, value: Option<&[u8]>) -> Result<(), KvError> {
    host_set(key, value)
}

/// Like [`set`], if the value is still `expected`; tells whether it was.
///
/// # Errors
///
/// Like [`set`].
pub fn swap(key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> Result<bool, KvError> {
    host_swap(key, expected, value)
}

/// Makes a new value of the one that is there, again for as long as others come in between. Returns it.
///
/// # Errors
///
/// Like [`set`], and [`KvError::Unavailable`] when others came in between again and again.
pub fn update(
    key: &str,
    change: impl Fn(Option<&[u8]>) -> Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, KvError> {
    for _ in 0..TRIES {
        let before = get(key)?;
        let next = change(before.as_deref());
        if swap(key, before.as_deref(), next.as_deref())? {
            return Ok(next);
        }
    }
    Err(KvError::Unavailable(
        "others change the same key all the time".into(),
    ))
}

/// Up to `limit` keys (1,000 at most) that begin with `prefix`, in order, after the key `after`.
///
/// # Errors
///
/// When nothing is granted, or the store does not work.
pub fn keys(prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, KvError> {
    host_keys(prefix, after, limit)
}
