//! Texts of others on a terminal: nothing in them is obeyed, nothing hides.

use serde_json::Value;

/// A text without characters that a terminal obeys, or that make what is read another than what
/// is there.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_obeyed(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A value of an answer, by the same rule.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        Value::Null => String::new(),
        other => plain(&other.to_string()),
    }
}

/// JSON, by the same rule. Such characters are in strings only, where JSON knows an escape for
/// them; line breaks between members stay.
pub(super) fn plain_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_obeyed(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Control characters, and those that turn the direction of text or are not seen at all.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_as_what_it_is() {
        for (text, shown) in [
            ("plain, \"quoted\" and ü 漢", "plain, \"quoted\" and ü 漢"),
            ("\u{1b}[2Jgone\nnext\r", "\\u{1b}[2Jgone\\nnext\\r"),
            ("\u{9b}31m \u{7f}", "\\u{9b}31m \\u{7f}"),
            ("a\u{202e}b", "a\\u{202e}b"),
        ] {
            assert_eq!(plain(text), shown);
        }
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({ "a": "\u{1b}[2J\u{9b}\u{e0041}\u{202e}ü" });
        for text in [value.to_string(), format!("{value:#}")] {
            let shown = plain_json(&text);
            assert!(shown.chars().all(|c| c == '\n' || !is_obeyed(c)), "{shown}");
            let read: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
            assert_eq!(read, value);
        }
    }
}
