//! The owner wants the caller's own account there: sends the caller to link one, in the way that the
//! caller's era has for it, so that making the call again is all that is left to do.
//!
//! | client                               | is told by                                               |
//! |--------------------------------------|----------------------------------------------------------|
//! | modern, opens links                  | `input_required` with a URL elicitation                  |
//! | 2025-11-25, opens links              | error −32042 (URLElicitationRequired)                    |
//! | any other                            | a result, or an error, that says where to go             |

use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::credential;
use super::intent::Intent;
use super::state::{self, Remembered};
use super::{Gateway, Refusal};
use crate::account::{LinkError, Standing};
use crate::mcp::version::ProtocolVersion;
use crate::types::{BackendId, ScopeSet};

/// The key of the only input request.
const KEY: &str = "link";

/// Sends the caller to link an account; `scopes`: those that the owner asks for besides.
pub(super) async fn needed(
    gw: &Gateway,
    intent: &Intent,
    scopes: &ScopeSet,
) -> Result<Answer, Refusal> {
    let backend = &intent.entry.backend;
    let failed = |message: String| super::adapter::failed(gw, intent, "account_required", message);
    if intent.asker.caller.principal().dev_bypass {
        return failed(format!(
            "Backend {backend} asks for an account of yours there, and the development bypass has none: sign in with an access token"
        ));
    }
    let owner = credential::owner(&intent.asker.caller);
    let url = match gw.accounts.invite(&owner, backend, scopes) {
        Ok(url) => url,
        Err(LinkError::NoKey) => {
            return failed(format!(
                "Backend {backend} asks for an account of yours there, and this gateway keeps none: its operator has to set CORTEX_VAULT_KEY"
            ));
        }
        // An adapter asks for what its backend has not.
        Err(LinkError::Unknown) => {
            return failed(format!(
                "Backend {backend} asks for an account of yours there, and none can be linked"
            ));
        }
        Err(error) => return Err(Refusal::Internal(error.to_string())),
    };
    // How it stands is for the words alone.
    let standing = gw.accounts.standing(&owner, backend).await;
    let message = words(backend, standing.unwrap_or(Standing::Never), scopes);
    let version = intent.asker.version;
    let can_open = intent.context.capabilities.url;
    if version.is_modern() && can_open {
        let params = json!({ "mode": "url", "message": message, "url": url.as_str() });
        let requests = json!({ KEY: { "method": "elicitation/create", "params": params } });
        let state = state::seal(gw, intent, &Remembered::Link)?;
        return answer::input_required(gw, Some(requests), Some(state));
    }
    if version == ProtocolVersion::V2025_11_25 && can_open {
        let elicitation = json!({
            "mode": "url",
            "elicitationId": uuid::Uuid::now_v7().to_string(),
            "message": message,
            "url": url.as_str(),
        });
        return Err(Refusal::LinkRequired {
            message,
            elicitations: json!([elicitation]),
        });
    }
    failed(format!(
        "{message} Open this in a browser, then do this again: {url}"
    ))
}

/// What came back with the repeated request. An error: the person does not want to.
pub(super) fn answered(
    gw: &Gateway,
    intent: &Intent,
    responses: &str,
) -> Option<Result<Answer, Refusal>> {
    let responses: Value = serde_json::from_str(responses).unwrap_or_default();
    let action = responses[KEY]["action"].as_str().unwrap_or_default();
    if !matches!(action, "decline" | "cancel") {
        return None;
    }
    let backend = &intent.entry.backend;
    let why = format!("Backend {backend} asks for an account of yours there, and none was linked");
    Some(super::adapter::failed(gw, intent, "account_required", why))
}

fn words(backend: &BackendId, standing: Standing, scopes: &ScopeSet) -> String {
    match standing {
        Standing::Never => {
            format!("`{backend}` works with your own account there, which is not linked yet.")
        }
        Standing::Expired => {
            format!("Your account at `{backend}` has to be linked again: it has ended.")
        }
        Standing::Linked if scopes.is_empty() => {
            format!("`{backend}` does not accept your linked account: link it again.")
        }
        Standing::Linked => format!(
            "`{backend}` asks for more rights on your account there ({scopes}): link it again."
        ),
    }
}
