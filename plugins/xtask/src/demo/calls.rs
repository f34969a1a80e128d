//! The demo's calls: one that we make, and the ones that we print for the user.
//!
//! MCP 2026-07-28 in its stateless form: one POST, no session. The headers repeat what the
//! body says, so that whoever routes the request need not read the body.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::{http, messages};

/// The revision that these calls are written in.
const REVISION: &str = "2026-07-28";

/// What says who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The gateway's dev bypass.
    Dev(String),
    /// An access token.
    Bearer(String),
}

/// One request, ready to be sent or printed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    headers: Vec<(&'static str, String)>,
    body: String,
}

/// The MCP endpoint at this address.
pub fn url(address: SocketAddr) -> String {
    format!("http://{address}/mcp")
}

/// Calls the tool `demo_echo` and returns the text that it answers.
pub fn echo(address: SocketAddr, credential: &Credential) -> Result<String> {
    let call = Call::tool(credential, "demo_echo", r#"{"message":"hello"}"#);
    let headers: Vec<(&str, &str)> = call
        .headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let answer = http::send(
        address,
        "POST",
        "/mcp",
        &headers,
        &call.body,
        Duration::from_secs(30),
    )
    .map_err(|error| Error::new(error.to_string()))?;
    let failed = answer.status != 200 || answer.body.contains(r#""isError":true"#);
    match messages::string(&answer.body, "text") {
        Some(text) if !failed => Ok(text),
        _ => Err(Error::new(format!(
            "status {}: {}",
            answer.status, answer.body
        ))),
    }
}

/// What the user is told once everything runs.
pub fn introduction(
    address: SocketAddr,
    credential: &Credential,
    answer: &str,
    plugins: &Path,
    logs: &Path,
) -> String {
    let url = url(address);
    let list = Call::new(credential, "tools/list", None, "").curl(&url);
    let echo = Call::tool(credential, "demo_echo", r#"{"message":"hello"}"#).curl(&url);
    let (plugins, logs) = (plugins.display(), logs.display());
    let (header, value) = credential.header();
    format!(
        r#"
The gateway runs. It has just answered a call of the tool demo_echo:

  {answer}

MCP endpoint: {url}

List the tools:

{list}

Call one:

{echo}

In an MCP client, give the URL and one header. Many take this form:

  {{"mcpServers": {{"cortex": {{"type": "http", "url": "{url}", "headers": {{"{header}": "{value}"}}}}}}}}

Plugins: {plugins} (what is dropped there is loaded at once)
Logs:    {logs}

Ctrl-C stops both."#
    )
}

impl Credential {
    fn header(&self) -> (&'static str, String) {
        match self {
            Self::Dev(token) => ("X-Dev-Mode", token.clone()),
            Self::Bearer(token) => ("Authorization", format!("Bearer {token}")),
        }
    }
}

impl Call {
    fn tool(credential: &Credential, name: &str, arguments: &str) -> Self {
        let params = format!(r#""name":"{name}","arguments":{arguments},"#);
        Self::new(credential, "tools/call", Some(name), &params)
    }

    /// `params` are the members in front of `_meta`, each with its comma.
    fn new(credential: &Credential, method: &str, name: Option<&str>, params: &str) -> Self {
        let mut headers = vec![
            credential.header(),
            ("Content-Type", "application/json".to_owned()),
            ("Accept", "application/json, text/event-stream".to_owned()),
            ("MCP-Protocol-Version", REVISION.to_owned()),
            ("Mcp-Method", method.to_owned()),
        ];
        headers.extend(name.map(|name| ("Mcp-Name", name.to_owned())));
        let meta = format!(
            r#"{{"io.modelcontextprotocol/protocolVersion":"{REVISION}","io.modelcontextprotocol/clientCapabilities":{{}}}}"#
        );
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}"_meta":{meta}}}}}"#
        );
        Self { headers, body }
    }

    /// The call as a command for a shell.
    fn curl(&self, url: &str) -> String {
        let mut lines = vec![format!("curl -s {url}")];
        lines.extend(
            self.headers
                .iter()
                .map(|(name, value)| format!("  -H '{name}: {value}'")),
        );
        lines.push(format!("  -d '{}'", self.body));
        lines.join(" \\\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dev() -> Credential {
        Credential::Dev("demo".to_owned())
    }

    #[test]
    fn a_call_says_the_same_in_headers_and_body() {
        let call = Call::tool(&dev(), "demo_echo", r#"{"message":"hello"}"#);
        assert!(call.headers.contains(&("Mcp-Name", "demo_echo".to_owned())));
        assert_eq!(
            messages::string(&call.body, "method").as_deref(),
            Some("tools/call")
        );
        assert_eq!(
            messages::string(&call.body, "name").as_deref(),
            Some("demo_echo")
        );
        let version = messages::string(&call.body, "io.modelcontextprotocol/protocolVersion");
        assert_eq!(version.as_deref(), Some(REVISION));
    }

    #[test]
    fn the_introduction_can_be_pasted() {
        let address = SocketAddr::from(([127, 0, 0, 1], 4213));
        let text = introduction(address, &dev(), "{}", Path::new("/p"), Path::new("/l"));
        assert!(
            text.contains("curl -s http://127.0.0.1:4213/mcp \\\n  -H 'X-Dev-Mode: demo' \\\n")
        );
        assert!(text.contains(
            r#""params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28""#
        ));
        assert!(text.contains(
            r#"{"mcpServers": {"cortex": {"type": "http", "url": "http://127.0.0.1:4213/mcp""#
        ));
    }
}
