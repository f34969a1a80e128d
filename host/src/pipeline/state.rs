//! `requestState`: what an adapter wants to find again when the client repeats its request,
//! sealed while the client has it (MCP 2026-07-28, Multi Round-Trip Requests, "Server
//! Requirements").
//!
//! It opens for the same caller and client, the same method, owner and parameters, and for ten
//! minutes. It can be presented more than once in that time: an adapter whose state must not be
//! used twice has to see to that itself.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::intent::{Action, Intent};
use super::{Gateway, Refusal};
use crate::seal::Purpose;

/// Largest state of an adapter, in bytes: it travels through the client and back.
pub(super) const MAX_STATE: usize = 64 * 1024;

/// Seals an adapter's state for this request.
pub(super) fn seal(gw: &Gateway, intent: &Intent, state: &[u8]) -> Result<String, Refusal> {
    let digest = digest(&intent.action);
    gw.sealer
        .seal(Purpose::RequestState, &binding(intent, &digest), state)
        .map_err(|e| Refusal::Internal(e.to_string()))
}

/// Opens what a client presents as the state of this request.
pub(super) fn open(gw: &Gateway, intent: &Intent, sealed: &str) -> Result<Vec<u8>, Refusal> {
    let digest = digest(&intent.action);
    gw.sealer
        .open(Purpose::RequestState, &binding(intent, &digest), sealed)
        .map_err(|_| {
            Refusal::InvalidParams(
                "`requestState` is not valid for this request, or no longer: repeat the request without it"
                    .to_owned(),
            )
        })
}

fn binding<'a>(intent: &'a Intent, digest: &'a [u8]) -> [&'a [u8]; 7] {
    let principal = intent.asker.caller.principal();
    [
        principal.issuer.as_str().as_bytes(),
        principal.subject.as_str().as_bytes(),
        principal
            .client_id
            .as_deref()
            .unwrap_or_default()
            .as_bytes(),
        intent.action.method().as_bytes(),
        intent.entry.backend.as_str().as_bytes(),
        intent.entry.item.name.as_bytes(),
        digest,
    ]
}

/// A digest of the parameters that does not depend on blanks and the order of members: a client
/// repeats its request, but it may write it anew.
fn digest(action: &Action) -> Vec<u8> {
    let text = match action {
        Action::Read { uri } => uri.clone(),
        other => {
            // Members of a `Value` are sorted.
            let value: Value = serde_json::from_str(other.arguments()).unwrap_or_default();
            value.to_string()
        }
    };
    Sha256::digest(text.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_parameters_written_anew_are_the_same() {
        let of = |arguments: &str| {
            digest(&Action::Call {
                arguments: arguments.to_owned(),
            })
        };
        assert_eq!(of(r#"{"b":1,"a":[1,2]}"#), of(r#"{ "a": [1, 2], "b": 1 }"#));
        assert_ne!(of(r#"{"a":[1,2]}"#), of(r#"{"a":[2,1]}"#));
        assert_ne!(of(r#"{"a":1}"#), of(r#"{"a":"1"}"#));
    }
}
