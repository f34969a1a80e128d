//! The session of the legacy era (MCP 2025-11-25, Streamable HTTP, "Session Management").

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::transport::Fields;

/// The header of the session's id.
pub(super) const SESSION_ID: &str = "mcp-session-id";

/// One session, from its `initialize` on.
#[derive(Debug)]
pub(super) struct Session {
    /// Tells sessions of this process apart.
    pub(super) number: u64,
    /// The `initialize` that began it, to begin the next one with.
    pub(super) initialize: Bytes,
    /// Its id, if the server gave one.
    pub(super) id: Option<HeaderValue>,
    /// The revision that was agreed on.
    pub(super) version: String,
}

impl Session {
    /// The header fields of everything that is sent in it.
    pub(super) fn fields(&self) -> Fields {
        let mut fields = Fields::new();
        if let Ok(version) = HeaderValue::from_str(&self.version) {
            fields.push((HeaderName::from_static("mcp-protocol-version"), version));
        }
        fields.extend(
            self.id
                .clone()
                .map(|id| (HeaderName::from_static(SESSION_ID), id)),
        );
        fields
    }
}

/// The session of the moment.
#[derive(Default)]
pub(super) struct Sessions {
    current: Mutex<(u64, Option<Arc<Session>>)>,
    /// Held while a lost session is replaced, so that one replacement serves all who wait.
    pub(super) renewing: tokio::sync::Mutex<()>,
}

impl Sessions {
    /// The session, once there is one.
    pub(super) fn current(&self) -> Option<Arc<Session>> {
        self.lock().1.clone()
    }

    /// Begins a session in the place of the one there is.
    pub(super) fn begin(
        &self,
        initialize: Bytes,
        id: Option<HeaderValue>,
        version: String,
    ) -> Arc<Session> {
        let mut current = self.lock();
        current.0 += 1;
        let session = Arc::new(Session {
            number: current.0,
            initialize,
            id,
            version,
        });
        current.1 = Some(Arc::clone(&session));
        session
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (u64, Option<Arc<Session>>)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
