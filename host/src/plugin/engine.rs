//! The engines: compiled code, linkers by plugin kind, and room for instances.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::Linker;
use wasmtime::{
    Cache, CacheConfig, Config, Enabled, Engine, InstanceAllocationStrategy,
    PoolingAllocationConfig, Store,
};

use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::{HostWallClock, WasiCtxBuilder};

use super::clock::Clock;
use super::courtesy::Courtesy;
use super::imports;
use super::instance::{self, State};
use super::kept::Kept;
use super::limits::{Limits, MAX_TABLE_ELEMENTS};
use super::loader::Kind;
use super::memory::Memories;
use super::meter::Meters;
use super::recording::Recording;
use super::warm::Room;
use super::wire::Wire;
use crate::config::PluginConfig;
use crate::outbound::Client;
use crate::store::Store as GatewayStore;

/// Stack of a guest. Deeper recursion traps.
const STACK_BYTES: usize = 512 * 1024;
/// Fiber stack: the guest's and what host functions need on top.
const FIBER_STACK_BYTES: usize = 1024 * 1024;
/// How much of an instance's memory is kept for the next one.
const KEEP_RESIDENT: usize = 512 * 1024;
/// Core instances and tables that one component may be made of; one from Rust has four and two, one from
/// Python, which is linked of many modules, fourteen.
const MAX_PARTS: u32 = 16;
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
    /// The system has no thread for the clock that interrupts plugins.
    #[error("cannot start a thread")]
    Clock(#[source] std::io::Error),
}

/// An engine, and what components of each kind may import.
pub(super) struct Machine {
    pub(super) engine: Engine,
    adapters: Linker<State>,
    policies: Linker<State>,
    exporters: Linker<State>,
    /// Whether it counts what guests do: exact and the same every time, and slower.
    counts: bool,
}

impl Machine {
    fn new(
        config: &PluginConfig,
        cache_dir: Option<&Path>,
        counts: bool,
        clock: &Clock,
    ) -> Result<Arc<Self>, EngineError> {
        let mut wasm = engine_config(config, cache_dir)?;
        wasm.consume_fuel(counts);
        let engine = Engine::new(&wasm).map_err(EngineError::Engine)?;
        clock.drive(&engine);
        let linked = || -> wasmtime::Result<_> {
            let mut policies = Linker::new(&engine);
            wasmtime_wasi::p2::add_to_linker_async(&mut policies)?;
            imports::offer_all(&mut policies)?;
            let (mut exporters, mut adapters) = (policies.clone(), policies.clone());
            imports::offer_exporters(&mut exporters)?;
            imports::offer_adapters(&mut adapters)?;
            for linker in [&mut exporters, &mut adapters] {
                wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
            }
            Ok((policies, exporters, adapters))
        };
        let (policies, exporters, adapters) = linked().map_err(EngineError::Engine)?;
        Ok(Arc::new(Self {
            engine,
            adapters,
            policies,
            exporters,
            counts,
        }))
    }

    /// What a component of this kind may import.
    pub(super) fn linker(&self, kind: Kind) -> &Linker<State> {
        match kind {
            Kind::BackendAdapter => &self.adapters,
            Kind::ScopePolicy => &self.policies,
            Kind::AuditExporter => &self.exporters,
        }
    }

    /// An empty store with limits and clock.
    pub(super) fn store(&self, state: State) -> Store<State> {
        let mut store = Store::new(&self.engine, state);
        instance::arm(&mut store);
        if self.counts {
            // Until a call begins: what instantiation needs.
            let set = store.set_fuel(u64::MAX);
            debug_assert!(set.is_ok(), "this engine counts");
        }
        store
    }
}

/// The time that a rehearsal is played at. Its random numbers are the same every time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage {
    /// Since 1970.
    pub(super) now: Duration,
}

impl Stage {
    pub(super) fn set(self, wasi: &mut WasiCtxBuilder) {
        let bytes: Vec<u8> = (0..=u8::MAX)
            .map(|n| n.wrapping_mul(167).wrapping_add(13))
            .collect();
        wasi.wall_clock(self)
            .secure_random(Deterministic::new(bytes.clone()))
            .insecure_random(Deterministic::new(bytes))
            .insecure_random_seed(1);
    }
}

