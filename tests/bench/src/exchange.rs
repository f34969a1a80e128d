//! The requests that are measured, byte for byte, and what their answers must hold.

use bytes::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::check::contains;

/// Scopes of a caller: those of the backends, and what the hostile and the relaying ones want.
pub(crate) const SCOPES: &str =
    "mcp:bench:read mcp:native:use mcp:old:use mcp:mischief:use mcp:relay:write";
/// The revision that most of the load speaks.
pub(crate) const LEGACY: &str = "2025-11-25";
/// The one after it, which knows no sessions.
pub(crate) const MODERN: &str = "2026-07-28";

/// Makes arguments about as long as those of an ordinary search.
const PADDING: &str = "quarterly report of the northern region, drafts included, newest first, \
                       no more than twenty, with the names of their authors and reviewers";
/// What a modern request says of itself.
const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"cortex-bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;

/// What one call sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// What the gateway's adapter sends a backend for [`Exchange::Call`].
    Contract,
    /// MCP `tools/call` of the backend's `echo`, in the legacy era.
    Call,
    /// The same in the modern era.
    ModernCall,
    /// MCP `tools/list`.
    List,
    /// The same, within 2,000 tokens.
    ShortList,
    /// What a backend answers `list_tools`.
    RawList,
    /// `initialize`, which begins a session each time.
    Initialize,
    /// `server/discover`.
    Discover,
    /// MCP `tools/call` of `echo` of a native MCP server of this name.
    Native(&'static str),
    /// What the gateway's adapter sends that server.
    RawNative,
    /// MCP `tools/call` of a tool whose result has so many KiB.
    Fill(u32),
    /// What the gateway's adapter sends a backend for it.
    RawFill(u32),
    /// MCP `tools/call` of the tool `relay` of the backend of this name, which passes on what is sent for
    /// [`Exchange::Contract`].
    Relay(&'static str),
    /// MCP `tools/call` of this tool of the backend `bad`, whatever comes of it.
    Deed(&'static str),
}

impl Exchange {
    /// Whether the peer wants `initialize` first.
    pub(crate) fn has_session(self) -> bool {
        !self.is_raw() && !self.is_modern() && self != Self::Initialize
    }

    /// Whether it is made for what lies behind the gateway.
    pub(crate) fn is_raw(self) -> bool {
        matches!(
            self,
            Self::Contract | Self::RawList | Self::RawFill(_) | Self::RawNative
        )
    }

    fn is_modern(self) -> bool {
        matches!(self, Self::ModernCall | Self::Discover | Self::RawNative)
    }

    /// Path that is posted to.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Contract | Self::RawList | Self::RawFill(_) => "/api/cortex/backend",
            _ => "/mcp",
        }
    }

    /// Header fields of every call, in the order in which they are sent. `Authorization` comes on top.
    pub(crate) fn headers(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut add = |name: &'static str, value: &'static str| {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        };
        add(CONTENT_TYPE.as_str(), "application/json");
        if self.path() == "/mcp" {
            add(ACCEPT.as_str(), "application/json, text/event-stream");
            if self.is_modern() {
                add("mcp-protocol-version", MODERN);
                match self {
                    Self::Discover => add("mcp-method", "server/discover"),
                    _ => add("mcp-method", "tools/call"),
                }
            } else if self != Self::Initialize {
                add("mcp-protocol-version", LEGACY);
            }
            match self {
                Self::ModernCall => add("mcp-name", "bench_echo"),
                Self::RawNative => add("mcp-name", "echo"),
                Self::ShortList => add("x-cortex-context-budget", "2000"),
                _ => {}
            }
        } else {
            add("x-cortex-user-id", "user-0");
            add("x-cortex-user-email", "user-0@example.org");
            add("x-cortex-user-role", "user");
            add("x-cortex-user-pool", "");
            add("x-cortex-scopes", SCOPES);
        }
        headers
    }

    /// Body of call number `n`. Bodies of one kind are all of one length.
    pub(crate) fn body(self, n: u64) -> Bytes {
        let (id, text) = (id(n), text(n));
        let call = |tool: &str, arguments: String, more: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":"{id}","method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}{more}}}}}"#
            )
        };
        let echo = || format!(r#"{{"text":"{text} {PADDING}"}}"#);
        let fill = |kib: u32| format!(r#"{{"text":"{text} {PADDING}","kib":{kib}}}"#);
        Bytes::from(match self {
            Self::Contract => format!(r#"{{"method":"echo","params":{}}}"#, echo()),
            Self::Call => call("bench_echo", echo(), ""),
            Self::ModernCall => call("bench_echo", echo(), &format!(",{META}")),
            Self::Native(server) => call(&format!("{server}_echo"), echo(), ""),
            Self::RawNative => call("echo", echo(), &format!(",{META}")),
            Self::Fill(kib) => call("bench_fill", fill(kib), ""),
            Self::RawFill(kib) => format!(r#"{{"method":"fill","params":{}}}"#, fill(kib)),
            Self::List | Self::ShortList => {
                format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"tools/list"}}"#)
            }
            Self::RawList => r#"{"method":"list_tools"}"#.to_owned(),
            Self::Initialize => initialize(&id),
            Self::Discover => format!(
                r#"{{"jsonrpc":"2.0","id":"{id}","method":"server/discover","params":{{{META}}}}}"#
            ),
            Self::Relay(backend) => call(
                &format!("{backend}_relay"),
                format!(r#"{{"method":"echo","params":{}}}"#, echo()),
                "",
            ),
            Self::Deed(tool) => call(&format!("bad_{tool}"), "{}".to_owned(), ""),
        })
    }

    /// Whether `body` answers call number `n`, and no other.
    pub(crate) fn is_answered_by(self, n: u64, body: &[u8]) -> bool {
        let has = |text: &str| contains(body, text.as_bytes());
        let echoes = || has(&text(n)) && has(PADDING);
        let is_good = || has(&id(n)) && !has(r#""isError":true"#);
        match self {
            Self::Contract => echoes(),
            Self::Call | Self::ModernCall | Self::Relay(_) | Self::Native(_) | Self::RawNative => {
                is_good() && echoes()
            }
            Self::RawFill(kib) => echoes() && body.len() >= kib as usize * 1024,
            Self::Fill(kib) => is_good() && echoes() && body.len() >= kib as usize * 1024,
            Self::Deed(_) => true,
            Self::List => has(&id(n)) && has(r#""bench_echo""#),
            Self::ShortList => has(&id(n)) && has(r#""whoami""#),
            Self::Initialize => has(&id(n)) && has(LEGACY),
            Self::Discover => has(&id(n)) && has(MODERN),
            // Nothing in it tells one answer from another.
            Self::RawList => has(r#""echo""#),
        }
    }
}

/// The beginning of a session.
pub(crate) fn initialize(id: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":"{id}","method":"initialize","params":{{"protocolVersion":"{LEGACY}","capabilities":{{}},"clientInfo":{{"name":"cortex-bench","version":"1"}}}}}}"#
    )
}

/// A request for a stream of notifications when the list of tools has changed.
pub(crate) fn listen() -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":"stream","method":"subscriptions/listen","params":{{"notifications":{{"toolsListChanged":true}},{META}}}}}"#
    )
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
            ]
        );
    }

    #[test]
    fn bodies_are_json_of_one_length() {
        for exchange in [
            Exchange::Contract,
            Exchange::Call,
            Exchange::ModernCall,
            Exchange::List,
            Exchange::RawList,
            Exchange::Initialize,
            Exchange::Discover,
            Exchange::Native("native"),
            Exchange::RawNative,
            Exchange::Fill(64),
            Exchange::RawFill(64),
            Exchange::Relay("rust"),
            Exchange::Deed("spin"),
        ] {
            let (first, later) = (exchange.body(0), exchange.body(9_999_999));
            assert_eq!(first.len(), later.len());
            serde_json::from_slice::<serde_json::Value>(&later).unwrap();
        }
        serde_json::from_str::<serde_json::Value>(&listen()).unwrap();
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
        let failed = format!(r#"{result},"isError":true"#);
        for exchange in [Exchange::Call, Exchange::ModernCall, Exchange::RawNative] {
            check(exchange, 7, &result, true);
            check(exchange, 8, &result, false);
            check(exchange, 7, &result.replace("call-", "lost-"), false);
            check(exchange, 7, &failed, false);
        }
        check(Exchange::Fill(1), 7, &result, false);
        let filled = format!("{result}{}", "x".repeat(1024));
        check(Exchange::Fill(1), 7, &filled, true);

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
