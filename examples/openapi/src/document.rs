//! The OpenAPI document: fetched, bounded, and read member by member. Nothing of it is parsed before it
//! is needed, so that a large document costs little.

use std::collections::BTreeMap;

use cortex_plugin_sdk::backend::code;
use cortex_plugin_sdk::json::Members;
use cortex_plugin_sdk::prelude::*;
use serde_json::value::RawValue;

use crate::answer;
use crate::settings::Settings;

/// How many references may lead to one another.
const MAX_HOPS: usize = 8;

/// A JSON object, each member with its own text.
pub(crate) type Object<'a> = Vec<(String, &'a RawValue)>;

/// Takes an object apart.
pub(crate) fn object<'a>(raw: &'a RawValue, what: &str) -> Result<Object<'a>, String> {
    let members = Members::parse(raw.get());
    let members = members.map_err(|_| format!("{what} is not an object with each member once"))?;
    Ok(members.into_iter().collect())
}

/// A member; `null` is like none.
pub(crate) fn get<'a>(object: &Object<'a>, name: &str) -> Option<&'a RawValue> {
    let (_, raw) = object.iter().find(|(key, _)| key == name)?;
    Some(*raw).filter(|raw| raw.get() != "null")
}

/// A member that is a text.
pub(crate) fn text(object: &Object<'_>, name: &str) -> Option<String> {
    get(object, name).and_then(|raw| serde_json::from_str(raw.get()).ok())
}

/// Whether a member is `true`.
pub(crate) fn flag(object: &Object<'_>, name: &str) -> bool {
    get(object, name).is_some_and(|raw| raw.get() == "true")
}

/// A member that is an array.
pub(crate) fn list<'a>(object: &Object<'a>, name: &str) -> Vec<&'a RawValue> {
    let raw = get(object, name);
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default()
}

/// An OpenAPI document of version 3.
pub(crate) struct Document<'a> {
    pub(crate) root: Object<'a>,
    components: BTreeMap<String, BTreeMap<String, &'a RawValue>>,
    /// Version 3.0, where nothing stands beside a `$ref`.
    pub(crate) is_3_0: bool,
}

impl<'a> Document<'a> {
    /// The document in a text.
    pub(crate) fn read(text: &'a str) -> Result<Self, String> {
        let root: &RawValue =
            serde_json::from_str(text).map_err(|_| "it is not JSON".to_owned())?;
        let root = object(root, "it")?;
        let version = self::text(&root, "openapi").unwrap_or_default();
        if !version.starts_with("3.") {
            return Err(match get(&root, "swagger") {
                Some(_) => "it is Swagger 2.0: convert it to OpenAPI 3".into(),
                None => "its `openapi` is not a version 3".into(),
            });
        }
        let sections = get(&root, "components").map(|raw| object(raw, "`components`"));
        let mut components = BTreeMap::new();
        for (name, section) in sections.transpose()?.unwrap_or_default() {
            if let Ok(section) = serde_json::from_str(section.get()) {
                components.insert(name, section);
            }
        }
        Ok(Self {
            is_3_0: version.starts_with("3.0"),
            root,
            components,
        })
    }

    /// A component.
    pub(crate) fn component(&self, section: &str, name: &str) -> Option<&'a RawValue> {
        self.components.get(section)?.get(name).copied()
    }

    /// What a reference within the document points to (RFC 6901).
    pub(crate) fn resolve(&self, reference: &str) -> Result<&'a RawValue, String> {
        let lost = || format!("`{}` is not in the document", shown(reference));
        let pointer = reference.strip_prefix("#/").ok_or_else(lost)?;
        let steps = pointer.split('/').map(|step| {
            let step = crate::text::percent_decoded(step);
            step.replace("~1", "/").replace("~0", "~")
        });
        let steps: Vec<String> = steps.collect();
        let (mut at, rest) = match &steps[..] {
            [first, section, name, rest @ ..] if first == "components" => {
                (self.component(section, name).ok_or_else(lost)?, rest)
            }
            [first, rest @ ..] => (get(&self.root, first).ok_or_else(lost)?, rest),
            [] => return Err(lost()),
        };
        for step in rest {
            let next = match step.parse::<usize>() {
                Ok(place) if at.get().starts_with('[') => {
                    let all: Option<Vec<&RawValue>> = serde_json::from_str(at.get()).ok();
                    all.and_then(|all| all.get(place).copied())
                }
                _ => object(at, "").ok().and_then(|members| get(&members, step)),
            };
            at = next.ok_or_else(lost)?;
        }
        Ok(at)
    }

    /// An object, or what its `$ref` leads to.
    pub(crate) fn object(&self, raw: &'a RawValue, what: &str) -> Result<Object<'a>, String> {
        let mut members = object(raw, what)?;
        for _ in 0..MAX_HOPS {
            let Some(reference) = text(&members, "$ref") else {
                return Ok(members);
            };
            members = object(self.resolve(&reference)?, what)?;
        }
        Err(format!("{what} is a reference that leads nowhere"))
    }
}

/// As much of a text of others as a line of a log can take.
pub(crate) fn shown(text: &str) -> String {
    let short: String = text.chars().take(100).collect();
    short.escape_debug().to_string()
}

/// Fetches the document: with the technical credential from the backend, as nobody from elsewhere.
pub(crate) fn fetch(target: &Target, settings: &Settings) -> Result<String, CallError> {
    let place = settings.document();
    let request = match place.strip_prefix('/') {
        Some(_) => http::Request::get(target.url(place)).as_technical(),
        None => http::Request::get(place),
    };
    let sent = request.header("accept", "application/json").send();
    let response = sent.map_err(|error| answer::none(target, error))?;
    let failed = |code, why: String| {
        let message = format!("Backend {}: its OpenAPI document {why}", target.id);
        Err(CallError::failed(code, message))
    };
    match response.status {
        200..=299 => {}
        300..=399 => {
            return failed(
                code::UNAVAILABLE,
                format!("is elsewhere (HTTP {})", response.status),
            );
        }
        status @ (401 | 403) => {
            let why = format!("is not for the technical token (HTTP {status})");
            return failed(code::AUTH, why);
        }
        status => return failed(code::ERROR, format!("is not there (HTTP {status})")),
    }
    if !response.is_json {
        let why = "is not JSON of at most 128 levels; YAML is not read".into();
        return failed(code::ERROR, why);
    }
    match String::from_utf8(response.body) {
        Ok(text) => Ok(text),
        Err(_) => failed(code::ERROR, "is not UTF-8".into()),
    }
}
