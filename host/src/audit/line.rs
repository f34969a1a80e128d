//! A record as it lies on the disk: one line of JSON, with the personal part sealed.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::chain::Place;

/// A line that was read.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    /// The public part, canonical.
    #[serde(borrow)]
    public: &'a RawValue,
    /// Its hash.
    pub hash: &'a str,
    /// Which key sealed the personal part.
    pub key: &'a str,
    /// The personal part.
    pub sealed: &'a str,
}

impl<'a> Line<'a> {
    /// Reads a line.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The public part, canonical.
    pub(super) fn public(&self) -> &'a str {
        self.public.get()
    }

    /// Its place in the chain.
    pub(super) fn place(&self) -> Option<Place> {
        serde_json::from_str(self.public.get()).ok()
    }

    /// The record as exporters get it, without its personal part when that is forgotten.
    pub(super) fn flat(&self, personal: Option<&str>) -> String {
        let public = inner(self.public());
        let personal = personal.map(inner).unwrap_or_default();
        let mut flat = String::with_capacity(public.len() + personal.len() + 80);
        flat.push('{');
        flat.push_str(public);
        if !personal.is_empty() {
            flat.push(',');
            flat.push_str(personal);
        }
        flat.push_str(",\"hash\":\"");
        flat.push_str(self.hash);
        flat.push_str("\"}");
        flat
    }
}

/// Appends a line. `hash`, `key` and `sealed` are of letters, digits, `-` and `_`.
pub(super) fn write(into: &mut Vec<u8>, public: &str, hash: &str, key: &str, sealed: &str) {
    for part in [
        "{\"public\":",
        public,
        ",\"hash\":\"",
        hash,
        "\",\"key\":\"",
        key,
        "\",\"sealed\":\"",
        sealed,
        "\"}\n",
    ] {
        into.extend_from_slice(part.as_bytes());
    }
}

/// An object without its braces.
fn inner(object: &str) -> &str {
    object
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_told_flat() {
        let mut bytes = Vec::new();
        let public = r#"{"prev":"aa","sequence":7,"tool":"a\"b"}"#;
        write(&mut bytes, public, "bb", "k", "s_-");
        let text = String::from_utf8(bytes).expect("text");
        let line = Line::read(text.trim_end()).expect("a line");
        assert_eq!((line.public(), line.key, line.sealed), (public, "k", "s_-"));
        assert_eq!(line.place().map(|place| place.sequence), Some(7));
        let flat = line.flat(Some(r#"{"origin":null}"#));
        assert_eq!(
            flat,
            r#"{"prev":"aa","sequence":7,"tool":"a\"b","origin":null,"hash":"bb"}"#
        );
        assert_eq!(
            line.flat(None),
            r#"{"prev":"aa","sequence":7,"tool":"a\"b","hash":"bb"}"#
        );
    }
}
