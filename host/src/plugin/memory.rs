//! The `memory` import: what calls of one subject to one backend remember for each other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};
use wasmtime::component::Resource;

use super::instance::State;
use super::v0_2::adapter::cortex::gateway::memory::{Host, HostSlot};
use crate::types::{BackendId, Issuer, PluginName, Principal, Subject};

/// Slots that are remembered, of everybody together.
const MOST: u64 = 100_000;
/// How long one is remembered that nobody asks for.
const IDLE: Duration = Duration::from_secs(600);
/// Longest value and longest name, in bytes.
const MAX_VALUE: usize = 16 * 1024;
const MAX_NAME: usize = 128;
/// Slots that one call may hold at one time.
const MAX_HELD: usize = 8;
/// Longest wait for another call to let go of one.
const PATIENCE: Duration = Duration::from_secs(30);

/// The type that the handles of components stand for.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Slot(());

/// Whose memory it is: plugin, backend, and the subject with the account that it uses there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Whose {
    plugin: PluginName,
    backend: BackendId,
    subject: Option<(Issuer, Subject)>,
    /// Another account is another memory.
    account: u64,
}

impl Whose {
    pub(super) fn new(
        plugin: &PluginName,
        backend: &BackendId,
        subject: Option<&Principal>,
        account: u64,
    ) -> Self {
        let subject = subject.map(|who| (who.issuer.clone(), who.subject.clone()));
        Self {
            plugin: plugin.clone(),
            backend: backend.clone(),
            subject,
            account,
        }
    }
}

type Value = Arc<Mutex<Option<String>>>;

/// Everybody's memory.
pub(super) struct Memories(Cache<(Whose, String), Value>);

impl Memories {
    pub(super) fn new() -> Self {
        Self(
            Cache::builder()
                .max_capacity(MOST)
                .time_to_idle(IDLE)
                .build(),
        )
    }

    fn slot(&self, whose: &Whose, name: String) -> Value {
        self.0.get_with((whose.clone(), name), Value::default)
    }
}

/// What the call in flight holds. Numbers are never used again.
#[derive(Default)]
pub(super) struct Held {
    whose: Option<Whose>,
    by_number: HashMap<u32, OwnedMutexGuard<Option<String>>>,
    last: u32,
}

impl Held {
    /// Gets ready for a call.
    pub(super) fn begin(&mut self, whose: Option<Whose>) {
        self.by_number.clear();
        self.whose = whose;
    }

    /// Lets go of everything.
    pub(super) fn end(&mut self) {
        self.begin(None);
    }
}

impl Host for State {
    async fn hold(&mut self, name: String) -> Result<Resource<Slot>, String> {
        let held = &mut self.held;
        let whose = held.whose.as_ref().ok_or("there is no memory here")?;
        if name.len() > MAX_NAME || held.by_number.len() >= MAX_HELD {
            return Err(format!(
                "a call holds {MAX_HELD} slots at most, with names of {MAX_NAME} bytes"
            ));
        }
        let slot = self.memories.slot(whose, name);
        let guard = tokio::time::timeout(PATIENCE, slot.lock_owned()).await;
        let guard = guard.map_err(|_| "another call holds it for too long".to_owned())?;
        held.last += 1;
        held.by_number.insert(held.last, guard);
        Ok(Resource::new_own(held.last))
    }
}

impl HostSlot for State {
    fn get(&mut self, handle: Resource<Slot>) -> Option<String> {
        self.held.by_number.get(&handle.rep())?.as_ref().cloned()
    }

    fn set(&mut self, handle: Resource<Slot>, value: Option<String>) {
        if let Some(slot) = self.held.by_number.get_mut(&handle.rep()) {
            **slot = value.filter(|value| value.len() <= MAX_VALUE);
        }
    }

    fn drop(&mut self, handle: Resource<Slot>) -> wasmtime::Result<()> {
        self.held.by_number.remove(&handle.rep());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose(backend: &str, account: u64) -> Whose {
        let plugin = "backend-mcp".parse().expect("a name");
        Whose::new(&plugin, &backend.parse().expect("an id"), None, account)
    }

    #[tokio::test]
    async fn everybody_has_a_memory_of_their_own() {
        let memories = Memories::new();
        let mine = memories.slot(&whose("wiki", 1), "session".to_owned());
        *mine.lock().await = Some("1".to_owned());
        let read = async |whose: &Whose, name: &str| {
            let slot = memories.slot(whose, name.to_owned());
            slot.lock_owned().await.clone()
        };
        assert_eq!(
            read(&whose("wiki", 1), "session").await.as_deref(),
            Some("1")
        );
        assert_eq!(read(&whose("wiki", 2), "session").await, None);
        assert_eq!(read(&whose("mail", 1), "session").await, None);
        assert_eq!(read(&whose("wiki", 1), "other").await, None);
    }
}
