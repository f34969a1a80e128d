//! Checks that a text is JSON without building anything from it.

use serde::de::IgnoredAny;
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

/// Turns a text from a plugin into JSON that can be spliced into an answer.
///
/// # Errors
/// [`NotJson`], saying where.
pub fn raw(text: String) -> Result<Box<RawValue>, NotJson> {
    // A backend's deepest JSON may come wrapped, as `cortex/backendError` does.
    check_depth(text.as_bytes(), MAX_DEPTH + WRAPPING)?;
    let raw = RawValue::from_string(text).map_err(|e| NotJson::Syntax(e.to_string()))?;
    // A line break in a result would end an SSE `data` line early.
    if raw.get().contains(['\n', '\r']) {
        let compact = compact(raw.get());
        return RawValue::from_string(compact).map_err(|e| NotJson::Syntax(e.to_string()));
    }
    Ok(raw)
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

fn check_depth(bytes: &[u8], max: usize) -> Result<(), NotJson> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for &byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
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
    fn what_is_spliced_into_answers_has_no_line_breaks() {
        let raw = raw("{\r\n \"a\": \"x\\ny\"\n}".to_owned()).expect("JSON");
        assert_eq!(raw.get(), "{ \"a\": \"x\\ny\"}");
        assert_eq!(
            raw_object("[]".to_owned()).map(drop),
            Err(NotJson::NotAnObject)
        );
    }
}
