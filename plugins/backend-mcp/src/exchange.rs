//! One message to the server, and what comes back: JSON, or a stream of events whose notifications
//! are passed on while it runs (MCP, Streamable HTTP).

use cortex_plugin_sdk::http::Incoming;
use cortex_plugin_sdk::json::{Json, Members};
use cortex_plugin_sdk::prelude::*;
use cortex_plugin_sdk::sse;

use crate::challenge;
use crate::settings::{Credential, Settings};
use crate::trouble::Trouble;
use crate::wire::{self, Message, RpcError};

/// Largest event. The host bounds the whole stream.
const MAX_EVENT: usize = 16 * 1024 * 1024;

/// Longest wait for a stream of the server's own to begin, in milliseconds.
const LISTEN_MS: u32 = 1_000;
/// Longest wait for what is there already, in milliseconds.
const SOON_MS: u32 = 1;

/// The header in which a server of the legacy era names a session.
pub(crate) const SESSION: &str = "mcp-session-id";

/// The endpoint of a server.
#[derive(Clone, Copy)]
pub(crate) struct Endpoint<'a> {
    pub(crate) target: &'a Target,
    pub(crate) settings: &'a Settings,
    /// Whether this is discovery, which is made for nobody.
    pub(crate) discovering: bool,
}

/// A request as it is sent.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) id: u64,
    pub(crate) method: &'a str,
    pub(crate) params: &'a str,
    /// Longest wait for the answer to begin; `None`: the backend's own limit.
    pub(crate) timeout_ms: Option<u32>,
}

/// What a request was answered with.
#[derive(Debug)]
pub(crate) struct Reply {
    /// HTTP status.
    pub(crate) status: u16,
    /// A session that the server has begun.
    pub(crate) session: Option<String>,
    /// The id of the request was in it. An error may lack it.
    pub(crate) has_id: bool,
    /// The result, an object, or the error.
    pub(crate) outcome: Result<Json, RpcError>,
}

/// What comes of listening to a server.
pub(crate) enum Listening {
    /// It tells things.
    To(Box<sse::Events>),
    /// It may, another time.
    NotNow,
    /// It has no such stream.
    Never,
}

/// Header fields of a message.
pub(crate) type Fields = Vec<(String, String)>;

