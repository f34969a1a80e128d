//! `list_cortex_resources` and `read_cortex_resource`: resources for clients whose model cannot
//! reach them in another way. What a caller may read is decided as for `resources/read`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{About, Call, Wrong, architecture, arguments, object, reads_only};
use crate::catalog::Kind;
use crate::mcp::json::Text;
use crate::pipeline::answer::Answer;
use crate::pipeline::intent::{Action, Context, Intent};
use crate::pipeline::{Refusal, adapter, lists, notices, policy};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct None {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    uri: String,
}

pub(super) fn about_list() -> About {
    About {
        title: "List resources",
        description: "Lists the resources that you may read with `read_cortex_resource`.",
        arguments: object(&json!({}), &[]),
        output: object(
            &json!({ "resources": { "type": "array", "items": { "type": "object" } } }),
            &["resources"],
        ),
        annotations: reads_only(),
    }
}

pub(super) fn about_read() -> About {
    About {
        title: "Read a resource",
        description: "Reads a resource by its URI and returns its text.",
        arguments: object(
            &json!({ "uri": {
                "type": "string",
                "description": "A URI from `list_cortex_resources`, or one that a tool told you.",
            } }),
            &["uri"],
        ),
        output: object(
            &json!({
                "uri": { "type": "string" },
                "text": { "type": "string" },
                "mimeType": { "type": ["string", "null"] },
            }),
            &["uri", "text"],
        ),
        annotations: reads_only(),
    }
}

pub(super) async fn list(call: &Call<'_>) -> Result<Value, Wrong> {
    arguments::<None>(call)?;
    let snapshot = call.gw.catalog.snapshot();
    let seen = lists::seen(call.gw, call.asker, Kind::Resources, &snapshot).await?;
    let own = architecture::listed();
    let listed = seen
        .iter()
        .map(|entry| (entry.name.as_str(), &*entry.definition));
    let mut resources: Vec<_> = listed.chain([(architecture::URI, own)]).collect();
    resources.sort_by_key(|(uri, _)| *uri);
    let resources: Vec<_> = resources
        .into_iter()
        .map(|(_, resource)| resource)
        .collect();
    Ok(json!({ "resources": resources }))
}

pub(super) async fn read(call: &Call<'_>) -> Result<Value, Wrong> {
    let Which { uri } = arguments(call)?;
    let gw = call.gw;
    if uri == architecture::URI {
        let text = architecture::text(gw, call.asker).await?;
        return Ok(json!({ "uri": uri, "mimeType": architecture::MIME_TYPE, "text": text }));
    }
    let snapshot = gw.catalog.snapshot();
    let Some(entry) = snapshot.resource(&uri) else {
        return Err(unknown());
    };
    let intent = Intent {
        asker: call.asker.clone(),
        entry,
        action: Action::Read { uri: uri.clone() },
        context: Context::default(),
    };
    let permit = policy::permit(gw, intent).await?;
    match adapter::run(gw, permit, None, notices::nowhere()).await {
        Ok(Answer::Result { result, .. }) => told(&uri, &result),
        Ok(_) => Err(Wrong::Failed(
            "unsupported",
            "The resource cannot be read this way".to_owned(),
        )),
        Err(Refusal::UnknownResource(_)) => Err(unknown()),
        Err(Refusal::Failed { message, .. }) => Err(Wrong::Failed("backend_error", message)),
        Err(Refusal::MissingCapability { .. }) => Err(Wrong::Failed(
            "unsupported",
            "Its owner has a question first; read it with `resources/read`".to_owned(),
        )),
        Err(refusal) => Err(refusal.into()),
    }
}

fn unknown() -> Wrong {
    let text = "There is no such resource; `list_cortex_resources` tells which there are";
    Wrong::Failed("unknown_resource", text.to_owned())
}

/// The texts of a result of `resources/read`, joined.
fn told(uri: &str, result: &Text) -> Result<Value, Wrong> {
    let internal = |e: serde_json::Error| Wrong::Refused(Refusal::Internal(e.to_string()));
    let result: Value = result.parse().map_err(internal)?;
    let contents = result["contents"].as_array().map_or(&[][..], Vec::as_slice);
    let texts: Vec<&str> = contents
        .iter()
        .filter_map(|one| one["text"].as_str())
        .collect();
    if texts.is_empty() && !contents.is_empty() {
        let text = "The resource is not text; read it with `resources/read`";
        return Err(Wrong::Failed("not_text", text.to_owned()));
    }
    let mime = contents.iter().find_map(|one| one["mimeType"].as_str());
    Ok(json!({ "uri": uri, "mimeType": mime, "text": texts.join("\n\n") }))
}
