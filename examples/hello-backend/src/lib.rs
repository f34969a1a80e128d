//! The smallest backend adapter: it greets.
use cortex_plugin_sdk::prelude::*;

struct Hello;

impl Backend for Hello {
    fn discover(_: &Target) -> Result<Catalog, CallError> {
        let greet = Tool::new("greet", "Greets someone by name").param("name", "string");
        Ok(Catalog::of([greet.scope("mcp:hello:read")]))
    }

    fn call_tool(_: &Target, _: &Principal, call: &ToolCall) -> Result<Reply, CallError> {
        match call.tool.as_str() {
            "greet" => Ok(Reply::text(format!("Hello, {}!", call.arg_str("name")?))),
            other => Err(CallError::not_found(other)),
        }
    }
}

cortex_plugin_sdk::export_backend!(Hello);
