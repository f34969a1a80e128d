//! `cortex-gateway status`, in words.

use std::fmt::Write as _;

use serde_json::Value;

use super::terminal::shown;

/// One line for each backend, and one below for each thing of it that is left out. What came from
/// a backend is escaped: it could hold what a terminal obeys.
pub(super) fn in_words(answer: &Value) -> String {
    let mut text = format!("version {}\n", shown(&answer["version"]));
    let backends = answer["backends"].as_array().map_or(&[][..], Vec::as_slice);
    if backends.is_empty() {
        text.push_str("no backend is configured; hint: set CORTEX_BACKENDS\n");
    }
    for backend in backends {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<20} {:<14} {} tools, {} prompts, {} resources, {} templates",
            shown(&backend["id"]),
            shown(&backend["health"]),
            backend["tools"],
            backend["prompts"],
            backend["resources"],
            backend["templates"],
        );
        if backend["reason"].is_string() {
            let _ = writeln!(text, "  why: {}", shown(&backend["reason"]));
        }
        for note in backend["leftOut"].as_array().into_iter().flatten() {
            let _ = writeln!(text, "  {}", shown(note));
        }
    }
    text
}
