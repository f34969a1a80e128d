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

/// What an exporter may offer besides that keeps records where they can be found again.
/// [`export_keeper!`](crate::export_keeper) makes it a component.
pub trait Keeper: Exporter {
    /// Deletes the records that are older than `before` (RFC 3339, UTC), and says how many.
    ///
    /// # Errors
    ///
    /// When they could not be deleted. Some may have been.
    fn purge(before: &str) -> Result<u64, ExportError>;

    /// Takes what is about a person out of all records of this subject, of one issuer or of any, and says how
    /// many there were.
    ///
    /// # Errors
    ///
    /// When that could not be done. Some may have been changed.
    fn erase(issuer: Option<&str>, subject: &str) -> Result<u64, ExportError>;
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
