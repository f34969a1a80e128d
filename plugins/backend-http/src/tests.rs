//! The adapter against a faked gateway: what it sends, and what it makes of the answers.

mod discovery;
mod errors;
mod others;
mod requests;
mod results;

use cortex_plugin_sdk::backend::{Failure, Skipped};
use cortex_plugin_sdk::http::{Credential, HttpError};
use cortex_plugin_sdk::log::Level;
use cortex_plugin_sdk::testing::{self, caller, response, target};

use super::*;

type Answer = Result<http::Response, HttpError>;

/// Calls the tool `search` with the backend answering this.
fn call(answer: Answer, structured: bool) -> Result<Reply, CallError> {
    let served = testing::serve(move |_| answer.clone());
    let call = ToolCall {
        structured,
        ..testing::call("search", "{}")
    };
    let reply = HttpBackend::call_tool(&target(), &caller(&[]), &call);
    assert_eq!(served.requests().len(), 1, "exactly one exchange");
    reply
}

/// Discovers with `list_tools` answered like this, by a backend that knows nothing else.
fn discover(answer: Answer) -> Result<Catalog, CallError> {
    let served = testing::serve(move |request| {
        if body(request).contains("list_tools") {
            answer.clone()
        } else {
            Ok(response(404, r#"{"error":"unknown method"}"#))
        }
    });
    let catalog = HttpBackend::discover(&target());
    let exchanges = if catalog.is_ok() { 3 } else { 1 };
    assert_eq!(served.requests().len(), exchanges, "one exchange a list");
    catalog
}

fn body(request: &http::Request) -> &str {
    str::from_utf8(request.body.as_deref().unwrap_or_default()).unwrap_or("not text")
}

fn failure(error: CallError) -> Failure {
    match error {
        CallError::Failed(failure) => failure,
        other => panic!("not a failure: {other:?}"),
    }
}
