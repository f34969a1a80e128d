//! Answers to who is no MCP client: people with a browser, operators, probes, and whoever asks what
//! backends are asked.

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
    RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::refused::tell;
use super::{Reply, empty, with_body};
use crate::config::Config;
use crate::pipeline::{Contract, Refusal};

/// A JSON body.
fn json_body(status: StatusCode, value: &Value) -> Reply {
    with_body(status, value.to_string().into())
}

/// The answer to who is no MCP client, or is somewhere else.
pub(in crate::server) fn plainly_refused(refusal: &Refusal) -> Reply {
    let status = match refusal {
        Refusal::BadHost => StatusCode::BAD_REQUEST,
        _ => StatusCode::FORBIDDEN,
    };
    json_body(status, &json!({ "error": refusal.code() }))
}

/// No such path.
pub(in crate::server) fn not_found() -> Reply {
    json_body(StatusCode::NOT_FOUND, &json!({ "error": "not_found" }))
}

/// A path that does not take this method.
pub(in crate::server) fn method_not_allowed(allow: &'static str) -> Reply {
    let mut reply = json_body(
        StatusCode::METHOD_NOT_ALLOWED,
        &json!({ "error": "method_not_allowed" }),
    );
    reply
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allow));
    reply
}

/// Alive, or ready.
pub(in crate::server) fn health(ok: bool, detail: &Value) -> Reply {
    json_body(
        if ok {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        detail,
    )
}

/// What an operator asked for.
pub(in crate::server) fn admin(value: &Value) -> Reply {
    json_body(StatusCode::OK, value)
}

/// Whoever asks is no operator.
pub(in crate::server) fn admin_refused() -> Reply {
    json_body(StatusCode::FORBIDDEN, &json!({ "error": "forbidden" }))
}

/// An operator's request that makes no sense; says what is expected.
pub(in crate::server) fn admin_wrong(what: &str) -> Reply {
    json_body(StatusCode::BAD_REQUEST, &json!({ "error": what }))
}

/// An operator's request that cannot be carried out.
pub(in crate::server) fn admin_failed(why: &str) -> Reply {
    json_body(StatusCode::CONFLICT, &json!({ "error": why }))
}

/// Metrics, as Prometheus reads them.
pub(in crate::server) fn metrics(text: String) -> Reply {
    let mut reply = with_body(StatusCode::OK, text.into());
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}

/// A document that may be kept for this many seconds, by anybody.
pub(in crate::server) fn public_document(value: &Value, max_age: u32) -> Reply {
    let mut reply = json_body(StatusCode::OK, value);
    if let Ok(age) = HeaderValue::from_str(&format!("public, max-age={max_age}")) {
        reply.headers_mut().insert(CACHE_CONTROL, age);
    }
    reply
}

/// How a page came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Tone {
    /// As wished.
    Good,
    /// Whoever is in front of the browser asked for what cannot be.
    Wrong,
    /// Somebody else asked for it.
    Forbidden,
    /// There is no such thing.
    Missing,
    /// Something that the gateway needs does not work.
    Broken,
}

/// A page for people, with its `Content-Security-Policy`.
pub(in crate::server) fn page(tone: Tone, html: String, policy: &str) -> Reply {
    let status = match tone {
        Tone::Good => StatusCode::OK,
        Tone::Wrong => StatusCode::BAD_REQUEST,
        Tone::Forbidden => StatusCode::FORBIDDEN,
        Tone::Missing => StatusCode::NOT_FOUND,
        Tone::Broken => StatusCode::BAD_GATEWAY,
    };
    let mut reply = with_body(status, html.into());
    let headers = reply.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    reply
}

/// Sends a browser elsewhere, to be asked for with `GET`.
pub(in crate::server) fn see_other(place: &str) -> Reply {
    let mut reply = empty(StatusCode::SEE_OTHER);
    let headers = reply.headers_mut();
    if let Ok(place) = HeaderValue::from_str(place) {
        headers.insert(LOCATION, place);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // What leads on is in the URL.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    reply
}

/// A JSON answer to who came with an access token.
pub(in crate::server) fn json(value: &Value) -> Reply {
    json_body(StatusCode::OK, value)
}

/// What a contract backend answers (see `pipeline::contract`).
pub(in crate::server) fn contract(config: &Config, outcome: &Result<Contract, Refusal>) -> Reply {
    let error = |status, text: &str| json_body(status, &json!({ "error": text }));
    match outcome {
        Ok(Contract::Value(value)) => json(value),
        Ok(Contract::Failed(code, words)) => {
            let status = match code.as_str() {
                "backend_timeout" => StatusCode::GATEWAY_TIMEOUT,
                "backend_unavailable" => StatusCode::BAD_GATEWAY,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            json_body(status, &json!({ "error": words, "code": code }))
        }
        Ok(Contract::Unknown(_)) => error(StatusCode::NOT_FOUND, "unknown method"),
        Ok(Contract::Technical) => error(
            StatusCode::FORBIDDEN,
            "the technical token lists, and is no identity for anything else",
        ),
        Err(Refusal::InsufficientScope { required, .. })
        | Err(Refusal::BackendRefusedScope { required, .. }) => json_body(
            StatusCode::FORBIDDEN,
            &json!({ "error": "Insufficient scope", "required": required.to_strings() }),
        ),
        Err(refusal @ Refusal::Denied(_)) => error(StatusCode::FORBIDDEN, &refusal.to_string()),
        Err(refusal @ Refusal::Failed { .. }) => {
            error(StatusCode::UNPROCESSABLE_ENTITY, &refusal.to_string())
        }
        Err(
            refusal
            @ (Refusal::NotJson(_) | Refusal::InvalidMessage(_) | Refusal::InvalidParams(_)),
        ) => error(StatusCode::BAD_REQUEST, &refusal.to_string()),
        Err(Refusal::UnknownTool(_) | Refusal::UnknownPrompt(_) | Refusal::UnknownResource(_)) => {
            error(StatusCode::NOT_FOUND, "unknown method")
        }
        Err(refusal @ (Refusal::Plugin(_) | Refusal::Internal(_))) => {
            let told = tell(config, true, refusal);
            error(StatusCode::INTERNAL_SERVER_ERROR, &told.message)
        }
        Err(refusal) => refused_plainly(config, refusal),
    }
}

/// The refusal of a request that is no JSON-RPC message, with the challenge that goes with it.
pub(in crate::server) fn refused_plainly(config: &Config, refusal: &Refusal) -> Reply {
    let told = tell(config, true, refusal);
    let text = json!({ "error": refusal.code(), "message": told.message });
    let mut reply = json_body(told.status, &text);
    let challenge = told.challenge.map(|text| HeaderValue::from_str(&text));
    if let Some(Ok(challenge)) = challenge {
        reply.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    if let Refusal::TooOften { seconds } = refusal {
        reply.headers_mut().insert(RETRY_AFTER, (*seconds).into());
    }
    reply
}

/// The answer to a preflight request, or to nothing.
pub(in crate::server) fn no_content() -> Reply {
    empty(StatusCode::NO_CONTENT)
}
