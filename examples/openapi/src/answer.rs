//! What an app answered, for a model to read.
//!
//! Messages name the backend and never its address.

use cortex_plugin_sdk::backend::code;
use cortex_plugin_sdk::json;
use cortex_plugin_sdk::prelude::*;
use serde_json::value::RawValue;

/// Most characters of a reason that an app gives.
const MAX_REASON: usize = 1_000;

/// Why there was no answer.
pub(crate) fn none(target: &Target, error: http::HttpError) -> CallError {
    if let http::HttpError::OriginNotGranted(what) | http::HttpError::InvalidRequest(what) = &error
    {
        log::error(format!("backend {}: request refused: {what}", target.id));
    }
    error.into()
}

/// The result of a tool. `structured`: it has promised a JSON object.
pub(crate) fn read(
    target: &Target,
    response: http::Response,
    structured: bool,
) -> Result<Reply, CallError> {
    let status = response.status;
    match status {
        200..=299 => {}
        300..=399 => {
            let message = format!(
                "Backend {} is unavailable: it answered with a redirect (HTTP {status})",
                target.id
            );
            return Err(CallError::failed(code::UNAVAILABLE, message));
        }
        401 => {
            let message = "Backend auth failed: the token may have expired";
            return Err(CallError::failed(code::AUTH, message));
        }
        403 => {
            // The app has no contract with us that tells which scopes would help.
            let message = format!("Backend ACL denied: {}", reason(&response));
            return Err(CallError::failed(code::ACL, message));
        }
        _ => return Err(refused(&response)),
    }
    let is_object = response.is_json && response.body.trim_ascii_start().starts_with(b"{");
    if structured && !is_object {
        let message = format!(
            "Backend {} answered with something else than its OpenAPI document says (HTTP {status})",
            target.id
        );
        return Err(CallError::failed(code::ERROR, message));
    }
    Ok(content(response, is_object))
}

fn content(response: http::Response, is_object: bool) -> Reply {
    let status = response.status;
    if response.body.is_empty() {
        return Reply::text(format!("done (HTTP {status}, without content)"));
    }
    let mime = response.header("content-type").unwrap_or_default();
    let mime = mime.split(';').next().unwrap_or_default().trim();
    let mime = mime.to_ascii_lowercase();
    if mime != "image/svg+xml" && mime.starts_with("image/") {
        return Reply::new([Content::image(response.body, mime)]);
    }
    if mime.starts_with("audio/") {
        return Reply::new([Content::audio(response.body, mime)]);
    }
    match String::from_utf8(response.body) {
        Ok(text) if is_object => Reply::json(text),
        Ok(text) => Reply::text(text),
        Err(error) => {
            let size = error.as_bytes().len();
            let kind = if mime.is_empty() {
                "an unknown kind"
            } else {
                &*mime
            };
            Reply::text(format!(
                "done (HTTP {status}): the answer is {size} bytes of {kind}, which cannot be shown"
            ))
        }
    }
}

/// A status of 4xx or 5xx that is about the call, not about who calls.
fn refused(response: &http::Response) -> CallError {
    let status = response.status;
    let mut message = format!("Backend {status}: {}", reason(response));
    let wait = response
        .header("retry-after")
        .and_then(|text| text.parse::<u32>().ok());
    if let (429 | 503, Some(seconds)) = (status, wait) {
        message.push_str(&format!(" (try again in {seconds} s)"));
    }
    let error = CallError::failed(code::ERROR, message);
    match response.text() {
        Some(body) if response.is_json => error.with_meta(format!(
            r#"{{"cortex/backendError":{{"status":{status},"body":{body}}}}}"#
        )),
        _ => error,
    }
}

/// The reason that an error gives: the members of a problem (RFC 9457), or those that apps use in their
/// place, or a plain text.
fn reason(response: &http::Response) -> String {
    let text = response.text().unwrap_or_default();
    let found = match response.is_json {
        true => stated(text),
        false if is_plain(response) => Some(text.trim().to_owned()),
        false => None,
    };
    let found = found.filter(|reason| !reason.is_empty());
    let found = found.unwrap_or_else(|| "it gave no reason".into());
    match found.char_indices().nth(MAX_REASON) {
        Some((at, _)) => format!("{}…", &found[..at]),
        None => found,
    }
}

fn stated(body: &str) -> Option<String> {
    let member = |name: &str| {
        let raw = json::member::<Box<RawValue>>(body, name).ok().flatten()?;
        let text = serde_json::from_str::<String>(raw.get());
        let text = text.unwrap_or_else(|_| raw.get().to_owned());
        Some(text).filter(|text| !text.is_empty())
    };
    if !body.trim_ascii_start().starts_with('{') {
        return Some(
            serde_json::from_str::<String>(body).unwrap_or_else(|_| body.trim().to_owned()),
        );
    }
    let mut parts: Vec<String> = ["title", "detail"].into_iter().filter_map(member).collect();
    if parts.is_empty() {
        let others = ["message", "error_description", "error"];
        parts.extend(others.into_iter().find_map(member));
    }
    // Which arguments were wrong, where the app says so.
    parts.extend(
        ["errors", "invalid-params", "invalidParams"]
            .into_iter()
            .find_map(member),
    );
    (!parts.is_empty()).then(|| parts.join(": "))
}

fn is_plain(response: &http::Response) -> bool {
    let mime = response.header("content-type").unwrap_or_default();
    mime.trim_start().starts_with("text/plain")
}
