//! `cortex-gateway audit`: the trail looked through, checked, and a subject forgotten.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use tracing::warn;

use super::Failed;
use crate::audit::keeping::{self, Kept};
use crate::audit::{ExporterFigures, Filter, KeyError, Progress, ReadError, Reader, Wanted};
use crate::pipeline::Gateway;
use crate::store::Store;

/// What is asked about the audit trail.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Audit {
    /// How the trail and its exporters are.
    Status,
    /// One more file is to be checked.
    Verify(Box<Progress>),
    /// Records of one more file.
    Query {
        /// Which.
        filter: Box<Filter>,
        /// Where to look.
        wanted: Wanted,
        /// How many at most.
        limit: usize,
    },
    /// A subject is to be forgotten.
    Erase {
        /// The `sub` of its access tokens.
        subject: String,
        /// At this issuer; none: at all.
        issuer: Option<String>,
    },
}

impl From<KeyError> for Failed {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => Self::Store(error),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl From<ReadError> for Failed {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => Self::Store(error),
            other => Self::Refused(other.to_string()),
        }
    }
}

pub(super) async fn run(
    gateway: Option<&Gateway>,
    store: &Store,
    data_dir: &Path,
    asked: Audit,
) -> Result<Value, Failed> {
    let offline;
    let reader = match gateway {
        Some(gateway) => gateway.audit.reader(),
        None => {
            offline = Reader::of(data_dir, store).await?;
            &offline
        }
    };
    match asked {
        Audit::Status => status(gateway, reader).await,
        Audit::Verify(progress) => Ok(json!(reader.verify(*progress).await?)),
        Audit::Query {
            filter,
            wanted,
            limit,
        } => Ok(json!(reader.query(&filter, wanted, limit).await?)),
        Audit::Erase { subject, issuer } => {
            let erased = reader.erase(&subject, issuer.as_deref()).await?;
            if !erased.is_empty() {
                warn!(
                    audit.erased = erased.len(),
                    "the personal parts of a subject's audit records were forgotten"
                );
            }
            // Whether or not this gateway has a key of the subject: an exporter may keep older records.
            let kept = match gateway {
                Some(gateway) => {
                    keeping::erase(&gateway.plugins, issuer.as_deref(), &subject).await
                }
                None => Kept::new(),
            };
            Ok(json!({ "erased": erased, "exporters": kept, "running": gateway.is_some() }))
        }
    }
}

async fn status(gateway: Option<&Gateway>, reader: &Reader) -> Result<Value, Failed> {
    let extent = reader.extent().await?;
    let mut told = json!(extent);
    let exporters = reader.exporters(extent.newest);
    told["exporters"] = exporters.iter().map(exporter).collect();
    if let Some(gateway) = gateway {
        let figures = gateway.audit.figures();
        told["sinceStart"] = json!({
            "written": figures.written,
            "dropped": figures.dropped,
            "refused": figures.refused,
            "queued": figures.queued,
        });
        told["bound"] = figures.bound.into();
        told["trouble"] = json!(figures.trouble);
    }
    told["running"] = gateway.is_some().into();
    Ok(told)
}

fn exporter(of: &ExporterFigures) -> Value {
    let since = of.failing_since.and_then(|at| at.format(&Rfc3339).ok());
    json!({
        "name": of.name,
        "taken": of.taken,
        "behind": of.behind,
        "present": of.present,
        "failingSince": since,
        "missed": of.missed,
    })
}
