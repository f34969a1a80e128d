//! Values of the `Mcp-*` headers (MCP 2026-07-28, Streamable HTTP, "Value Encoding").

use std::borrow::Cow;

/// Undoes `=?base64?…?=` and trims outer blanks. `None`: the encoding is broken.
pub fn decode(value: &[u8]) -> Option<Cow<'_, str>> {
    let value = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    let Some(encoded) = value
        .strip_prefix("=?base64?")
        .and_then(|v| v.strip_suffix("?="))
    else {
        return Some(Cow::Borrowed(value));
    };
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// Writes a value so that [`decode`] brings it back: as it is where that is safe.
pub fn encode(value: &str) -> Cow<'_, str> {
    let safe = value.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t'))
        && value.trim_matches([' ', '\t']).len() == value.len()
        && !(value.starts_with("=?base64?") && value.ends_with("?="));
    if safe {
        return Cow::Borrowed(value);
    }
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(value);
    Cow::Owned(format!("=?base64?{encoded}?="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_encoded_values_are_read() {
        for (value, expected) in [
            ("get_weather", Some("get_weather")),
            ("  padded\t", Some("padded")),
            ("=?base64?w6k=?=", Some("é")),
            ("=?base64?w6k?=", None),
            ("=?base64?/w==?=", None),
            ("=?BASE64?w6k=?=", Some("=?BASE64?w6k=?=")),
            ("", Some("")),
        ] {
            assert_eq!(decode(value.as_bytes()).as_deref(), expected, "{value}");
        }
        assert_eq!(decode(b"\xff"), None);
    }

    #[test]
    fn what_is_not_safe_in_a_header_is_encoded() {
        // The examples of the specification.
        for (value, expected) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("", ""),
        ] {
            let encoded = encode(value);
            assert_eq!(encoded, expected);
            assert_eq!(decode(encoded.as_bytes()).as_deref(), Some(value));
        }
    }
}
