//! Backend adapters: what a backend offers, and doing it.

mod call;
mod error;
mod reply;
mod tool;

use crate::json::Json;
use crate::{Description, Package};

pub use crate::bindings::cortex::gateway::types::{Principal, Scope};
pub use crate::bindings::exports::cortex::gateway::backend::{
    Blob, CallError, Catalog, Completion, CompletionResult, Content, Continuation, Deprecation,
    Failure, HeaderArgument, InputRequired, LinkRequired, ListedResource, MissingScope, Prompt,
    PromptArgument, PromptCall, PromptOutcome, PromptResult, RequestContext, ResourceOutcome,
    ResourceRead, ResourceResult, ResourceTemplate, Skipped, Target, Tool, ToolCall, ToolOutcome,
    ToolResult,
};
pub use error::code;
pub use reply::Reply;

/// A backend adapter. [`export_backend!`](crate::export_backend) makes it a component.
///
/// One adapter serves any number of configured backends; every call says which. Keep no state
/// that a later call needs: it may meet a new instance. A panic fails that one call.
///
/// What is not implemented answers [`CallError::Unsupported`].
#[expect(
    unused_variables,
    reason = "defaults do nothing with what they are given"
)]
pub trait Backend {
    /// How the plugin introduces itself: by default as its crate does. Called without any grant.
    fn describe(package: Package) -> Description {
        package.into()
    }

    /// What the backend offers. Called at start and at every refresh, as nobody: requests are
    /// made [as technical](crate::http::Request::as_technical) or without a credential.
    ///
    /// # Errors
    ///
    /// When that cannot be found out. What is only partly usable goes to
    /// [`Catalog::skipped`] instead, so that the rest stays.
    fn discover(target: &Target) -> Result<Catalog, CallError>;

    /// Calls a tool as the caller, whom the policies have permitted to.
    ///
    /// # Errors
    ///
    /// When it did not succeed; a [`Reply::error`] is for tools that explain themselves.
    fn call_tool(target: &Target, caller: &Principal, call: &ToolCall) -> Result<Reply, CallError>;

    /// Renders a prompt as the caller.
    ///
    /// # Errors
    ///
    /// When it did not succeed.
    fn get_prompt(
        target: &Target,
        caller: &Principal,
        call: &PromptCall,
    ) -> Result<PromptOutcome, CallError> {
        Err(CallError::Unsupported)
    }

    /// Reads a resource as the caller.
    ///
    /// # Errors
    ///
    /// When it did not succeed.
    fn read_resource(
        target: &Target,
        caller: &Principal,
        read: &ResourceRead,
    ) -> Result<ResourceOutcome, CallError> {
        Err(CallError::Unsupported)
    }

    /// Proposes values for an argument of a prompt or a template.
    ///
    /// # Errors
    ///
    /// When it did not succeed.
    fn complete(
        target: &Target,
        caller: &Principal,
        completion: &Completion,
    ) -> Result<CompletionResult, CallError> {
        Err(CallError::Unsupported)
    }

    /// What the backend knows about the caller: any JSON object.
    ///
    /// # Errors
    ///
    /// When it did not succeed.
    fn whoami(target: &Target, caller: &Principal) -> Result<Json, CallError> {
        Err(CallError::Unsupported)
    }

    /// Hands a missing-capability ticket (a JSON object) to a backend that keeps its own; returns
    /// `{ticketId, deduplicated, ackMessage?}`.
    ///
    /// # Errors
    ///
    /// When it did not succeed.
    fn report_ticket(target: &Target, caller: &Principal, ticket: &str) -> Result<Json, CallError> {
        Err(CallError::Unsupported)
    }

    /// The caller's tickets in that backend: takes `{status?, severity?, limit?}`, returns a JSON
    /// array.
    ///
    /// # Errors
    ///
    /// When it did not succeed.
    fn list_tickets(target: &Target, caller: &Principal, query: &str) -> Result<Json, CallError> {
        Err(CallError::Unsupported)
    }

    /// Aggregate figures of the backend, for a dashboard: a JSON object. As nobody.
    ///
    /// # Errors
    ///
    /// When it did not succeed.
    fn get_snapshot(target: &Target) -> Result<Json, CallError> {
        Err(CallError::Unsupported)
    }
}
