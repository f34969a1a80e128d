//! The requests that are measured, byte for byte, and what their answers must hold.

use bytes::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::check::contains;

/// The token of the dev bypass, and so the one that a backend sees as the caller's.
pub(crate) const DEV_TOKEN: &str = "bench-dev-token-0123456789abcdef0123456789";
/// The scope of the backend that is measured.
pub(crate) const SCOPE: &str = "mcp:bench:read";
/// All scopes of a caller.
pub(crate) const SCOPES: &str = "mcp:bench:read mcp:mischief:use mcp:relay:write";
/// The revision that the load speaks.
pub(crate) const PROTOCOL_VERSION: &str = "2025-11-25";

/// Makes arguments about as long as those of an ordinary search.
const PADDING: &str = "quarterly report of the northern region, drafts included, newest first, \
                       no more than twenty, with the names of their authors and reviewers";

/// What one call sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// What the gateway's adapter sends a backend for [`Exchange::Call`].
    Contract,
    /// MCP `tools/call` of the backend's `echo`.
    Call,
    /// MCP `tools/list`.
    List,
    /// The same, each time by a caller never seen before.
    ColdList,
    /// The same, within 2,000 tokens.
    ShortList,
    /// What a backend answers `list_tools`.
    RawList,
    /// MCP `tools/call` of the tool `relay` of the backend of this name, which passes on what is sent for
    /// [`Exchange::Contract`].
    Relay(&'static str),
    /// MCP `tools/call` of this tool of the backend `bad`, whatever comes of it.
    Deed(&'static str),
}

impl Exchange {
    /// Whether the peer is an MCP server, which wants `initialize` first.
    pub(crate) fn is_mcp(self) -> bool {
        !matches!(self, Self::Contract | Self::RawList)
    }

    /// Whether each call is another caller's.
    pub(crate) fn is_cold(self) -> bool {
        self == Self::ColdList
    }

    /// Path that is posted to.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Contract | Self::RawList => "/api/cortex/backend",
            _ => "/mcp",
        }
    }

    /// Header fields of every call, in the order in which they are sent.
    pub(crate) fn headers(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut add = |name: HeaderName, value: &'static str| {
            headers.append(name, HeaderValue::from_static(value));
        };
        add(CONTENT_TYPE, "application/json");
        if self.is_mcp() {
            add(ACCEPT, "application/json, text/event-stream");
            add(
                HeaderName::from_static("mcp-protocol-version"),
                PROTOCOL_VERSION,
            );
            if !self.is_cold() {
                add(HeaderName::from_static("x-dev-mode"), DEV_TOKEN);
            }
            if self == Self::ShortList {
                add(HeaderName::from_static("x-cortex-context-budget"), "2000");
            }
        } else {
            add(HeaderName::from_static("x-cortex-user-id"), "dev:local");
            add(
                HeaderName::from_static("x-cortex-user-email"),
                "dev@localhost",
            );
            add(HeaderName::from_static("x-cortex-user-role"), "admin");
            add(HeaderName::from_static("x-cortex-user-pool"), "");
            add(HeaderName::from_static("x-cortex-scopes"), SCOPE);
            add(
                AUTHORIZATION,
                "Bearer bench-dev-token-0123456789abcdef0123456789",
            );
        }
        headers
    }

    /// Body of call number `n`. Bodies of one kind are all of one length.
    pub(crate) fn body(self, n: u64) -> Bytes {
        let (id, text) = (id(n), text(n));
        Bytes::from(match self {
            Self::Contract => {
                format!(r#"{{"method":"echo","params":{{"text":"{text} {PADDING}"}}}}"#)
            }
            Self::Call => format!(
                r#"{{"jsonrpc":"2.0","id":"{id}","method":"tools/call","params":{{"name":"bench_echo","arguments":{{"text":"{text} {PADDING}"}}}}}}"#
            ),
            Self::List | Self::ColdList | Self::ShortList => {
                format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"tools/list"}}"#)
            }
            Self::RawList => r#"{"method":"list_tools"}"#.to_owned(),
            Self::Relay(backend) => format!(
                r#"{{"jsonrpc":"2.0","id":"{id}","method":"tools/call","params":{{"name":"{backend}_relay","arguments":{{"method":"echo","params":{{"text":"{text} {PADDING}"}}}}}}}}"#
            ),
            Self::Deed(tool) => format!(
                r#"{{"jsonrpc":"2.0","id":"{id}","method":"tools/call","params":{{"name":"bad_{tool}","arguments":{{}}}}}}"#
            ),
        })
    }

    /// Whether `body` answers call number `n`, and no other.
    pub(crate) fn is_answered_by(self, n: u64, body: &[u8]) -> bool {
        let has = |text: &str| contains(body, text.as_bytes());
        match self {
            Self::Contract => has(&text(n)) && has(PADDING),
            Self::Call | Self::Relay(_) => {
                has(&id(n)) && has(&text(n)) && has(PADDING) && !has(r#""isError":true"#)
            }
            Self::Deed(_) => true,
            Self::List | Self::ColdList => has(&id(n)) && has(r#""bench_echo""#),
            Self::ShortList => has(&id(n)) && has(r#""whoami""#),
            // Nothing in it tells one answer from another.
            Self::RawList => has(r#""echo""#),
        }
    }
}

/// JSON-RPC id of a call; a string, so that it is found in the answer by its bytes.
fn id(n: u64) -> String {
    format!("call-{n:010}")
}

/// What the tool is to return.
fn text(n: u64) -> String {
    format!("text-{n:010}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_carries_what_the_adapter_would_send() {
        let headers = Exchange::Contract.headers();
        assert_eq!(headers[AUTHORIZATION], format!("Bearer {DEV_TOKEN}"));
        let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(
            names,
            [
                "content-type",
                "x-cortex-user-id",
                "x-cortex-user-email",
                "x-cortex-user-role",
                "x-cortex-user-pool",
                "x-cortex-scopes",
                "authorization"
            ]
        );
    }

    #[test]
    fn bodies_are_json_of_one_length() {
        for exchange in [
            Exchange::Contract,
            Exchange::Call,
            Exchange::List,
            Exchange::RawList,
            Exchange::Relay("rust"),
            Exchange::Deed("spin"),
        ] {
            let (first, later) = (exchange.body(0), exchange.body(9_999_999));
            assert_eq!(first.len(), later.len());
            serde_json::from_slice::<serde_json::Value>(&later).unwrap();
        }
    }

    #[test]
    fn an_answer_to_another_call_is_wrong() {
        let check = |exchange: Exchange, n, body: &str, expected| {
            assert_eq!(
                exchange.is_answered_by(n, body.as_bytes()),
                expected,
                "{body}"
            );
        };
        let echo = format!(r#"{{"text":"text-0000000007 {PADDING}"}}"#);
        check(Exchange::Contract, 7, &echo, true);
        check(Exchange::Contract, 8, &echo, false);

        let result =
            format!(r#"{{"id":"call-0000000007","result":{{"text-0000000007 {PADDING}"}}}}"#);
        check(Exchange::Call, 7, &result, true);
        check(Exchange::Call, 8, &result, false);
        check(Exchange::Call, 7, &result.replace("call-", "lost-"), false);
        check(
            Exchange::Call,
            7,
            &format!(r#"{result},"isError":true"#),
            false,
        );

        let list = r#"{"id":"call-0000000007","result":{"tools":[{"name":"bench_echo"}]}}"#;
        check(Exchange::List, 7, list, true);
        check(
            Exchange::List,
            7,
            &list.replace("bench_echo", "whoami"),
            false,
        );
    }
}
