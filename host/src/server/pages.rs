//! Documents that anybody may read: what clients find the gateway by, and a page for people.
//!
//! None of them says more than a stranger may know: no token, no URL of a backend, and not why a
//! backend is down, because that could name one.

pub(super) mod status;

use std::collections::BTreeSet;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE,
};
use http::{HeaderValue, Method};
use serde_json::{Value, json};

use super::respond::{self, Reply};
use crate::catalog::Kind;
use crate::mcp::version::ProtocolVersion;
use crate::pipeline::Gateway;

/// Header fields with which MCP clients in browsers ask for the documents.
const ALLOWED_HEADERS: &str = "Accept, Authorization, Content-Type, MCP-Protocol-Version";

/// The document at a path, if there is one.
pub(super) fn answer(gw: &Gateway, method: &Method, path: &str) -> Option<Reply> {
    let reading = matches!(*method, Method::GET | Method::HEAD);
    Some(match path {
        "/" if reading => status::page(gw),
        "/" => respond::method_not_allowed("GET, HEAD"),
        "/.well-known/oauth-protected-resource" | "/.well-known/oauth-protected-resource/mcp" => {
            document(method, || resource_metadata(gw), 60)
        }
        "/.well-known/mcp/server-card.json" => document(method, || server_card(gw), 3600),
        _ => return None,
    })
}

/// A document for every origin, to be kept for this many seconds.
fn document(method: &Method, content: impl FnOnce() -> Value, max_age: u32) -> Reply {
    let mut reply = match *method {
        Method::GET | Method::HEAD => respond::public_document(&content(), max_age),
        Method::OPTIONS => {
            let mut reply = respond::no_content();
            let headers = reply.headers_mut();
            let methods = HeaderValue::from_static("GET, HEAD, OPTIONS");
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
            let allowed = HeaderValue::from_static(ALLOWED_HEADERS);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
            reply
        }
        _ => respond::method_not_allowed("GET, HEAD, OPTIONS"),
    };
    let everybody = HeaderValue::from_static("*");
    reply
        .headers_mut()
        .insert(ACCESS_CONTROL_ALLOW_ORIGIN, everybody);
    reply
}

/// The protected resource metadata document (RFC 9728 §2).
fn resource_metadata(gw: &Gateway) -> Value {
    let snapshot = gw.catalog.snapshot();
    let scopes: BTreeSet<&str> = Kind::ALL
        .into_iter()
        .flat_map(|kind| &snapshot.listing(kind).listed)
        .flat_map(|entry| entry.item.scopes.iter().map(String::as_str))
        .filter(|scope| *scope != "offline_access")
        .collect();
    let oauth = gw.config.oauth.iter();
    let servers: Vec<&str> = oauth.map(|oauth| oauth.issuer.as_str()).collect();
    json!({
        "resource": gw.config.canonical_uri.as_str(),
        "resource_name": gw.config.identity.name,
        "resource_documentation": gw.config.identity.website,
        "authorization_servers": servers,
        "bearer_methods_supported": ["header"],
        "scopes_supported": scopes,
    })
}

/// The server card (SEP-2127): how a client that knows only the host finds the MCP server.
fn server_card(gw: &Gateway) -> Value {
    let identity = &gw.config.identity;
    json!({
        "name": identity.card_name,
        "title": identity.name,
        "version": env!("CARGO_PKG_VERSION"),
        "description": "One MCP server in front of many backends.",
        "websiteUrl": identity.website,
        "remotes": [{
            "type": "streamable-http",
            "url": gw.config.canonical_uri.as_str(),
            "supportedProtocolVersions": ProtocolVersion::SERVED.map(ProtocolVersion::as_str),
        }],
    })
}
