//! What a script says, as its author writes it.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::plugin::model::{Continuation, Principal, RequestContext, Target};
use crate::plugin::policy::Item;
use crate::plugin::recording::Exchange;

/// What a file says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Script {
    #[serde(default)]
    pub(super) settings: Map<String, Value>,
    #[serde(default)]
    pub(super) grants: toml::Table,
    pub(super) now: Option<String>,
    #[serde(default)]
    pub(super) target: TargetSpec,
    #[serde(default)]
    pub(super) caller: CallerSpec,
    pub(super) steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct TargetSpec {
    pub(super) id: String,
    pub(super) base_url: String,
    pub(super) settings: Value,
    pub(super) timeout_ms: u32,
    pub(super) learned: Option<Value>,
}

impl Default for TargetSpec {
    fn default() -> Self {
        Self {
            id: "docs".to_owned(),
            base_url: "http://docs.test".to_owned(),
            settings: json!({}),
            timeout_ms: 1_000,
            learned: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct CallerSpec {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) client_id: Option<String>,
    pub(super) email: Option<String>,
    pub(super) name: Option<String>,
    pub(super) role: Option<String>,
    pub(super) pool: Option<String>,
    pub(super) scopes: Vec<String>,
    pub(super) claims: Value,
}

impl Default for CallerSpec {
    fn default() -> Self {
        Self {
            subject: "ann".to_owned(),
            issuer: "https://login.test".to_owned(),
            client_id: None,
            email: None,
            name: None,
            role: None,
            pool: None,
            scopes: Vec::new(),
            claims: json!({}),
        }
    }
}

/// One call. Which members it needs depends on the export.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Step {
    pub(super) call: String,
    pub(super) tool: Option<String>,
    pub(super) prompt: Option<String>,
    pub(super) uri: Option<String>,
    pub(super) item: Option<ItemSpec>,
    #[serde(default)]
    pub(super) items: Vec<ItemSpec>,
    #[serde(default)]
    pub(super) records: Vec<Value>,
    pub(super) arguments: Option<Value>,
    #[serde(rename = "ref")]
    pub(super) reference: Option<Value>,
    pub(super) argument: Option<String>,
    pub(super) value: Option<String>,
    pub(super) ticket: Option<Value>,
    pub(super) query: Option<Value>,
    /// Goes on where the step before answered `input-required`.
    #[serde(rename = "continue")]
    pub(super) goes_on: Option<GoesOn>,
    /// What the client of this call can do (MCP `capabilities`).
    #[serde(default)]
    pub(super) client_capabilities: Map<String, Value>,
    #[serde(default)]
    pub(super) exchanges: Vec<Exchange>,
    /// What the client is told meanwhile; not compared where there is none.
    pub(super) notices: Option<Vec<Value>>,
    pub(super) result: Option<Value>,
}

/// What the client has answered.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct GoesOn {
    #[serde(default)]
    responses: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ItemSpec {
    #[serde(default = "tool")]
    pub(super) kind: String,
    #[serde(default = "docs")]
    pub(super) backend: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) scopes: Vec<String>,
}

fn tool() -> String {
    "tool".to_owned()
}

fn docs() -> String {
    "docs".to_owned()
}

impl TargetSpec {
    pub(super) fn target(&self) -> Target {
        Target {
            id: self.id.clone(),
            base_url: self.base_url.clone(),
            settings: self.settings.to_string(),
            timeout_ms: self.timeout_ms,
            learned: self.learned.as_ref().map(Value::to_string),
        }
    }
}

impl CallerSpec {
    pub(super) fn principal(&self) -> Principal {
        let mut scopes = self.scopes.clone();
        scopes.sort();
        Principal {
            subject: self.subject.clone(),
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            email: self.email.clone(),
            name: self.name.clone(),
            role: self.role.clone(),
            pool: self.pool.clone(),
            scopes,
            claims: self.claims.to_string(),
        }
    }
}

impl ItemSpec {
    pub(super) fn item(&self) -> Item {
        Item {
            kind: self.kind.clone(),
            backend: self.backend.clone(),
            name: self.name.clone(),
            scopes: self.scopes.clone(),
        }
    }
}

/// What comes with a step, and with it what the adapter wanted to find again.
pub(super) fn context(step: &Step, kept: Option<Vec<u8>>) -> RequestContext {
    RequestContext {
        meta: "{}".to_owned(),
        client_capabilities: Value::Object(step.client_capabilities.clone()).to_string(),
        client_info: None,
        log_level: None,
        continuation: step.goes_on.as_ref().map(|goes_on| Continuation {
            state: kept.unwrap_or_default(),
            responses: Value::Object(goes_on.responses.clone()).to_string(),
        }),
    }
}

/// What an answer wants to find again when the call goes on.
pub(super) fn kept(answer: &Value) -> Option<Vec<u8>> {
    let state = answer.pointer("/Ok/InputRequired/state")?;
    serde_json::from_value(state.clone()).ok()
}

/// JSON as text; `{}` where there is none.
pub(super) fn text(value: Option<&Value>) -> String {
    value.map_or_else(|| "{}".to_owned(), Value::to_string)
}
