//! The legacy era: a handshake, then requests in the session that it began (MCP 2025-11-25,
//! Lifecycle and Transports).

use std::hash::{DefaultHasher, Hash, Hasher};

use cortex_plugin_sdk::http::HttpError;
use cortex_plugin_sdk::json::{self, Json, Members};
use cortex_plugin_sdk::prelude::*;
use cortex_plugin_sdk::sse::Events;
use serde::{Deserialize, Serialize};

use crate::exchange::{Asking, Endpoint, Fields, Listening};
use crate::request::{Asker, Request, gateway};
use crate::trouble::{INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, Trouble};
use crate::wire::{self, RpcError};

/// Revisions of this era, the one that is asked for first.
const VERSIONS: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];
/// Longest id of a session.
const MAX_SESSION_ID: usize = 1024;
/// Longest wait for the end of something that nobody needs any more, in milliseconds.
const FAREWELL_MS: u32 = 1_000;
/// Longest wait for an answer to be taken, in milliseconds.
const ANSWER_MS: u32 = 5_000;

/// A handshake that was made. Its session serves all calls of one subject for one client, side by
/// side, until the server ends it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Servers need not give it an id.
    id: Option<String>,
    pub(crate) version: String,
    /// What the server is able to do: a JSON object.
    pub(crate) capabilities: Json,
    /// The least severe log message that was asked for.
    log_level: Option<String>,
    /// It has no stream of its own.
    #[serde(default)]
    is_silent: bool,
    /// With whom, and for which client.
    of: String,
}

/// Sends a request in a session: the one that the subject has, or a new one.
///
/// # Errors
/// [`Trouble::OtherEra`] when the server makes no such handshake.
pub(crate) fn ask(
    endpoint: Endpoint<'_>,
    request: &Request<'_>,
) -> Result<Result<Json, RpcError>, Trouble> {
    let of = whose(endpoint, request.asker);
    let (mut session, is_new) = Session::of_subject(endpoint, request.asker, &of, None)?;
    let before = session.clone();
    let mut answer = session.ask(endpoint, request);
    // The server has ended it, and has not looked at the request. (400 is what many say.)
    let over = match answer {
        Err(Trouble::Status(404)) => session.id.is_some(),
        Err(Trouble::Status(400)) => session.id.is_some() && !is_new,
        _ => false,
    };
    if over {
        (session, _) = Session::of_subject(endpoint, request.asker, &of, Some(&before))?;
        answer = session.ask(endpoint, request);
    } else if (&session.log_level, session.is_silent) != (&before.log_level, before.is_silent) {
        session.remember(&of);
    }
    answer
}

/// With whom, and for which client: what a session is for.
fn whose(endpoint: Endpoint<'_>, asker: Asker<'_>) -> String {
    let target = endpoint.target;
    let (info, capabilities) = (client_info(asker), capabilities(asker));
    json::quote(
        &[
            &target.base_url,
            &endpoint.settings.path,
            &info,
            &capabilities,
        ]
        .map(String::as_str)
        .join("\n"),
    )
}

/// The name of the slot for it. Two that have the same name cost each other handshakes, no more.
fn slot(of: &str) -> String {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    format!("session-{:016x}", hasher.finish())
}

fn client_info(asker: Asker<'_>) -> Json {
    match asker {
        Asker::Known(context) => context.client_info.clone().unwrap_or_else(gateway),
        Asker::Gateway | Asker::Client => gateway(),
    }
}

/// What the client can be asked for while a call is under way.
fn capabilities(asker: Asker<'_>) -> Json {
    match asker {
        Asker::Known(context) => context.client_capabilities.clone(),
        // Some servers hide the tools that ask. Some clients can be asked: they are to find them.
        Asker::Gateway => EVERYTHING.into(),
        Asker::Client => "{}".into(),
    }
}

/// All that a client can declare that a server may ask of it.
const EVERYTHING: &str =
    r#"{"elicitation":{"form":{},"url":{}},"roots":{},"sampling":{"tools":{}}}"#;

impl Session {
    /// The session of the subject, begun if there is none or only the one that is `over`. Of many
    /// calls that want it at one time, one makes the handshake. True: it was begun just now.
    fn of_subject(
        endpoint: Endpoint<'_>,
        asker: Asker<'_>,
        of: &str,
        over: Option<&Self>,
    ) -> Result<(Self, bool), Trouble> {
        let slot = match memory::hold(&slot(of)) {
            Ok(slot) => slot,
            Err(why) => {
                log::debug(format!("no session is remembered: {why}"));
                return Self::open(endpoint, asker).map(|session| (session, true));
            }
        };
        let known = slot.get();
        let known = known.and_then(|text| serde_json::from_str::<Self>(&text).ok());
        let known = known
            .filter(|session| session.of == of && over.is_none_or(|over| over.id != session.id));
        if let Some(session) = known {
            return Ok((session, false));
        }
        slot.set(None);
        let session = Self::open(endpoint, asker)?;
        slot.set(serde_json::to_string(&session).ok().as_deref());
        Ok((session, true))
    }

