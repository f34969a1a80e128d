//! Reads the few values we need from one-line JSON: cargo's messages and the gateway's answers.
//!
//! Not a JSON parser: it finds a key and reads the string, or the list of strings, behind it.

/// The string value of the first key with this name.
pub fn string(json: &str, key: &str) -> Option<String> {
    let (value, _) = read_string(after_key(json, key)?)?;
    Some(value)
}

/// The list of strings that is the value of the first key with this name.
pub fn strings(json: &str, key: &str) -> Option<Vec<String>> {
    let mut rest = after_key(json, key)?.strip_prefix('[')?.trim_start();
    let mut values = Vec::new();
    while !rest.starts_with(']') {
        let (value, after) = read_string(rest)?;
        values.push(value);
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Some(values)
}

fn after_key<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let quoted = format!("\"{key}\"");
    json.match_indices(&quoted)
        .find_map(|(at, _)| json[at + quoted.len()..].trim_start().strip_prefix(':'))
        .map(str::trim_start)
}

/// Reads a JSON string at the start of the text; returns it and what follows.
fn read_string(json: &str) -> Option<(String, &str)> {
    let mut chars = json.strip_prefix('"')?.chars();
    let mut value = String::new();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'u' => {
                    let (code, rest) = chars.as_str().split_at_checked(4)?;
                    chars = rest.chars();
                    // Halves of a pair do not occur in paths and are shown as unknown.
                    char::from_u32(u32::from_str_radix(code, 16).ok()?).unwrap_or('\u{fffd}')
                }
                other => other,
            }),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"reason":"compiler-artifact","target":{"name":"a_b"},"filenames":["C:\\x\\a_b.wasm", "\/y\u0041"],"executable":null,"none":[]}"#;

    #[test]
    fn values_are_found() {
        assert_eq!(string(LINE, "reason").as_deref(), Some("compiler-artifact"));
        assert_eq!(string(LINE, "name").as_deref(), Some("a_b"));
        assert_eq!(string(LINE, "executable"), None);
        assert_eq!(string(LINE, "a_b"), None);
        assert_eq!(
            string(r#"{"text" : "a\n\"b\" é"}"#, "text").as_deref(),
            Some("a\n\"b\" é")
        );
    }

    #[test]
    fn lists_are_found() {
        let expected = vec!["C:\\x\\a_b.wasm".to_owned(), "/yA".to_owned()];
        assert_eq!(strings(LINE, "filenames"), Some(expected));
        assert_eq!(strings(LINE, "none"), Some(vec![]));
        assert_eq!(strings(LINE, "executable"), None);
    }

    #[test]
    fn what_breaks_off_is_nothing() {
        for cut in 0..LINE.len() {
            if LINE.is_char_boundary(cut) {
                drop((
                    string(&LINE[..cut], "reason"),
                    strings(&LINE[..cut], "filenames"),
                ));
            }
        }
        assert_eq!(string(r#"{"a":"\u00"#, "a"), None);
    }
}
