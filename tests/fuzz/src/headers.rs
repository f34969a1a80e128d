//! The header validator: no request passes as modern whose header and body disagree, and what is
//! encoded for a header comes back.
//!
//! The input is a header block, an empty line, and a body.

use cortex_gateway::mcp::header::{decode, encode};
use cortex_gateway::mcp::jsonrpc::{self, Message};
use cortex_gateway::mcp::version::ProtocolVersion;
use cortex_gateway::pipeline::fuzzing::era;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// Checks one request.
pub fn check(bytes: &[u8]) {
    values(bytes);
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((bytes, &b""[..]), |end| (&bytes[..end], &bytes[end + 2..]));
    let headers = header(head);
    let Ok(Message::Request(request)) = jsonrpc::parse(body) else {
        return;
    };
    let Ok(version) = era(&headers, &request) else {
        return;
    };
    let body: Value = serde_json::from_slice(body).expect("JSON");
    let params = &body["params"];
    let in_meta = &params["_meta"]["io.modelcontextprotocol/protocolVersion"];
    if !version.is_modern() {
        assert!(
            in_meta.is_null(),
            "what names a version in `_meta` is modern"
        );
        return;
    }
    assert_eq!(version, ProtocolVersion::V2026_07_28);
    assert_eq!(in_meta, "2026-07-28");
    assert!(params["_meta"]["io.modelcontextprotocol/clientCapabilities"].is_object());
    assert_eq!(only(&headers, "mcp-protocol-version").trim(), "2026-07-28");
    assert_eq!(
        decode(only(&headers, "mcp-method").as_bytes()).as_deref(),
        Some(request.method.as_str())
    );
    let mirrored = match request.method.as_str() {
        "tools/call" | "prompts/get" => params["name"].as_str(),
        "resources/read" => params["uri"].as_str(),
        _ => None,
    };
    if let Some(value) = mirrored {
        assert_eq!(
            decode(only(&headers, "mcp-name").as_bytes()).as_deref(),
            Some(value)
        );
    }
}

/// A text survives being a header; any bytes are survived.
fn values(bytes: &[u8]) {
    if let Some(decoded) = decode(bytes) {
        let encoded = encode(&decoded);
        assert_eq!(decode(encoded.as_bytes()), Some(decoded.clone()));
    }
    let text = String::from_utf8_lossy(bytes);
    let encoded = encode(&text);
    let value = HeaderValue::from_str(&encoded).expect("what is encoded fits into a header");
    assert_eq!(decode(value.as_bytes()).as_deref(), Some(&*text));
}

/// What an HTTP parser would let through of these lines.
fn header(block: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in block.split(|b| *b == b'\n') {
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// The one value of a header that must be there once.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    let mut values = headers.get_all(name).iter();
    let value = values.next().expect("it is there");
    assert!(values.next().is_none(), "`{name}` is there twice");
    std::str::from_utf8(value.as_bytes()).expect("UTF-8")
}
