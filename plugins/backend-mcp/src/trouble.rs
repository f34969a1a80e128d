//! Why a server did not answer a request, or answered with an error, in the gateway's words.
//!
//! Messages name the backend and never its address: the model reads them.

use cortex_plugin_sdk::backend::code;
use cortex_plugin_sdk::json::Members;
use cortex_plugin_sdk::prelude::*;
use cortex_plugin_sdk::sse::Broken;

use crate::challenge::Refused;
use crate::settings::{Credential, Settings};
use crate::wire::RpcError;

/// Longest text of a server that is passed on in an error.
const MAX_TEXT: usize = 1_000;

/// Unknown method (JSON-RPC 2.0).
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
/// Wrong parameters (JSON-RPC 2.0); unknown tool, prompt or resource, too (MCP 2026-07-28).
pub(crate) const INVALID_PARAMS: i64 = -32602;
/// Something went wrong (JSON-RPC 2.0).
pub(crate) const INTERNAL_ERROR: i64 = -32603;
/// No such resource (MCP 2025-11-25 and before).
const RESOURCE_NOT_FOUND: i64 = -32002;
/// The client cannot be asked for something that is needed (MCP 2026-07-28).
const MISSING_CAPABILITY: i64 = -32021;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The exchange failed.
    Http(http::HttpError),
    /// 401 or 403: it wants credentials, or others.
    Refused(Refused),
    /// Another HTTP error, without a JSON-RPC message.
    Status(u16),
    /// What answered does not speak MCP as it should; carries what it did.
    Garbage(String),
    /// It did not take the request as one of its era.
    OtherEra(String),
}

impl From<http::HttpError> for Trouble {
    fn from(error: http::HttpError) -> Self {
        Self::Http(error)
    }
}

impl From<Broken> for Trouble {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Http(error) => Self::Http(error),
            other => Self::Garbage(format!("its events cannot be read: {other}")),
        }
    }
}

impl Trouble {
    /// What the gateway is told.
    pub(crate) fn tell(self, target: &Target) -> CallError {
        use http::HttpError as E;
        let id = &target.id;
        let unavailable = |why: &str| {
            let message = format!("Backend {id} is unavailable: {why}");
            CallError::failed(code::UNAVAILABLE, message)
        };
        match self {
            Self::Http(E::Timeout(limit)) => CallError::failed(
                code::TIMEOUT,
                format!("Backend {id} timed out after {limit}ms"),
            ),
            Self::Http(E::ConnectionFailed(why)) => unavailable(&why),
            Self::Http(E::ResponseTooLarge(limit)) => CallError::failed(
                code::ERROR,
                format!("Backend {id} answered with more than {limit} bytes: ask for less"),
            ),
            Self::Http(E::LimitExceeded(which)) => CallError::failed(
                code::ERROR,
                format!("Backend {id}: a limit is used up: {which}"),
            ),
            // What these carry may be an address. It is for the operator.
            Self::Http(
                E::OriginNotGranted(what)
                | E::InvalidRequest(what)
                | E::CredentialRefused(what)
                | E::Other(what),
            ) => {
                log::error(format!("backend {id}: request refused: {what}"));
                unavailable("the gateway refused to send the request")
            }
            Self::Refused(refused) => tell_refused(refused, target),
            Self::Status(status) => unavailable(&format!("it answered HTTP {status}")),
            Self::Garbage(what) => unavailable(&format!("its answer is not MCP: {what}")),
            Self::OtherEra(what) => unavailable(&format!(
                "it speaks no revision of MCP that this gateway speaks: {what}"
            )),
        }
    }
}

/// 401: with an account it wants one, or another. 403: it knows who it is, and says no; more scopes
/// may help, if it says so.
fn tell_refused(refused: Refused, target: &Target) -> CallError {
    let id = &target.id;
    let credential = Settings::of(target).map(|settings| settings.credential);
    match (credential, refused) {
        (
            Ok(Credential::Account),
            Refused {
                status: 401,
                scopes,
            },
        ) => CallError::link_required(scopes.unwrap_or_default()),
        (
            Ok(Credential::Account),
            Refused {
                scopes: Some(scopes),
                ..
            },
        ) => CallError::link_required(scopes),
        (
            Ok(Credential::Caller),
            Refused {
                scopes: Some(scopes),
                ..
            },
        ) if !scopes.is_empty() => CallError::missing_scope(scopes, id.as_str()),
        (_, Refused { status: 401, .. }) => CallError::failed(
            code::AUTH,
            format!("Backend {id} auth failed: it does not accept what it is shown (HTTP 401)"),
        ),
        (_, Refused { status, .. }) => CallError::failed(
            code::ACL,
            format!("Backend {id} does not allow this (HTTP {status})"),
        ),
    }
}

