//! What the operator says of a server: in the environment, and in the settings file of this plugin.

use std::collections::HashMap;

use cortex_plugin_sdk::prelude::*;
use serde::Deserialize;

/// JSON Schema of the settings file, for operators.
pub(crate) const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "servers": {
      "type": "object",
      "description": "MCP servers by their ids in CORTEX_MCP_SERVERS",
      "additionalProperties": {
        "type": "object",
        "properties": {
          "scopes": {
            "type": "object",
            "additionalProperties": { "type": "string", "pattern": "^[!#-\\[\\]-~]+$" },
            "description": "Tools that need another OAuth scope than CORTEX_MCP_<ID>_SCOPE, by their own names"
          }
        },
        "additionalProperties": false
      }
    }
  },
  "additionalProperties": false
}"#;

/// The settings of one server, as the gateway hands them over.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where the endpoint is, below the base URL.
    #[serde(default = "default_path")]
    pub(crate) path: String,
    /// As whom it is called.
    #[serde(default)]
    pub(crate) credential: Credential,
    scope: Option<String>,
    /// `CORTEX_MCP_<ID>_SCOPE_<TOOL>`, by the last part.
    #[serde(default)]
    scope_variables: HashMap<String, String>,
}

/// As whom a server is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Credential {
    /// With the user's own account there.
    #[default]
    Account,
    /// With a token of the user's that the gateway got for it.
    Caller,
    /// As nobody.
    None,
}

#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(default)]
    servers: HashMap<String, Server>,
}

#[derive(Debug, Default, Deserialize)]
struct Server {
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

    /// The scope that a tool needs: by its variable, else by the file, else as everything.
    pub(crate) fn scope_of_tool(&self, target: &Target, tool: &str) -> String {
        let variable = self.scope_variables.get(&variable_part(tool));
        variable
            .cloned()
            .or_else(|| file().servers.remove(&target.id)?.scopes.remove(tool))
            .unwrap_or_else(|| self.scope(target))
    }
}

fn file() -> File {
    // The gateway has checked it against the schema.
    settings::read().unwrap_or_default()
}

/// A tool's name as a part of the name of an environment variable.
fn variable_part(tool: &str) -> String {
    let part = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_uppercase(),
        false => '_',
    };
    tool.chars().map(part).collect()
}
