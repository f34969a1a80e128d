//! Which tools are meant? Ranked by Okapi BM25 over names, descriptions and names of arguments.
//!
//! Everything is computed over the tools that are searched and no others: how rare a word is among
//! tools that a caller may not see would tell of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Entry;

/// How soon more of the same word counts for less.
const K1: f64 = 1.2;
/// How much longer texts count for less.
const B: f64 = 0.75;
/// A word of a name counts for this many of a description, one of an argument's name for two.
const NAME: f64 = 4.0;
const ARGUMENT: f64 = 2.0;
/// A word that only begins like the one that is looked for counts for this much of it.
const PREFIX: f64 = 0.5;
/// Shortest word that is taken for the beginning of another.
const MIN_PREFIX: usize = 3;
/// Words of a query that are looked at.
const MAX_TERMS: usize = 32;

/// The words of one tool, and how much each counts.
#[derive(Debug, Default)]
pub(super) struct Words {
    counts: HashMap<String, f64>,
    total: f64,
}

impl Words {
    /// The words of an MCP tool object.
    pub(super) fn of(definition: &RawValue) -> Self {
        let tool: Map<String, Value> = serde_json::from_str(definition.get()).unwrap_or_default();
        let text = |key: &str| tool.get(key).and_then(Value::as_str).unwrap_or_default();
        let mut words = Self::default();
        words.add(text("name"), NAME);
        words.add(text("title"), NAME);
        words.add(text("description"), 1.0);
        let schema = tool.get("inputSchema");
        let arguments = schema.and_then(|schema| schema.get("properties"));
        for argument in arguments.and_then(Value::as_object).into_iter().flatten() {
            words.add(argument.0, ARGUMENT);
            let described = argument.1.get("description").and_then(Value::as_str);
            words.add(described.unwrap_or_default(), 1.0);
        }
        words
    }

    fn add(&mut self, text: &str, weight: f64) {
        for word in split(text) {
            self.total += weight;
            *self.counts.entry(word).or_default() += weight;
        }
    }

    /// How much of a word there is: the word itself, or words that begin like it.
    fn count(&self, term: &str) -> f64 {
        if let Some(count) = self.counts.get(term) {
            return *count;
        }
        if term.chars().count() < MIN_PREFIX {
            return 0.0;
        }
        let alike = self
            .counts
            .iter()
            .filter(|(word, _)| word.starts_with(term));
        PREFIX
            * alike
                .map(|(_, count)| count)
                .fold(0.0, |a, b| f64::max(a, *b))
    }
}

/// Words of a text in lower case, without the `s` of a plural: split where letters and digits end.
/// What is put together like `camelCase` gives its parts and the whole.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for run in text.split(|c: char| !c.is_alphanumeric()) {
        let before = words.len();
        let mut word = String::new();
        let mut before_lower = false;
        for c in run.chars() {
            if c.is_uppercase() && before_lower {
                words.push(std::mem::take(&mut word));
            }
            before_lower = c.is_lowercase();
            word.extend(c.to_lowercase());
        }
        words.push(word);
        if words.len() > before + 1 {
            words.push(run.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    for word in &mut words {
        let plural = word.len() > 3 && word.ends_with('s') && !word.ends_with("ss");
        if plural {
            word.pop();
        }
    }
    words
}

/// The tools that fit a query, best first, at most `limit`. Equals are in the order of names.
pub fn best(tools: &[Arc<Entry>], query: &str, limit: usize) -> Vec<Arc<Entry>> {
    let terms: BTreeSet<String> = split(query).into_iter().take(MAX_TERMS).collect();
    let number = tools.len() as f64;
    let total: f64 = tools.iter().map(|tool| tool.words().total).sum();
    let average = (total / number.max(1.0)).max(1.0);
    let mut scores = vec![0.0; tools.len()];
    for term in &terms {
        let counts: Vec<f64> = tools.iter().map(|tool| tool.words().count(term)).collect();
        let with = counts.iter().filter(|count| **count > 0.0).count() as f64;
        let rarity = ((number - with + 0.5) / (with + 0.5)).ln_1p();
        for ((score, count), tool) in scores.iter_mut().zip(counts).zip(tools) {
            let length = 1.0 - B + B * tool.words().total / average;
            *score += rarity * count * (K1 + 1.0) / (count + K1 * length);
        }
    }
    let mut found: Vec<(f64, &Arc<Entry>)> = scores.into_iter().zip(tools).collect();
    found.retain(|(score, _)| *score > 0.0);
    found.sort_by(|(a, x), (b, y)| b.total_cmp(a).then_with(|| x.name.cmp(&y.name)));
    let found = found.into_iter().take(limit);
    found.map(|(_, tool)| Arc::clone(tool)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Item;
    use serde_json::json;

    fn tool(name: &str, description: &str, arguments: &[&str]) -> Arc<Entry> {
        let properties: Map<String, Value> = arguments
            .iter()
            .map(|name| ((*name).to_owned(), json!({ "type": "string" })))
            .collect();
        let definition = serde_json::value::to_raw_value(&json!({
            "name": name,
            "description": description,
            "inputSchema": { "type": "object", "properties": properties },
        }));
        Arc::new(Entry::new(
            name.to_owned(),
            "b".parse().expect("valid"),
            definition.expect("JSON"),
            Item {
                kind: "tool".to_owned(),
                backend: "b".to_owned(),
                name: name.to_owned(),
                scopes: Vec::new(),
            },
        ))
    }

    fn names(tools: &[Arc<Entry>], query: &str) -> Vec<String> {
        let found = best(tools, query, 3);
        found.iter().map(|tool| tool.name.clone()).collect()
    }

    #[test]
    fn the_tool_that_is_meant_comes_first() {
        let tools = [
            tool("crm_list_contacts", "Lists contacts of the CRM.", &["page"]),
            tool(
                "crm_send_invoice",
                "Sends an invoice to a contact.",
                &["contactId"],
            ),
            tool("mail_send", "Sends a message by mail.", &["to", "subject"]),
            tool("shop_getOrder", "Finds one order.", &["orderNumber"]),
        ];
        for (query, first) in [
            ("send invoice", "crm_send_invoice"),
            ("invoices", "crm_send_invoice"),
            ("contacts", "crm_list_contacts"),
            ("e-mail subject", "mail_send"),
            ("order number", "shop_getOrder"),
            ("GETORDER", "shop_getOrder"),
            ("inv", "crm_send_invoice"),
        ] {
            let found = names(&tools, query);
            assert_eq!(
                found.first().map(String::as_str),
                Some(first),
                "{query}: {found:?}"
            );
        }
        assert!(names(&tools, "weather").is_empty());
        assert!(names(&tools, "").is_empty());
        assert!(names(&[], "order").is_empty());
    }

    #[test]
    fn words_are_taken_apart_where_people_put_them_together() {
        assert_eq!(
            split("getHTTPOrder_by-id2 Größe"),
            ["get", "httporder", "gethttporder", "by", "id2", "größe"]
        );
        assert_eq!(split("Addresses class is"), ["addresse", "class", "is"]);
    }
}
