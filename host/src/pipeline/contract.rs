//! An MCP server behind this gateway, seen as a contract backend (`/api/mcp-adapter/{server}/backend`): for
//! gateways that speak the backend contract and no MCP.
//!
//! The technical token lists; everything else is done as the user whose token it is, permitted by the same
//! policies and recorded in the same audit as a call through `/mcp`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::auth::Caller;
use super::intent::{Action, Asker, Context, Intent};
use super::{
    Arrival, Gateway, Record, Refusal, adapter, audit, auth, base_scopes, body, client_address,
    notices, policy, pool, rate, share,
};
use crate::audit::NotKept;
use crate::catalog::{Entry, Kind, Snapshot};
use crate::mcp::version::ProtocolVersion;
use crate::types::{BackendId, Secret};

/// By which revision results are written: the newest that a caller without a session can be of.
const VERSION: ProtocolVersion = ProtocolVersion::V2025_11_25;

/// How a contract request ends.
pub enum Contract {
    /// With what the method returns.
    Value(Value),
    /// The call was made, and did not succeed: a stable word, and its words.
    Failed(String, String),
    /// There is no such method.
    Unknown(String),
    /// The technical token is no identity.
    Technical,
}

/// What came of it, and its audit record.
pub struct ContractAnswer {
    /// What came of it.
    pub outcome: Result<Contract, Refusal>,
    record: Option<Record>,
}

impl ContractAnswer {
    /// Closes the audit record with what is to be sent, and waits until it is kept.
    ///
    /// # Errors
    /// [`NotKept`].
    pub async fn close(self, size: usize) -> Result<(), NotKept> {
        let Some(mut record) = self.record else {
            return Ok(());
        };
        let outcome = match self.outcome {
            Ok(Contract::Value(_)) => Ok(Answer::Accepted),
            Ok(Contract::Failed(code, message)) => Err(Refusal::Failed {
                code,
                message,
                meta: None,
            }),
            Ok(Contract::Unknown(method)) => Err(Refusal::UnknownMethod(method)),
            Ok(Contract::Technical) => Err(Refusal::Denied("the technical token".to_owned())),
            Err(refusal) => Err(refusal),
        };
        record.close(&outcome, size).kept().await
    }
}

#[derive(Deserialize)]
struct Asked {
    method: String,
    #[serde(default)]
    params: Option<Map<String, Value>>,
}

/// Who asks.
enum Who {
    /// A gateway for itself.
    Technical,
    /// A user.
    User(Caller),
}

/// Serves one request of the backend contract. Whatever happens leaves one audit record.
pub async fn contract(gw: &Gateway, server: &BackendId, arrival: Arrival) -> ContractAnswer {
    let Ok(mut record) = audit::open(gw, &arrival) else {
        return ContractAnswer {
            outcome: Err(Refusal::Overloaded),
            record: None,
        };
    };
    let outcome = serve(gw, server, arrival, &mut record).await;
    ContractAnswer {
        outcome,
        record: Some(record),
    }
}

async fn serve(
    gw: &Gateway,
    server: &BackendId,
    arrival: Arrival,
    record: &mut Record,
) -> Result<Contract, Refusal> {
    let who = who(gw, &arrival).await?;
    let id = arrival.id;
    let _room = gw.room.try_acquire().map_err(|_| Refusal::Overloaded)?;
    let _place = match &who {
        Who::User(caller) => {
            record.caller(caller);
            record.can_be_kept(gw).await?;
            let mut place = share::take(&gw.shares, caller)?;
            place.serve()?;
            Some(place)
        }
        Who::Technical => None,
    };
    let bytes = body::read(&gw.config, arrival.body).await?;
    let asked = crate::mcp::json::check(&bytes)
        .map_err(|error| Refusal::NotJson(error.to_string()))
        .and_then(|()| {
            serde_json::from_slice::<Asked>(&bytes).map_err(|_| {
                let expected = "expected {\"method\": \"…\", \"params\": {…}}";
                Refusal::InvalidMessage(expected.to_owned())
            })
        })?;
    record.method(match asked.method.as_str() {
        "list_tools" => "list_tools",
        "list_prompts" => "list_prompts",
        "list_resource_templates" => "list_resource_templates",
        "get_prompt" => "get_prompt",
        "read_resource" => "read_resource",
        // Tools are called by their names, and the record has that as `tool`.
        _ => "tools/call",
    });
    let snapshot = gw.catalog.snapshot();
    let params = asked.params.unwrap_or_default();
    let kind = match asked.method.as_str() {
        "list_tools" => Kind::Tools,
        "list_prompts" => Kind::Prompts,
        "list_resource_templates" => Kind::Templates,
        method => {
            let Who::User(caller) = who else {
                return Ok(Contract::Technical);
            };
            let asker = Asker {
                id,
                caller,
                version: VERSION,
            };
            return call(gw, server, &snapshot, asker, method, params, record).await;
        }
    };
    list(gw, server, &snapshot, &who, id, kind).await
}

async fn who(gw: &Gateway, arrival: &Arrival) -> Result<Who, Refusal> {
    let address = client_address::of(&gw.config.trusted_proxies, arrival);
    if let Some(technical) = gw.technical.configured()
        && auth::presents(arrival, |token: &Secret| {
            technical.matches(token.reveal().as_bytes())
        })
    {
        return Ok(Who::Technical);
    }
    let known = auth::caller(gw, arrival).await;
    rate::count(gw, address, known.as_ref().ok()).await?;
    let caller = known?;
    base_scopes::allows(&gw.config, &caller)?;
    pool::allows(&gw.config, &caller)?;
    Ok(Who::User(caller))
}

