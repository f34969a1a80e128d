//! Percent-encoding (RFC 3986 §2.1), and names that every client accepts.

use std::collections::BTreeSet;

/// Longest name of an argument, or of a definition: what models' APIs accept.
const MAX_NAME: usize = 64;

/// Encodes everything but unreserved characters.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Undoes it; what is not UTF-8 then is replaced.
pub(crate) fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let pair = pair.filter(|pair| pair.iter().all(u8::is_ascii_hexdigit));
        let byte = pair
            .and_then(|pair| str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        decoded.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Whether a path has a segment that leads to another: `.` or `..`, however it is written.
pub(crate) fn has_dot_segment(path: &str) -> bool {
    let decoded = percent_decoded(path);
    let mut segments = decoded.split(['/', '\\']);
    segments.any(|segment| matches!(segment, "." | ".."))
}

/// A name of letters, digits, `_`, `.` and `-`.
pub(crate) fn plain(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let plain = name.chars().map(|c| if fits(c) { c } else { '_' });
    plain.collect()
}

/// A name like that which nobody has yet, of at most 64 characters.
pub(crate) fn unique(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut plain = plain(name);
    plain.truncate(MAX_NAME);
    let mut found = plain.clone();
    let mut number = 2;
    while !taken.insert(found.clone()) {
        let tail = format!("_{number}");
        found = plain.clone();
        found.truncate(MAX_NAME - tail.len());
        found.push_str(&tail);
        number += 1;
    }
    found
}
