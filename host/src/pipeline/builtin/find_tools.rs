//! `find_tools`: whole definitions on demand, of what the caller may see.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{About, Builtin, Call, Wrong, arguments, object, reads_only};
use crate::catalog::{Kind, find};
use crate::pipeline::lists;

/// Tools that a search finds at most.
const BEST: usize = 10;
/// Names that one call may ask for.
const MAX_NAMES: usize = 50;
/// Longest query, in characters.
const MAX_QUERY: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    names: Option<Vec<String>>,
    query: Option<String>,
}

pub(super) fn about() -> About {
    About {
        title: "Find tools",
        description: "Finds tools and returns their complete definitions, so that you can call them. Give `names` \
                      for tools you know by name, or `query` (words that say what you want to do) for the best 10.",
        arguments: object(
            &json!({
                "names": {
                    "type": "array", "items": { "type": "string" }, "maxItems": MAX_NAMES,
                    "description": "Exact names. Wins over `query`.",
                },
                "query": {
                    "type": "string", "maxLength": MAX_QUERY,
                    "description": "What you want to do, in a few words.",
                },
            }),
            &[],
        ),
        output: object(
            &json!({
                "tools": { "type": "array", "items": { "type": "object" } },
                "unknown": { "type": "array", "items": { "type": "string" } },
                "searched": { "type": "integer" },
            }),
            &["tools", "searched"],
        ),
        annotations: reads_only(),
    }
}

pub(super) async fn run(call: &Call<'_>) -> Result<Value, Wrong> {
    let wanted: Wanted = arguments(call)?;
    let gw = call.gw;
    let snapshot = gw.catalog.snapshot();
    let seen = lists::seen(gw, call.asker, Kind::Tools, &snapshot).await?;
    let searched = seen.len() + Builtin::ALL.len();
    match (wanted.names, wanted.query) {
        (Some(names), _) if names.len() > MAX_NAMES => Err(Wrong::Arguments(format!(
            "at most {MAX_NAMES} `names` at one time"
        ))),
        (Some(names), _) => {
            let mut tools = Vec::new();
            // One that the caller may not see is as unknown as one that is not there.
            let mut unknown = Vec::new();
            for name in &names {
                let entry = seen.binary_search_by(|entry| entry.name.as_str().cmp(name));
                let entry = entry.ok().and_then(|at| seen.get(at));
                let builtin = Builtin::named(name).map(Builtin::definition);
                match builtin.or_else(|| entry.map(|entry| &*entry.definition)) {
                    Some(definition) => tools.push(definition),
                    None => unknown.push(name),
                }
            }
            Ok(json!({ "tools": tools, "unknown": unknown, "searched": searched }))
        }
        (None, Some(query)) if query.chars().count() > MAX_QUERY => Err(Wrong::Arguments(format!(
            "`query` must be at most {MAX_QUERY} characters"
        ))),
        (None, Some(query)) => {
            let found = find(&seen, &query, BEST);
            let tools: Vec<_> = found.iter().map(|entry| &*entry.definition).collect();
            Ok(json!({ "tools": tools, "searched": searched }))
        }
        (None, None) => Err(Wrong::Arguments(
            "give `names`, or a `query` that says what you want to do".to_owned(),
        )),
    }
}
