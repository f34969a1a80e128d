//! In which form does a list of tools fit? From whole definitions over shorter ones to none at all,
//! to be found by `find_tools`. No tool is left out of a form: who sees some of them sees all.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::Refusal;
use super::builtin::Builtin;
use super::shape::Shape;
use crate::catalog::{Entry, Forms};

/// `_meta` key under which a shortened list says what was done.
pub(super) const META: &str = "cortex/contextBudget";
/// Characters that are taken for one token.
const CHARACTERS: usize = 4;

/// How much of each tool is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Form {
    /// Everything.
    Full,
    /// Without prose in the schema, without what describes results.
    Compact,
    /// Name and first sentence.
    Brief,
    /// Nothing: tools of backends are found by `find_tools`.
    Search,
}

/// What was done to a list of tools.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Done {
    pub(super) form: Form,
    /// The budget, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) budget: Option<u32>,
    /// What the list takes, in tokens: a token is taken for four bytes of JSON.
    pub(super) estimate: usize,
    /// Tools that the caller may call, the gateway's own included.
    pub(super) tools: usize,
}

/// A list of tools that fits.
pub(super) struct Fitted<'a> {
    pub(super) definitions: Vec<Cow<'a, RawValue>>,
    pub(super) done: Done,
}

/// Chooses the longest form that fits. `around`: bytes of the result without the tools.
pub(super) fn fit<'a>(
    entries: &'a [Arc<Entry>],
    shape: &Shape,
    around: usize,
) -> Result<Fitted<'a>, Refusal> {
    let first = if shape.search {
        Form::Brief
    } else {
        Form::Full
    };
    let forms = [Form::Full, Form::Compact, Form::Brief, Form::Search];
    let mut forms = forms
        .into_iter()
        .skip_while(|form| *form != first)
        .peekable();
    while let Some(form) = forms.next() {
        let last = forms.peek().is_none();
        // The gateway's own tools are shortened last of all.
        let own = if last {
            &[Form::Full, Form::Compact, Form::Brief][..]
        } else {
            &[Form::Full]
        };
        for own in own {
            let tools = listed(entries, form, *own)?;
            let bytes = around + tools.iter().map(|(_, d)| d.get().len() + 1).sum::<usize>();
            let estimate = bytes.div_ceil(CHARACTERS);
            let fits = shape
                .budget
                .is_none_or(|budget| estimate <= budget as usize);
            if fits || (last && *own == Form::Brief) {
                return Ok(Fitted {
                    definitions: tools.into_iter().map(|(_, d)| d).collect(),
                    done: Done {
                        form,
                        budget: shape.budget,
                        estimate,
                        tools: entries.len() + Builtin::ALL.len(),
                    },
                });
            }
        }
    }
    Err(Refusal::Internal("a list without a form".to_owned()))
}

type Listed<'a> = Vec<(&'a str, Cow<'a, RawValue>)>;

/// The tools in these forms, sorted by name.
fn listed(entries: &[Arc<Entry>], form: Form, own: Form) -> Result<Listed<'_>, Refusal> {
    let mut tools: Listed<'_> = entries
        .iter()
        .filter_map(|entry| {
            let definition = match form {
                Form::Full => &entry.definition,
                Form::Compact => &entry.forms().compact,
                Form::Brief => &entry.forms().brief,
                Form::Search => return None,
            };
            Some((entry.name.as_str(), Cow::Borrowed(&**definition)))
        })
        .collect();
    let hidden = matches!(form, Form::Brief | Form::Search);
    for builtin in Builtin::ALL {
        let definition = match builtin {
            // Who sees all of every tool has nothing to look up.
            Builtin::FindTools if !hidden => continue,
            Builtin::FindTools => Cow::Owned(find_tools(entries)?),
            other => Cow::Borrowed(other.definition()),
        };
        let definition = match own {
            Form::Full => definition,
            Form::Compact => Cow::Owned(Forms::of(&definition, false).compact),
            Form::Brief | Form::Search => Cow::Owned(Forms::of(&definition, false).brief),
        };
        tools.push((builtin.name(), definition));
    }
    tools.sort_by_key(|(name, _)| *name);
    Ok(tools)
}

/// Backends that the description of `find_tools` names.
const NAMED: usize = 12;

/// `find_tools`, telling how many tools there are to find, and whose.
fn find_tools(entries: &[Arc<Entry>]) -> Result<Box<RawValue>, Refusal> {
    let internal = |e: serde_json::Error| Refusal::Internal(e.to_string());
    let definition = Builtin::FindTools.definition();
    let mut tool: serde_json::Value = serde_json::from_str(definition.get()).map_err(internal)?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in entries {
        *counts.entry(entry.backend.as_str()).or_default() += 1;
    }
    let mut named: Vec<String> = counts
        .iter()
        .take(NAMED)
        .map(|(backend, count)| format!("{backend} ({count})"))
        .collect();
    if counts.len() > NAMED {
        named.push(format!("and {} more backends", counts.len() - NAMED));
    }
    let whole = tool["description"].as_str().unwrap_or_default();
    tool["description"] = format!(
        "{whole} There are {} tools to find: {}.",
        entries.len(),
        if named.is_empty() {
            "none".to_owned()
        } else {
            named.join(", ")
        }
    )
    .into();
    to_raw_value(&tool).map_err(internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MIN_CONTEXT_BUDGET as MIN_BUDGET;

    #[test]
    fn the_smallest_budget_has_room_for_the_gateways_own_tools() {
        let shape = Shape {
            budget: Some(MIN_BUDGET),
            ..Shape::default()
        };
        // As much around them as a modern answer has, and a long name of the server.
        let fitted = fit(&[], &shape, 600).expect("a form");
        assert!(
            fitted.done.estimate <= MIN_BUDGET as usize,
            "{:?}",
            fitted.done
        );
        assert_eq!(fitted.done.form, Form::Search);
        assert_eq!(fitted.definitions.len(), Builtin::ALL.len());
    }
}
