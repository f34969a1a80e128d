//! The methods of MCP, by name.

/// Those that clients send, in any revision.
const METHODS: [&str; 23] = [
    "completion/complete",
    "initialize",
    "logging/setLevel",
    "notifications/cancelled",
    "notifications/elicitation/complete",
    "notifications/initialized",
    "notifications/progress",
    "notifications/roots/list_changed",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "server/discover",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tools/call",
    "tools/list",
];

/// The method of this name. `None`: it is a word of the caller's own.
pub fn known(name: &str) -> Option<&'static str> {
    let found = METHODS.binary_search(&name).ok()?;
    METHODS.get(found).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_and_nothing_else() {
        for method in METHODS {
            assert_eq!(known(method), Some(method));
        }
        for word in ["", "tools", "tools/call ", "Tools/Call", "zzz"] {
            assert_eq!(known(word), None, "{word}");
        }
    }
}
