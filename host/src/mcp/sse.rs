//! Server-sent event frames (WHATWG HTML, "Server-sent events").

/// One event of type `message`. `data` is JSON on one line, as everything that is written to
/// clients is.
pub fn message(data: &str) -> String {
    debug_assert!(!data.contains(['\n', '\r']), "an event's data is one line");
    format!("event: message\ndata: {data}\n\n")
}
