//! Who the caller is, in five headers that the backend reads.

use cortex_plugin_sdk::prelude::*;

/// Adds the `X-Cortex-*` headers; what is not known is sent empty. They inform the backend and
/// prove nothing: the proof is the token, which it validates again.
pub(crate) fn attach(request: http::Request, caller: &Principal) -> http::Request {
    let known = |value: &Option<String>| header_value(value.as_deref().unwrap_or_default());
    request
        .header("X-Cortex-User-Id", header_value(&caller.subject))
        .header("X-Cortex-User-Email", known(&caller.email))
        .header("X-Cortex-User-Role", known(&caller.role))
        .header("X-Cortex-User-Pool", known(&caller.pool))
        .header("X-Cortex-Scopes", header_value(&caller.scopes.join(" ")))
}

/// A value as HTTP can carry it: percent-encoded are the bytes of control characters and of
/// everything outside ASCII, blanks at either end (HTTP would strip them), and a `%` before two
/// hexadecimal digits. Every other `%` stays, so most values stay as they are, and percent-decoding
/// gives back exactly what went in.
fn header_value(value: &str) -> String {
    let bytes = value.as_bytes();
    let inner =
        bytes.len() - value.trim_start_matches(' ').len()..value.trim_end_matches(' ').len();
    let mut encoded = String::with_capacity(bytes.len());
    for (at, &byte) in bytes.iter().enumerate() {
        let carried = match byte {
            b' ' => inner.contains(&at),
            b'%' => !matches!(&bytes[at + 1..], [high, low, ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()),
            byte => byte.is_ascii_graphic(),
        };
        if carried {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a backend does that wants the value back.
    fn decode(value: &str) -> String {
        let bytes = value.as_bytes();
        let (mut decoded, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let pair = value.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
            let byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
            decoded.push(byte.unwrap_or(bytes[at]));
            at += if byte.is_some() { 3 } else { 1 };
        }
        String::from_utf8_lossy(&decoded).into_owned()
    }

    #[test]
    fn values_are_carried_and_come_back() {
        let check = |value: &str, expected: &str| {
            let encoded = header_value(value);
            assert_eq!(encoded, expected, "{value:?}");
            assert_eq!(decode(&encoded), value, "{encoded}");
        };
        check("", "");
        check("ann@example.org", "ann@example.org");
        check("Ann B. \"X\" ~!", "Ann B. \"X\" ~!");
        check(
            "a\r\nX-Cortex-User-Role: admin",
            "a%0D%0AX-Cortex-User-Role: admin",
        );
        check("a\0b\tc\u{7f}", "a%00b%09c%7F");
        check("Jürgen 李", "J%C3%BCrgen %E6%9D%8E");
        check(" a b ", "%20a b%20");
        check("  ", "%20%20");
        check("50% off", "50% off");
        check("100%", "100%");
        check("%0A", "%250A");
        check("%%41", "%%2541");
        check("%\n", "%%0A");
        check("%4\u{1}", "%4%01");
        check("%c3%bc ü", "%25c3%25bc %C3%BC");
    }
}
