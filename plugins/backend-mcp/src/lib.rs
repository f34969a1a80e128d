//! Backend adapter for native MCP servers, of either era, over Streamable HTTP.
//!
//! Schemas, results and everything in them pass through as text, unparsed where possible. The
//! modern era is tried first; what a server turned out to speak is remembered from discovery to
//! calls, so that a call to a modern server costs one exchange.
//!
//! | module     | subject                                                            |
//! |------------|--------------------------------------------------------------------|
//! | `request`  | a request as its caller meant it                                   |
//! | `era`      | which era the server speaks                                        |
//! | `modern`   | requests that say all there is to know                             |
//! | `legacy`   | handshake and sessions                                             |
//! | `exchange` | one message over HTTP; notifications are passed on meanwhile       |
//! | `challenge` | what a refusal wants                                              |
//! | `wire`     | JSON-RPC messages                                                  |
//! | `header`   | values of the `Mcp-*` headers                                      |
//! | `catalog`  | what the lists return                                              |
//! | `answer`   | what calls return                                                  |
//! | `trouble`  | errors, in the gateway's words                                     |
//! | `settings` | what the operator says of a server                                 |
//!
//! Requests are made with the user's own account at the server, where one is linked: tokens of the
//! gateway's callers are not for others, unless the operator says so. What a legacy server asks of the
//! client in the middle of a call goes to the client while the call waits.

mod answer;
mod catalog;
mod challenge;
mod era;
mod exchange;
mod header;
mod legacy;
mod modern;
mod request;
mod settings;
mod trouble;
mod wire;

use cortex_plugin_sdk::backend::{
    Completion, CompletionResult, HeaderArgument, PromptOutcome, RequestContext, ResourceOutcome,
};
use cortex_plugin_sdk::json::{self, Json};
use cortex_plugin_sdk::prelude::*;

use era::Server;
use exchange::Endpoint;
use request::{Asker, Request};
use settings::Settings;
use trouble::{Trouble, Wanted};

struct McpBackend;

impl Backend for McpBackend {
    fn describe(package: Package) -> Description {
        Description::from(package).settings(settings::SCHEMA)
    }

    fn discover(target: &Target) -> Result<Catalog, CallError> {
        let settings = &Settings::of(target)?;
        let endpoint = Endpoint {
            target,
            settings,
            discovering: true,
        };
        let mut server = Server::find_out(endpoint).map_err(|trouble| trouble.tell(target))?;
        let catalog = catalog::read(endpoint, &mut server);
        server.close(endpoint);
        catalog
    }

    fn call_tool(target: &Target, _: &Principal, call: &ToolCall) -> Result<Reply, CallError> {
        let call = Call {
            method: "tools/call",
            name: &call.tool,
            wanted: Wanted::Named(&call.tool),
            params: vec![
                ("name", json::quote(&call.tool)),
                ("arguments", call.arguments.clone()),
            ],
            headers: &call.header_arguments,
            context: &call.context,
        };
        call.make(target, answer::tool).map(Reply::from)
    }

    fn get_prompt(
        target: &Target,
        _: &Principal,
        call: &PromptCall,
    ) -> Result<PromptOutcome, CallError> {
        let call = Call {
            method: "prompts/get",
            name: &call.prompt,
            wanted: Wanted::Named(&call.prompt),
            params: vec![
                ("name", json::quote(&call.prompt)),
                ("arguments", call.arguments.clone()),
            ],
            headers: &[],
            context: &call.context,
        };
        call.make(target, answer::prompt)
    }

    fn read_resource(
        target: &Target,
        _: &Principal,
        read: &ResourceRead,
    ) -> Result<ResourceOutcome, CallError> {
        let call = Call {
            method: "resources/read",
            name: &read.uri,
            wanted: Wanted::Resource(&read.uri),
            params: vec![("uri", json::quote(&read.uri))],
            headers: &[],
            context: &read.context,
        };
        call.make(target, answer::resource)
    }

    fn complete(
        target: &Target,
        _: &Principal,
        completion: &Completion,
    ) -> Result<CompletionResult, CallError> {
        let argument = [
            ("name", json::quote(&completion.argument)),
            ("value", json::quote(&completion.value)),
        ];
        let mut request = Request::new("completion/complete", Asker::Client);
        request.params = vec![
            ("ref", completion.ref_.clone()),
            ("argument", wire::object(argument)),
            (
                "context",
                wire::object([("arguments", completion.context.clone())]),
            ),
        ];
        ask(target, &request, Wanted::Else, |result| {
            answer::completion(&result)
        })
    }
}

cortex_plugin_sdk::export_backend!(McpBackend);

/// A call of a user, of any of the three kinds that may ask for input.
struct Call<'a> {
    method: &'static str,
    name: &'a str,
    wanted: Wanted<'a>,
    params: Vec<(&'static str, Json)>,
    headers: &'a [HeaderArgument],
    context: &'a RequestContext,
}

impl Call<'_> {
    fn make<T>(
        mut self,
        target: &Target,
        read: impl FnOnce(Json) -> Result<T, String>,
    ) -> Result<T, CallError> {
        if let Some(continuation) = &self.context.continuation {
            let continued = answer::continued(continuation);
            self.params
                .extend(continued.map_err(CallError::invalid_arguments)?);
        }
        let request = Request {
            method: self.method,
            name: Some(self.name),
            params: self.params,
            headers: self.headers,
            asker: Asker::Known(self.context),
        };
        ask(target, &request, self.wanted, read)
    }
}

fn ask<T>(
    target: &Target,
    request: &Request<'_>,
    wanted: Wanted<'_>,
    read: impl FnOnce(Json) -> Result<T, String>,
) -> Result<T, CallError> {
    let settings = &Settings::of(target)?;
    let endpoint = Endpoint {
        target,
        settings,
        discovering: false,
    };
    let answer = era::ask(endpoint, request);
    match answer.map_err(|trouble| trouble.tell(target))? {
        Ok(result) => read(result).map_err(|what| Trouble::Garbage(what).tell(target)),
        Err(error) => Err(error.tell(target, wanted)),
    }
}

#[cfg(test)]
mod tests;