async fn list(
    gw: &Gateway,
    server: &BackendId,
    snapshot: &Snapshot,
    who: &Who,
    id: crate::types::RequestId,
    kind: Kind,
) -> Result<Contract, Refusal> {
    let listed = snapshot.listing(kind).listed.iter();
    let own: Vec<Arc<Entry>> = listed
        .filter(|entry| entry.backend == *server)
        .cloned()
        .collect();
    let seen = match who {
        Who::Technical => own,
        Who::User(caller) => {
            policy::filter(&gw.plugins.now(), caller.principal(), &own, id).await?
        }
    };
    let items: Vec<Value> = seen.iter().map(|entry| described(entry)).collect();
    let name = match kind {
        Kind::Prompts => "prompts",
        Kind::Templates => "resourceTemplates",
        Kind::Tools | Kind::Resources => "tools",
    };
    Ok(Contract::Value(json!({ name: items })))
}

/// An entry as a contract backend describes it: by the server's own name, with its scope.
fn described(entry: &Entry) -> Value {
    let mut object: Map<String, Value> =
        serde_json::from_str(entry.definition.get()).unwrap_or_default();
    if !object.contains_key("uriTemplate") {
        object.insert("name".to_owned(), entry.item.name.as_str().into());
    }
    let prefix = format!("[{}] ", entry.backend);
    if let Some(description) = object.get("description").and_then(Value::as_str)
        && let Some(own) = description.strip_prefix(&prefix)
    {
        let own = own.to_owned();
        object.insert("description".to_owned(), own.into());
    }
    object.insert("scope".to_owned(), entry.item.scopes.join(" ").into());
    Value::Object(object)
}

async fn call(
    gw: &Gateway,
    server: &BackendId,
    snapshot: &Snapshot,
    asker: Asker,
    method: &str,
    params: Map<String, Value>,
    record: &mut Record,
) -> Result<Contract, Refusal> {
    let text = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default();
    let own = |kind: Kind, name: &str| {
        let found = snapshot
            .listing(kind)
            .known()
            .find(|entry| entry.backend == *server && entry.item.name == name);
        found.cloned()
    };
    let (entry, action) = match method {
        "get_prompt" => {
            let arguments = params
                .get("arguments")
                .cloned()
                .unwrap_or_else(|| json!({}));
            let arguments = arguments.to_string();
            (own(Kind::Prompts, text("name")), Action::Get { arguments })
        }
        "read_resource" => {
            let uri = text("uri").to_owned();
            let entry = snapshot.resource(&uri);
            let entry = entry.filter(|entry| entry.backend == *server);
            (entry, Action::Read { uri })
        }
        tool => {
            let arguments = Value::Object(params.clone()).to_string();
            (own(Kind::Tools, tool), Action::Call { arguments })
        }
    };
    let Some(entry) = entry else {
        return Ok(Contract::Unknown(method.to_owned()));
    };
    let intent = Intent {
        asker,
        entry,
        action,
        context: Context::default(),
    };
    let is_tool = matches!(intent.action, Action::Call { .. });
    record.target(&intent);
    let permit = policy::permit(gw, intent).await?;
    record.permitted();
    let answer = adapter::run(gw, permit, None, notices::nowhere()).await?;
    let Answer::Result { result, error_code } = answer else {
        return Err(Refusal::Internal("not a result".to_owned()));
    };
    let result: Value = result.parse().unwrap_or_default();
    if !is_tool {
        return Ok(Contract::Value(result));
    }
    Ok(match error_code {
        Some(code) => Contract::Failed(code, words(&result)),
        None => Contract::Value(returned(result)),
    })
}

/// What a tool returns, as JSON: its structured content, else its only text (as JSON if it is that), else
/// its content blocks.
fn returned(mut result: Value) -> Value {
    if let Some(structured) = result.get_mut("structuredContent") {
        return structured.take();
    }
    match result["content"].as_array().map(Vec::as_slice) {
        Some([block]) if block["type"] == "text" => {
            let text = block["text"].as_str().unwrap_or_default();
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        }
        _ => json!({ "content": result["content"].take() }),
    }
}

/// All that a result says in words.
fn words(result: &Value) -> String {
    let blocks = result["content"].as_array().into_iter().flatten();
    let texts: Vec<&str> = blocks.filter_map(|block| block["text"].as_str()).collect();
    texts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_returns_is_json() {
        let text = |text: &str| json!({ "content": [{ "type": "text", "text": text }] });
        for (result, expected) in [
            (
                json!({ "content": [], "structuredContent": { "a": 1 } }),
                json!({ "a": 1 }),
            ),
            (text("{\"a\":1}"), json!({ "a": 1 })),
            (text("plain words"), json!("plain words")),
            (json!({ "content": [] }), json!({ "content": [] })),
            (
                json!({ "content": [{ "type": "image", "data": "AA==" }] }),
                json!({ "content": [{ "type": "image", "data": "AA==" }] }),
            ),
        ] {
            assert_eq!(returned(result), expected);
        }
        assert_eq!(words(&text("no")), "no");
    }
}
