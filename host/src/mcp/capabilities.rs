//! What a client can be asked for while a request of its is served (MCP `ClientCapabilities`).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// The capabilities that decide about server-to-client requests. Everything else that a client
/// declares is of no use to a gateway and is not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCapabilities {
    /// Forms (`elicitation`, `elicitation.form`).
    pub form: bool,
    /// Links to open (`elicitation.url`, from 2025-11-25 on).
    pub url: bool,
    /// Questions to its model (`sampling`).
    pub sampling: bool,
    /// … that may offer tools (`sampling.tools`, from 2025-11-25 on).
    pub sampling_tools: bool,
    /// Its roots (`roots`).
    pub roots: bool,
}

/// A capability that was needed and not declared, as `requiredCapabilities` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// `elicitation.form`.
    Form,
    /// `elicitation.url`.
    Url,
    /// `sampling`.
    Sampling,
    /// `sampling.tools`.
    SamplingTools,
    /// `roots`.
    Roots,
}

impl ClientCapabilities {
    /// Reads a declaration. What is not an object declares nothing.
    pub fn parse(raw: Option<&RawValue>) -> Self {
        let declared: Map<String, Value> = raw
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default();
        let object = |name: &str| declared.get(name).and_then(Value::as_object);
        let has = |of: Option<&Map<String, Value>>, name: &str| {
            of.and_then(|of| of.get(name)).is_some_and(Value::is_object)
        };
        let elicitation = object("elicitation");
        let url = has(elicitation, "url");
        Self {
            // An empty object means forms (MCP, "Elicitation", Capabilities).
            form: elicitation.is_some() && (has(elicitation, "form") || !url),
            url,
            sampling: object("sampling").is_some(),
            sampling_tools: has(object("sampling"), "tools"),
            roots: object("roots").is_some(),
        }
    }

    /// As a declaration again (MCP `ClientCapabilities`).
    pub fn to_json(self) -> Value {
        let mut declared = Map::new();
        let mut elicitation = Map::new();
        if self.form {
            elicitation.insert("form".to_owned(), json!({}));
        }
        if self.url {
            elicitation.insert("url".to_owned(), json!({}));
        }
        if !elicitation.is_empty() {
            declared.insert("elicitation".to_owned(), elicitation.into());
        }
        if self.sampling {
            let tools = if self.sampling_tools {
                json!({ "tools": {} })
            } else {
                json!({})
            };
            declared.insert("sampling".to_owned(), tools);
        }
        if self.roots {
            declared.insert("roots".to_owned(), json!({}));
        }
        declared.into()
    }

    /// The same as text.
    pub fn to_text(self) -> String {
        match self == Self::default() {
            // Usual, and asked for with each call.
            true => "{}".to_owned(),
            false => self.to_json().to_string(),
        }
    }

    /// What of a server-to-client request was not declared, if anything.
    ///
    /// # Errors
    /// When it is no request that a client may be sent; carries its method.
    pub fn lacking(self, method: &str, params: &Value) -> Result<Option<Needed>, String> {
        let (declared, needed) = match method {
            "elicitation/create" if params["mode"] == "url" => (self.url, Needed::Url),
            "elicitation/create" => (self.form, Needed::Form),
            "sampling/createMessage" if !self.sampling => (false, Needed::Sampling),
            "sampling/createMessage"
                if params.get("tools").is_some() || params.get("toolChoice").is_some() =>
            {
                (self.sampling_tools, Needed::SamplingTools)
            }
            "sampling/createMessage" => (true, Needed::Sampling),
            "roots/list" => (self.roots, Needed::Roots),
            other => return Err(other.chars().take(64).collect()),
        };
        Ok((!declared).then_some(needed))
    }
}

impl Needed {
    /// As `ClientCapabilities` would declare it.
    pub fn to_json(self) -> Value {
        match self {
            Self::Form => json!({ "elicitation": { "form": {} } }),
            Self::Url => json!({ "elicitation": { "url": {} } }),
            Self::Sampling => json!({ "sampling": {} }),
            Self::SamplingTools => json!({ "sampling": { "tools": {} } }),
            Self::Roots => json!({ "roots": {} }),
        }
    }

    /// For a person or a model to read.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Form => "elicitation by forms",
            Self::Url => "elicitation by links",
            Self::Sampling => "sampling",
            Self::SamplingTools => "sampling with tools",
            Self::Roots => "roots",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ClientCapabilities {
        let raw = RawValue::from_string(text.to_owned()).expect("JSON");
        ClientCapabilities::parse(Some(&raw))
    }

    #[test]
    fn declarations_are_read_and_written() {
        for (declared, kept) in [
            ("{}", json!({})),
            ("[]", json!({})),
            (r#"{"elicitation":{}}"#, json!({"elicitation":{"form":{}}})),
            (
                r#"{"elicitation":{"url":{}}}"#,
                json!({"elicitation":{"url":{}}}),
            ),
            (
                r#"{"elicitation":{"url":{},"form":{}},"roots":{"listChanged":true},"x":1}"#,
                json!({"elicitation":{"form":{},"url":{}},"roots":{}}),
            ),
            (r#"{"elicitation":true,"sampling":null}"#, json!({})),
            (
                r#"{"sampling":{"tools":{}}}"#,
                json!({"sampling":{"tools":{}}}),
            ),
        ] {
            let read = parse(declared);
            assert_eq!(read.to_json(), kept, "{declared}");
            assert_eq!(parse(&kept.to_string()), read, "{declared}");
        }
    }

    #[test]
    fn what_was_not_declared_is_named() {
        let nothing = ClientCapabilities::default();
        let all =
            parse(r#"{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{}}"#);
        for (method, params, needed) in [
            ("elicitation/create", json!({}), Needed::Form),
            ("elicitation/create", json!({"mode":"url"}), Needed::Url),
            ("sampling/createMessage", json!({}), Needed::Sampling),
            ("roots/list", json!({}), Needed::Roots),
        ] {
            assert_eq!(nothing.lacking(method, &params), Ok(Some(needed)));
            assert_eq!(all.lacking(method, &params), Ok(None));
        }
        let plain = parse(r#"{"sampling":{}}"#);
        assert_eq!(
            plain.lacking("sampling/createMessage", &json!({"tools":[]})),
            Ok(Some(Needed::SamplingTools))
        );
        assert!(all.lacking("tools/call", &json!({})).is_err());
    }
}
