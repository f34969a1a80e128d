//! The arguments of a tool: one for each parameter, and `body`.
//!
//! The body stays one argument and is not spread among the parameters: so it goes to the app as the model
//! wrote it, whatever its schema is, and no name can mean two things.

use std::collections::BTreeSet;

use cortex_plugin_sdk::json::{self, Json};
use serde_json::value::RawValue;

use crate::document::{Document, Object, flag, get, list, object, shown, text};
use crate::plan::{Body, Param, Place, Style};
use crate::schema::{Schema, Schemas};
use crate::text::unique;

/// Most parameters of one operation.
const MAX_PARAMS: usize = 100;
/// Name of the argument that is the body.
pub(crate) const BODY: &str = "body";

/// Header fields that belong to the gateway or to HTTP itself, or that a document must not describe.
const NOT_OURS: [&str; 16] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// The arguments of one operation.
pub(crate) struct Arguments {
    /// JSON Schema.
    pub(crate) schema: Json,
    pub(crate) params: Vec<Param>,
    pub(crate) body: Option<Body>,
}

/// A parameter as the document has it, before it has the name of an argument.
struct Found<'a> {
    param: Param,
    schema: Option<&'a RawValue>,
    description: Option<String>,
}

/// Collects what an operation takes. `shared`: the members of its path.
pub(crate) fn read<'a>(
    document: &Document<'a>,
    schemas: &mut Schemas<'a>,
    shared: &Object<'a>,
    operation: &Object<'a>,
) -> Result<Arguments, String> {
    let mut all: Vec<Object<'a>> = Vec::new();
    for raw in list(shared, "parameters")
        .into_iter()
        .chain(list(operation, "parameters"))
    {
        let members = document.object(raw, "a parameter")?;
        // The operation's own take the place of those of its path.
        let id = |members: &Object<'_>| (text(members, "name"), text(members, "in"));
        all.retain(|known| id(known) != id(&members));
        all.push(members);
        if all.len() > MAX_PARAMS {
            return Err(format!("it has more than {MAX_PARAMS} parameters"));
        }
    }
    let (body, body_schema, body_description) = match get(operation, "requestBody") {
        Some(raw) => body(document, raw)?,
        None => (None, None, None),
    };
    let mut taken = BTreeSet::new();
    let (mut members, mut required, mut converted) = (Vec::new(), Vec::new(), Vec::new());
    let mut params = Vec::new();
    if body.is_some() {
        taken.insert(BODY.to_owned());
    }
    for members_of_one in all {
        let Some(Found {
            mut param,
            schema,
            description,
        }) = parameter(&members_of_one)?
        else {
            continue;
        };
        // Only what is an object by the document may name parameters that the document does not.
        param.spread = param.style == Style::Form
            && param.explode
            && schema.is_some_and(|raw| schemas.is_object(raw));
        let bare = unique(&param.name, &mut BTreeSet::new());
        param.arg = match taken.contains(&bare) {
            true => unique(&format!("{}_{bare}", word(param.place)), &mut taken),
            false => unique(&bare, &mut taken),
        };
        let schema = argument(schemas, schema, description.as_deref())?;
        members.push(format!("{}:{}", json::quote(&param.arg), schema.json));
        if param.required {
            required.push(json::quote(&param.arg));
        }
        converted.push(schema);
        params.push(param);
    }
    if let Some(body) = &body {
        let schema = argument(schemas, body_schema, body_description.as_deref())?;
        members.push(format!("{}:{}", json::quote(BODY), schema.json));
        if body.required {
            required.push(json::quote(BODY));
        }
        converted.push(schema);
    }
    let required = match required.is_empty() {
        true => String::new(),
        false => format!(r#","required":[{}]"#, required.join(",")),
    };
    let schema = format!(
        r#"{{"type":"object","properties":{{{}}}{required},"additionalProperties":false{}}}"#,
        members.join(","),
        schemas.definitions(&converted)?
    );
    Ok(Arguments {
        schema,
        params,
        body,
    })
}

/// The schema of one argument; without one anything may be.
fn argument<'a>(
    schemas: &mut Schemas<'a>,
    schema: Option<&'a RawValue>,
    description: Option<&str>,
) -> Result<Schema, String> {
    match (schema, description) {
        (Some(raw), _) => schemas.convert(raw, description),
        (None, Some(said)) => Ok(Schema::of(format!(
            r#"{{"description":{}}}"#,
            json::quote(said)
        ))),
        (None, None) => Ok(Schema::of("{}")),
    }
}

