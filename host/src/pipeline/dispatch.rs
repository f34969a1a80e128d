//! From a method to what has to be done about it.

use std::sync::Arc;
use std::time::Duration;

use super::answer::{self, Answer};
use super::auth::Caller;
use super::parse::Parsed;
use super::session::InSession;
use super::{Gateway, Refusal};
use crate::catalog::{Snapshot, Tool};
use crate::mcp::params::{Meta, text};
use crate::mcp::version::ProtocolVersion;
use crate::types::RequestId;

/// Longest a first request waits for the first refresh.
const COLD_START: Duration = Duration::from_secs(10);

/// What has to be done.
pub(super) enum Route {
    /// Nothing more: here is the answer.
    Local(Answer),
    /// List what the caller may see.
    List(ListIntent),
    /// Call a tool, if the caller may.
    Call(CallIntent),
}

/// Somebody wants to see the tools.
pub(super) struct ListIntent {
    pub(super) id: RequestId,
    pub(super) caller: Caller,
    pub(super) version: ProtocolVersion,
    pub(super) snapshot: Arc<Snapshot>,
}

/// Somebody wants to call a tool. Not permitted yet.
pub(super) struct CallIntent {
    pub(super) id: RequestId,
    pub(super) caller: Caller,
    pub(super) version: ProtocolVersion,
    pub(super) tool: Arc<Tool>,
    /// A JSON object, as it came.
    pub(super) arguments: String,
    pub(super) meta: Meta,
}

/// Finds out what has to be done.
pub(super) async fn route(gw: &Gateway, request: InSession) -> Result<Route, Refusal> {
    let request = request.into_inner();
    match (request.message.method.as_str(), request.version.is_modern()) {
        ("initialize", false) => Ok(Route::Local(answer::initialize(gw, &request.params)?)),
        ("ping", false) => Ok(Route::Local(answer::empty()?)),
        ("server/discover", true) => Ok(Route::Local(answer::discover(gw)?)),
        ("tools/list", _) => {
            if request.params.cursor.is_some() {
                return Err(Refusal::InvalidParams(
                    "unknown `cursor`: the whole list is one page".to_owned(),
                ));
            }
            gw.catalog.ready_within(COLD_START).await;
            let Parsed {
                id,
                caller,
                version,
                ..
            } = request;
            Ok(Route::List(ListIntent {
                id,
                caller,
                version,
                snapshot: gw.catalog.snapshot(),
            }))
        }
        ("tools/call", _) => call(gw, request).await,
        (method, _) => Err(Refusal::UnknownMethod(shown(method))),
    }
}

async fn call(gw: &Gateway, request: Parsed) -> Result<Route, Refusal> {
    let invalid = |what: &str| Refusal::InvalidParams(what.to_owned());
    let name =
        text(request.params.name.as_deref()).ok_or_else(|| invalid("`name` must be a string"))?;
    let arguments = match request.params.arguments.as_deref() {
        None => "{}".to_owned(),
        Some(raw) if raw.get().starts_with('{') => raw.get().to_owned(),
        Some(_) => return Err(invalid("`arguments` must be an object")),
    };
    gw.catalog.ready_within(COLD_START).await;
    let snapshot = gw.catalog.snapshot();
    let Some(tool) = snapshot.tool(&name) else {
        return match snapshot.absent_owner(&name) {
            // The tool may well exist: its backend has not been heard of yet.
            Some((backend, reason)) => {
                let text = format!("Backend {backend} is not available: {reason}");
                Ok(Route::Local(answer::tool_error(
                    gw,
                    request.version,
                    &text,
                    "backend_unavailable",
                )?))
            }
            None => Err(Refusal::UnknownTool(shown(&name))),
        };
    };
    let tool = Arc::clone(tool);
    let Parsed {
        id,
        caller,
        version,
        meta,
        ..
    } = request;
    Ok(Route::Call(CallIntent {
        id,
        caller,
        version,
        tool,
        arguments,
        meta,
    }))
}

/// A name from outside, fit to be shown: bounded, without control characters.
fn shown(name: &str) -> String {
    name.chars()
        .take(128)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
