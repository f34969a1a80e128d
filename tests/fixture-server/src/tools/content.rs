//! Tools that only answer: content of every kind, an error, and schemas worth passing on.

use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, ResourceContents};
use serde_json::{Value, json};

use super::{Act, Entry, nothing, text};
use crate::media;

/// The tool that comes and goes.
pub(super) const EXTRA: &str = "test_extra_tool";

pub(super) const TOOLS: &[Entry] = &[
    Entry {
        name: "test_simple_text",
        description: "Answers with a text",
        schema: nothing,
        act: Act::Say(|_| Ok(text("This is a simple text response for testing."))),
    },
    Entry {
        name: "test_image_content",
        description: "Answers with a picture",
        schema: nothing,
        act: Act::Say(|_| Ok(CallToolResult::success(vec![picture()]))),
    },
    Entry {
        name: "test_audio_content",
        description: "Answers with a sound",
        schema: nothing,
        act: Act::Say(|_| {
            let sound = ContentBlock::audio(media::WAV, "audio/wav");
            Ok(CallToolResult::success(vec![sound]))
        }),
    },
    Entry {
        name: "test_embedded_resource",
        description: "Answers with a resource",
        schema: nothing,
        act: Act::Say(|_| {
            Ok(CallToolResult::success(vec![resource(
                "test://embedded-resource",
                "text/plain",
                "This is an embedded resource content.",
            )]))
        }),
    },
    Entry {
        name: "test_multiple_content_types",
        description: "Answers with a text, a picture and a resource",
        schema: nothing,
        act: Act::Say(|_| {
            Ok(CallToolResult::success(vec![
                ContentBlock::text("Multiple content types test:"),
                picture(),
                resource(
                    "test://mixed-content-resource",
                    "application/json",
                    r#"{"test":"data","value":123}"#,
                ),
            ]))
        }),
    },
    Entry {
        name: "test_error_handling",
        description: "Fails, as tools fail",
        schema: nothing,
        act: Act::Say(|_| {
            Ok(CallToolResult::error(vec![ContentBlock::text(
                "This tool intentionally returns an error for testing",
            )]))
        }),
    },
    Entry {
        name: "json_schema_2020_12_tool",
        description: "Has an input schema with keywords of JSON Schema 2020-12",
        schema: contact_schema,
        act: Act::Say(|_| Ok(text("The schema is what matters."))),
    },
    Entry {
        name: "test_x_mcp_header",
        description: "Has parameters that clients repeat in headers",
        schema: header_schema,
        act: Act::Say(region),
    },
    Entry {
        name: "test_reconnection",
        // A server may close the stream of a call and let the client come back for the result;
        // `rmcp` gives a tool no way to do that, so the result comes on the stream.
        description: "Answers a client that may have to come back for the answer",
        schema: nothing,
        act: Act::Say(|_| Ok(text("Here is the answer."))),
    },
    Entry {
        name: EXTRA,
        description: "Comes and goes",
        schema: nothing,
        act: Act::Say(|_| Ok(text("This tool comes and goes."))),
    },
];

fn picture() -> ContentBlock {
    ContentBlock::image(media::PNG, "image/png")
}

fn resource(uri: &str, mime_type: &str, content: &str) -> ContentBlock {
    ContentBlock::resource(ResourceContents::text(content, uri).with_mime_type(mime_type))
}

fn region(arguments: &JsonObject) -> Result<CallToolResult, ErrorData> {
    let region = arguments.get("region").and_then(Value::as_str);
    let region = region.ok_or_else(|| ErrorData::invalid_params("`region` is missing", None))?;
    Ok(text(format!("Region: {region}")))
}

/// `x-mcp-header` (MCP 2026-07-28, "Custom Headers"), with a string and a number.
fn header_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "limit": { "type": "integer", "x-mcp-header": "Limit" }
        },
        "required": ["region"]
    })
}

/// The very schema that the suite looks for: nothing of it may be lost on the way.
fn contact_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } }
            }
        },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" }
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": {
            "properties": { "contactMethod": { "const": "phone" } },
            "required": ["contactMethod"]
        },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false
    })
}