impl Endpoint<'_> {
    /// The endpoint, as whom the operator said. By default that is the user's own account there: what
    /// the gateway's callers hold is not for servers of others (MCP, Authorization, "Token
    /// Passthrough").
    fn http(&self, method: &str, fields: &Fields) -> http::Request {
        let url = self.target.url(&self.settings.path);
        let request = http::Request::new(method, url);
        let request = match self.settings.credential {
            Credential::Account => request.as_linked_account(&self.target.id),
            Credential::Caller if self.discovering => request.as_technical(),
            Credential::Caller => request.as_caller(),
            Credential::None => request,
        };
        fields.iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        })
    }

    fn post(&self, fields: &Fields, message: Json) -> http::Request {
        self.http("POST", fields)
            .header("accept", "application/json, text/event-stream")
            .json(message)
    }

    /// Sends a request. `asked` is given what the server asks meanwhile. `side`: another stream on which it
    /// may tell and ask.
    pub(crate) fn ask(
        &self,
        fields: &Fields,
        asking: Asking<'_>,
        side: Option<sse::Events>,
        asked: &mut dyn FnMut(&str, &str, &str),
    ) -> Result<Reply, Trouble> {
        let message = wire::request(asking.id, asking.method, asking.params);
        let request = http::Request {
            timeout_ms: asking.timeout_ms,
            ..self.post(fields, message)
        };
        let mut side = Side {
            stream: side,
            id: asking.id,
            asked,
        };
        let reply = receive(request.open()?, asking.id, &mut side);
        side.last_words();
        reply
    }

    /// Sends a message that is not answered.
    pub(crate) fn tell(
        &self,
        fields: &Fields,
        message: Json,
        timeout_ms: u32,
    ) -> Result<(), Trouble> {
        let request = self.post(fields, message).timeout_ms(timeout_ms);
        // Only the status matters: what else comes is not read.
        let incoming = request.open()?;
        match incoming.status {
            200..=299 => Ok(()),
            401 | 403 => Err(refused(&incoming)),
            status => Err(Trouble::Status(status)),
        }
    }

    /// Has a message sent should the call be given up: nothing else would tell the server.
    pub(crate) fn tell_when_given_up(&self, fields: &Fields, message: Json) {
        if let Err(error) = http::farewell(Some(self.post(fields, message))) {
            log::debug(format!("a cancellation cannot be left behind: {error}"));
        }
    }

    /// Opens the stream on which a server tells what belongs to no request, or says that it has none.
    pub(crate) fn listen(&self, fields: &Fields) -> Listening {
        let request = self
            .http("GET", fields)
            .header("accept", "text/event-stream");
        match request.timeout_ms(LISTEN_MS).open() {
            Ok(incoming)
                if content_type(&incoming) == "text/event-stream" && incoming.is_success() =>
            {
                Listening::To(Box::new(sse::Events::new(incoming, MAX_EVENT)))
            }
            // The session is over, as the request will find out; or somebody else listens.
            Ok(Incoming {
                status: 404 | 409, ..
            }) => Listening::NotNow,
            Ok(_) | Err(http::HttpError::Timeout(_)) => Listening::Never,
            Err(_) => Listening::NotNow,
        }
    }

    /// Ends a session.
    pub(crate) fn delete(&self, fields: &Fields, timeout_ms: u32) -> Result<u16, http::HttpError> {
        let request = self.http("DELETE", fields).timeout_ms(timeout_ms);
        Ok(request.open()?.status)
    }
}

/// What comes besides the answer: on its stream, and on another one.
struct Side<'a> {
    stream: Option<sse::Events>,
    id: u64,
    asked: &'a mut dyn FnMut(&str, &str, &str),
}

impl Side<'_> {
    /// Hears what comes on the other stream until `events` has something.
    fn hear_until(&mut self, events: &mut sse::Events) -> Result<(), Trouble> {
        while let Some(stream) = &mut self.stream {
            if stream.has_next() {
                self.hear_one();
                continue;
            }
            if events.has_next() {
                break;
            }
            // What was told before the answer is to arrive before it.
            if http::ready(&[stream.response(), events.response()])? == 1 {
                break;
            }
            if !matches!(stream.take_in(SOON_MS), Ok(true)) {
                self.stream = None;
            }
        }
        Ok(())
    }

    /// Hears what is there already.
    fn last_words(&mut self) {
        while let Some(stream) = &mut self.stream {
            if stream.has_next() {
                self.hear_one();
            } else if !matches!(stream.take_in(SOON_MS), Ok(true)) {
                self.stream = None;
            }
        }
    }

    fn hear_one(&mut self) {
        let next = self.stream.as_mut().map(sse::Events::next);
        let Some(Ok(Some(event))) = next else {
            self.stream = None;
            return;
        };
        match message(&event) {
            Some(Ok(Message::Notification { method, params })) => {
                pass_on(self.id, &method, &params);
            }
            Some(Ok(Message::Request { id, method, params })) => {
                (self.asked)(&id, &method, &params);
            }
            // Answers come where they were asked for.
            Some(Ok(Message::Response { .. }) | Err(_)) | None => {}
        }
    }
}

/// The message of an event. `None`: it has none, and may only prepare for a reconnection.
fn message(event: &sse::Event) -> Option<Result<Message, String>> {
    let is_message = matches!(event.name.as_str(), "" | "message");
    (is_message && !event.data.is_empty()).then(|| wire::read(&event.data))
}

