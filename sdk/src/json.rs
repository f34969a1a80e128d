//! JSON as text: what crosses the border between gateway and plugin.
//!
//! A plugin that only passes JSON on need not parse it, and should not: parsing inside a
//! component takes two to three times as long as outside.

use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};

pub use crate::bindings::cortex::gateway::types::Json;

/// Text as a JSON string, quotes included.
#[expect(clippy::expect_used, reason = "a str always serializes")]
pub fn quote(text: &str) -> Json {
    serde_json::to_string(text).expect("a str always serializes")
}

/// One member of a JSON object, without keeping the others. `None` if it is absent or `null`.
///
/// # Errors
///
/// If `object` is not a JSON object, or the member is not a `T`.
pub fn member<T: DeserializeOwned>(object: &str, name: &str) -> serde_json::Result<Option<T>> {
    struct Member<'a, T>(&'a str, Option<T>);

    impl<'de, T: DeserializeOwned> Visitor<'de> for Member<'_, T> {
        type Value = Option<T>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
            while let Some(key) = map.next_key::<String>()? {
                if key == self.0 {
                    self.1 = map.next_value()?;
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(self.1)
        }
    }

    let mut json = serde_json::Deserializer::from_str(object);
    let member = json.deserialize_map(Member(name, None))?;
    json.end()?;
    Ok(member)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_json_escapes() {
        assert_eq!(quote("a \"b\"\n\u{1}ü"), r#""a \"b\"\n\u0001ü""#);
    }

    #[test]
    fn finds_one_member() {
        let check = |object: &str, expected: Option<Option<&str>>| {
            let found = member::<String>(object, "name").ok();
            assert_eq!(
                found.as_ref().map(|name| name.as_deref()),
                expected,
                "{object}"
            );
        };
        check(r#"{"name":"Ann"}"#, Some(Some("Ann")));
        check(
            r#"{"other":[{"name":"no"}],"na\u006de":"Ann"}"#,
            Some(Some("Ann")),
        );
        check(r#"{"name":null}"#, Some(None));
        check("{}", Some(None));
        check(r#"{"name":3}"#, None);
        check(r#"["name"]"#, None);
        check(r#"{"name":"Ann"} {}"#, None);
        check("", None);
    }
}
