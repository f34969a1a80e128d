//! Audit exporters: where audit records go.

use crate::{Description, Package};

pub use crate::bindings::exports::cortex::gateway::exporter::{AuditRecord, ExportError};

/// An audit exporter. [`export_exporter!`](crate::export_exporter) makes it a component.
///
/// Its standard output is the gateway's standard output, whole lines at a time.
pub trait Exporter {
    /// How the plugin introduces itself: by default as its crate does.
    fn describe(package: Package) -> Description {
        package.into()
    }

    /// Takes a batch, in order, and says how many records from its start are safely exported.
    /// The rest is offered again later, and so is all of it after an error: a record may come
    /// twice, and `sequence` tells.
    ///
    /// # Errors
    ///
    /// When nothing of the batch could be taken.
    fn export_batch(records: &[AuditRecord]) -> Result<usize, ExportError>;
}

impl ExportError {
    /// Try the same batch again later.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable(why.into())
    }
}

impl AuditRecord {
    /// A record, as the gateway would hand it over.
    pub fn new(sequence: u64, json: impl Into<String>) -> Self {
        Self {
            sequence,
            json: json.into(),
        }
    }
}
