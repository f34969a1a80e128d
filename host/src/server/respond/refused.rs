//! What each refusal is told as: status, JSON-RPC code, data and challenge.

use http::StatusCode;
use serde_json::{Value, json};
use tracing::error;

use crate::config::Config;
use crate::mcp::jsonrpc::code;
use crate::mcp::version::ProtocolVersion;
use crate::pipeline::Refusal;
use crate::server::challenge;
use crate::streams::NoStream;

/// What a refusal becomes.
pub(super) struct Told {
    pub(super) status: StatusCode,
    pub(super) code: i32,
    pub(super) message: String,
    pub(super) data: Option<Value>,
    pub(super) challenge: Option<String>,
}

/// What a refusal becomes, by the rules of an era.
pub(super) fn tell(config: &Config, modern: bool, refusal: &Refusal) -> Told {
    let told = |status, code| Told {
        status,
        code,
        message: refusal.to_string(),
        data: None,
        challenge: None,
    };
    match refusal {
        Refusal::ForbiddenOrigin | Refusal::ForbiddenHost => {
            told(StatusCode::FORBIDDEN, code::REFUSED)
        }
        Refusal::BadHost => told(StatusCode::BAD_REQUEST, code::REFUSED),
        Refusal::TooOften { .. } => told(StatusCode::TOO_MANY_REQUESTS, code::REFUSED),
        Refusal::TooManyAtOnce => told(StatusCode::TOO_MANY_REQUESTS, code::REFUSED),
        Refusal::Overloaded | Refusal::Unrecordable => {
            told(StatusCode::SERVICE_UNAVAILABLE, code::REFUSED)
        }
        Refusal::UnknownLegacyVersion(_) => told(StatusCode::BAD_REQUEST, code::INVALID_REQUEST),
        Refusal::UnsupportedVersion(requested) => Told {
            data: Some(
                json!({ "supported": ProtocolVersion::SERVED.map(ProtocolVersion::as_str), "requested": requested }),
            ),
            ..told(StatusCode::BAD_REQUEST, code::UNSUPPORTED_VERSION)
        },
        Refusal::HeaderMismatch(_) => told(StatusCode::BAD_REQUEST, code::HEADER_MISMATCH),
        Refusal::MissingMeta(_) => told(StatusCode::BAD_REQUEST, code::INVALID_PARAMS),
        Refusal::Unauthenticated => Told {
            challenge: Some(challenge::nothing_presented(config)),
            ..told(StatusCode::UNAUTHORIZED, code::REFUSED)
        },
        Refusal::BadAuthorization(why) => Told {
            challenge: Some(challenge::invalid_request(config, why)),
            ..told(StatusCode::BAD_REQUEST, code::REFUSED)
        },
        Refusal::InvalidToken(why) => Told {
            challenge: Some(challenge::invalid_token(config, why)),
            ..told(StatusCode::UNAUTHORIZED, code::REFUSED)
        },
        Refusal::TokenUnchecked => told(StatusCode::SERVICE_UNAVAILABLE, code::REFUSED),
        // More scopes would not help, so there is no challenge.
        Refusal::OtherPool => told(StatusCode::FORBIDDEN, code::REFUSED),
        Refusal::NotJsonType => told(StatusCode::UNSUPPORTED_MEDIA_TYPE, code::INVALID_REQUEST),
        Refusal::BodyTooLarge(_) => told(StatusCode::PAYLOAD_TOO_LARGE, code::INVALID_REQUEST),
        Refusal::BodyTooSlow => told(StatusCode::REQUEST_TIMEOUT, code::INVALID_REQUEST),
        Refusal::BodyBroken => told(StatusCode::BAD_REQUEST, code::INVALID_REQUEST),
        Refusal::NotJson(_) => told(StatusCode::BAD_REQUEST, code::PARSE_ERROR),
        Refusal::InvalidMessage(_) => told(StatusCode::BAD_REQUEST, code::INVALID_REQUEST),
        Refusal::Cancelled => told(StatusCode::OK, code::REFUSED),
        Refusal::NoStream(NoStream::TooManyOfCaller) => {
            told(StatusCode::TOO_MANY_REQUESTS, code::REFUSED)
        }
        Refusal::NoStream(_) => told(StatusCode::SERVICE_UNAVAILABLE, code::REFUSED),
        Refusal::SessionRequired => told(StatusCode::BAD_REQUEST, code::INVALID_REQUEST),
        // Has no JSON-RPC form: nobody sent a JSON-RPC message.
        Refusal::NotThisWay(_) => told(StatusCode::METHOD_NOT_ALLOWED, code::REFUSED),
        Refusal::UnknownSession => told(StatusCode::NOT_FOUND, code::SESSION_NOT_FOUND),
        // MCP 2026-07-28 wants 404; legacy clients take any other status than 200 for a broken server.
        Refusal::UnknownMethod(_) => told(
            if modern {
                StatusCode::NOT_FOUND
            } else {
                StatusCode::OK
            },
            code::METHOD_NOT_FOUND,
        ),
        Refusal::InvalidParams(_) | Refusal::UnknownTool(_) | Refusal::UnknownPrompt(_) => {
            told(StatusCode::OK, code::INVALID_PARAMS)
        }
        Refusal::UnknownResource(uri) => Told {
            data: Some(json!({ "uri": uri })),
            ..told(
                StatusCode::OK,
                if modern {
                    code::INVALID_PARAMS
                } else {
                    code::RESOURCE_NOT_FOUND
                },
            )
        },
        Refusal::Failed { code, meta, .. } => {
            let meta = meta.as_deref().and_then(|m| serde_json::from_str(m).ok());
            let mut data = meta.filter(Value::is_object).unwrap_or_else(|| json!({}));
            data["reason"] = code.as_str().into();
            Told {
                data: Some(data),
                ..told(StatusCode::OK, code::INTERNAL_ERROR)
            }
        }
        Refusal::MissingCapability { required } => Told {
            data: Some(json!({ "requiredCapabilities": required })),
            ..told(StatusCode::BAD_REQUEST, code::MISSING_CAPABILITY)
        },
        Refusal::LinkRequired { elicitations, .. } => Told {
            data: Some(json!({ "elicitations": elicitations })),
            ..told(StatusCode::OK, code::URL_ELICITATION_REQUIRED)
        },
        Refusal::InsufficientScope { required, granted } => Told {
            message: "Insufficient scope".to_owned(),
            data: Some(json!({ "required": required, "granted": granted })),
            challenge: Some(challenge::insufficient_scope(config, required)),
            ..told(StatusCode::FORBIDDEN, code::INTERNAL_ERROR)
        },
        Refusal::BackendRefusedScope { required, method } => Told {
            message: "Backend refused scope".to_owned(),
            data: Some(json!({ "required": required, "method": method })),
            challenge: Some(challenge::insufficient_scope(config, required)),
            ..told(StatusCode::FORBIDDEN, code::INTERNAL_ERROR)
        },
        Refusal::Denied(_) => told(StatusCode::OK, code::INTERNAL_ERROR),
        // Which plugin and what kind of trouble; the detail is for the log.
        Refusal::Plugin(fault) => Told {
            message: format!(
                "The gateway's plugin `{}` failed; the operator can find out why",
                fault.plugin
            ),
            data: Some(json!({ "plugin": fault.plugin, "reason": fault.cause.code() })),
            ..told(StatusCode::OK, code::INTERNAL_ERROR)
        },
        Refusal::Internal(detail) => {
            error!(detail, "internal error");
            told(StatusCode::OK, code::INTERNAL_ERROR)
        }
    }
}
