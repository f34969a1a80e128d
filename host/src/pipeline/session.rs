//! Which session does a request belong to?
//!
//! Modern requests have none, and a stray `Mcp-Session-Id` is ignored (MCP 2026-07-28, Streamable
//! HTTP). In the legacy era a server *may* give out session ids (MCP 2025-11-25, Streamable HTTP,
//! "Session Management"); this version gives out none, so any that comes is from elsewhere.

use http::request::Parts;

use super::auth::Caller;
use super::parse::{Parsed, Replied};
use super::{Gateway, Refusal};
use crate::mcp::capabilities::ClientCapabilities;
use crate::mcp::log_level::LogLevel;

/// Name of the header.
const HEADER: &str = "mcp-session-id";

/// What stands for a session inside the gateway.
pub(super) type SessionKey = std::sync::Arc<str>;

/// A request whose session, or freedom from one, is settled.
pub(super) struct InSession(Parsed);

impl InSession {
    pub(super) fn parsed(&self) -> &Parsed {
        &self.0
    }

    /// What the client of this session can be asked for.
    pub(super) fn capabilities(&self) -> ClientCapabilities {
        ClientCapabilities::default()
    }

    /// Tells this session from every other, without being its id.
    pub(super) fn key(&self) -> Option<SessionKey> {
        None
    }

    pub(super) fn into_inner(self) -> Parsed {
        self.0
    }
}

/// Which log messages legacy clients want (MCP 2025-11-25, "Logging"), by session. Kept while a
/// session is used, and not longer than a day.
pub struct Levels(moka::sync::Cache<SessionKey, LogLevel>);

impl Default for Levels {
    fn default() -> Self {
        let day = std::time::Duration::from_secs(24 * 3600);
        Self(
            moka::sync::Cache::builder()
                .max_capacity(100_000)
                .time_to_idle(day)
                .build(),
        )
    }
}

impl Levels {
    pub(super) fn set(&self, session: SessionKey, level: LogLevel) {
        self.0.insert(session, level);
    }

    pub(super) fn of(&self, session: &SessionKey) -> Option<LogLevel> {
        self.0.get(session)
    }
}

/// Hands a client's answer to the request that waits for it.
pub(super) fn answered(gw: &Gateway, replied: Replied) -> Result<(), Refusal> {
    if let Some(session) = key_of(&replied.head, &replied.caller)? {
        gw.waiting.answered(&session, replied.response);
    }
    Ok(())
}

/// The session that a header names, if it is this caller's.
fn key_of(head: &Parts, _: &Caller) -> Result<Option<SessionKey>, Refusal> {
    if head.headers.contains_key(HEADER) {
        return Err(Refusal::UnknownSession);
    }
    Ok(None)
}

/// Settles the session of a request.
pub(super) fn resolve(request: Parsed) -> Result<InSession, Refusal> {
    let initializing = request.message.method == "initialize";
    if !request.version.is_modern() && !initializing && request.head.headers.contains_key(HEADER) {
        // 404 makes a client begin a new session, which is what it needs.
        return Err(Refusal::UnknownSession);
    }
    Ok(InSession(request))
}
