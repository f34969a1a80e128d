//! Looks at answers without parsing them: a parsed answer would cost more than most of what
//! is measured.

use hyper::StatusCode;

/// Whether `needle` occurs in `body`.
pub(crate) fn contains(body: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(body, needle).is_some()
}

/// A status and the beginning of a body, for a message.
pub(crate) fn shown(status: StatusCode, body: &[u8]) -> String {
    const LONGEST: usize = 400;
    let text = String::from_utf8_lossy(&body[..body.len().min(LONGEST)]);
    let more = if body.len() > LONGEST { "…" } else { "" };
    // Whatever it is, it must not write to the reader's terminal.
    let text = text.replace(char::is_control, " ");
    format!("{}: {text}{more}", status.as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_there() {
        assert!(contains(b"abc", b"bc"));
        assert!(!contains(b"abc", b"cb"));
        assert!(!contains(b"a", b"ab"));
        assert!(!contains(b"", b"a"));
    }

    #[test]
    fn shows_the_beginning_only() {
        assert_eq!(shown(StatusCode::OK, b"a\nb"), "200: a b");
        assert!(shown(StatusCode::OK, &[b'x'; 500]).ends_with("x…"));
    }
}
