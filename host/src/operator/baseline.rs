//! `cortex-gateway baseline`: changed tool definitions of the running gateway.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Failed;
use crate::integrity::IntegrityError;
use crate::pipeline::{self, Gateway};

/// What is asked about tool definitions.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Definitions {
    /// What changed since it was approved.
    Diff,
    /// The changed definitions of these tools are approved; `None`: of all.
    Approve(Option<Vec<String>>),
    /// All that is known, as a document.
    Export,
}

impl From<IntegrityError> for Failed {
    fn from(error: IntegrityError) -> Self {
        match error {
            IntegrityError::Store(error) => Self::Store(error),
            other => Self::Refused(other.to_string()),
        }
    }
}

pub(super) async fn run(gw: &Gateway, asked: Definitions) -> Result<Value, Failed> {
    Ok(match asked {
        Definitions::Diff => gw.integrity.report().await,
        Definitions::Export => gw.integrity.export().await?,
        Definitions::Approve(names) => {
            let approved = pipeline::approve(gw, names.as_deref()).await?;
            json!({ "approved": approved })
        }
    })
}
