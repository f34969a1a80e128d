//! `whoami`: who the caller is, by the access token and to each backend.

use std::time::Duration;

use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{About, Call, Wrong, arguments, object, reads_only};
use crate::catalog::Health;
use crate::pipeline::Route;
use crate::pipeline::credential::{self, NotShown};
use crate::plugin::OnBehalf;
use crate::plugin::model::CallError;

/// Longest that one backend is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct None {}

pub(super) fn about() -> About {
    let text = json!({ "type": ["string", "null"] });
    About {
        title: "Who am I?",
        description: "Tells who you are calling as, which scopes your access token grants, what each backend \
                      knows of you, and which of your own accounts are linked. Call it first when something is refused.",
        arguments: object(&json!({}), &[]),
        output: object(
            &json!({
                "identity": object(&json!({ "sub": text, "email": text, "pool": text, "role": text }), &["sub"]),
                "session": { "type": "object" },
                "scopes_granted": { "type": "array", "items": { "type": "string" } },
                "backends": { "type": "array", "items": { "type": "object" } },
                "accounts": { "type": "array", "items": object(
                    &json!({ "server": { "type": "string" }, "status": { "enum": ["linked", "expired", "never", "unknown"] } }),
                    &["server", "status"],
                ) },
                "discovered_at": text,
            }),
            &["identity", "session", "scopes_granted", "backends"],
        ),
        annotations: reads_only(),
    }
}

pub(super) async fn run(call: &Call<'_>) -> Result<Value, Wrong> {
    arguments::<None>(call)?;
    let gw = call.gw;
    let principal = call.asker.caller.principal();
    let snapshot = gw.catalog.snapshot();
    let backends = gw.routes.values().map(|route| {
        let healthy = snapshot.backends.get(&route.backend.id) == Some(&Health::Up);
        backend(call, route, healthy)
    });
    Ok(json!({
        "identity": {
            "sub": principal.subject.as_str(),
            "email": principal.email,
            "pool": principal.pool,
            "role": principal.role,
        },
        "session": {
            "client_id": principal.client_id,
            "audience": gw.config.canonical_uri.as_str(),
            "issuer": principal.issuer.as_str(),
            "jti": call.asker.caller.token_id(),
            "is_dev_bypass": principal.dev_bypass,
        },
        "scopes_granted": principal.scopes,
        "backends": join_all(backends).await,
        "accounts": accounts(call).await,
        "discovered_at": snapshot.taken_at,
    }))
}

/// Which of the caller's own accounts at MCP servers are linked. No provider is asked.
async fn accounts(call: &Call<'_>) -> Value {
    let accounts = &call.gw.accounts;
    let owner = credential::owner(&call.asker.caller);
    let each = accounts.servers().map(async |server| {
        let status = match accounts.standing(&owner, server).await {
            Ok(standing) => json!(standing),
            Err(error) => {
                tracing::error!(request.id = %call.asker.id, "{error}");
                json!("unknown")
            }
        };
        json!({ "server": server.as_str(), "status": status })
    });
    join_all(each).await.into()
}

/// What one backend says of the caller, or why it says nothing.
async fn backend(call: &Call<'_>, route: &Route, healthy: bool) -> Value {
    let mut told = match ask(call, route).await {
        Ok(told) => told,
        Err(error) => Map::from_iter([("error".to_owned(), error.into())]),
    };
    told.insert("app_id".to_owned(), route.backend.id.as_str().into());
    told.insert("healthy".to_owned(), healthy.into());
    Value::Object(told)
}

async fn ask(call: &Call<'_>, route: &Route) -> Result<Map<String, Value>, String> {
    let adapter = call.gw.adapter(route)?;
    let caller = &call.asker.caller;
    let asking = async {
        let shown = credential::of(call.gw, caller, route).await;
        let shown = shown.map_err(|why| match why {
            NotShown::Failed(_, text) => text,
            NotShown::LinkAgain => "the account there has to be linked again".to_owned(),
        })?;
        let user = OnBehalf {
            backend: &route.backend,
            caller: caller.principal(),
            shown: &shown,
            request: call.asker.id,
        };
        Ok::<_, String>(adapter.whoami(user).await)
    };
    let answer = tokio::time::timeout(PATIENCE, asking).await;
    let answer = answer.map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))??;
    let text = match answer {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => return Err(in_words(error)),
        // The detail is for the operator, whose log has it.
        Err(fault) => {
            tracing::error!(request.id = %call.asker.id, "{fault}; hint: {}", fault.cause.hint());
            return Err(format!("the gateway's plugin `{}` failed", fault.plugin));
        }
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(told)) => Ok(told),
        Ok(other) => Ok(Map::from_iter([("whoami".to_owned(), other)])),
        Err(_) => Err("it answered something that is not JSON".to_owned()),
    }
}

fn in_words(error: CallError) -> String {
    match error {
        CallError::Failed(failure) => failure.message,
        CallError::MissingScope(missing) => {
            format!("missing scope: {}", missing.required.join(" "))
        }
        CallError::LinkRequired(_) => "it asks for an account".to_owned(),
        CallError::NotFound(_) | CallError::Unsupported => "it does not say".to_owned(),
        CallError::InvalidArguments(what) | CallError::Other(what) => what,
    }
}
