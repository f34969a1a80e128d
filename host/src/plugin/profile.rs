//! Who a loaded plugin is, what it may use, and what it has used: the part that is the same for all
//! kinds.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tracing::{info, warn};
use wasmtime::Store;

use super::breaker::{Breaker, ROW};
use super::engine::{Machine, Runtime};
use super::fault::{Cause, Fault, millis};
use super::grants::{Grants, Want};
use super::instance::{Guest, State, cause_of};
use super::limits::Limits;
use super::loader::Kind;
use super::meter::Meter;
use super::settings::Settings;
use crate::types::PluginName;

/// Of one loaded plugin.
pub(super) struct Profile {
    pub(super) name: PluginName,
    pub(super) settings: Settings,
    pub(super) limits: Arc<Limits>,
    pub(super) grants: Arc<Grants>,
    /// What it would like to be granted.
    pub(super) wants: Vec<Want>,
    pub(super) meter: Arc<Meter>,
    breaker: Breaker,
    pub(super) runtime: Arc<Runtime>,
    machine: Arc<Machine>,
    /// What it prints is no log.
    is_exporter: bool,
}

/// What is set for a plugin, and what it wants.
pub(super) struct Terms {
    pub(super) settings: Settings,
    pub(super) limits: Limits,
    pub(super) grants: Grants,
    pub(super) wants: Vec<Want>,
}

impl Profile {
    pub(super) fn new(
        runtime: &Arc<Runtime>,
        machine: &Arc<Machine>,
        name: PluginName,
        terms: Terms,
        kind: Kind,
    ) -> Arc<Self> {
        Arc::new(Self {
            meter: runtime.meters.of(&name),
            name,
            settings: terms.settings,
            limits: Arc::new(terms.limits),
            grants: Arc::new(terms.grants),
            wants: terms.wants,
            breaker: Breaker::default(),
            runtime: Arc::clone(runtime),
            machine: Arc::clone(machine),
            is_exporter: kind == Kind::AuditExporter,
        })
    }

    /// That of a plugin which has not said who it is: nothing is set for it, and what it uses is not
    /// counted.
    pub(super) fn of_a_stranger(
        runtime: &Arc<Runtime>,
        machine: &Arc<Machine>,
        name: PluginName,
    ) -> Arc<Self> {
        Arc::new(Self {
            meter: Arc::default(),
            name,
            settings: Settings::none(),
            limits: Arc::clone(&runtime.limits),
            grants: Arc::default(),
            wants: Vec::new(),
            breaker: Breaker::default(),
            runtime: Arc::clone(runtime),
            machine: Arc::clone(machine),
            is_exporter: false,
        })
    }

    pub(super) fn fault(&self, function: &'static str, cause: Cause) -> Fault {
        Fault {
            plugin: self.name.clone(),
            function,
            cause,
        }
    }

    /// Whether a call may be made at all.
    pub(super) fn admit(&self, function: &'static str) -> Result<(), Fault> {
        let admitted = self.breaker.admit();
        admitted.map_err(|seconds| self.fault(function, Cause::Resting(seconds)))
    }

    /// Room for a new instance, waited for this long.
    pub(super) async fn room(
        self: &Arc<Self>,
        function: &'static str,
        wait: Duration,
    ) -> Result<(Store<State>, OwnedSemaphorePermit), Fault> {
        let slot = self.runtime.slot(wait).await;
        let slot = slot.ok_or_else(|| self.fault(function, Cause::NoRoom(millis(wait))))?;
        let printed = self
            .is_exporter
            .then_some(self.runtime.config.exporter_output);
        let state = State::new(self, self.runtime.memories(), printed);
        let store = self.machine.store(state);
        Ok((store, slot))
    }

    /// What came of an instantiation.
    pub(super) fn born<B>(
        self: &Arc<Self>,
        function: &'static str,
        store: Store<State>,
        slot: OwnedSemaphorePermit,
        exports: wasmtime::Result<B>,
    ) -> Result<Guest<B>, Fault> {
        match exports {
            Ok(exports) => Ok(Guest::new(store, exports, Arc::clone(self), slot)),
            Err(error) => {
                let cause = cause_of(&error, store.data(), &self.limits);
                Err(self.failed(function, cause, 0))
            }
        }
    }

    /// A call has ended well.
    pub(super) fn worked(&self) {
        if self.breaker.worked() {
            info!(plugin.name = %self.name, "the plugin works again");
        }
    }

    /// A call of this caller has killed its instance.
    pub(super) fn failed(&self, function: &'static str, cause: Cause, caller: u64) -> Fault {
        self.meter.failed(&cause);
        if let Some(seconds) = self.breaker.failed(caller) {
            warn!(
                plugin.name = %self.name,
                "the plugin failed {ROW} times in a row or again, for several callers: it is left alone for {seconds} s; \
                 hint: the lines before this one say what failed"
            );
        }
        self.fault(function, cause)
    }

    /// Whether it is left alone for a while.
    pub(super) fn rests(&self) -> bool {
        self.breaker.rests()
    }
}
