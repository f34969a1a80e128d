//! The legacy era: a handshake, then requests in the session that it began (MCP 2025-11-25,
//! Lifecycle and Transports).

use std::cell::{Cell, RefCell};

use cortex_plugin_sdk::http::HttpError;
use cortex_plugin_sdk::json::{self, Json, Members};
use cortex_plugin_sdk::prelude::*;

use crate::exchange::{Asking, Endpoint, Fields};
use crate::request::{Asker, Request, gateway};
use crate::trouble::{METHOD_NOT_FOUND, Trouble};
use crate::wire::{self, RpcError};

/// Revisions of this era, the one that is asked for first.
const VERSIONS: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];
/// Longest id of a session.
const MAX_SESSION_ID: usize = 1024;
/// Longest wait for the end of something that nobody needs any more, in milliseconds.
const FAREWELL_MS: u32 = 1_000;

/// A handshake that was made.
pub(crate) struct Session {
    /// Servers need not give it an id.
    id: Option<String>,
    pub(crate) version: String,
    /// What the server is able to do: a JSON object.
    pub(crate) capabilities: Json,
    /// The least severe log message that was asked for.
    log_level: Option<String>,
    /// With whom, and for which client.
    of: [String; 4],
}

thread_local! {
    /// The session of this instance, which only ever serves one subject and one backend.
    static KEPT: RefCell<Option<Session>> = const { RefCell::new(None) };
    /// Whether this instance has served a call before: then it is a warm one.
    static SERVED: Cell<bool> = const { Cell::new(false) };
}

/// Sends a request in a session: the one of this instance, or a new one.
///
/// # Errors
/// [`Trouble::OtherEra`] when the server makes no such handshake.
pub(crate) fn ask(
    endpoint: Endpoint<'_>,
    request: &Request<'_>,
) -> Result<Result<Json, RpcError>, Trouble> {
    let of = whose(endpoint, request.asker);
    let kept = KEPT.take();
    let (mine, others) = match kept {
        Some(session) if session.of == of => (Some(session), None),
        other => (None, other),
    };
    if let Some(session) = others {
        session.close(endpoint);
    }
    let mut session = match mine {
        Some(session) => session,
        None => Session::open(endpoint, request.asker)?,
    };
    let mut answer = session.ask(endpoint, request);
    if let Err(Trouble::Status(404)) = answer
        && session.id.is_some()
    {
        // The server has ended it, and has not looked at the request.
        session = Session::open(endpoint, request.asker)?;
        answer = session.ask(endpoint, request);
    }
    if SERVED.replace(true) && answer.is_ok() {
        KEPT.set(Some(session));
    } else {
        session.close(endpoint);
    }
    answer
}

/// As in a new instance.
#[cfg(test)]
pub(crate) fn forget() {
    KEPT.set(None);
    SERVED.set(false);
}

fn whose(endpoint: Endpoint<'_>, asker: Asker<'_>) -> [String; 4] {
    let target = endpoint.target;
    [
        target.id.clone(),
        target.base_url.clone(),
        endpoint.settings.path.clone(),
        client_info(asker),
    ]
}

fn client_info(asker: Asker<'_>) -> Json {
    match asker {
        Asker::Known(context) => context.client_info.clone().unwrap_or_else(gateway),
        Asker::Gateway | Asker::Client => gateway(),
    }
}

impl Session {
    /// Makes the handshake. No capability is declared: what such servers ask in the middle of a
    /// call cannot be passed on by this version. It and what else comes before a request get as
    /// long as the request itself: together that is as long as the host lets a call take.
    ///
    /// # Errors
    /// [`Trouble::OtherEra`] when the server refuses it.
    pub(crate) fn open(endpoint: Endpoint<'_>, asker: Asker<'_>) -> Result<Self, Trouble> {
        let params = format!(
            r#"{{"protocolVersion":"{}","capabilities":{{}},"clientInfo":{}}}"#,
            VERSIONS[0],
            client_info(asker)
        );
        let limit = endpoint.target.timeout_ms;
        let asking = Asking {
            id: wire::new_id(),
            method: "initialize",
            params: &params,
            timeout_ms: Some(limit.div_ceil(2)),
        };
        let reply = endpoint.ask(&Fields::new(), asking, &mut |_, _| {});
        let reply = reply.map_err(|trouble| match trouble {
            Trouble::Status(status @ 400..=499) => {
                Trouble::OtherEra(format!("`initialize` is answered with HTTP {status}"))
            }
            other => other,
        })?;
        let result = reply.outcome.map_err(|error| {
            Trouble::OtherEra(format!(
                "`initialize` is answered with error {}",
                error.code
            ))
        })?;
        let mut members = Members::parse(&result)
            .map_err(|_| Trouble::Garbage("`initialize` names a member twice".into()))?;
        let version = members.text("protocolVersion").map_err(Trouble::Garbage)?;
        let version = version.unwrap_or_default();
        if !VERSIONS.contains(&version.as_str()) {
            let shown: String = version.chars().take(32).collect();
            let what = format!("it chose version `{}`", shown.escape_debug());
            return Err(Trouble::OtherEra(what));
        }
        let capabilities = members.object("capabilities").map_err(Trouble::Garbage)?;
        let visible = |id: &String| {
            !id.is_empty() && id.len() <= MAX_SESSION_ID && id.bytes().all(|b| b.is_ascii_graphic())
        };
        if reply.session.as_ref().is_some_and(|id| !visible(id)) {
            return Err(Trouble::Garbage("its session id cannot be used".into()));
        }
        let session = Self {
            id: reply.session,
            version,
            capabilities: capabilities.unwrap_or_else(|| "{}".into()),
            log_level: None,
            of: whose(endpoint, asker),
        };
        let told = wire::notification("notifications/initialized", "{}");
        match endpoint.tell(&session.fields(), told, limit.div_ceil(4)) {
            Ok(()) => Ok(session),
            Err(trouble) => {
                session.close(endpoint);
                Err(trouble)
            }
        }
    }

