//! Which session does a request belong to?
//!
//! Legacy era only (MCP 2025-11-25, Streamable HTTP, "Session Management"); modern requests have
//! none, and a stray `Mcp-Session-Id` is ignored. `initialize` gives out the id. It carries the
//! session itself, sealed: a restart or another instance loses no client. It belongs to issuer and
//! subject and not to one token, so that a refreshed token does not end it.
//!
//! Legacy requests without an id are served: the specification lets a server insist, and clients
//! that keep no state between two requests would lose by it.

mod ended;
mod levels;
mod recent;

use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::debug;

use super::auth::Caller;
use super::parse::Parsed;
use super::version::{self, single};
use super::{Gateway, Record, Refusal};
use crate::mcp::capabilities::ClientCapabilities;
use crate::mcp::version::ProtocolVersion;
use crate::seal::Purpose;
use crate::types::{Principal, SessionId};

pub use ended::Ended;
pub(super) use ended::{ended_elsewhere, learn, reconcile};
pub use levels::Levels;
pub(super) use levels::{level_of, set_level, tell_levels};
pub use recent::Recent;

/// Name of the header.
pub(super) const HEADER: &str = "mcp-session-id";
/// Longest name and version of a client that is kept.
const MAX_CLIENT_INFO: usize = 64;

/// What was agreed on by `initialize`.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Its name in audit and log.
    pub(super) id: SessionId,
    /// The version that was agreed on.
    pub(super) version: ProtocolVersion,
    /// What the client can be asked for.
    pub(super) capabilities: ClientCapabilities,
    /// Who the client says it is.
    pub(super) client: Option<ClientInfo>,
}

/// MCP `Implementation`, as much of it as is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClientInfo {
    name: String,
    version: String,
}

/// A request whose session, or freedom from one, is settled.
pub(super) struct InSession {
    request: Parsed,
    session: Option<Arc<Session>>,
}

impl InSession {
    pub(super) fn parsed(&self) -> &Parsed {
        &self.request
    }

    /// What the client of this session can be asked for.
    pub(super) fn capabilities(&self) -> ClientCapabilities {
        self.session
            .as_ref()
            .map(|session| session.capabilities)
            .unwrap_or_default()
    }

    /// Who the client of this session says it is: MCP `Implementation`.
    pub(super) fn client_info(&self) -> Option<String> {
        let client = self.session.as_ref()?.client.as_ref()?;
        serde_json::to_string(client).ok()
    }

    /// Tells this session from every other. `None`: there is none.
    pub(super) fn id(&self) -> Option<SessionId> {
        self.session.as_ref().map(|session| session.id)
    }

    pub(super) fn into_inner(self) -> Parsed {
        self.request
    }
}

/// What travels inside the seal.
type Sealed = (SessionId, String, ClientCapabilities, Option<ClientInfo>);

/// Settles the session of a request.
pub(super) fn resolve(
    gw: &Gateway,
    mut request: Parsed,
    record: &mut Record,
) -> Result<InSession, Refusal> {
    let initializing = request.message.method == "initialize";
    if request.version.is_modern() || initializing {
        return Ok(InSession {
            request,
            session: None,
        });
    }
    let session = open(gw, &request.head.headers, &request.caller, record)?;
    if let Some(session) = &session
        && !request.head.headers.contains_key(version::HEADER)
    {
        request.version = session.version;
        record.served_by(session.version);
    }
    Ok(InSession { request, session })
}

/// Opens the session that a header names. `None`: it names none.
pub(super) fn open(
    gw: &Gateway,
    headers: &HeaderMap,
    caller: &Caller,
    record: &mut Record,
) -> Result<Option<Arc<Session>>, Refusal> {
    if !headers.contains_key(HEADER) {
        return Ok(None);
    }
    // 404 makes a client begin a new session, which is what it needs whatever is wrong here.
    let text = single(headers, HEADER).ok().flatten();
    let session = text.and_then(|text| opened(gw, caller.principal(), text));
    let session = session.filter(|session| !gw.ended.contains(session.id));
    let session = session.ok_or(Refusal::UnknownSession)?;
    record.session(session.id);
    Ok(Some(session))
}

