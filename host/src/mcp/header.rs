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
}
