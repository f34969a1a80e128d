//! One instance of a component: its state, its limits, and what a failed call means.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::error::Elapsed;
use wasmtime::component::ResourceTable;
use wasmtime::{Store, Trap, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::client::Questions;
use super::courtesy::{Long, SHORT};
use super::egress::Egress;
use super::farewell::Farewell;
use super::fault::{Cause, Fault, millis};
use super::figures::{Figure, MOST_FIGURES, Told};
use super::guest_log::LogSink;
use super::incoming::OpenResponses;
use super::kept::MOST_KEEPING;
use super::limits::{Limits, Memory};
use super::memory::{Held, Memories, Whose};
use super::patience::Patience;
use super::profile::Profile;
use super::stdio::{Destination, Lines};
use super::timing::Timing;
use super::v0_2::adapter::cortex::gateway::{client_log, log, metrics, progress, settings, types};
use super::wasi_http::{self, Outgoing};
use crate::config::ExporterOutput;
use crate::types::{Principal, RequestId};

/// Most handles of the standard library (streams, timers, requests) that one instance may have at once.
/// Each takes memory of the host.
const MOST_HANDLES: usize = 512;

/// Takes progress, total and message while a call runs.
pub type ProgressSink = Box<dyn FnMut(f64, Option<f64>, Option<String>) + Send>;

/// Takes level, logger and data of messages for the client while a call runs.
pub type MessageSink = Box<dyn FnMut(String, Option<String>, String) + Send>;

/// What the client of a call wants to hear while it runs.
#[derive(Default)]
pub struct Notices {
    /// Progress.
    pub progress: Option<ProgressSink>,
    /// Log messages.
    pub messages: Option<MessageSink>,
    /// Questions.
    pub questions: Option<Questions>,
}

/// What a store keeps for the instance in it.
pub(super) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    memory: Memory,
    /// Epoch ticks the guest may still compute in this call.
    ticks_left: u64,
    out_of_ticks: bool,
    /// There once the call in flight has computed for long.
    long: Option<Long>,
    log: LogSink,
    /// Whose instance it is.
    pub(super) profile: Arc<Profile>,
    /// How often the call in flight may still ask for what the plugin keeps.
    pub(super) keeping: u32,
    /// What the call in flight may reach.
    pub(super) outgoing: Outgoing,
    wasi_http: WasiHttpCtx,
    /// Responses that the call in flight is reading.
    pub(super) incoming: OpenResponses,
    /// What is sent should the call in flight be given up.
    pub(super) farewell: Option<Farewell>,
    /// When the call in flight showed its last sign of life.
    pub(super) patience: Arc<Patience>,
    /// What the client of the call in flight wants to hear.
    pub(super) notices: Notices,
    /// Questions that the call in flight has asked.
    pub(super) asked: u32,
    /// What all calls remember.
    pub(super) memories: Arc<Memories>,
    /// What the call in flight holds of it.
    pub(super) held: Held,
}

impl State {
    /// A state for a new instance of `plugin`. `output`: where its standard
    /// output goes, if not into the log.
    pub(super) fn new(
        profile: &Arc<Profile>,
        memories: Arc<Memories>,
        output: Option<ExporterOutput>,
    ) -> Self {
        let log = LogSink::new(profile.name.clone());
        let limits = &profile.limits;
        let stdout = output.map_or_else(|| Destination::Log(log.clone()), Destination::Own);
        let mut wasi = WasiCtx::builder();
        if let Some(stage) = &profile.runtime.stage {
            stage.set(&mut wasi);
        }
        let wasi = wasi
            .stdout(Lines::new(stdout))
            .stderr(Lines::new(Destination::Log(log.clone())))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(64 * 1024)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(MOST_HANDLES);
        Self {
            wasi,
            table,
            memory: Memory::new(limits.memory_bytes, &profile.meter),
            ticks_left: limits.compute_ticks(),
            out_of_ticks: false,
            long: None,
            outgoing: Outgoing::new(log.clone()),
            log,
            profile: Arc::clone(profile),
            keeping: MOST_KEEPING,
            wasi_http: wasi_http::limits(),
            incoming: OpenResponses::default(),
            farewell: None,
            patience: Arc::new(Patience::new()),
            notices: Notices::default(),
            asked: 0,
            memories,
            held: Held::default(),
        }
    }

    /// Spends one epoch tick. Called when the guest was found computing.
    fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        self.ticks_left = self.ticks_left.saturating_sub(1);
        if self.ticks_left == 0 {
            self.out_of_ticks = true;
            return Ok(UpdateDeadline::Interrupt);
        }
        // Other calls on this thread get their turn, and those of who computes for long more than that.
        let limits = &self.profile.limits;
        if limits.compute_ticks().saturating_sub(self.ticks_left) > SHORT {
            let runtime = &self.profile.runtime;
            let long = self.long.get_or_insert_with(|| runtime.courtesy.join());
            let pause = long.pause();
            if !pause.is_zero() {
                let pause = Box::pin(tokio::time::sleep(pause));
                return Ok(UpdateDeadline::YieldCustom(1, pause));
            }
        }
        Ok(UpdateDeadline::YieldCustom(
            1,
            Box::pin(tokio::task::yield_now()),
        ))
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.outgoing,
            table: &mut self.table,
            ctx: &mut self.wasi_http,
        }
    }
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) {
        self.log.write(level, &message);
    }
}

impl settings::Host for State {
    fn get(&mut self) -> String {
        self.profile.settings.text().to_owned()
    }
}

impl metrics::Host for State {
    fn add(&mut self, name: String, by: u64) {
        self.figure(&name, Figure::Counter(by));
    }

