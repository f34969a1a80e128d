//! Audit exporters: where records go.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Instance, Lower};

use super::egress::Egress;
use super::fault::{Cause, Fault};
use super::instance::Guest;
use super::lines::{ExporterExports, ExporterPre};
use super::profile::Profile;
use super::v0_2::exporter::exports::cortex::gateway::exporter::ExportError;
use crate::types::PluginName;

pub use super::v0_2::exporter::exports::cortex::gateway::exporter::AuditRecord;

/// Longest one batch may take.
const WALL: Duration = Duration::from_secs(30);
/// Longest exchange.
const EXCHANGE: Duration = Duration::from_secs(10);
/// What an exporter may export besides.
const KEEPING: &str = "cortex:gateway/keeping@0.2.0";

/// A loaded audit exporter.
pub struct Exporter {
    /// Its name.
    pub name: PluginName,
    /// Its own version.
    pub version: String,
    profile: Arc<Profile>,
    pre: ExporterPre,
}

impl Exporter {
    pub(super) fn new(profile: Arc<Profile>, version: String, pre: ExporterPre) -> Self {
        Self {
            name: profile.name.clone(),
            version,
            profile,
            pre,
        }
    }

    /// The part that is the same for all kinds.
    pub(super) fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// Offers a batch; returns how many records from its start were taken.
    ///
    /// # Errors
    /// [`Fault`] when the plugin failed or said that it cannot take them now.
    pub async fn export(&self, records: &[AuditRecord]) -> Result<usize, Fault> {
        const FUNCTION: &str = "export-batch";
        let fault = |cause| self.profile.fault(FUNCTION, cause);
        self.profile.admit(FUNCTION)?;
        let (mut store, slot) = self.profile.room(FUNCTION, WALL).await?;
        let exports = self.pre.instantiate(&mut store).await;
        let mut guest: Guest<ExporterExports> =
            self.profile.born(FUNCTION, store, slot, exports)?;
        guest.begin(
            None,
            Some(Egress::without_backend(&self.profile, EXCHANGE)),
            None,
            None,
        );
        let timing = guest.timing(FUNCTION, &self.version);
        let running = timing.run(guest.exports.call_export_batch(&mut guest.store, records));
        let result = tokio::time::timeout(WALL, running).await;
        match guest.end(FUNCTION, WALL, result)? {
            Ok(taken) if taken as usize <= records.len() => Ok(taken as usize),
            Ok(taken) => Err(fault(Cause::BadAnswer(format!(
                "{taken} taken of {}",
                records.len()
            )))),
            Err(ExportError::Unavailable(why) | ExportError::Other(why)) => {
                Err(fault(Cause::BadAnswer(why.chars().take(300).collect())))
            }
        }
    }

    /// Has the records deleted that are older than a moment (RFC 3339); returns how many. `None`: it keeps
    /// none.
    pub async fn purge(&self, before: &str) -> Option<Result<u64, Fault>> {
        self.keep("purge", (before,)).await
    }

    /// Has what is about a person taken out of all records of a subject; returns how many there were. `None`:
    /// it keeps none.
    pub async fn erase(&self, issuer: Option<&str>, subject: &str) -> Option<Result<u64, Fault>> {
        self.keep("erase", (issuer, subject)).await
    }

    /// Calls a function of the interface `keeping`, if it is there.
    async fn keep<P>(&self, function: &'static str, given: P) -> Option<Result<u64, Fault>>
    where
        P: ComponentNamedList + Lower + Send + Sync,
    {
        let pre = self.pre.plain();
        let (_, interface) = pre.component().get_export(None, KEEPING)?;
        let (_, export) = pre.component().get_export(Some(&interface), function)?;
        Some(self.call_export(function, &export, given).await)
    }

    async fn call_export<P>(
        &self,
        function: &'static str,
        export: &ComponentExportIndex,
        given: P,
    ) -> Result<u64, Fault>
    where
        P: ComponentNamedList + Lower + Send + Sync,
    {
        self.profile.admit(function)?;
        let (mut store, slot) = self.profile.room(function, WALL).await?;
        let instance = {
            let _running = self.profile.runtime.clock.running();
            self.pre.plain().instantiate_async(&mut store).await
        };
        let mut guest: Guest<Instance> = self.profile.born(function, store, slot, instance)?;
        let egress = Egress::without_backend(&self.profile, EXCHANGE);
        guest.begin(None, Some(egress), None, None);
        let timing = guest.timing(function, &self.version);
        let calling = async {
            let found = guest
                .exports
                .get_typed_func::<P, (Result<u64, ExportError>,)>(&mut guest.store, export)?;
            let (answer,) = found.call_async(&mut guest.store, given).await?;
            Ok(answer)
        };
        let result = tokio::time::timeout(WALL, timing.run(calling)).await;
        match guest.end(function, WALL, result)? {
            Ok(count) => Ok(count),
            Err(ExportError::Unavailable(why) | ExportError::Other(why)) => {
                let why = why.chars().take(300).collect();
                Err(self.profile.fault(function, Cause::BadAnswer(why)))
            }
        }
    }
}