/// One parameter; `None` for one that can stay away.
fn parameter<'a>(members: &Object<'a>) -> Result<Option<Found<'a>>, String> {
    let name = text(members, "name").filter(|name| !name.is_empty());
    let name = name.ok_or("one of its parameters has no name")?;
    let within = text(members, "in").unwrap_or_default();
    let required = flag(members, "required") || within == "path";
    let cannot = |why: &str| match required {
        true => Err(format!("its parameter `{}` {why}", shown(&name))),
        false => Ok(None),
    };
    let (place, usual) = match &*within {
        "path" => (Place::Path, "simple"),
        "query" => (Place::Query, "form"),
        "header" => (Place::Header, "simple"),
        "cookie" => return cannot("is a cookie"),
        _ => return cannot("is in no place that is known"),
    };
    if place == Place::Header {
        let lower = name.to_ascii_lowercase();
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if NOT_OURS.contains(&lower.as_str()) || lower.starts_with("proxy-") {
            // The gateway sees to them.
            return Ok(None);
        }
        if !name.bytes().all(is_token) {
            return cannot("is not the name of a header field");
        }
    }
    let said = text(members, "style").unwrap_or_else(|| usual.to_owned());
    let content = get(members, "content").map(|raw| object(raw, "its `content`"));
    let content = content
        .transpose()?
        .and_then(|content| content.into_iter().next());
    let (style, schema) = match (content, place, &*said) {
        (Some((mime, raw)), _, _) if is_json(&mime) => {
            (Style::Json, get(&object(raw, "its `content`")?, "schema"))
        }
        (Some(_), _, _) => return cannot("is not given as JSON"),
        (None, Place::Path | Place::Header, "simple") => (Style::Simple, get(members, "schema")),
        (None, Place::Query, "form") => (Style::Form, get(members, "schema")),
        (None, Place::Query, "spaceDelimited") => (Style::Space, get(members, "schema")),
        (None, Place::Query, "pipeDelimited") => (Style::Pipe, get(members, "schema")),
        (None, Place::Query, "deepObject") => (Style::Deep, get(members, "schema")),
        (None, _, other) => return cannot(&format!("has the style `{}`", shown(other))),
    };
    let explode = match get(members, "explode") {
        Some(raw) => raw.get() == "true",
        None => style == Style::Form,
    };
    Ok(Some(Found {
        schema,
        description: text(members, "description").filter(|text| !text.trim().is_empty()),
        param: Param {
            arg: String::new(),
            name,
            place,
            style,
            explode,
            spread: false,
            required,
        },
    }))
}

type FoundBody<'a> = (Option<Body>, Option<&'a RawValue>, Option<String>);

/// The body, its schema and its description.
fn body<'a>(document: &Document<'a>, raw: &'a RawValue) -> Result<FoundBody<'a>, String> {
    let members = document.object(raw, "its `requestBody`")?;
    let required = flag(&members, "required");
    let content = get(&members, "content").map(|raw| object(raw, "its `requestBody.content`"));
    let content = content.transpose()?.unwrap_or_default();
    let Some((mime, raw)) = content.iter().find(|(mime, _)| is_json(mime)) else {
        let kinds: Vec<String> = content
            .iter()
            .take(3)
            .map(|(mime, _)| shown(mime))
            .collect();
        return match required || !content.is_empty() {
            true => Err(format!("its body is no JSON: {}", kinds.join(", "))),
            false => Ok((None, None, None)),
        };
    };
    let mime = match mime.contains('*') {
        true => "application/json".to_owned(),
        false => mime.trim().to_owned(),
    };
    let schema = get(&object(raw, "its `requestBody.content`")?, "schema");
    let description = text(&members, "description").filter(|text| !text.trim().is_empty());
    Ok((Some(Body { mime, required }), schema, description))
}

/// Whether a media type, or a range of them, is JSON.
pub(crate) fn is_json(mime: &str) -> bool {
    let essence = mime.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let is_visible = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    mime.bytes().all(is_visible)
        && (matches!(
            &*essence,
            "application/json" | "application/*" | "*/*" | "text/json"
        ) || essence.ends_with("+json"))
}

fn word(place: Place) -> &'static str {
    match place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
    }
}
