//! May this caller see these, make this call? Asks every loaded policy: all must allow. Without
//! a policy nothing is allowed, and one that fails has said no.

use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;
use tracing::error;

use super::intent::{Action, Intent};
use super::permits::Permits;
use super::{Gateway, Refusal};
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
pub(super) async fn permit(gw: &Gateway, mut intent: Intent) -> Result<Permit, Refusal> {
    let plugins = &*gw.plugins.now();
    if plugins.policies.is_empty() {
        return Err(Refusal::Denied(
            "no scope policy is loaded, so nothing is allowed".to_owned(),
        ));
    }
    let caller = intent.asker.caller.clone();
    let (id, principal) = (intent.asker.id, caller.principal());
    let key = Permits::key(plugins, principal, &intent.entry);
    if key.as_ref().is_some_and(|key| gw.permits.holds(key)) {
        for policy in &plugins.policies {
            policy.allowed_before();
        }
        return Ok(Permit {
            intent: Arc::new(intent),
        });
    }
    let mut missing: Option<ScopeSet> = None;
    for policy in &plugins.policies {
        let decided = policy
            .authorize(principal, &intent.entry.item, intent.action.arguments(), id)
            .await;
        match decided.inspect_err(|fault| log(fault, id))? {
            Decision::Allow => {}
            Decision::AllowWith(arguments) => replace(&mut intent, &arguments)?,
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
        None => {
            if let Some(key) = key {
                gw.permits.keep(key, &intent.entry);
            }
            Ok(Permit {
                intent: Arc::new(intent),
            })
        }
    }
}

/// Puts a policy's arguments in the place of those that came. What travels as headers, too, has been
/// compared with the arguments already, and stays what it was.
fn replace(intent: &mut Intent, arguments: &RawValue) -> Result<(), Refusal> {
    let mirrored = |text: &str| {
        let arguments: Value = serde_json::from_str(text).unwrap_or_default();
        let params = intent.entry.headers.iter();
        let each = params.map(|param| param.argument(&arguments).cloned());
        each.collect::<Vec<_>>()
    };
    let before = intent.action.arguments();
    if !intent.entry.headers.is_empty() && mirrored(before) != mirrored(arguments.get()) {
        return Err(Refusal::Denied(
            "a policy wants to change an argument that travels as a header".to_owned(),
        ));
    }
    match &mut intent.action {
        Action::Call { arguments: own } | Action::Get { arguments: own } => {
            arguments.get().clone_into(own);
        }
        // There is nothing to take out of: what a policy gives instead means nothing.
        Action::Read { .. } | Action::Complete(_) => {}
    }
    Ok(())
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
