//! `/api/mcp-adapter/{server}/backend`: an MCP server behind this gateway, for those who speak the backend
//! contract.

use http::Method;

use super::respond::{self, Reply};
use crate::audit::NotKept;
use crate::pipeline::{self, Arrival, Gateway, Refusal};
use crate::types::BackendId;

/// What such paths begin with.
pub(super) const PATH: &str = "/api/mcp-adapter/";

/// Answers one request.
pub(super) async fn answer(gw: &Gateway, arrival: Arrival) -> Reply {
    let path = arrival.head.uri.path();
    let server = path.strip_prefix(PATH);
    let server = server.and_then(|rest| rest.strip_suffix("/backend"));
    let server = server.and_then(|id| id.parse::<BackendId>().ok());
    let configured = gw.config.backends.iter();
    let mut native = configured.filter(|backend| backend.account.is_some());
    let Some(server) = server.filter(|id| native.any(|backend| backend.id == *id)) else {
        return respond::not_found();
    };
    if arrival.head.method != Method::POST {
        return respond::method_not_allowed("POST");
    }
    let answered = pipeline::contract(gw, &server, arrival).await;
    let reply = respond::contract(&gw.config, &answered.outcome);
    match answered.close(respond::size(&reply)).await {
        Ok(()) => reply,
        Err(NotKept) => respond::contract(&gw.config, &Err(Refusal::Overloaded)),
    }
}
