//! Audit exporters: where records go.

use std::sync::Arc;
use std::time::Duration;

use super::engine::Runtime;
use super::fault::{Cause, Fault, millis};
use super::instance::{Guest, State, cause_of};
use super::settings::Settings;
use super::v0_1::exporter::exports::cortex::gateway::exporter::ExportError;
use super::v0_1::exporter::{AuditExporter, AuditExporterPre};
use crate::types::PluginName;

pub use super::v0_1::exporter::exports::cortex::gateway::exporter::AuditRecord;

/// Longest one batch may take.
const WALL: Duration = Duration::from_secs(30);

/// A loaded audit exporter.
pub struct Exporter {
    /// Its name.
    pub name: PluginName,
    /// Its own version.
    pub version: String,
    settings: Settings,
    pre: AuditExporterPre<State>,
    runtime: Arc<Runtime>,
}

impl Exporter {
    pub(super) fn new(
        runtime: Arc<Runtime>,
        name: PluginName,
        version: String,
        settings: Settings,
        pre: AuditExporterPre<State>,
    ) -> Self {
        Self {
            name,
            version,
            settings,
            pre,
            runtime,
        }
    }

    /// Offers a batch; returns how many records from its start were taken.
    ///
    /// # Errors
    /// [`Fault`] when the plugin failed or said that it cannot take them now.
    pub async fn export(&self, records: &[AuditRecord]) -> Result<usize, Fault> {
        const FUNCTION: &str = "export-batch";
        let fault = |cause| Fault {
            plugin: self.name.clone(),
            function: FUNCTION,
            cause,
        };
        let slot = self
            .runtime
            .slot(WALL)
            .await
            .ok_or_else(|| fault(Cause::NoRoom(millis(WALL))))?;
        let mut store = self
            .runtime
            .store(self.name.clone(), self.settings.clone(), true);
        let exports = match self.pre.instantiate_async(&mut store).await {
            Ok(exports) => exports,
            Err(error) => return Err(fault(cause_of(&error, store.data(), &self.runtime.limits))),
        };
        let limits = Arc::clone(&self.runtime.limits);
        let mut guest: Guest<AuditExporter> =
            Guest::new(store, exports, self.name.clone(), limits, slot);
        guest.begin(None, None, None);
        let exports = guest.exports.cortex_gateway_exporter();
        let result =
            tokio::time::timeout(WALL, exports.call_export_batch(&mut guest.store, records)).await;
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
}