    /// Sends a request. [`Trouble::Status`] 404: the session is over.
    pub(crate) fn ask(
        &mut self,
        endpoint: Endpoint<'_>,
        request: &Request<'_>,
    ) -> Result<Result<Json, RpcError>, Trouble> {
        self.ask_for_log(endpoint, request.log_level())?;
        let id = wire::new_id();
        let asking = Asking {
            id,
            method: request.method,
            params: &request.legacy_params(id),
            timeout_ms: None,
        };
        self.exchange(endpoint, asking)
    }

    /// Ends it, if the server counts sessions.
    pub(crate) fn close(self, endpoint: Endpoint<'_>) {
        if self.id.is_none() {
            return;
        }
        // 405: it does not let clients end sessions. Whatever else happens helps nobody now.
        let ended = endpoint.delete(&self.fields(), FAREWELL_MS);
        if !matches!(ended, Ok(200..=299 | 404 | 405)) {
            log::debug(format!("a session did not end well: {ended:?}"));
        }
    }

    fn exchange(
        &self,
        endpoint: Endpoint<'_>,
        asking: Asking<'_>,
    ) -> Result<Result<Json, RpcError>, Trouble> {
        let fields = self.fields();
        let mut asked = |of: Json, what: &str| {
            let answered = endpoint.tell(&fields, answer(&of, what), FAREWELL_MS);
            if let Err(trouble) = answered {
                log::debug(format!("an answer to `{what}` was not taken: {trouble:?}"));
            }
        };
        match endpoint.ask(&fields, asking, &mut asked) {
            // With the id of the request in it, it is an answer.
            Ok(reply) if reply.status == 404 && !reply.has_id && self.id.is_some() => {
                Err(Trouble::Status(404))
            }
            Ok(reply) => Ok(reply.outcome),
            Err(trouble) => {
                if matches!(trouble, Trouble::Http(HttpError::Timeout(_))) {
                    self.cancel(endpoint, asking.id);
                }
                Err(trouble)
            }
        }
    }

    /// Closing the stream is no cancellation in this era.
    fn cancel(&self, endpoint: Endpoint<'_>, id: u64) {
        let params = format!(r#"{{"requestId":{id},"reason":"it takes too long"}}"#);
        let told = wire::notification("notifications/cancelled", &params);
        if let Err(trouble) = endpoint.tell(&self.fields(), told, FAREWELL_MS) {
            log::debug(format!("a cancellation was not taken: {trouble:?}"));
        }
    }

    /// In this era the level is the session's, not the request's.
    fn ask_for_log(&mut self, endpoint: Endpoint<'_>, level: Option<&str>) -> Result<(), Trouble> {
        let Some(level) = level.filter(|level| self.log_level.as_deref() != Some(level)) else {
            return Ok(());
        };
        if !has(&self.capabilities, "logging") {
            return Ok(());
        }
        let params = format!(r#"{{"level":{}}}"#, json::quote(level));
        let asking = Asking {
            id: wire::new_id(),
            method: "logging/setLevel",
            params: &params,
            timeout_ms: Some(endpoint.target.timeout_ms.div_ceil(4)),
        };
        let set = self.exchange(endpoint, asking)?;
        if let Err(error) = set {
            // The call matters more than what is told of it.
            log::debug(format!("logging/setLevel: error {}", error.code));
        }
        self.log_level = Some(level.to_owned());
        Ok(())
    }

    fn fields(&self) -> Fields {
        let mut fields = vec![("mcp-protocol-version".to_owned(), self.version.clone())];
        if let Some(id) = &self.id {
            fields.push((crate::exchange::SESSION.to_owned(), id.clone()));
        }
        fields
    }
}

/// Whether a capability is declared.
pub(crate) fn has(capabilities: &str, name: &str) -> bool {
    Members::parse(capabilities).is_ok_and(|mut members| members.take(name).is_some())
}

/// What a server gets that asks something in the middle of a call.
fn answer(id: &str, method: &str) -> Json {
    if method == "ping" {
        return format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
    }
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{METHOD_NOT_FOUND},"message":"Method not found"}}}}"#
    )
}