impl HostWallClock for Stage {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.now
    }
}

/// The engines and what goes with them. One per process.
pub struct Runtime {
    /// The one that all plugins run in, unless their fuel is bounded.
    pub(super) machine: Arc<Machine>,
    counting: OnceLock<Arc<Machine>>,
    cache_dir: Option<PathBuf>,
    /// Those of a plugin for which no others are set.
    pub(super) limits: Arc<Limits>,
    /// Where requests go.
    pub(super) wire: Wire,
    /// The time and the luck of a rehearsal.
    pub(super) stage: Option<Stage>,
    /// Where plugins keep what they were granted to keep.
    pub(super) kept: Option<Kept>,
    /// Where is written what plugins wanted.
    pub(super) store: Option<GatewayStore>,
    pub(super) config: PluginConfig,
    /// What plugins use.
    pub(super) meters: Meters,
    /// Room for instances that are kept between calls.
    pub(super) warm: Arc<Room>,
    /// What interrupts plugins.
    pub(super) clock: Clock,
    /// Who computes for long.
    pub(super) courtesy: Arc<Courtesy>,
    slots: Arc<Semaphore>,
    memories: Arc<Memories>,
}

impl Runtime {
    /// Starts the engine. Compiled components are kept in `cache_dir`, and what plugins keep in the
    /// store, if there are such.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn new(
        config: &PluginConfig,
        cache_dir: Option<&Path>,
        client: Client,
        store: Option<&GatewayStore>,
    ) -> Result<Arc<Self>, EngineError> {
        Self::with(
            config,
            cache_dir,
            Wire::World(Arc::new(client)),
            None,
            store,
        )
    }

    /// Starts the engine for a rehearsal: requests meet a recording, time and luck are set.
    pub(super) fn rehearsing(
        config: &PluginConfig,
        recording: Arc<Recording>,
        stage: Stage,
        store: &GatewayStore,
    ) -> Result<Arc<Self>, EngineError> {
        let wire = Wire::Recorded(recording);
        Self::with(config, None, wire, Some(stage), Some(store))
    }

    fn with(
        config: &PluginConfig,
        cache_dir: Option<&Path>,
        wire: Wire,
        stage: Option<Stage>,
        store: Option<&GatewayStore>,
    ) -> Result<Arc<Self>, EngineError> {
        let clock = Clock::start().map_err(EngineError::Clock)?;
        Ok(Arc::new(Self {
            machine: Machine::new(config, cache_dir, false, &clock)?,
            clock,
            warm: Room::for_most(config.warm_instances),
            counting: OnceLock::new(),
            cache_dir: cache_dir.map(Path::to_owned),
            limits: Arc::new(Limits {
                memory_bytes: config.memory_bytes,
                compute_ms: config.compute_ms,
                fuel: None,
                max_exchanges: config.max_exchanges,
                max_result_bytes: config.max_result_bytes,
            }),
            wire,
            stage,
            kept: store.map(Kept::new),
            store: store.cloned(),
            meters: Meters::default(),
            courtesy: Arc::new(Courtesy::new()),
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

    /// Instances that there are, and that there may be.
    pub(super) fn instances(&self) -> (usize, usize) {
        let most = self.config.max_instances as usize;
        (most.saturating_sub(self.slots.available_permits()), most)
    }

    /// The engine for these limits.
    ///
    /// # Errors
    /// [`EngineError`] when there is none.
    pub(super) fn machine_for(&self, limits: &Limits) -> Result<Arc<Machine>, EngineError> {
        if limits.fuel.is_none() {
            return Ok(Arc::clone(&self.machine));
        }
        if let Some(machine) = self.counting.get() {
            return Ok(Arc::clone(machine));
        }
        let machine = Machine::new(&self.config, self.cache_dir.as_deref(), true, &self.clock)?;
        Ok(Arc::clone(self.counting.get_or_init(|| machine)))
    }

    /// What calls remember.
    pub(super) fn memories(&self) -> Arc<Memories> {
        Arc::clone(&self.memories)
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
