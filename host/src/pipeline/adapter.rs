//! Runs a permitted call in the adapter of the backend that owns the tool.

use tracing::{error, info};

use super::answer::{self, Answer};
use super::policy::Permit;
use super::progress::Reporter;
use super::{Gateway, Refusal};
use crate::plugin::model::{CallError, RequestContext, ToolCall, ToolOutcome};
use crate::plugin::{Fault, Notices, OnBehalf};
use crate::types::{Scope, ScopeSet};

/// Makes the call as the caller.
pub(super) async fn call(
    gw: &Gateway,
    permit: Permit,
    reporter: Reporter,
) -> Result<Answer, Refusal> {
    let tool = permit.tool();
    let Some(route) = gw.routes.get(&tool.backend) else {
        return Err(Refusal::Internal(format!(
            "no route to backend `{}`",
            tool.backend
        )));
    };
    let (id, version, structured, item) = (
        permit.id(),
        permit.version(),
        tool.structured,
        tool.item.clone(),
    );
    let adapter = match &route.adapter {
        Ok(adapter) => adapter,
        Err(missing) => {
            let text = format!(
                "Backend {} is not available: no adapter `{missing}` is loaded",
                tool.backend
            );
            return answer::tool_error(gw, version, &text, "backend_unavailable");
        }
    };
    let (principal, token) = (
        permit.caller().principal().clone(),
        permit.caller().token().clone(),
    );
    let notices = Notices {
        progress: reporter.for_call(permit.meta()),
        messages: None,
    };
    let call = ToolCall {
        tool: item.name.clone(),
        structured,
        header_arguments: Vec::new(),
        context: RequestContext {
            meta: permit.meta().for_backend(),
            client_capabilities: "{}".to_owned(),
            client_info: None,
            log_level: None,
            continuation: None,
        },
        arguments: permit.into_arguments(),
    };
    let user = OnBehalf {
        backend: &route.backend,
        caller: &principal,
        token: &token,
        request: id,
    };
    let result = adapter.call_tool(user, call, notices).await;
    let result = result.inspect_err(|fault| log(fault, id))?;
    match result {
        Ok(ToolOutcome::Complete(result)) => {
            answer::tool_result(gw, version, result).map_err(|what| {
                let cause = crate::plugin::Cause::BadAnswer(what);
                let fault = Fault {
                    plugin: adapter.name.clone(),
                    function: "call-tool",
                    cause,
                };
                log(&fault, id);
                Refusal::Plugin(fault)
            })
        }
        Ok(ToolOutcome::InputRequired(_) | ToolOutcome::Other(_)) => {
            info!(request.id = %id, backend.id = %route.backend.id, "the backend asks the client for input, which cannot be relayed yet");
            let text = format!(
                "Backend {} needs further input, which this gateway cannot relay yet",
                route.backend.id
            );
            answer::tool_error(gw, version, &text, "input_required_unsupported")
        }
        Err(CallError::Failed(failure)) => {
            answer::tool_failure(gw, version, &failure.message, &failure.code, failure.meta)
                .map_err(Refusal::Internal)
        }
        Err(CallError::MissingScope(missing)) => {
            let required: Result<ScopeSet, _> = missing
                .required
                .iter()
                .map(|s| s.parse::<Scope>())
                .collect();
            match required {
                Ok(required) if !required.is_empty() => Err(Refusal::BackendRefusedScope {
                    required,
                    method: missing.method,
                }),
                // Not fit for a challenge; the model can still read that it was refused.
                _ => {
                    let text = format!(
                        "Backend {} refused the call for want of a scope that it did not name",
                        route.backend.id
                    );
                    answer::tool_error(gw, version, &text, "backend_refused_scope")
                }
            }
        }
        Err(CallError::NotFound(_)) => Err(Refusal::UnknownTool(format!(
            "{}_{}",
            item.backend, item.name
        ))),
        Err(CallError::InvalidArguments(what)) => Err(Refusal::InvalidParams(what)),
        Err(CallError::Unsupported) => answer::tool_error(
            gw,
            version,
            "The backend's adapter does not call tools",
            "unsupported",
        ),
        Err(CallError::Other(what)) => answer::tool_error(gw, version, &what, "backend_error"),
    }
}

fn log(fault: &Fault, request: crate::types::RequestId) {
    error!(request.id = %request, "{fault}; hint: {}", fault.cause.hint());
}
