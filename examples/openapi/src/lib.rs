//! Backend adapter for HTTP apps that publish an OpenAPI document (3.0 or 3.1, as JSON): each operation
//! becomes a tool, and calls are made with the caller's own credential.
//!
//! ```toml
//! # backend-openapi.toml; nothing of it is needed for an app whose document is at /openapi.json.
//! [settings]
//! document = "/v3/api-docs"           # below the base URL; or a URL whose origin is granted below
//! base = "/api/v3"                    # below the base URL, whatever `servers` in the document says
//! output-schemas = false              # for an app that answers otherwise than its document says
//!
//! [settings.scopes]
//! read = "mcp:shop:read"              # for GET and HEAD; `mcp:<backend id>:read` unless set
//! write = "mcp:shop:write"            # for the others; `mcp:<backend id>:write` unless set
//! operation = true                    # where the document names OAuth scopes, those instead
//!
//! [settings.include]                  # only what each of these lists names …
//! tags = ["pets"]
//! [settings.exclude]                  # … and none of these: `tags`, `operations` (by operationId), `methods`
//! methods = ["DELETE"]
//!
//! [settings.backends.billing]         # any of these for a single backend, by its id
//! document = "https://docs.example.org/billing.json"
//!
//! [grants]
//! http = ["https://docs.example.org"]
//! ```
//!
//! A tool is called as its `operationId`, or by method and path. Its arguments are the operation's
//! parameters, and `body` for a JSON body. What cannot be offered is told to the operator with the reason:
//! bodies and parameters of other kinds, required cookies, references out of the document. Responses that
//! are JSON objects are structured content, images and sounds are such, everything else is text.
//!
//! | module      | subject                                                     |
//! |-------------|-------------------------------------------------------------|
//! | `document`  | the document, and what its references lead to               |
//! | `tools`     | one tool for each operation                                 |
//! | `arguments` | parameters and body, as arguments of a tool                 |
//! | `schema`    | schemas of OpenAPI, as JSON Schema                          |
//! | `servers`   | below which path all this is                                |
//! | `scopes`    | which scopes a tool needs                                   |
//! | `plan`      | what calls need of all this, kept from discovery to call    |
//! | `request`   | from arguments to a request                                 |
//! | `answer`    | from a response to a result                                 |

mod answer;
mod arguments;
mod document;
mod plan;
mod request;
mod schema;
mod scopes;
mod servers;
mod settings;
mod text;
mod tools;

use cortex_plugin_sdk::backend::code;
use cortex_plugin_sdk::prelude::*;

use document::Document;
use settings::Settings;

struct OpenApi;

impl Backend for OpenApi {
    fn describe(package: Package) -> Description {
        Description::from(package).settings(include_str!("settings.json"))
    }

    fn discover(target: &Target) -> Result<Catalog, CallError> {
        let settings = Settings::of(target)?;
        let text = document::fetch(target, &settings)?;
        let read = Document::read(&text)
            .and_then(|document| tools::Reader::new(target, &settings, &document).read());
        read.map_err(|reason| {
            let message = format!(
                "Backend {}: its OpenAPI document cannot be used: {reason}",
                target.id
            );
            CallError::failed(code::ERROR, message)
        })
    }

    fn call_tool(target: &Target, _: &Principal, call: &ToolCall) -> Result<Reply, CallError> {
        let Some(kept) = &target.learned else {
            let message = format!(
                "Backend {} was not asked yet what it offers: try again",
                target.id
            );
            return Err(CallError::failed(code::UNAVAILABLE, message));
        };
        let plan = plan::find(kept, &call.tool).ok_or_else(|| CallError::not_found(&call.tool))?;
        let sent = request::build(target, &plan, call)?.send();
        let response = sent.map_err(|error| answer::none(target, error))?;
        answer::read(target, response, call.structured)
    }
}

cortex_plugin_sdk::export_backend!(OpenApi);

#[cfg(test)]
mod tests;
