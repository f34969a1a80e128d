//! What this backend offers, as the gateway lists it. What is listed here is done in
//! `methods`; each item names the one scope that its caller must have.
//!
//! Two ways to describe arguments: `params` for the simple case (`?` is optional, `[]` a
//! list), `inputSchema` with all of JSON Schema. The second wins where both are given.

use serde_json::{Value, json};

/// Scope of everything that only looks.
pub(crate) const READ: &str = "mcp:demo:read";
/// Scope of everything that changes something.
pub(crate) const WRITE: &str = "mcp:demo:write";

/// The answer to `list_tools`.
pub(crate) fn tools() -> Value {
    json!({"tools": [
        {
            "name": "echo",
            "scope": READ,
            "description": "Returns its arguments and what is known about the caller.",
            "inputSchema": {
                "type": "object",
                "properties": {"message": {"type": "string", "description": "Anything."}},
                "additionalProperties": true,
            },
            "annotations": {"readOnlyHint": true},
        },
        {
            "name": "add",
            "title": "Add two numbers",
            "scope": READ,
            "description": "Adds two numbers.",
            "params": {"a": "number", "b": "number"},
            "outputSchema": {
                "type": "object",
                "properties": {"sum": {"type": "number"}},
                "required": ["sum"],
            },
            "annotations": {"readOnlyHint": true},
        },
        {
            "name": "list_notes",
            "scope": READ,
            "description": "Lists notes, the newest first.",
            "params": {"tag": "string?", "limit": "number?"},
            "annotations": {"readOnlyHint": true},
        },
        {
            "name": "get_help",
            "scope": READ,
            "description": "Says what this backend is for.",
            "params": {"topic": "string?"},
            "annotations": {"readOnlyHint": true},
        },
        {
            "name": "say",
            "scope": READ,
            "description": "Returns a message.",
            "params": {"message": "string"},
            "version": "0.9.0",
            "deprecated": {"removedAt": "2027-06-30", "replacedBy": "echo", "reason": "echo also returns the caller"},
        },
        {
            "name": "add_note",
            "scope": WRITE,
            "description": "Writes a note.",
            "params": {"text": "string", "tags": "string[]?"},
            "version": "1.1.0",
        },
        {
            "name": "delete_note",
            "scope": WRITE,
            "description": "Deletes a note for good. Only the role admin may.",
            "params": {"id": "number"},
            "annotations": {"destructiveHint": true, "idempotentHint": true},
        },
    ]})
}

/// The answer to `list_prompts`.
pub(crate) fn prompts() -> Value {
    json!({"prompts": [{
        "name": "summarize_notes",
        "description": "Asks for a summary of the notes.",
        "scope": READ,
        "arguments": [
            {"name": "tag", "description": "Only notes with this tag."},
            {"name": "language", "description": "Language of the summary.", "required": true},
        ],
    }]})
}

/// The answer to `list_resource_templates`.
pub(crate) fn resource_templates() -> Value {
    json!({"resourceTemplates": [{
        "uriTemplate": "demo://notes/{id}",
        "name": "note",
        "description": "One note by its number.",
        "mimeType": "text/plain",
        "scope": READ,
    }]})
}