    /// Later calls go on with what this one has changed.
    fn remember(&self, of: &str) {
        let Ok(slot) = memory::hold(&slot(of)) else {
            return;
        };
        let known = slot.get();
        let known = known.and_then(|text| serde_json::from_str::<Self>(&text).ok());
        if known.is_some_and(|known| known.of == of && known.id == self.id) {
            slot.set(serde_json::to_string(self).ok().as_deref());
        }
    }

    /// Makes the handshake, with what the client can be asked for. It and what else comes before a
    /// request get as long as the request itself: together that is as long as the host lets a call
    /// take.
    ///
    /// # Errors
    /// [`Trouble::OtherEra`] when the server refuses it.
    pub(crate) fn open(endpoint: Endpoint<'_>, asker: Asker<'_>) -> Result<Self, Trouble> {
        let params = format!(
            r#"{{"protocolVersion":"{}","capabilities":{},"clientInfo":{}}}"#,
            VERSIONS[0],
            capabilities(asker),
            client_info(asker)
        );
        let limit = endpoint.target.timeout_ms;
        let asking = Asking {
            id: wire::new_id(),
            method: "initialize",
            params: &params,
            timeout_ms: Some(limit.div_ceil(2)),
        };
        let reply = endpoint.ask(&Fields::new(), asking, None, &mut |_, _, _| {});
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
            is_silent: false,
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
        let side = self.listen(endpoint, request);
        self.exchange(endpoint, asking, side)
    }

    /// Opens the stream that servers of this era tell things on which belong to no request, for as long as
    /// a call lasts. Many send log messages and questions there that do belong to one.
    fn listen(&mut self, endpoint: Endpoint<'_>, request: &Request<'_>) -> Option<Events> {
        let wants = request.log_level().is_some() || capabilities(request.asker) != "{}";
        if self.is_silent || endpoint.discovering || !wants {
            return None;
        }
        match endpoint.listen(&self.fields()) {
            Listening::To(events) => Some(*events),
            Listening::NotNow => None,
            Listening::Never => {
                self.is_silent = true;
                None
            }
        }
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
        side: Option<Events>,
    ) -> Result<Result<Json, RpcError>, Trouble> {
        let fields = self.fields();
        let mut asked = |of: &str, what: &str, params: &str| {
            let answer = wire::response(of, answer(what, params));
            let answered = endpoint.tell(&fields, answer, ANSWER_MS);
            if let Err(trouble) = answered {
                log::debug(format!("an answer to `{what}` was not taken: {trouble:?}"));
            }
        };
        if !endpoint.discovering {
            let gone = cancelled(asking.id, "nobody waits for it any more");
            endpoint.tell_when_given_up(&fields, gone);
        }
        match endpoint.ask(&fields, asking, side, &mut asked) {
            // With the id of the request in it, it is an answer.
            Ok(reply)
                if matches!(reply.status, 400 | 404) && !reply.has_id && self.id.is_some() =>
            {
                Err(Trouble::Status(reply.status))
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
        let told = cancelled(id, "it takes too long");
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
        let set = self.exchange(endpoint, asking, None)?;
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

/// MCP 2025-11-25, "Cancellation".
fn cancelled(id: u64, why: &str) -> Json {
    let params = format!(r#"{{"requestId":{id},"reason":{}}}"#, json::quote(why));
    wire::notification("notifications/cancelled", &params)
}

/// Whether a capability is declared.
pub(crate) fn has(capabilities: &str, name: &str) -> bool {
    Members::parse(capabilities).is_ok_and(|mut members| members.take(name).is_some())
}

/// What a server gets that asks something in the middle of a call: the client's answer.
fn answer(method: &str, params: &str) -> Result<Json, Json> {
    match method {
        "ping" => Ok("{}".into()),
        "elicitation/create" | "sampling/createMessage" | "roots/list" => {
            match client::ask(method, params) {
                Ok(result) => Ok(result),
                // Nobody decided anything (MCP, "Elicitation", Response Actions).
                Err(client::AskError::Unanswered(_)) if method == "elicitation/create" => {
                    Ok(r#"{"action":"cancel"}"#.into())
                }
                Err(error) => Err(refusal(error)),
            }
        }
        _ => Err(rpc_error(METHOD_NOT_FOUND, "Method not found", None)),
    }
}

fn refusal(error: client::AskError) -> Json {
    use client::AskError as E;
    match error {
        E::Refused(refusal) => rpc_error(refusal.code, &refusal.message, refusal.data.as_deref()),
        E::Undeclared(what) => {
            let why = format!("The client does not offer {what}");
            rpc_error(METHOD_NOT_FOUND, &why, None)
        }
        E::Invalid(why) => rpc_error(INVALID_PARAMS, &why, None),
        E::Unanswered(why) | E::LimitExceeded(why) | E::Other(why) => {
            rpc_error(INTERNAL_ERROR, &format!("No answer: {why}"), None)
        }
    }
}

fn rpc_error(code: i64, message: &str, data: Option<&str>) -> Json {
    let members = [
        ("code", code.to_string()),
        ("message", json::quote(message)),
    ];
    let data = data.map(|data| ("data", data.to_owned()));
    wire::object(members.into_iter().chain(data))
}
