//! May this caller see these, make this call? Asks every loaded policy: all must allow. Without
//! a policy nothing is allowed, and one that fails has said no.

use std::sync::Arc;

use tracing::error;

use super::Refusal;
use super::auth::Caller;
use super::dispatch::{CallIntent, ListIntent};
use crate::catalog::Tool;
use crate::mcp::params::Meta;
use crate::mcp::version::ProtocolVersion;
use crate::plugin::{Decision, Item, Plugins};
use crate::types::{RequestId, ScopeSet};

/// A call that every policy has allowed. Only [`permit`] makes one, and `adapter::call` takes
/// nothing else.
pub(super) struct Permit {
    intent: CallIntent,
}

impl Permit {
    pub(super) fn id(&self) -> RequestId {
        self.intent.id
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.intent.caller
    }

    pub(super) fn version(&self) -> ProtocolVersion {
        self.intent.version
    }

    pub(super) fn tool(&self) -> &Tool {
        &self.intent.tool
    }

    pub(super) fn meta(&self) -> &Meta {
        &self.intent.meta
    }

    pub(super) fn into_arguments(self) -> String {
        self.intent.arguments
    }
}

/// The tools that this caller may see, sorted by name. Only [`visible`] makes one.
pub(super) struct Visible {
    version: ProtocolVersion,
    tools: Vec<Arc<Tool>>,
}

impl Visible {
    pub(super) fn version(&self) -> ProtocolVersion {
        self.version
    }

    pub(super) fn tools(&self) -> &[Arc<Tool>] {
        &self.tools
    }
}

/// Decides a call.
pub(super) async fn permit(plugins: &Plugins, intent: CallIntent) -> Result<Permit, Refusal> {
    if plugins.policies.is_empty() {
        return Err(Refusal::Denied(
            "no scope policy is loaded, so nothing is allowed".to_owned(),
        ));
    }
    let principal = intent.caller.principal();
    let mut missing: Option<ScopeSet> = None;
    for policy in &plugins.policies {
        let decided = policy
            .authorize(principal, &intent.tool.item, &intent.arguments, intent.id)
            .await;
        match decided.inspect_err(|fault| log(fault, intent.id))? {
            Decision::Allow => {}
            Decision::Deny(reason) => return Err(Refusal::Denied(reason)),
            // One challenge names all that this call needs, whichever policy asked for it.
            Decision::MissingScope(scopes) => {
                let before = missing.take().unwrap_or_default();
                missing = Some(before.iter().chain(scopes.iter()).cloned().collect());
            }
        }
    }
    match missing {
        Some(required) => Err(Refusal::InsufficientScope {
            required,
            granted: principal.scopes.clone(),
        }),
        None => Ok(Permit { intent }),
    }
}

/// Leaves of a list what the caller may see.
pub(super) async fn visible(plugins: &Plugins, list: ListIntent) -> Result<Visible, Refusal> {
    let mut tools = list.snapshot.listed.clone();
    if plugins.policies.is_empty() {
        tools.clear();
    }
    for policy in &plugins.policies {
        if tools.is_empty() {
            break;
        }
        let items: Vec<Item> = tools.iter().map(|tool| tool.item.clone()).collect();
        let answers = policy
            .filter(list.caller.principal(), &items, list.id)
            .await;
        let mut answers = answers
            .inspect_err(|fault| log(fault, list.id))?
            .into_iter();
        tools.retain(|_| answers.next().unwrap_or(false));
    }
    Ok(Visible {
        version: list.version,
        tools,
    })
}

fn log(fault: &crate::plugin::Fault, request: RequestId) {
    error!(request.id = %request, "{fault}; nothing is allowed meanwhile; hint: {}", fault.cause.hint());
}