/// Begins a session: what the client is given to hold.
pub(super) fn begin(
    gw: &Gateway,
    request: &Parsed,
    version: ProtocolVersion,
    record: &mut Record,
) -> Result<String, Refusal> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Told {
        capabilities: Option<Box<RawValue>>,
        client_info: Option<Box<RawValue>>,
    }
    let params = request.message.params.as_deref();
    let told: Told = params
        .and_then(|params| serde_json::from_str(params.get()).ok())
        .unwrap_or_default();
    let session = Session {
        id: SessionId::new(),
        version,
        capabilities: ClientCapabilities::parse(told.capabilities.as_deref()),
        client: told.client_info.as_deref().and_then(ClientInfo::parse),
    };
    record.session(session.id);
    seal(gw, request.caller.principal(), session)
}

/// Ends a session of the caller: its id is unknown from here on, at every gateway.
pub(super) async fn end(
    gw: &Gateway,
    head: &Parts,
    caller: &Caller,
    record: &mut Record,
) -> Result<Arc<Session>, Refusal> {
    let session = open(gw, &head.headers, caller, record)?.ok_or(Refusal::SessionRequired)?;
    ended::end(gw, session.id).await;
    debug!(session.id = %session.id, "a session was ended by its client");
    Ok(session)
}

fn seal(gw: &Gateway, principal: &Principal, session: Session) -> Result<String, Refusal> {
    let internal = |why: String| Refusal::Internal(format!("cannot begin a session: {why}"));
    let sealed: Sealed = (
        session.id,
        session.version.as_str().to_owned(),
        session.capabilities,
        session.client,
    );
    let payload = serde_json::to_vec(&sealed).map_err(|e| internal(e.to_string()))?;
    gw.sealer
        .seal(Purpose::Session, &binding(principal), &payload)
        .map_err(|e| internal(e.to_string()))
}

/// The session of a text that this caller was given.
fn opened(gw: &Gateway, principal: &Principal, text: &str) -> Option<Arc<Session>> {
    let now = Instant::now();
    let known = gw.recent.find(principal, text, now);
    known.or_else(|| {
        let session = Arc::new(unseal(gw, principal, text)?);
        gw.recent.keep(principal, text, &session, now);
        Some(session)
    })
}

fn unseal(gw: &Gateway, principal: &Principal, text: &str) -> Option<Session> {
    let payload = gw
        .sealer
        .open(Purpose::Session, &binding(principal), text)
        .ok()?;
    let (id, version, capabilities, client): Sealed = serde_json::from_slice(&payload).ok()?;
    Some(Session {
        id,
        version: ProtocolVersion::parse(&version)?,
        capabilities,
        client,
    })
}

fn binding(principal: &Principal) -> [&[u8]; 2] {
    let Principal {
        issuer, subject, ..
    } = principal;
    [issuer.as_str().as_bytes(), subject.as_str().as_bytes()]
}

impl ClientInfo {
    fn parse(raw: &RawValue) -> Option<Self> {
        let object = Some(raw.get()).filter(|text| text.starts_with('{'));
        let told: Self = serde_json::from_str(object?).ok()?;
        let cut = |text: String| text.chars().take(MAX_CLIENT_INFO).collect();
        Some(Self {
            name: cut(told.name),
            version: cut(told.version),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_client_name_and_version_are_kept_and_no_more() {
        let parse = |text: &str| {
            let raw = RawValue::from_string(text.to_owned()).expect("JSON");
            ClientInfo::parse(&raw)
        };
        let told = r#"{"name":"t","version":"1","title":"T","icons":[{"src":"data:x"}]}"#;
        let kept = parse(told).expect("an implementation");
        assert_eq!((kept.name.as_str(), kept.version.as_str()), ("t", "1"));
        let long = format!(r#"{{"name":"{}","version":"1"}}"#, "é".repeat(1_000));
        let kept = parse(&long).expect("an implementation");
        assert_eq!(kept.name.chars().count(), MAX_CLIENT_INFO);
        for nothing in ["7", "{}", r#"["t","1"]"#, r#"{"name":7,"version":"1"}"#] {
            assert_eq!(parse(nothing), None, "{nothing}");
        }
    }
}