    fn set(&mut self, name: String, value: f64) {
        self.figure(&name, Figure::Gauge(value));
    }
}

impl State {
    fn figure(&mut self, name: &str, figure: Figure) {
        if self.profile.meter.told(name, figure) == Told::RefusedFirst {
            tracing::warn!(
                plugin.name = %self.profile.name,
                "a figure of the plugin is left out: it has more than {MOST_FIGURES}, or names one wrongly; \
                 hint: report it to the plugin's author"
            );
        }
    }
}

impl progress::Host for State {
    fn report(&mut self, progress: f64, total: Option<f64>, message: Option<String>) {
        self.patience.sign_of_life();
        if let Some(sink) = self.notices.progress.as_mut() {
            sink(progress, total, message);
        }
    }
}

impl client_log::Host for State {
    fn write(&mut self, level: String, logger: Option<String>, data: String) {
        if let Some(sink) = self.notices.messages.as_mut() {
            sink(level, logger, data);
        }
    }
}

impl types::Host for State {}

/// An instance and the bindings to its exports.
pub(super) struct Guest<B> {
    /// The store it lives in.
    pub(super) store: Store<State>,
    /// Its exports.
    pub(super) exports: B,
    profile: Arc<Profile>,
    /// For whom the call in flight is made.
    caller: u64,
    _slot: OwnedSemaphorePermit,
}

impl<B> Guest<B> {
    pub(super) fn new(
        store: Store<State>,
        exports: B,
        profile: Arc<Profile>,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            store,
            exports,
            profile,
            caller: 0,
            _slot: slot,
        }
    }

    /// Gets ready for one call.
    pub(super) fn begin(
        &mut self,
        request: Option<RequestId>,
        egress: Option<Egress>,
        whose: Option<Whose>,
        caller: Option<&Principal>,
    ) {
        let ticks = self.profile.limits.compute_ticks();
        self.caller = caller.map_or(0, number);
        self.profile.meter.called();
        let state = self.store.data_mut();
        state.asked = 0;
        state.keeping = MOST_KEEPING;
        state.held.begin(whose);
        state.ticks_left = ticks;
        state.out_of_ticks = false;
        state.memory.refused = false;
        state.patience = Arc::new(Patience::new());
        state.outgoing.begin(egress, &state.patience);
        state.log.begin(request);
        self.store.set_epoch_deadline(1);
        if let Some(fuel) = self.profile.limits.fuel {
            let set = self.store.set_fuel(fuel);
            debug_assert!(set.is_ok(), "its engine counts");
        }
    }

    /// Measures what the call that was begun uses. `version`: of the plugin.
    pub(super) fn timing<'v>(&self, function: &'static str, version: &'v str) -> Timing<'v> {
        Timing {
            profile: Arc::clone(&self.profile),
            function,
            version,
        }
    }

    /// How long the call that was begun is waited for.
    pub(super) fn patience(&self) -> Arc<Patience> {
        Arc::clone(&self.store.data().patience)
    }

    /// Whether a later call could find too little left: of handles, because languages that collect their garbage give
    /// them back when they do, which may be never, or of memory.
    pub(super) fn is_spent(&mut self) -> bool {
        let state = self.store.data_mut();
        state.memory.is_nearly_full() || state.table.iter_mut().count() > MOST_HANDLES / 2
    }

    /// Reads how one call ended. After an error the instance must not be used again.
    pub(super) fn end<R>(
        &mut self,
        function: &'static str,
        wall: Duration,
        result: Result<wasmtime::Result<R>, Elapsed>,
    ) -> Result<R, Fault> {
        let state = self.store.data_mut();
        state.long = None;
        state.outgoing.end();
        state.incoming.close();
        state.notices = Notices::default();
        state.held.end();
        state.log.end();
        let cause = match result {
            Ok(Ok(value)) => {
                if let Some(farewell) = state.farewell.take() {
                    farewell.never_mind();
                }
                self.profile.worked();
                return Ok(value);
            }
            Ok(Err(error)) => cause_of(&error, state, &self.profile.limits),
            Err(Elapsed { .. }) => Cause::Wall(millis(wall)),
        };
        Err(self.profile.failed(function, cause, self.caller))
    }
}

/// A number for a caller: the same while this process runs, and of no meaning to anybody else.
fn number(caller: &Principal) -> u64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    let key = KEY.get_or_init(RandomState::new);
    // Not that of nobody.
    key.hash_one((&caller.issuer, &caller.subject)).max(1)
}

/// Bounds the store and starts its clock. Goes with [`State::new`].
pub(super) fn arm(store: &mut Store<State>) {
    store.limiter(|state| &mut state.memory);
    store.epoch_deadline_callback(|mut context| context.data_mut().tick());
    store.set_epoch_deadline(1);
}

/// Tells from an error and the state what a guest died of.
pub(super) fn cause_of(error: &wasmtime::Error, state: &State, limits: &Limits) -> Cause {
    if state.out_of_ticks {
        return Cause::Compute(limits.compute_ms);
    }
    if state.memory.refused {
        return Cause::Memory(limits.memory_bytes);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => Cause::Stack,
        Some(Trap::OutOfFuel) => Cause::Fuel(limits.fuel.unwrap_or_default()),
        trap => {
            let what = trap.map_or_else(|| format!("{error:#}"), |t| t.to_string());
            let said = state
                .log
                .last_output()
                .map(|line| format!(": {line}"))
                .unwrap_or_default();
            Cause::Trap(format!("{}{said}", what.lines().next().unwrap_or_default()))
        }
    }
}
