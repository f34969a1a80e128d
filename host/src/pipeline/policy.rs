//! May this caller see these, make this call? Asks every loaded policy: all must allow. Without
//! a policy nothing is allowed, and one that fails has said no.

use std::sync::Arc;

use tracing::error;

use super::Refusal;
use super::intent::Intent;
use crate::catalog::Entry;
use crate::plugin::{Decision, Item, Plugins};
use crate::types::{Principal, RequestId, ScopeSet};

/// A use that every policy has allowed. Only [`permit`] makes one, and `adapter::run` takes
/// nothing else.
pub(super) struct Permit {
    intent: Arc<Intent>,
}

impl Permit {
    pub(super) fn intent(&self) -> &Intent {
        &self.intent
    }

    /// The use, for those who keep it.
    pub(super) fn shared(&self) -> Arc<Intent> {
        Arc::clone(&self.intent)
    }
}

/// Decides a use.
pub(super) async fn permit(plugins: &Plugins, intent: Intent) -> Result<Permit, Refusal> {
    if plugins.policies.is_empty() {
        return Err(Refusal::Denied(
            "no scope policy is loaded, so nothing is allowed".to_owned(),
        ));
    }
    let principal = intent.asker.caller.principal();
    let (id, arguments) = (intent.asker.id, intent.action.arguments());
    let mut missing: Option<ScopeSet> = None;
    for policy in &plugins.policies {
        let decided = policy
            .authorize(principal, &intent.entry.item, arguments, id)
            .await;
        match decided.inspect_err(|fault| log(fault, id))? {
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
        None => Ok(Permit {
            intent: Arc::new(intent),
        }),
    }
}

/// Leaves of entries what a caller may see.
pub(super) async fn filter(
    plugins: &Plugins,
    principal: &Principal,
    listed: &[Arc<Entry>],
    request: RequestId,
) -> Result<Vec<Arc<Entry>>, Refusal> {
    if plugins.policies.is_empty() {
        return Ok(Vec::new());
    }
    let mut entries = listed.to_vec();
    for policy in &plugins.policies {
        if entries.is_empty() {
            break;
        }
        let items: Vec<Item> = entries.iter().map(|entry| entry.item.clone()).collect();
        let answers = policy.filter(principal, &items, request).await;
        let mut answers = answers
            .inspect_err(|fault| log(fault, request))?
            .into_iter();
        entries.retain(|_| answers.next().unwrap_or(false));
    }
    Ok(entries)
}

fn log(fault: &crate::plugin::Fault, request: RequestId) {
    error!(request.id = %request, "{fault}; nothing is allowed meanwhile; hint: {}", fault.cause.hint());
}
