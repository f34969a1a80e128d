//! Parameters of the methods the gateway serves.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json;

/// `_meta` key of the protocol version (modern era).
pub const META_PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// `_meta` key of the client's capabilities (modern era).
pub const META_CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// `_meta` key of the least severe log message that a request wants (modern era).
pub const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// `_meta` key of the client's name and version (modern era).
pub const META_CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// `_meta` key of the subscription that a message belongs to (modern era).
pub const META_SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// `_meta` key of the server's name and version in every modern result.
pub const META_SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// A request's `_meta`, member by member, values untouched.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Meta(pub BTreeMap<String, Box<RawValue>>);

impl Meta {
    /// A member that is a string.
    pub fn text(&self, key: &str) -> Option<String> {
        self.0
            .get(key)
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// Whether a member is an object.
    pub fn has_object(&self, key: &str) -> bool {
        self.0
            .get(key)
            .is_some_and(|raw| raw.get().starts_with('{'))
    }

    /// What the owner of a tool gets of it: everything but the members that were meant for
    /// the gateway, which is the server of this hop. `trace`: members that take the place of those
    /// that say which trace the request is a part of.
    pub fn for_backend(&self, trace: &[(&'static str, String)]) -> String {
        if self.0.is_empty() && trace.is_empty() {
            return "{}".to_owned();
        }
        let mut kept: BTreeMap<_, _> = self
            .0
            .iter()
            .filter(|(key, _)| {
                !key.starts_with("io.modelcontextprotocol/") && *key != "progressToken"
            })
            .map(|(key, value)| (key.as_str(), Cow::Borrowed(&**value)))
            .collect();
        if !trace.is_empty() {
            kept.remove("tracestate");
        }
        for (key, value) in trace {
            if let Ok(value) = serde_json::value::to_raw_value(value) {
                kept.insert(key, Cow::Owned(value));
            }
        }
        serde_json::to_string(&kept).unwrap_or_else(|_| "{}".to_owned())
    }
}

/// The members of `params` that decide about routing; the rest is not looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Params {
    /// `tools/call`, `prompts/get`.
    pub name: Option<Box<RawValue>>,
    /// `resources/read`.
    pub uri: Option<Box<RawValue>>,
    /// `tools/call`, `prompts/get`.
    pub arguments: Option<Box<RawValue>>,
    /// Lists.
    pub cursor: Option<Box<RawValue>>,
    /// `initialize`.
    pub protocol_version: Option<Box<RawValue>>,
    /// `logging/setLevel` (legacy era).
    pub level: Option<Box<RawValue>>,
    /// A repeated request (MCP 2026-07-28, Multi Round-Trip Requests).
    pub request_state: Option<Box<RawValue>>,
    /// A repeated request, likewise. `null` is not the same as absent.
    #[serde(default, deserialize_with = "present")]
    pub input_responses: Option<Box<RawValue>>,
    /// Every method.
    #[serde(rename = "_meta")]
    pub meta: Option<Box<RawValue>>,
}

/// Keeps `null` apart from absent.
fn present<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(d).map(Some)
}

impl Params {
    /// Reads them from the raw parameters.
    ///
    /// # Errors
    /// A text saying what is wrong, such as a duplicated member, at whatever level.
    pub fn parse(raw: Option<&RawValue>) -> Result<Self, String> {
        let Some(raw) = raw else {
            return Ok(Self::default());
        };
        json::check_unique(raw.get())?;
        serde_json::from_str(raw.get()).map_err(|e| e.to_string())
    }

    /// `_meta`, empty when absent.
    ///
    /// # Errors
    /// A text saying what is wrong.
    pub fn meta(&self) -> Result<Meta, String> {
        match self.meta.as_deref() {
            None => Ok(Meta::default()),
            Some(raw) => {
                serde_json::from_str(raw.get()).map_err(|_| "`_meta` must be an object".to_owned())
            }
        }
    }
}

/// A raw value that is a string.
pub fn text(raw: Option<&RawValue>) -> Option<String> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_own_meta_stays_with_the_gateway() {
        let raw = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","progressToken":1,"app/x":{"y":1.0},"traceparent":"00-a"}}"#;
        let raw = RawValue::from_string(raw.to_owned()).expect("JSON");
        let meta = Params::parse(Some(&raw))
            .and_then(|p| p.meta())
            .expect("params");
        assert_eq!(
            meta.text(META_PROTOCOL_VERSION).as_deref(),
            Some("2026-07-28")
        );
        assert_eq!(
            meta.for_backend(&[]),
            r#"{"app/x":{"y":1.0},"traceparent":"00-a"}"#
        );
        assert_eq!(
            meta.for_backend(&[("traceparent", "00-b".to_owned())]),
            r#"{"app/x":{"y":1.0},"traceparent":"00-b"}"#
        );
    }

    #[test]
    fn duplicated_members_are_refused() {
        for text in [
            r#"{"name":"a","name":"b"}"#,
            r#"{"name":"a","arguments":{"x":{"y":1,"y":2}}}"#,
            r#"{"_meta":{"a":1,"a":1}}"#,
        ] {
            let raw = RawValue::from_string(text.to_owned()).expect("JSON");
            assert!(Params::parse(Some(&raw)).is_err(), "{text}");
        }
    }
}
