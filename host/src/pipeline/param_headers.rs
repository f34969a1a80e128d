//! Do the `Mcp-Param-*` headers of a modern call say what its arguments say? (MCP 2026-07-28,
//! Streamable HTTP, "Server Behavior for Custom Headers".)

use http::HeaderMap;
use serde_json::Value;

use super::Refusal;
use super::version::single;
use crate::catalog::Entry;
use crate::mcp::header;

/// Lets a call pass whose headers agree with its arguments (a JSON object). `unknown`: the client
/// may not know which arguments it has to mirror, so those that are there must agree.
pub(super) fn check(
    headers: &HeaderMap,
    tool: &Entry,
    arguments: &str,
    unknown: bool,
) -> Result<(), Refusal> {
    if tool.headers.is_empty() {
        return Ok(());
    }
    let arguments: Value =
        serde_json::from_str(arguments).map_err(|e| Refusal::InvalidParams(e.to_string()))?;
    for param in &tool.headers {
        let name = param.header().as_str();
        let refuse = |what: &str| Err(Refusal::HeaderMismatch(format!("the header {name} {what}")));
        match (param.argument(&arguments), single(headers, name)?) {
            (None, None) => {}
            (Some(_), None) if unknown => {}
            (Some(_), None) => return refuse("is required"),
            (None, Some(_)) => return refuse("mirrors an argument that is not there"),
            (Some(argument), Some(value)) => match header::decode(value.as_bytes()) {
                Some(value) if param.says(&value, argument) => {}
                Some(_) => return refuse("does not match the body"),
                None => return refuse("is badly encoded"),
            },
        }
    }
    Ok(())
}
