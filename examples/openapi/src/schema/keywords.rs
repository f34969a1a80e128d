//! What each keyword of a schema is, and what those become that JSON Schema 2020-12 writes in another way.

use cortex_plugin_sdk::json::Json;
use serde_json::value::RawValue;

use crate::document::{Object, flag, get, text};

/// What a keyword holds.
pub(super) enum Kind {
    /// `$ref`.
    Reference,
    /// A schema.
    Schema {
        /// About a part of the value, not the whole.
        about_parts: bool,
    },
    /// An array of them.
    Schemas {
        /// About parts of the value, not the whole.
        about_parts: bool,
    },
    /// Schemas by name, about parts of the value.
    Named,
    /// Names of properties.
    Required,
    /// A value that fits (3.0).
    Example,
    /// Something that holds no schema.
    Other,
}

/// What a keyword with this value is.
pub(super) fn kind(name: &str, value: &str) -> Kind {
    let is = |brackets: &str| value.starts_with(|first| brackets.contains(first));
    match name {
        "$ref" => Kind::Reference,
        "not" | "if" | "then" | "else" if is("{tf") => Kind::Schema { about_parts: false },
        "items"
        | "additionalProperties"
        | "contains"
        | "propertyNames"
        | "unevaluatedItems"
        | "unevaluatedProperties"
            if is("{tf") =>
        {
            Kind::Schema { about_parts: true }
        }
        "allOf" | "anyOf" | "oneOf" if is("[") && value.contains('{') => {
            Kind::Schemas { about_parts: false }
        }
        "prefixItems" if is("[") && value.contains('{') => Kind::Schemas { about_parts: true },
        "properties" | "patternProperties" if is("{") => Kind::Named,
        "required" if is("[") => Kind::Required,
        "example" => Kind::Example,
        _ => Kind::Other,
    }
}

/// The value of a keyword that holds no schema; `None` leaves the keyword out.
pub(super) fn value(name: &str, value: &str, members: &Object<'_>) -> Option<Json> {
    let is = |firsts: &str| value.starts_with(|first| firsts.contains(first));
    let fits = match name {
        "type" => return kinds(value, flag(members, "nullable")),
        "enum" => {
            let mut values: Vec<&RawValue> = serde_json::from_str(value).ok()?;
            let can_be_null = flag(members, "nullable") && text(members, "type").is_some();
            if can_be_null && !values.iter().any(|value| value.get() == "null") {
                values.push(RawValue::NULL);
            }
            return serde_json::to_string(&values).ok();
        }
        "minimum" => is(NUMBER) && !flag(members, "exclusiveMinimum"),
        "maximum" => is(NUMBER) && !flag(members, "exclusiveMaximum"),
        // In 3.0 these say of the limit beside them that it is not reached.
        "exclusiveMinimum" if value == "true" => return limit(members, "minimum"),
        "exclusiveMaximum" if value == "true" => return limit(members, "maximum"),
        "exclusiveMinimum" | "exclusiveMaximum" => is(NUMBER),
        "multipleOf" | "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties"
        | "maxProperties" | "minContains" | "maxContains" => is("0123456789"),
        "title" | "description" | "format" | "pattern" | "contentEncoding" | "contentMediaType" => {
            is("\"")
        }
        "uniqueItems" | "deprecated" | "readOnly" | "writeOnly" => is("tf"),
        "examples" => is("[") && value.len() <= super::MAX_EXAMPLE,
        "default" => value.len() <= super::MAX_EXAMPLE,
        "const" => true,
        _ => false,
    };
    fits.then(|| value.to_owned())
}

const NUMBER: &str = "-0123456789";

fn limit(members: &Object<'_>, name: &str) -> Option<Json> {
    let value = get(members, name)?.get();
    value
        .starts_with(|first| NUMBER.contains(first))
        .then(|| value.to_owned())
}

/// The value of `type`, with `null` if that may be. Types that JSON Schema does not know are none.
fn kinds(value: &str, nullable: bool) -> Option<Json> {
    const KNOWN: [&str; 7] = [
        "string", "number", "integer", "boolean", "object", "array", "null",
    ];
    let single = serde_json::from_str::<String>(value).map(|one| vec![one]);
    let mut kinds = single
        .or_else(|_| serde_json::from_str::<Vec<String>>(value))
        .ok()?;
    if kinds.is_empty() || kinds.iter().any(|kind| !KNOWN.contains(&kind.as_str())) {
        return None;
    }
    if nullable {
        kinds.push("null".into());
    }
    kinds.sort();
    kinds.dedup();
    // What is most of all comes first.
    kinds.sort_by_key(|kind| kind == "null");
    match &kinds[..] {
        [kind] => Some(format!("\"{kind}\"")),
        kinds => serde_json::to_string(kinds).ok(),
    }
}
