//! What a status and a body mean, in the words of the contract's error table.
//!
//! Messages name the backend and never its address: the model reads them.

use cortex_plugin_sdk::backend::code;
use cortex_plugin_sdk::json::{self, Json};
use cortex_plugin_sdk::prelude::*;
use serde_json::value::RawValue;

/// Why there was no answer.
pub(crate) fn none(target: &Target, error: http::HttpError) -> CallError {
    use http::HttpError as E;
    let id = &target.id;
    match error {
        E::Timeout(limit) => {
            CallError::failed(code::TIMEOUT, format!("Backend timed out after {limit}ms"))
        }
        E::ConnectionFailed(why) => {
            // The host tells the operator when a backend goes down, once and not at each call.
            log::debug(format!("backend {id}: {why}"));
            unavailable(target, "no connection")
        }
        E::ResponseTooLarge(limit) => CallError::failed(
            code::ERROR,
            format!("Backend {id} answered with more than {limit} bytes: ask for less"),
        ),
        E::CredentialRefused(why) => {
            CallError::failed(code::AUTH, format!("Backend {id} was not called: {why}"))
        }
        E::LimitExceeded(which) => CallError::failed(
            code::ERROR,
            format!("Backend {id} was not called: a limit is used up: {which}"),
        ),
        // What these carry may be an address. It is for the operator.
        E::OriginNotGranted(what) | E::InvalidRequest(what) | E::Other(what) => {
            log::error(format!("backend {id}: request refused: {what}"));
            unavailable(target, "the gateway refused to send the request")
        }
    }
}

/// The JSON that a method called as the caller returned.
pub(crate) fn read(
    target: &Target,
    method: &str,
    response: http::Response,
) -> Result<Json, CallError> {
    let status = response.status;
    let body = json(target, response);
    match status {
        200..=299 => body,
        300..=399 => Err(redirect(target, status)),
        401 => Err(CallError::failed(
            code::AUTH,
            "Backend auth failed: the token may have expired",
        )),
        // Of the two kinds only this one is mended by more scopes.
        403 => {
            let body = body.unwrap_or_default();
            let required = required(&body);
            Err(if required.is_empty() {
                let message = format!("Backend ACL denied: {}", reason(&body));
                CallError::failed(code::ACL, message)
            } else {
                CallError::missing_scope(required, method)
            })
        }
        _ => {
            let body = body?;
            let message = format!("Backend {status}: {}", reason(&body));
            let meta = format!(r#"{{"cortex/backendError":{{"status":{status},"body":{body}}}}}"#);
            Err(CallError::failed(code::ERROR, message).with_meta(meta))
        }
    }
}

/// The body, if it is JSON.
pub(crate) fn json(target: &Target, response: http::Response) -> Result<Json, CallError> {
    let status = response.status;
    let text = String::from_utf8(response.body).ok();
    text.filter(|_| response.is_json)
        .ok_or_else(|| unavailable(target, &format!("its answer is not JSON (HTTP {status})")))
}

/// Redirects are never followed: the endpoint is where the operator says it is.
pub(crate) fn redirect(target: &Target, status: u16) -> CallError {
    unavailable(
        target,
        &format!("it answered with a redirect (HTTP {status})"),
    )
}

fn unavailable(target: &Target, why: &str) -> CallError {
    let message = format!("Backend {} is unavailable: {why}", target.id);
    CallError::failed(code::UNAVAILABLE, message)
}

/// A result for the model to read: JSON as the backend sent it, or a string's content.
pub(crate) fn readable(json: &str) -> String {
    string(json).unwrap_or_else(|| json.to_owned())
}

/// The same of what is not needed any more: it may be large, and is not copied.
pub(crate) fn as_text(json: Json) -> String {
    string(&json).unwrap_or(json)
}

/// The reason that an error body gives: its `error`, as text or as JSON, or all of a body that is
/// one text.
pub(crate) fn reason(body: &str) -> String {
    let error = json::member::<Box<RawValue>>(body, "error").ok().flatten();
    let reason = error.map(|error| readable(error.get()));
    let reason = reason.or_else(|| string(body)).unwrap_or_default();
    if reason.is_empty() {
        "it gave no reason".into()
    } else {
        reason
    }
}

/// The scopes that a refusal names in `required`: a text with one or more, or an array of texts.
/// What is no scope (RFC 6749 §3.3) could not be granted, and must not reach a header.
fn required(body: &str) -> Vec<String> {
    let Ok(Some(raw)) = json::member::<Box<RawValue>>(body, "required") else {
        return Vec::new();
    };
    let named = match serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
        Ok(entries) => entries
            .into_iter()
            .filter_map(|raw| string(raw.get()))
            .collect(),
        Err(_) => string(raw.get()).into_iter().collect::<Vec<_>>(),
    };
    let mut scopes: Vec<String> = Vec::new();
    for scope in named.iter().flat_map(|named| named.split(' ')) {
        if is_scope(scope) && !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.into());
        }
    }
    scopes
}

/// RFC 6749 §3.3: `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`.
pub(crate) fn is_scope(text: &str) -> bool {
    let is_allowed = |byte| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
    !text.is_empty() && text.bytes().all(is_allowed)
}

/// The content of a JSON text that is one string.
fn string(json: &str) -> Option<String> {
    let json = json.trim_ascii_start();
    json.starts_with('"')
        .then(|| serde_json::from_str(json).ok())?
}
