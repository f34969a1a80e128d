//! Which session does a request belong to?
//!
//! Modern requests have none, and a stray `Mcp-Session-Id` is ignored (MCP 2026-07-28, Streamable
//! HTTP). In the legacy era a server *may* give out session ids (MCP 2025-11-25, Streamable HTTP,
//! "Session Management"); this version gives out none, so any that comes is from elsewhere.

use super::Refusal;
use super::parse::Parsed;

/// Name of the header.
const HEADER: &str = "mcp-session-id";

/// A request whose session, or freedom from one, is settled.
pub(super) struct InSession(Parsed);

impl InSession {
    pub(super) fn into_inner(self) -> Parsed {
        self.0
    }
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
