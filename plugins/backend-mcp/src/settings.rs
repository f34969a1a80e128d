//! What the operator says of a server.

use std::collections::HashMap;

use cortex_plugin_sdk::prelude::*;
use serde::Deserialize;

/// JSON Schema of the settings, for operators.
pub(crate) const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "path": {
      "type": "string",
      "pattern": "^/",
      "default": "/mcp",
      "description": "Path of the MCP endpoint below the server's base URL, with its query if it has one"
    },
    "scope": {
      "type": "string",
      "description": "OAuth scope that everything of this server needs; mcp:<id>:read unless it is given"
    },
    "scopes": {
      "type": "object",
      "additionalProperties": { "type": "string" },
      "description": "Tools that need another scope, by their own names"
    }
  },
  "additionalProperties": false
}"#;

/// The settings of one server.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where the endpoint is, below the base URL.
    #[serde(default = "default_path")]
    pub(crate) path: String,
    scope: Option<String>,
    #[serde(default)]
    scopes: HashMap<String, String>,
}

fn default_path() -> String {
    "/mcp".into()
}

impl Settings {
    pub(crate) fn of(target: &Target) -> Result<Self, CallError> {
        target.parse_settings()
    }

    /// The scope that everything needs that is not named on its own.
    pub(crate) fn scope(&self, target: &Target) -> String {
        let given = self.scope.clone();
        given.unwrap_or_else(|| format!("mcp:{}:read", target.id))
    }

    /// The scope that a tool needs.
    pub(crate) fn scope_of_tool(&self, target: &Target, tool: &str) -> String {
        let own = self.scopes.get(tool).cloned();
        own.unwrap_or_else(|| self.scope(target))
    }
}
