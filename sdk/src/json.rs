//! JSON as text: what crosses the border between gateway and plugin.
//!
//! A plugin that only passes JSON on need not parse it, and should not: parsing inside a
//! component takes two to three times as long as outside.

use std::collections::HashSet;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error, IgnoredAny, MapAccess, Visitor,
};
use serde_json::value::RawValue;

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

/// Members of a JSON object in the order they came, each with its own text, each name once. What
/// is taken is gone; a member with the value `null` is like none.
///
/// ```
/// use cortex_plugin_sdk::json::Members;
///
/// let mut tool = Members::parse(r#"{"name":"search","title":null,"x":[1, 2],"y":3}"#)?;
/// assert_eq!(tool.text("name"), Ok(Some("search".into())));
/// assert_eq!(tool.text("title"), Ok(None));
/// assert!(tool.object("y").is_err());
/// assert_eq!(tool.rest().as_deref(), Some(r#"{"x":[1, 2]}"#));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The members of an object.
    ///
    /// # Errors
    ///
    /// When it is not a JSON object, or names a member twice.
    pub fn parse(object: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(object)
    }

    /// Takes one member: its JSON text, without blanks around it.
    pub fn take(&mut self, name: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        let (_, raw) = self.0.remove(at);
        Some(raw.get()).filter(|&raw| raw != "null")
    }

    /// Takes one that must be a string.
    ///
    /// # Errors
    ///
    /// When it is not, in words for its owner.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        let text = self.take(name).map(serde_json::from_str).transpose();
        text.map_err(|_| format!("its `{name}` is not a string"))
    }

    /// Takes one that must be an object.
    ///
    /// # Errors
    ///
    /// When it is not, in words for its owner.
    pub fn object(&mut self, name: &str) -> Result<Option<Json>, String> {
        self.opened_by('{', name)
            .map_err(|()| format!("its `{name}` is not an object"))
    }

    /// Takes one that must be an array.
    ///
    /// # Errors
    ///
    /// When it is not, in words for its owner.
    pub fn array(&mut self, name: &str) -> Result<Option<Json>, String> {
        self.opened_by('[', name)
            .map_err(|()| format!("its `{name}` is not an array"))
    }

    /// The text of a `RawValue` is one JSON value without blanks around it: its first character
    /// tells what it is.
    fn opened_by(&mut self, bracket: char, name: &str) -> Result<Option<Json>, ()> {
        match self.take(name) {
            Some(raw) if raw.starts_with(bracket) => Ok(Some(raw.to_owned())),
            Some(_) => Err(()),
            None => Ok(None),
        }
    }

    /// Leaves out members by their names.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    /// What nobody has taken, as an object; `None`: nothing is left.
    pub fn rest(self) -> Option<Json> {
        let members = self.0.iter();
        let members: Vec<_> = members
            .map(|(name, raw)| format!("{}:{raw}", quote(name)))
            .collect();
        (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
    }
}

impl<'a> IntoIterator for Members<'a> {
    type Item = (String, &'a RawValue);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object with each member once")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Self::Value::new();
                let mut names = HashSet::new();
                while let Some((name, raw)) = map.next_entry::<String, _>()? {
                    if !names.insert(name.clone()) {
                        return Err(Error::custom("a member that came before"));
                    }
                    members.push((name, raw));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(InOrder).map(Members)
    }
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

    #[test]
    fn members_come_once_and_in_order() {
        let left = |object: &str, take: &[&str]| {
            let mut members = Members::parse(object).ok()?;
            for name in take {
                members.take(name);
            }
            members.rest()
        };
        let object = r#"{"b": 1.0e400 ,"a":{"x": [ ]},"c":null}"#;
        assert_eq!(
            left(object, &["c"]).as_deref(),
            Some(r#"{"b":1.0e400,"a":{"x": [ ]}}"#)
        );
        assert_eq!(left(object, &["a", "b", "c"]), None);
        assert!(Members::parse(r#"{"a":1,"\u0061":2}"#).is_err());
        assert!(Members::parse("[]").is_err());
        let mut members = Members::parse(object).expect("an object");
        assert_eq!(members.array("a"), Err("its `a` is not an array".into()));
        assert_eq!(members.object("c"), Ok(None));
        members.retain(|name| name == "b");
        assert_eq!(members.rest().as_deref(), Some(r#"{"b":1.0e400}"#));
    }
}
