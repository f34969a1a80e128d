//! What the operator sets.

use serde::Deserialize;

/// JSON Schema of the settings.
pub(crate) const SCHEMA: &str = r#"{
    "type": "object",
    "properties": {
        "schema": { "type": "string", "pattern": "^[a-z_][a-z0-9_]{0,40}$" },
        "table": { "type": "string", "pattern": "^[a-z_][a-z0-9_]{0,40}$" },
        "gateway": { "type": "string", "minLength": 1, "maxLength": 64 }
    },
    "additionalProperties": false
}"#;

/// Where records go, and how they are told from those of other gateways.
#[derive(Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    schema: String,
    table: String,
    pub(crate) gateway: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            schema: "public".to_owned(),
            table: "cortex_audit".to_owned(),
            gateway: "cortex-gateway".to_owned(),
        }
    }
}

/// Names need no escaping: their schema allows letters, digits and `_`.
impl Settings {
    pub(crate) fn quoted_schema(&self) -> String {
        format!("\"{}\"", self.schema)
    }

    pub(crate) fn quoted_table(&self) -> String {
        format!("\"{}\".\"{}\"", self.schema, self.table)
    }

    /// The table in which is noted what was done to the schema.
    pub(crate) fn steps(&self) -> String {
        format!("\"{}\".\"{}_steps\"", self.schema, self.table)
    }

    pub(crate) fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }
}
