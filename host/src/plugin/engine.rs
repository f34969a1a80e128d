//! The one engine: compiled code, the epoch clock, linkers by plugin kind, and room for instances.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{
    Cache, CacheConfig, Config, Enabled, Engine, InstanceAllocationStrategy,
    PoolingAllocationConfig, Store,
};

use super::instance::{self, State};
use super::limits::{Limits, MAX_TABLE_ELEMENTS, TICK};
use super::memory::Memories;
use super::meter::Meters;
use super::settings::Settings;
use super::v0_1;
use crate::config::PluginConfig;
use crate::outbound::Client;
use crate::types::PluginName;

/// Stack of a guest. Deeper recursion traps.
const STACK_BYTES: usize = 512 * 1024;
/// Fiber stack: the guest's and what host functions need on top.
const FIBER_STACK_BYTES: usize = 1024 * 1024;
/// How much of an instance's memory is kept for the next one.
const KEEP_RESIDENT: usize = 512 * 1024;
/// Core instances and tables that one component may be made of; one from Rust has four and two.
const MAX_PARTS: u32 = 8;
/// Linear memories that one component may have.
const MAX_MEMORIES: u32 = 2;

/// Why there is no engine.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The cache of compiled components cannot be used.
    #[error("cannot keep compiled components in `{dir}`")]
    Cache {
        /// Where.
        dir: String,
        /// Why.
        #[source]
        source: wasmtime::Error,
    },
    /// wasmtime refused the configuration on this machine.
    #[error("the WebAssembly engine does not start on this machine")]
    Engine(#[source] wasmtime::Error),
}

/// The engine and what goes with it. One per process.
pub struct Runtime {
    pub(super) engine: Engine,
    /// Those of a plugin for which no others are set.
    pub(super) limits: Arc<Limits>,
    pub(super) client: Client,
    pub(super) adapters: Linker<State>,
    /// For policies and exporters, which import nothing but `log` and WASI.
    pub(super) others: Linker<State>,
    pub(super) config: PluginConfig,
    /// What plugins use.
    pub(super) meters: Meters,
    slots: Arc<Semaphore>,
    memories: Arc<Memories>,
}

impl Runtime {
    /// Starts the engine. Compiled components are kept in `cache_dir`, if there is one.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn new(
        config: &PluginConfig,
        cache_dir: Option<&Path>,
        client: Client,
    ) -> Result<Arc<Self>, EngineError> {
        let engine =
            Engine::new(&engine_config(config, cache_dir)?).map_err(EngineError::Engine)?;
        let others = base_linker(&engine).map_err(EngineError::Engine)?;
        let adapters = adapter_linker(&engine).map_err(EngineError::Engine)?;
        spawn_clock(&engine);
        Ok(Arc::new(Self {
            engine,
            limits: Arc::new(Limits {
                memory_bytes: config.memory_bytes,
                compute_ms: config.compute_ms,
                max_exchanges: config.max_exchanges,
                max_result_bytes: config.max_result_bytes,
            }),
            client,
            adapters,
            others,
            meters: Meters::default(),
            memories: Arc::new(Memories::new()),
            slots: Arc::new(Semaphore::new(config.max_instances as usize)),
            config: config.clone(),
        }))
    }

    /// Waits for room for one more instance; `None` when there is none in time.
    pub(super) async fn slot(&self, wait: Duration) -> Option<OwnedSemaphorePermit> {
        tokio::time::timeout(wait, Arc::clone(&self.slots).acquire_owned())
            .await
            .ok()?
            .ok()
    }

    /// An empty store with limits and clock. `is_exporter`: what it prints is no log.
    pub(super) fn store(
        &self,
        plugin: PluginName,
        settings: Settings,
        limits: &Limits,
        is_exporter: bool,
    ) -> Store<State> {
        let output = is_exporter.then_some(self.config.exporter_output);
        let memories = Arc::clone(&self.memories);
        let state = State::new(plugin, settings, memories, limits, output);
        let mut store = Store::new(&self.engine, state);
        instance::arm(&mut store);
        store
    }
}

fn engine_config(config: &PluginConfig, cache_dir: Option<&Path>) -> Result<Config, EngineError> {
    let cache = cache_dir.map(cache).transpose()?;

    let instances = config.max_instances;
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_core_instances(instances * MAX_PARTS)
        .total_memories(instances * MAX_MEMORIES)
        .total_tables(instances * MAX_PARTS)
        .total_stacks(instances)
        .max_core_instances_per_component(MAX_PARTS)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_PARTS)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_memory_size(config.memory_bytes)
        // Pages that a call has touched are cleared in place: giving them back to the kernel stops
        // all threads for a moment, and costs the next call a fault for each.
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT);

    let mut wasm = Config::new();
    wasm.cache(cache)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Ok(wasm)
}

fn cache(dir: &Path) -> Result<Cache, EngineError> {
    let mut cache = CacheConfig::new();
    // wasmtime wants an absolute directory, and makes it.
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    cache.with_directory(&dir);
    Cache::new(cache).map_err(|source| EngineError::Cache {
        dir: dir.display().to_string(),
        source,
    })
}

fn base_linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    v0_1::adapter::cortex::gateway::log::add_to_linker::<_, HasSelf<State>>(
        &mut linker,
        |state| state,
    )?;
    v0_1::adapter::cortex::gateway::settings::add_to_linker::<_, HasSelf<State>>(
        &mut linker,
        |state| state,
    )?;
    v0_1::adapter::cortex::gateway::types::add_to_linker::<_, HasSelf<State>>(
        &mut linker,
        |state| state,
    )?;
    Ok(linker)
}

fn adapter_linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = base_linker(engine)?;
    v0_1::adapter::cortex::gateway::http::add_to_linker::<_, HasSelf<State>>(
        &mut linker,
        |state| state,
    )?;
    v0_1::adapter::cortex::gateway::progress::add_to_linker::<_, HasSelf<State>>(
        &mut linker,
        |state| state,
    )?;
    v0_1::adapter::cortex::gateway::client::add_to_linker::<_, HasSelf<State>>(
        &mut linker,
        |state| state,
    )?;
    v0_1::adapter::cortex::gateway::memory::add_to_linker::<_, HasSelf<State>>(
        &mut linker,
        |state| state,
    )?;
    v0_1::adapter::cortex::gateway::client_log::add_to_linker::<_, HasSelf<State>>(
        &mut linker,
        |state| state,
    )?;
    Ok(linker)
}

/// Moves the epoch on. A thread and not a task, so that guests that keep every worker busy are
/// still interrupted. Ends with the engine.
fn spawn_clock(engine: &Engine) {
    let engine = engine.weak();
    std::thread::spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    });
}
