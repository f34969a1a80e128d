//! Which era a server speaks: found out at discovery, remembered for calls, found out again when
//! it has changed (MCP 2026-07-28, Versioning, "Backward Compatibility").

use cortex_plugin_sdk::json::{self, Json, Members};
use cortex_plugin_sdk::prelude::*;

use crate::exchange::Endpoint;
use crate::legacy::{self, Session};
use crate::modern;
use crate::request::{Asker, Request};
use crate::trouble::Trouble;
use crate::wire::{self, RpcError};

/// A server whose era is known.
pub(crate) enum Server {
    /// Modern.
    Modern {
        /// What it is able to do: a JSON object.
        capabilities: Json,
    },
    /// Legacy, in a session.
    Legacy(Session),
}

impl Server {
    /// Finds out: modern first.
    ///
    /// # Errors
    /// [`Trouble::OtherEra`] when it is neither.
    pub(crate) fn find_out(endpoint: Endpoint<'_>) -> Result<Self, Trouble> {
        match modern::discover(endpoint) {
            Ok(capabilities) => Ok(Self::Modern { capabilities }),
            Err(Trouble::OtherEra(why)) => Session::open(endpoint, Asker::Gateway)
                .map(Self::Legacy)
                .map_err(|trouble| both(&why, trouble)),
            Err(trouble) => Err(trouble),
        }
    }

    pub(crate) fn can(&self, what: &str) -> bool {
        match self {
            Self::Modern { capabilities } => legacy::has(capabilities, what),
            Self::Legacy(session) => legacy::has(&session.capabilities, what),
        }
    }

    /// Sends a request.
    pub(crate) fn ask(
        &mut self,
        endpoint: Endpoint<'_>,
        request: &Request<'_>,
    ) -> Result<Result<Json, RpcError>, Trouble> {
        match self {
            Self::Modern { .. } => modern::ask(endpoint, request),
            Self::Legacy(session) => session.ask(endpoint, request),
        }
    }

    /// What later calls want to know.
    pub(crate) fn learned(&self) -> Json {
        let (era, version, capabilities) = match self {
            Self::Modern { capabilities } => ("modern", modern::VERSION, capabilities),
            Self::Legacy(session) => ("legacy", session.version.as_str(), &session.capabilities),
        };
        wire::object([
            ("era", json::quote(era)),
            ("version", json::quote(version)),
            ("capabilities", capabilities.clone()),
        ])
    }

    /// Ends what was begun.
    pub(crate) fn close(self, endpoint: Endpoint<'_>) {
        if let Self::Legacy(session) = self {
            session.close(endpoint);
        }
    }
}

/// Sends one request in the era that discovery found, and in the other one if that has changed.
///
/// # Errors
/// [`Trouble`].
pub(crate) fn ask(
    endpoint: Endpoint<'_>,
    request: &Request<'_>,
) -> Result<Result<Json, RpcError>, Trouble> {
    type Ask = fn(Endpoint<'_>, &Request<'_>) -> Result<Result<Json, RpcError>, Trouble>;
    let order: [Ask; 2] = if is_legacy(endpoint.target) {
        [legacy::ask, modern::ask]
    } else {
        [modern::ask, legacy::ask]
    };
    match order[0](endpoint, request) {
        Err(Trouble::OtherEra(why)) => {
            order[1](endpoint, request).map_err(|trouble| both(&why, trouble))
        }
        answer => answer,
    }
}

fn is_legacy(target: &Target) -> bool {
    let learned = target.learned.as_deref().unwrap_or("{}");
    let era = Members::parse(learned).and_then(|mut learned| {
        learned
            .text("era")
            .map_err(<serde_json::Error as serde::de::Error>::custom)
    });
    era.is_ok_and(|era| era.as_deref() == Some("legacy"))
}

/// Neither era worked: both reasons.
fn both(why: &str, trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::OtherEra(also) => Trouble::OtherEra(format!("{why}; {also}")),
        other => other,
    }
}
