//! `requestState`: what an adapter wants to find again when the client repeats its request,
//! sealed while the client has it (MCP 2026-07-28, Multi Round-Trip Requests, "Server
//! Requirements").
//!
//! It opens for the same caller and client, the same method, owner and parameters, and for ten
//! minutes. It can be presented more than once in that time: an adapter whose state must not be
//! used twice has to see to that itself. A parked call is taken up once.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::elsewhere::Place;
use super::intent::{Action, Intent};
use super::{Gateway, Refusal};
use crate::seal::Purpose;

/// Largest state of an adapter, in bytes: it travels through the client and back.
pub(super) const MAX_STATE: usize = 64 * 1024;

/// What the client keeps until it repeats its request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Remembered {
    /// What the adapter wants to find again.
    Adapter(Vec<u8>),
    /// The caller was sent to link an account; nothing else was begun.
    Link,
    /// The call goes on, and waits there.
    Parked(Place),
    /// The call may have been done, or not: the caller was asked whether to do it again.
    Unknown,
}

impl Remembered {
    const ADAPTER: u8 = 0;
    const LINK: u8 = 1;
    const PARKED: u8 = 2;
    const UNKNOWN: u8 = 3;

    fn write(&self) -> Vec<u8> {
        match self {
            Self::Adapter(state) => [&[Self::ADAPTER], state.as_slice()].concat(),
            Self::Link => vec![Self::LINK],
            Self::Parked(place) => {
                // Two ids, which are text.
                let place = serde_json::to_vec(place).unwrap_or_default();
                [&[Self::PARKED], place.as_slice()].concat()
            }
            Self::Unknown => vec![Self::UNKNOWN],
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&Self::ADAPTER, state) => Some(Self::Adapter(state.to_vec())),
            (&Self::LINK, []) => Some(Self::Link),
            (&Self::PARKED, place) => serde_json::from_slice(place).ok().map(Self::Parked),
            (&Self::UNKNOWN, []) => Some(Self::Unknown),
            _ => None,
        }
    }
}

/// Seals what is to be found again when this request is repeated.
pub(super) fn seal(
    gw: &Gateway,
    intent: &Intent,
    remembered: &Remembered,
) -> Result<String, Refusal> {
    let digest = digest(&intent.action);
    let state = remembered.write();
    gw.sealer
        .seal(Purpose::RequestState, &binding(intent, &digest), &state)
        .map_err(|e| Refusal::Internal(e.to_string()))
}

/// Opens what a client presents as the state of this request.
pub(super) fn open(gw: &Gateway, intent: &Intent, sealed: &str) -> Result<Remembered, Refusal> {
    let digest = digest(&intent.action);
    let opened = gw
        .sealer
        .open(Purpose::RequestState, &binding(intent, &digest), sealed);
    let remembered = opened.ok().and_then(|state| Remembered::read(&state));
    remembered.ok_or_else(no_longer_valid)
}

/// What a client presents cannot be gone on with.
pub(super) fn no_longer_valid() -> Refusal {
    Refusal::InvalidParams(
        "`requestState` is not valid for this request, or no longer: repeat the request without it"
            .to_owned(),
    )
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

    #[test]
    fn what_is_remembered_is_read_as_it_was_written() {
        for remembered in [
            Remembered::Adapter(Vec::new()),
            Remembered::Adapter(vec![2, 1, 0]),
            Remembered::Link,
            Remembered::Parked(Place {
                at: crate::fleet::Fleet::alone().instance(),
                call: uuid::Uuid::now_v7(),
            }),
            Remembered::Unknown,
        ] {
            assert_eq!(Remembered::read(&remembered.write()), Some(remembered));
        }
        for other in [&[][..], &[1, 0], &[2, 1], &[3, 0], &[9]] {
            assert_eq!(Remembered::read(other), None);
        }
    }
}