fn receive(incoming: Incoming, id: u64, side: &mut Side<'_>) -> Result<Reply, Trouble> {
    let status = incoming.status;
    let session = incoming.header(SESSION).map(str::to_owned);
    let is_success = incoming.is_success();
    let reply = |has_id, outcome| Reply {
        status,
        session: session.clone(),
        has_id,
        outcome,
    };
    match (status, content_type(&incoming).as_str()) {
        (401 | 403, _) => Err(refused(&incoming)),
        (300..=399, _) => Err(Trouble::Garbage(format!("a redirect (HTTP {status})"))),
        (_, "application/json") => {
            let body = String::from_utf8(incoming.read_to_end()?);
            let message = body.map_err(|_| "it is not UTF-8".to_owned());
            match message.and_then(|body| wire::read(&body)) {
                Ok(Message::Response { id: of, outcome }) => match of {
                    Some(of) if of == id.to_string() => Ok(reply(true, outcome)),
                    // A server that could not read the request does not know its id. Some make
                    // one up.
                    _ if !is_success && outcome.is_err() => Ok(reply(false, outcome)),
                    _ => Err(Trouble::Garbage("it answers another request".into())),
                },
                _ if !is_success => Err(Trouble::Status(status)),
                Ok(_) => Err(Trouble::Garbage("it is not a response".into())),
                Err(why) => Err(Trouble::Garbage(why)),
            }
        }
        (200..=299, "text/event-stream") => {
            let mut events = sse::Events::new(incoming, MAX_EVENT);
            loop {
                side.hear_until(&mut events)?;
                let Some(event) = events.next()? else { break };
                let Some(message) = message(&event) else {
                    continue;
                };
                match message.map_err(Trouble::Garbage)? {
                    Message::Notification { method, params } => pass_on(id, &method, &params),
                    Message::Request { id, method, params } => (side.asked)(&id, &method, &params),
                    Message::Response {
                        id: Some(of),
                        outcome,
                    } if of == id.to_string() => return Ok(reply(true, outcome)),
                    Message::Response { .. } => {
                        return Err(Trouble::Garbage("it answers another request".into()));
                    }
                }
            }
            Err(Trouble::Garbage(
                "its stream ended without an answer".into(),
            ))
        }
        (200..=299, other) => {
            let shown: String = other.chars().take(64).collect();
            Err(Trouble::Garbage(format!(
                "content type `{}` (HTTP {status})",
                shown.escape_debug()
            )))
        }
        _ => Err(Trouble::Status(status)),
    }
}

/// 401 or 403, and what it wants.
fn refused(incoming: &Incoming) -> Trouble {
    let challenge = incoming.header("www-authenticate").unwrap_or_default();
    Trouble::Refused(challenge::read(incoming.status, challenge))
}

/// The media type without parameters, in lower case.
fn content_type(incoming: &Incoming) -> String {
    let value = incoming.header("content-type").unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Passes on what a server tells of the request with this id; it is the progress token, too.
fn pass_on(id: u64, method: &str, params: &str) {
    let told = match method {
        "notifications/progress" => pass_on_progress(id, params),
        "notifications/message" => pass_on_log(params),
        // Nothing else belongs to one request.
        _ => Some(()),
    };
    if told.is_none() {
        log::debug(format!("a `{method}` that is not as MCP says is left out"));
    }
}

fn pass_on_progress(id: u64, params: &str) -> Option<()> {
    let mut params = Members::parse(params).ok()?;
    let number = |text: &str| text.parse::<f64>().ok();
    if params.take("progressToken")? == id.to_string() {
        let done = number(params.take("progress")?)?;
        let total = params.take("total").and_then(number);
        let message = params.text("message").ok()?;
        progress::report(done, total, message.as_deref());
    }
    Some(())
}

fn pass_on_log(params: &str) -> Option<()> {
    let mut params = Members::parse(params).ok()?;
    let level = params.text("level").ok()??;
    let logger = params.text("logger").ok()?;
    // `data` may be `null`.
    let data = params.take("data").unwrap_or("null");
    client_log::write(&level, logger.as_deref(), data);
    Some(())
}