/// What was asked for, to make sense of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted<'a> {
    /// A tool or a prompt of this name.
    Named(&'a str),
    /// A resource with this URI.
    Resource(&'a str),
    /// Something else.
    Else,
}

impl RpcError {
    /// What the gateway is told.
    pub(crate) fn tell(&self, target: &Target, wanted: Wanted<'_>) -> CallError {
        let said = readable(&self.message);
        match (self.code, wanted) {
            (METHOD_NOT_FOUND, _) => CallError::Unsupported,
            (RESOURCE_NOT_FOUND, Wanted::Resource(uri)) => CallError::not_found(uri),
            (INVALID_PARAMS, Wanted::Resource(uri)) if self.means_no_resource() => {
                CallError::not_found(uri)
            }
            (INVALID_PARAMS, Wanted::Named(name)) if self.means_unknown() => {
                CallError::not_found(name)
            }
            (INVALID_PARAMS, _) => CallError::invalid_arguments(said),
            (MISSING_CAPABILITY, _) => {
                let message = format!("Backend {} needs more of the client: {said}", target.id);
                let error = CallError::failed(code::CAPABILITY, message);
                match self.required_capabilities() {
                    Some(needed) => {
                        error.with_meta(format!(r#"{{"requiredCapabilities":{needed}}}"#))
                    }
                    None => error,
                }
            }
            (code, _) => CallError::failed(
                code::ERROR,
                format!("Backend {} answered with error {code}: {said}", target.id),
            )
            .with_meta(format!(r#"{{"cortex/backendError":{{"code":{code}}}}}"#)),
        }
    }

    /// MCP 2026-07-28, Resources, "Error Handling": −32602 with the URI in `data`.
    fn means_no_resource(&self) -> bool {
        let data = self.data.as_deref();
        let uri = data.and_then(|data| Members::parse(data).ok()?.text("uri").ok()?);
        uri.is_some() || self.message.to_ascii_lowercase().contains("not found")
    }

    /// Tools and prompts have no better sign of it than the words of the specification's examples.
    fn means_unknown(&self) -> bool {
        let said = self.message.to_ascii_lowercase();
        said.starts_with("unknown tool")
            || said.starts_with("unknown prompt")
            || (said.starts_with("tool ") || said.starts_with("prompt "))
                && said.contains("not found")
    }

    fn required_capabilities(&self) -> Option<String> {
        let data = self.data.as_deref()?;
        Members::parse(data)
            .ok()?
            .object("requiredCapabilities")
            .ok()?
    }
}

/// A server's words for the model to read: bounded, on one line, without addresses.
fn readable(text: &str) -> String {
    let cut: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_TEXT)
        .collect();
    let words = cut.split(' ').map(|word| {
        if word.contains("://") {
            "[address]"
        } else {
            word
        }
    });
    let said = words.collect::<Vec<_>>().join(" ");
    if said.trim().is_empty() {
        "it gave no reason".into()
    } else {
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_plugin_sdk::testing;

    fn error(code: i64, message: &str, data: Option<&str>) -> RpcError {
        RpcError {
            code,
            message: message.into(),
            data: data.map(Into::into),
        }
    }

    #[test]
    fn errors_of_the_protocol_keep_their_meaning() {
        let target = testing::target();
        let check = |error: RpcError, wanted: Wanted<'_>, expected: CallError| {
            assert_eq!(error.tell(&target, wanted), expected, "{error:?}");
        };
        let (tool, resource) = (Wanted::Named("t"), Wanted::Resource("x:y"));
        check(error(-32601, "", None), tool, CallError::Unsupported);
        check(
            error(-32602, "Unknown tool: t", None),
            tool,
            CallError::not_found("t"),
        );
        check(
            error(-32602, "Tool t not found", None),
            tool,
            CallError::not_found("t"),
        );
        check(
            error(-32602, "`n` is missing", None),
            tool,
            CallError::invalid_arguments("`n` is missing"),
        );
        check(
            error(-32602, "no", Some(r#"{"uri":"x:y"}"#)),
            resource,
            CallError::not_found("x:y"),
        );
        check(
            error(-32002, "", None),
            resource,
            CallError::not_found("x:y"),
        );
        check(
            error(-32002, "", None),
            tool,
            CallError::failed(
                code::ERROR,
                "Backend docs answered with error -32002: it gave no reason",
            )
            .with_meta(r#"{"cortex/backendError":{"code":-32002}}"#),
        );
        check(
            error(
                -32021,
                "no",
                Some(r#"{"requiredCapabilities":{"sampling":{}}}"#),
            ),
            tool,
            CallError::failed(
                code::CAPABILITY,
                "Backend docs needs more of the client: no",
            )
            .with_meta(r#"{"requiredCapabilities":{"sampling":{}}}"#),
        );
    }

    #[test]
    fn a_servers_words_are_bounded_and_name_no_address() {
        assert_eq!(
            readable("cannot reach http://10.0.0.1/x\r\nnow"),
            "cannot reach [address]  now"
        );
        assert_eq!(readable(&"x".repeat(5000)).len(), MAX_TEXT);
        assert_eq!(readable(" \n"), "it gave no reason");
    }
}
