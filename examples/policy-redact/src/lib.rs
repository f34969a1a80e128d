//! Scope policy that takes out of the arguments of tools and prompts what should not travel. It allows
//! everything else, so it stands beside a policy that decides by scopes: all must allow.
//!
//! ```toml
//! [settings]
//! members = ["password", "iban"]      # values of members with these names, however deep, in any case
//! texts = ["card", "email"]           # what looks like one, in any text
//! backends = ["crm"]                  # of these backends only; all of them unless set
//! instead = "[redacted]"              # what stands there then
//! ```
//!
//! What looks like a card is 13 to 19 digits, blanks and hyphens between them, whose check digit is
//! right (ISO/IEC 7812-1); what looks like an address of an email is one word on each side of an `@`.

mod looks;

use cortex_plugin_sdk::prelude::*;
use serde::Deserialize;
use serde_json::Value;

struct Redact;

#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    members: Vec<String>,
    #[serde(default)]
    texts: Vec<looks::Like>,
    backends: Option<Vec<String>>,
    #[serde(default = "redacted")]
    instead: String,
}

fn redacted() -> String {
    "[redacted]".into()
}

impl Settings {
    /// Takes out what should not travel; tells whether there was any.
    fn redact(&self, value: &mut Value) -> bool {
        match value {
            Value::Object(members) => members.iter_mut().fold(false, |any, (name, value)| {
                let named = self
                    .members
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(name));
                if named && *value != self.instead {
                    *value = self.instead.as_str().into();
                    return true;
                }
                self.redact(value) || any
            }),
            Value::Array(values) => {
                let found = values
                    .iter_mut()
                    .filter_map(|value| self.redact(value).then_some(()));
                found.count() > 0
            }
            Value::String(text) => self.texts.iter().fold(false, |any, like| {
                match like.replaced(text, &self.instead) {
                    Some(without) => {
                        *text = without;
                        true
                    }
                    None => any,
                }
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
}

impl Policy for Redact {
    fn describe(package: Package) -> Description {
        Description::from(package).settings(include_str!("settings.json"))
    }

    fn reads() -> Vec<Reads> {
        vec![Reads::Arguments]
    }

    fn filter(_: &Principal, items: &[Item]) -> Result<Vec<bool>, PolicyError> {
        Ok(vec![true; items.len()])
    }

    fn authorize(
        _: &Principal,
        item: &Item,
        arguments: Option<&str>,
    ) -> Result<Decision, PolicyError> {
        let undecided = |why: String| PolicyError::undecided(why);
        let settings: Settings = settings::read().map_err(|error| undecided(error.to_string()))?;
        let concerned = settings.backends.as_ref();
        if concerned.is_some_and(|backends| !backends.contains(&item.backend)) {
            return Ok(Decision::Allow);
        }
        let arguments = arguments.ok_or_else(|| undecided("no arguments were shown".into()))?;
        let mut value: Value =
            serde_json::from_str(arguments).map_err(|error| undecided(error.to_string()))?;
        Ok(match settings.redact(&mut value) {
            true => Decision::AllowWith(value.to_string()),
            false => Decision::Allow,
        })
    }
}

cortex_plugin_sdk::export_policy!(Redact);

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_plugin_sdk::testing;

    fn decide(backend: &str, arguments: &str) -> Decision {
        let item = Item {
            backend: backend.into(),
            ..testing::item("send", &[])
        };
        let decided = Redact::authorize(&testing::caller(&[]), &item, Some(arguments));
        decided.expect("decided")
    }

    #[test]
    fn members_and_texts_are_taken_out_however_deep() {
        testing::set_settings(
            r#"{"members":["Password"],"texts":["card","email"],"backends":["crm"],"instead":"-"}"#,
        );
        for (arguments, expected) in [
            (r#"{"a":1,"b":"x"}"#, None),
            (
                r#"{"a":[{"password":{"x":1}}]}"#,
                Some(r#"{"a":[{"password":"-"}]}"#),
            ),
            (
                r#"{"a":["to ada@x.test, now"]}"#,
                Some(r#"{"a":["to -, now"]}"#),
            ),
            (r#"{"a":"4111 1111-1111 1111."}"#, Some(r#"{"a":"-."}"#)),
            (r#"{"a":"4111 1111 1111 1112"}"#, None),
        ] {
            let expected = expected.map_or(Decision::Allow, |to| Decision::AllowWith(to.into()));
            assert_eq!(decide("crm", arguments), expected, "{arguments}");
        }
        assert_eq!(decide("wiki", r#"{"password":"x"}"#), Decision::Allow);
    }
}
