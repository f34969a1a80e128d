//! Checks that a text is JSON without building anything from it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use bytes::Bytes;
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

/// Deepest nesting of arrays and objects that is accepted.
pub const MAX_DEPTH: usize = 128;

/// Levels that a plugin may put around what it was given.
const WRAPPING: usize = 8;

/// Why bytes are not acceptable JSON.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotJson {
    /// Not JSON at all (RFC 8259).
    #[error("not valid JSON: {0}")]
    Syntax(String),
    /// JSON, but nested too deep.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// JSON, but not the object that was asked for.
    #[error("expected a JSON object")]
    NotAnObject,
}

/// Checks that `bytes` are exactly one JSON text, at most [`MAX_DEPTH`] deep.
///
/// # Errors
/// [`NotJson`], saying where.
pub fn check(bytes: &[u8]) -> Result<(), NotJson> {
    // Depth first: the syntax check below must not meet hostile nesting.
    check_depth(bytes, MAX_DEPTH)?;
    serde_json::from_slice::<IgnoredAny>(bytes)
        .map(drop)
        .map_err(|e| NotJson::Syntax(e.to_string()))?;
    // `IgnoredAny` skips strings without looking at their encoding.
    std::str::from_utf8(bytes)
        .map(drop)
        .map_err(|e| NotJson::Syntax(e.to_string()))
}

/// Checks that no object in a JSON text has a member twice: RFC 8259 §4 leaves open which of them
/// counts, so two readers could understand two things. Also refuses what only some readers can
/// take: half a surrogate pair, a number beyond all numbers.
///
/// # Errors
/// A text that names the member.
pub fn check_unique(text: &str) -> Result<(), String> {
    serde_json::from_str::<Unique>(text)
        .map(drop)
        .map_err(|e| e.to_string())
}

/// Any value in which no member is there twice.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut seen = HashSet::new();
        while let Some(Name(name)) = members.next_key()? {
            if seen.contains(&name) {
                let shown: String = name.chars().take(64).collect();
                return Err(A::Error::custom(format_args!(
                    "the member `{shown}` is there twice"
                )));
            }
            seen.insert(name);
            members.next_value::<Self>()?;
        }
        Ok(self)
    }
}

/// The name of a member, borrowed where it is written without escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// A JSON text that is finished: it goes into answers as it is, and whoever holds it shares it.
#[derive(Clone, Debug)]
pub struct Text(Bytes);

impl Text {
    /// Writes it. `about`: how long it will be, in bytes, so that it is not moved while it grows.
    ///
    /// # Errors
    /// What cannot be JSON.
    pub fn write<T: Serialize>(value: &T, about: usize) -> serde_json::Result<Self> {
        let mut text = Vec::with_capacity(about);
        serde_json::to_writer(&mut text, value)?;
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is of another shape.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.0)
    }
}

impl From<Box<RawValue>> for Text {
    fn from(raw: Box<RawValue>) -> Self {
        Self(String::from(Box::<str>::from(raw)).into())
    }
}

/// Turns a text from a plugin into JSON that can be spliced into an answer.
///
/// # Errors
/// [`NotJson`], saying where.
pub fn raw(text: String) -> Result<Box<RawValue>, NotJson> {
    // A backend's deepest JSON may come wrapped, as `cortex/backendError` does.
    check_depth(text.as_bytes(), MAX_DEPTH + WRAPPING)?;
    let raw = RawValue::from_string(text).map_err(|e| NotJson::Syntax(e.to_string()))?;
    // A line break in a result would end an SSE `data` line early.
    if memchr::memchr2(b'\n', b'\r', raw.get().as_bytes()).is_some() {
        let compact = compact(raw.get());
        return RawValue::from_string(compact).map_err(|e| NotJson::Syntax(e.to_string()));
    }
    Ok(raw)
}

/// The members of an object that are none of `own`: what somebody adds to an object whose other
/// members are known.
///
/// # Errors
/// In words: text that is not JSON, and anything but an object.
pub fn further_members(
    text: Option<String>,
    own: &[&str],
) -> Result<BTreeMap<String, Box<RawValue>>, String> {
    let Some(text) = text else {
        return Ok(BTreeMap::new());
    };
    let object = raw_object(text).map_err(|e| format!("`extra`: {e}"))?;
    let mut members: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(object.get()).map_err(|e| format!("`extra`: {e}"))?;
    members.retain(|name, _| !own.contains(&name.as_str()));
    Ok(members)
}

