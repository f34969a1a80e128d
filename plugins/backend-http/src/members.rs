//! Members of JSON objects that backends send, read strictly.

use std::fmt;

use cortex_plugin_sdk::json::{self, Json};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::answer;

/// Members of a JSON object in the order they came, each with its text. Taking one with the value
/// `null` is like not finding it.
pub(crate) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The members of an object.
    pub(crate) fn read(raw: &'a RawValue) -> Result<Self, String> {
        serde_json::from_str(raw.get())
            .map_err(|_| "it is not an object with each member once".to_owned())
    }

    /// All of them.
    pub(crate) fn into_each(self) -> impl Iterator<Item = (String, &'a RawValue)> {
        self.0.into_iter()
    }

    /// A text that must be there and not be empty.
    pub(crate) fn name(&mut self, name: &str) -> Result<String, String> {
        match self.text(name)? {
            None => Err(format!("it has no `{name}`")),
            Some(text) if text.is_empty() => Err(format!("its `{name}` is empty")),
            Some(text) => Ok(text),
        }
    }

    /// The scope that every item of the contract names.
    pub(crate) fn scope(&mut self) -> Result<String, String> {
        let scope = self.text("scope")?.ok_or("it has no `scope`")?;
        if answer::is_scope(&scope) {
            Ok(scope)
        } else {
            Err(format!("its `scope` is not one OAuth scope: `{scope}`"))
        }
    }

    /// True or false; absent is false.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, String> {
        let flag = self.take(name).map(serde_json::from_str).transpose();
        flag.map(Option::unwrap_or_default)
            .map_err(|_| format!("its `{name}` is neither true nor false"))
    }

    fn take(&mut self, name: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        let (_, raw) = self.0.remove(at);
        Some(raw.get()).filter(|&raw| raw != "null")
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        let text = self.take(name).map(serde_json::from_str).transpose();
        text.map_err(|_| format!("its `{name}` is not a string"))
    }

    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Json>, String> {
        self.opened_by('{', name)
            .map_err(|()| format!("its `{name}` is not an object"))
    }

    pub(crate) fn array(&mut self, name: &str) -> Result<Option<Json>, String> {
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

    /// What nobody has taken, as an object.
    pub(crate) fn rest(self) -> Option<Json> {
        let members = self.0.iter();
        let members: Vec<_> = members
            .map(|(name, raw)| format!("{}:{raw}", json::quote(name)))
            .collect();
        (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
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
                while let Some((name, raw)) = map.next_entry::<String, _>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(serde::de::Error::custom("a member that came before"));
                    }
                    members.push((name, raw));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(InOrder).map(Members)
    }
}
