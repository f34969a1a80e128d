//! Server-sent event frames (WHATWG HTML, "Server-sent events").

/// A comment: keeps a quiet stream from being taken for a dead one.
pub const KEEP_ALIVE: &str = ": keep-alive\n\n";

/// How long a client waits before it comes back to a stream that ended, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// One event of type `message`. `data` is JSON on one line, as everything that is written to
/// clients is.
pub fn message(data: &str) -> String {
    debug_assert!(!data.contains(['\n', '\r']), "an event's data is one line");
    format!("event: message\ndata: {data}\n\n")
}

/// The same, with an id that a client can resume from.
pub fn message_with_id(id: &str, data: &str) -> String {
    format!("id: {id}\n{}", message(data))
}

/// The first frame of a stream: tells how soon to come back and, on a stream that can be resumed,
/// from where. It carries no message. Clients from 2025-11-25 on expect an event with empty data
/// (MCP 2025-11-25, "Sending Messages to the Server"); older ones would parse the nothing, and get
/// fields alone, which make no event.
pub fn opening(id: Option<&str>, as_event: bool) -> String {
    let mut frame = format!("retry: {RETRY_MS}\n");
    if let Some(id) = id {
        frame.push_str("id: ");
        frame.push_str(id);
        frame.push('\n');
        if as_event {
            frame.push_str("data:\n");
        }
    }
    frame.push('\n');
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_whole() {
        assert_eq!(message("{}"), "event: message\ndata: {}\n\n");
        assert_eq!(
            message_with_id("a-1", "{}"),
            "id: a-1\nevent: message\ndata: {}\n\n"
        );
        assert_eq!(opening(None, true), "retry: 2000\n\n");
        assert_eq!(opening(Some("a-0"), false), "retry: 2000\nid: a-0\n\n");
        assert_eq!(
            opening(Some("a-0"), true),
            "retry: 2000\nid: a-0\ndata:\n\n"
        );
    }
}