/// Like [`raw`], for a text that must be an object.
///
/// # Errors
/// [`NotJson`], saying where.
pub fn raw_object(text: String) -> Result<Box<RawValue>, NotJson> {
    let raw = raw(text)?;
    if raw.get().trim_start().starts_with('{') {
        Ok(raw)
    } else {
        Err(NotJson::NotAnObject)
    }
}

/// Leaves out the line breaks between tokens. `text` is valid JSON, in which strings cannot
/// hold a raw line break, so each one found is white space.
fn compact(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect()
}

fn check_depth(mut bytes: &[u8], max: usize) -> Result<(), NotJson> {
    let mut depth = 0usize;
    while let Some((&byte, rest)) = bytes.split_first() {
        bytes = rest;
        match byte {
            b'"' => bytes = after_string(bytes),
            b'[' | b'{' => {
                depth += 1;
                if depth > max {
                    return Err(NotJson::TooDeep);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// What comes after a string, of which the first quotation mark was read. Most bytes of large results
/// are in strings.
fn after_string(mut bytes: &[u8]) -> &[u8] {
    while let Some(at) = memchr::memchr2(b'"', b'\\', bytes) {
        let taken = if bytes[at] == b'"' { 1 } else { 2 };
        bytes = bytes.get(at + taken..).unwrap_or_default();
        if taken == 1 {
            return bytes;
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_from_what_only_looks_like_it() {
        for good in ["{}", "[1, 2.5e3]", "\"a\\\"[\"", " null ", "true"] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [
            "",
            "{",
            "{}{}",
            "{'a':1}",
            "NaN",
            "[1,]",
            "\u{feff}{}",
            "\"\n\"",
        ] {
            assert!(
                matches!(check(bad.as_bytes()), Err(NotJson::Syntax(_))),
                "{bad:?}"
            );
        }
        assert!(check(b"\"\xff\"").is_err());
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert_eq!(check(nested(MAX_DEPTH).as_bytes()), Ok(()));
        assert_eq!(
            check(nested(MAX_DEPTH + 1).as_bytes()),
            Err(NotJson::TooDeep)
        );
        assert_eq!(
            check("[".repeat(1_000_000).as_bytes()),
            Err(NotJson::TooDeep)
        );
        let text = format!("\"{}\"", "[".repeat(1000));
        assert_eq!(check(text.as_bytes()), Ok(()));
    }

    #[test]
    fn a_member_is_there_once_at_every_level() {
        for good in [
            "{}",
            r#"{"a":{"a":[{"a":1},{"a":1}]},"b":null}"#,
            r#"{"a":true,"A":-1.5e3,"":""}"#,
        ] {
            assert_eq!(check_unique(good), Ok(()), "{good}");
        }
        for twice in [
            r#"{"a":1,"a":1}"#,
            r#"{"b":{"c":[0,{"a":1,"d":2,"a":3}]}}"#,
            r#"{"a":1,"\u0061":2}"#,
        ] {
            let said = check_unique(twice).expect_err(twice);
            assert!(said.contains("the member `a` is there twice"), "{said}");
        }
        for odd in [r#"["\ud800"]"#, "[1e999]"] {
            assert!(check_unique(odd).is_err(), "{odd}");
        }
        let deep = format!("{}{}", "[".repeat(MAX_DEPTH - 1), "]".repeat(MAX_DEPTH - 1));
        assert_eq!(check_unique(&deep), Ok(()));
    }

    #[test]
    fn what_is_spliced_into_answers_has_no_line_breaks() {
        let raw = raw("{\r\n \"a\": \"x\\ny\"\n}".to_owned()).expect("JSON");
        assert_eq!(raw.get(), "{ \"a\": \"x\\ny\"}");
        assert_eq!(
            raw_object("[]".to_owned()).map(drop),
            Err(NotJson::NotAnObject)
        );
    }
}
