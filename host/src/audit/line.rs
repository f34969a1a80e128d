//! A record as it lies on the disk: one line of JSON, with the personal part sealed.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::chain::Place;

/// A line that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The public part, canonical.
    public: &'a str,
    /// Its hash.
    pub hash: &'a str,
    /// Which key sealed the personal part.
    pub key: &'a str,
    /// The personal part.
    pub sealed: &'a str,
}

impl<'a> Line<'a> {
    /// Reads a line. Whether its public part is one, [`place`](Self::place) tells.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        Self::as_written(text).or_else(|| Self::as_json(text))
    }

    /// Reads one that is, byte by byte, as [`write`] makes it, from its end on: it is cut up and not looked through,
    /// because every exporter reads every line.
    fn as_written(text: &'a str) -> Option<Self> {
        let rest = text.trim_end().strip_suffix("\"}")?;
        let (rest, sealed) = cut(rest, "\",\"sealed\":")?;
        let (rest, key) = cut(rest, "\",\"key\":")?;
        let (rest, hash) = cut(rest, ",\"hash\":")?;
        let public = rest.strip_prefix("{\"public\":")?;
        let plain = |text: &str| memchr::memchr(b'\\', text.as_bytes()).is_none();
        [hash, key, sealed].into_iter().all(plain).then_some(Self {
            public,
            hash,
            key,
            sealed,
        })
    }

    fn as_json(text: &'a str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Members<'a> {
            #[serde(borrow)]
            public: &'a RawValue,
            hash: &'a str,
            key: &'a str,
            sealed: &'a str,
        }
        let members: Members<'a> = serde_json::from_str(text).ok()?;
        Some(Self {
            public: members.public.get(),
            hash: members.hash,
            key: members.key,
            sealed: members.sealed,
        })
    }

    /// The public part, canonical.
    pub(super) fn public(&self) -> &'a str {
        self.public
    }

    /// Its place in the chain.
    pub(super) fn place(&self) -> Option<Place> {
        serde_json::from_str(self.public).ok()
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

/// What is before the last quote, without the name that stands there, and what is behind it.
fn cut<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let quote = memchr::memrchr(b'"', text.as_bytes())?;
    let (before, value) = (text.get(..quote)?, text.get(quote + 1..)?);
    Some((before.strip_suffix(name)?, value))
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
        assert_eq!(Line::as_json(&text), Some(line), "either way");
    }

    #[test]
    fn what_somebody_else_has_written_is_read_as_json_or_not_at_all() {
        let cut_up = |text| Line::as_written(text).is_some();
        let spaced =
            r#"{ "public": {"sequence":7,"prev":"a"}, "hash": "b", "key": "k", "sealed": "s" }"#;
        assert!(!cut_up(spaced));
        let place = Line::read(spaced).and_then(|line| line.place());
        assert_eq!(place.map(|place| place.sequence), Some(7));
        for text in [
            "",
            "\"}",
            r#"{"public":{},"hash":"b","key":"k"}"#,
            r#"{"public":{},"key":"k","hash":"b","sealed":"s"}"#,
            r#"{"public":{},"hash":"b","key":"k","sealed":"\"}"#,
            r#"{"public":{},"hash":"b","key":"k\u0041","sealed":"s"}"#,
        ] {
            assert!(!cut_up(text), "{text}");
        }
        // A part that is none is no place in the chain.
        for public in ["", "7", "{", r#"{"sequence":7,"prev":"a"}{}"#] {
            let text = format!(r#"{{"public":{public},"hash":"b","key":"k","sealed":"s"}}"#);
            assert_eq!(
                Line::read(&text).and_then(|line| line.place()),
                None,
                "{text}"
            );
        }
    }
}
