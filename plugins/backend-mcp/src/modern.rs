//! The modern era: every request says all there is to know (MCP 2026-07-28).

use cortex_plugin_sdk::json::{Json, Members};

use crate::exchange::{Asking, Endpoint, Fields, Reply};
use crate::header;
use crate::request::{Asker, Request};
use crate::trouble::Trouble;
use crate::wire::{self, RpcError};

/// The only revision of this era.
pub(crate) const VERSION: &str = "2026-07-28";

/// Codes that only servers of this era use (Basic, "Error Codes").
const HEADER_MISMATCH: i64 = -32020;
const MISSING_CAPABILITY: i64 = -32021;
const UNSUPPORTED_VERSION: i64 = -32022;

/// Sends a request.
///
/// # Errors
/// [`Trouble::OtherEra`] when the server does not take it as one of this era.
pub(crate) fn ask(
    endpoint: Endpoint<'_>,
    request: &Request<'_>,
) -> Result<Result<Json, RpcError>, Trouble> {
    let id = wire::new_id();
    let asking = Asking {
        id,
        method: request.method,
        params: &request.modern_params(VERSION, id),
        timeout_ms: None,
    };
    // Servers of this era ask nothing on the stream; whatever does gets no answer.
    let reply = endpoint.ask(&fields(request), asking, None, &mut |_, _, _| {});
    match reply {
        Ok(reply) => read(reply),
        // "A `4xx` without a recognized modern error body" (Versioning, compatibility matrix).
        Err(Trouble::Status(status @ (400..=407 | 409..=412 | 414..=428))) => {
            Err(Trouble::OtherEra(format!("HTTP {status}")))
        }
        Err(trouble) => Err(trouble),
    }
}

/// What the server is able to do: a JSON object.
///
/// # Errors
/// [`Trouble::OtherEra`] when it does not speak this era.
pub(crate) fn discover(endpoint: Endpoint<'_>) -> Result<Json, Trouble> {
    let request = Request::new("server/discover", Asker::Gateway);
    let result = match ask(endpoint, &request)? {
        Ok(result) => result,
        Err(error) if matches!(error.code, HEADER_MISMATCH | MISSING_CAPABILITY) => {
            let what = format!("it refuses `server/discover` with error {}", error.code);
            return Err(Trouble::Garbage(what));
        }
        // Every server of this era has this method (Discovery).
        Err(error) => {
            let what = format!("`server/discover` is answered with error {}", error.code);
            return Err(Trouble::OtherEra(what));
        }
    };
    let mut members = Members::parse(&result)
        .map_err(|_| Trouble::Garbage("`server/discover` names a member twice".into()))?;
    let Some(versions) = members.take("supportedVersions") else {
        return Err(Trouble::OtherEra(
            "`server/discover` names no versions".into(),
        ));
    };
    if !strings(versions).iter().any(|version| version == VERSION) {
        return Err(supports(versions));
    }
    let capabilities = members.object("capabilities").map_err(Trouble::Garbage)?;
    Ok(capabilities.unwrap_or_else(|| "{}".into()))
}

fn fields(request: &Request<'_>) -> Fields {
    let mut fields = vec![
        ("mcp-protocol-version".to_owned(), VERSION.to_owned()),
        ("mcp-method".to_owned(), request.method.to_owned()),
    ];
    if let Some(name) = request.name {
        fields.push(("mcp-name".to_owned(), header::encode(name)));
    }
    let params = request.headers.iter();
    fields.extend(params.map(|argument| {
        let name = format!("mcp-param-{}", argument.header);
        (name, header::encode_json(&argument.value))
    }));
    fields
}

fn read(reply: Reply) -> Result<Result<Json, RpcError>, Trouble> {
    let Err(error) = &reply.outcome else {
        return Ok(reply.outcome);
    };
    let is_modern = match error.code {
        UNSUPPORTED_VERSION => {
            let data = error.data.as_deref().unwrap_or("{}");
            let supported = Members::parse(data)
                .ok()
                .and_then(|mut d| d.take("supported"));
            return Err(supports(supported.unwrap_or("[]")));
        }
        HEADER_MISMATCH | MISSING_CAPABILITY => true,
        // Servers of the legacy era refuse a request outside a session with these, and do not
        // know its id.
        -32700 | -32600 | -32019..=-32000 => false,
        _ => reply.has_id,
    };
    if is_modern || (200..300).contains(&reply.status) {
        return Ok(reply.outcome);
    }
    let what = format!("HTTP {}, error {}", reply.status, error.code);
    Err(Trouble::OtherEra(what))
}

/// It speaks other versions than this one.
fn supports(versions: &str) -> Trouble {
    let versions: Vec<String> = strings(versions)
        .into_iter()
        .take(10)
        .map(|version| version.chars().take(32).collect())
        .collect();
    Trouble::OtherEra(format!(
        "it supports {}",
        versions.join(", ").escape_debug()
    ))
}

fn strings(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_default()
}
