//! Values of the `Mcp-*` headers (MCP 2026-07-28, Streamable HTTP, "Value Encoding").

use base64::Engine as _;

const BEGIN: &str = "=?base64?";
const END: &str = "?=";

/// A text as a header can carry it.
pub(crate) fn encode(text: &str) -> String {
    let plain = text
        .bytes()
        .all(|b| b == b'\t' || (b' '..=b'~').contains(&b))
        && text.trim_matches([' ', '\t']) == text
        && !(text.starts_with(BEGIN) && text.ends_with(END));
    if plain {
        return text.to_owned();
    }
    let encoded = base64::engine::general_purpose::STANDARD.encode(text);
    format!("{BEGIN}{encoded}{END}")
}

/// A JSON string, number or boolean as a header can carry it.
pub(crate) fn encode_json(value: &str) -> String {
    match serde_json::from_str::<String>(value) {
        Ok(text) => encode(&text),
        Err(_) => encode(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_as_the_specification_shows() {
        for (value, expected) in [
            (r#""us-west1""#, "us-west1"),
            (r#""Hello, 世界""#, "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (r#"" padded ""#, "=?base64?IHBhZGRlZCA=?="),
            (r#""line1\nline2""#, "=?base64?bGluZTEKbGluZTI=?="),
            (
                r#""=?base64?literal?=""#,
                "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=",
            ),
            (r#""""#, ""),
            ("42", "42"),
            ("-7", "-7"),
            ("true", "true"),
        ] {
            assert_eq!(encode_json(value), expected, "{value}");
        }
    }
}
