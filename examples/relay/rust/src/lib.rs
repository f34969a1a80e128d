//! One tool that passes its arguments on to an app, as the caller, and returns what it answers. The same
//! adapter stands beside it in other languages.
use cortex_plugin_sdk::prelude::*;

struct Relay;

impl Backend for Relay {
    fn discover(target: &Target) -> Result<Catalog, CallError> {
        let about = ask(http::Request::get(target.url("/relay")).as_technical())?;
        let about = about.text().unwrap_or_default();
        let tool = Tool::new("relay", about).scope("mcp:relay:write");
        Ok(Catalog::of([tool]))
    }

    fn call_tool(target: &Target, _: &Principal, call: &ToolCall) -> Result<Reply, CallError> {
        if call.tool != "relay" {
            return Err(CallError::not_found(&call.tool));
        }
        progress::report(1.0, Some(2.0), Some("asking the app"));
        let request = http::Request::post(target.url("/relay"));
        let answer = ask(request.json(call.arguments.as_str()).as_caller())?;
        match answer.text() {
            Some(text) if answer.is_json => Ok(Reply::text(text).structured(text)),
            _ => Err(CallError::failed(
                "backend_error",
                "the app answered with something that is no JSON",
            )),
        }
    }
}

/// What the app answers, if it is content.
fn ask(request: http::Request) -> Result<http::Response, CallError> {
    let failed = |code, message: String| Err(CallError::failed(code, message));
    match request.send() {
        Ok(answer) if answer.is_success() => Ok(answer),
        Ok(answer) => match answer.status {
            401 => failed(
                "backend_auth",
                "the app did not accept the token".to_owned(),
            ),
            403 => failed("backend_acl", "the app refused this call".to_owned()),
            status => failed(
                "backend_error",
                format!("the app answered with status {status}"),
            ),
        },
        Err(http::HttpError::Timeout(_)) => failed(
            "backend_timeout",
            "the app did not answer in time".to_owned(),
        ),
        Err(_) => failed(
            "backend_unavailable",
            "the app cannot be reached".to_owned(),
        ),
    }
}

cortex_plugin_sdk::export_backend!(Relay);
