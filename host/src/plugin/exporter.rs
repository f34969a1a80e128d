//! Audit exporters: where records go.

use std::sync::Arc;
use std::time::Duration;

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
}
