//! What an agent wishes for, and what an operator answers: texts with bounds.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{Owner, Severity};

/// Most characters of `whatIWanted`.
pub const MAX_WANTED: usize = 1_000;
/// Most characters of `userIntent`.
pub const MAX_INTENT: usize = 2_000;
/// Most characters of `contextTool`.
pub const MAX_TOOL: usize = 200;
/// Most characters of `contextApp`.
pub const MAX_APP: usize = 100;
/// Most characters of `suggestedShape`.
pub const MAX_SHAPE: usize = 4_000;
/// Most characters of an operator's answer.
const MAX_ANSWER: usize = 4_000;

/// Why a text cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TextError {
    /// There is nothing in it.
    #[error("`{0}` is empty; hint: say it in one or two sentences")]
    Empty(&'static str),
    /// It is too long.
    #[error("`{name}` has {found} characters; hint: {max} at most, say it in fewer")]
    TooLong {
        /// Its name.
        name: &'static str,
        /// How many it has.
        found: usize,
        /// How many it may have.
        max: usize,
    },
}

/// The arguments of a report, not checked yet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WishArguments {
    what_i_wanted: String,
    user_intent: String,
    severity: Severity,
    context_tool: Option<String>,
    context_app: Option<String>,
    suggested_shape: Option<String>,
}

/// What an agent wishes for. No text is empty or beyond its bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wish {
    pub(super) what_i_wanted: String,
    pub(super) user_intent: String,
    pub(super) severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) context_tool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) context_app: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) suggested_shape: Option<String>,
}

impl TryFrom<WishArguments> for Wish {
    type Error = TextError;

    fn try_from(given: WishArguments) -> Result<Self, TextError> {
        Ok(Self {
            what_i_wanted: needed("whatIWanted", &given.what_i_wanted, MAX_WANTED)?,
            user_intent: needed("userIntent", &given.user_intent, MAX_INTENT)?,
            severity: given.severity,
            context_tool: bounded("contextTool", given.context_tool, MAX_TOOL)?,
            context_app: bounded("contextApp", given.context_app, MAX_APP)?,
            suggested_shape: bounded("suggestedShape", given.suggested_shape, MAX_SHAPE)?,
        })
    }
}

impl Wish {
    /// How much is lost without it.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Where it was missed.
    pub fn app(&self) -> Option<&str> {
        self.context_app.as_deref()
    }

    /// What was wanted.
    pub fn wanted(&self) -> &str {
        &self.what_i_wanted
    }

    /// What makes two reports one ticket: the same wish, for the same tool, by the same caller,
    /// through the same agent. Lengths keep two lists of texts from meaning the same.
    pub(super) fn key(&self, owner: &Owner, agent: Option<&str>) -> Vec<u8> {
        let mut digest = Sha256::new();
        digest.update(owner.key());
        for part in [
            Some(self.what_i_wanted.as_str()),
            self.context_tool.as_deref(),
            agent,
        ] {
            digest.update([u8::from(part.is_some())]);
            let part = part.unwrap_or_default();
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().to_vec()
    }

    /// The same wish, told anew: the newer words count, and the greater need.
    pub(super) fn refresh(&mut self, told: &Self) {
        self.severity = self.severity.max(told.severity);
        self.user_intent.clone_from(&told.user_intent);
        if told.context_app.is_some() {
            self.context_app.clone_from(&told.context_app);
        }
        if told.suggested_shape.is_some() {
            self.suggested_shape.clone_from(&told.suggested_shape);
        }
    }
}

impl Owner {
    /// As the store finds the owner's tickets. Not longer for longer names.
    pub(super) fn key(&self) -> Vec<u8> {
        let mut digest = Sha256::new();
        digest.update((self.issuer.len() as u64).to_be_bytes());
        digest.update(&self.issuer);
        digest.update(&self.subject);
        digest.finalize().to_vec()
    }
}

/// What an operator says of a ticket. Not empty, and bounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Answer(String);

impl Answer {
    /// Checks a text.
    ///
    /// # Errors
    /// When it is empty or too long.
    pub fn new(text: &str) -> Result<Self, TextError> {
        needed("answer", text, MAX_ANSWER).map(Self)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn needed(name: &'static str, text: &str, max: usize) -> Result<String, TextError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(TextError::Empty(name));
    }
    let found = text.chars().count();
    if found > max {
        return Err(TextError::TooLong { name, found, max });
    }
    Ok(text.to_owned())
}

/// Empty is the same as not given: models like to fill in every argument.
fn bounded(
    name: &'static str,
    text: Option<String>,
    max: usize,
) -> Result<Option<String>, TextError> {
    match text {
        Some(text) if !text.trim().is_empty() => needed(name, &text, max).map(Some),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(arguments: Value) -> Result<Wish, String> {
        let given: WishArguments =
            serde_json::from_value(arguments).map_err(|error| error.to_string())?;
        Wish::try_from(given).map_err(|error| error.to_string())
    }

    fn with(name: &str, value: Value) -> Value {
        let mut arguments =
            json!({ "whatIWanted": "w", "userIntent": "u", "severity": "blocking" });
        arguments[name] = value;
        arguments
    }

    #[test]
    fn what_is_empty_is_not_given_and_what_is_needed_is_asked_for() {
        let wish = read(with("contextTool", json!("  "))).expect("a wish");
        assert_eq!((wish.context_tool, wish.context_app), (None, None));
        assert_eq!(
            read(with("whatIWanted", json!(" \n"))).expect_err("empty"),
            "`whatIWanted` is empty; hint: say it in one or two sentences"
        );
        for (name, value, said) in [
            ("severity", json!("urgent"), "unknown variant `urgent`"),
            ("severety", json!("blocking"), "unknown field `severety`"),
            ("userIntent", json!(7), "invalid type: integer"),
        ] {
            let error = read(with(name, value)).expect_err("refused");
            assert!(error.starts_with(said), "{error}");
        }
    }

    #[test]
    fn texts_are_bounded_in_characters() {
        for (name, max) in [
            ("whatIWanted", MAX_WANTED),
            ("userIntent", MAX_INTENT),
            ("contextTool", MAX_TOOL),
            ("contextApp", MAX_APP),
            ("suggestedShape", MAX_SHAPE),
        ] {
            assert!(read(with(name, json!("ü".repeat(max)))).is_ok(), "{name}");
            let error = read(with(name, json!("ü".repeat(max + 1)))).expect_err("too long");
            let said = format!("`{name}` has {} characters", max + 1);
            assert!(error.starts_with(&said), "{error}");
        }
    }

    #[test]
    fn keys_do_not_run_into_each_other() {
        let owner = |issuer: &str, subject: &str| Owner {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
        };
        assert_ne!(owner("a", "bc").key(), owner("ab", "c").key());
        let wish = |wanted: &str, tool: &str| {
            let mut arguments = with("whatIWanted", json!(wanted));
            arguments["contextTool"] = json!(tool);
            read(arguments).expect("a wish")
        };
        let ann = owner("i", "ann");
        let key = wish("ab", "c").key(&ann, Some("agent"));
        assert_eq!(key, wish("ab ", "c").key(&ann, Some("agent")));
        for other in [
            wish("a", "bc").key(&ann, Some("agent")),
            wish("ab", "").key(&ann, Some("agent")),
            wish("ab", "c").key(&ann, Some("other")),
            wish("ab", "c").key(&ann, None),
            wish("ab", "c").key(&owner("i", "bob"), Some("agent")),
            wish("ab", "c").key(&owner("j", "ann"), Some("agent")),
        ] {
            assert_ne!(key, other);
        }
    }
}
