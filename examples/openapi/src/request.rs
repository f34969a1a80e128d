//! From the arguments of a call to a request.
//!
//! Whatever a value is, it stays where its parameter is: path segments cannot lead elsewhere, a query
//! parameter cannot begin another one, a header field cannot end its line.

use cortex_plugin_sdk::json::Members;
use cortex_plugin_sdk::prelude::*;
use serde_json::value::RawValue;

use crate::arguments::BODY;
use crate::plan::{Param, Place, Plan, Style};
use crate::servers;
use crate::text::{has_dot_segment, percent_encoded};

/// Longest URL, in bytes: what the gateway accepts.
const MAX_URL: usize = 8 * 1024;

/// The request that a call asks for, as the caller.
pub(crate) fn build(
    target: &Target,
    plan: &Plan,
    call: &ToolCall,
) -> Result<http::Request, CallError> {
    build_it(target, plan, &call.arguments).map_err(CallError::invalid_arguments)
}

fn build_it(target: &Target, plan: &Plan, arguments: &str) -> Result<http::Request, String> {
    let mut arguments = Members::parse(arguments).map_err(|error| error.to_string())?;
    let mut path = plan.path.clone();
    let mut query = Vec::new();
    let mut headers = Vec::new();
    for param in &plan.params {
        let Some(text) = arguments.take(&param.arg) else {
            if param.required {
                return Err(format!("`{}` is missing", param.arg));
            }
            continue;
        };
        match param.place {
            Place::Path => {
                let value = joined(param, text, percent_encoded)?;
                if value.is_empty() {
                    return Err(format!("`{}` must not be empty", param.arg));
                }
                path = path.replace(&format!("{{{}}}", param.name), &value);
            }
            Place::Query => in_query(param, text, &mut query)?,
            Place::Header => {
                let value = joined(param, text, str::to_owned)?;
                let is_carried = |byte: u8| matches!(byte, b'\t' | b' '..=b'~');
                if !value.bytes().all(is_carried) {
                    let arg = &param.arg;
                    return Err(format!(
                        "`{arg}` must be one line of ASCII: it is sent as a header"
                    ));
                }
                headers.push((param.name.clone(), value));
            }
        }
    }
    if has_dot_segment(&path) {
        return Err("no argument may have `.` or `..` as a part of its path".into());
    }
    let mut url = format!("{}{path}", servers::origin(target));
    for (at, pair) in query.iter().enumerate() {
        url.push(if at == 0 { '?' } else { '&' });
        url.push_str(pair);
    }
    if url.len() > MAX_URL {
        return Err(format!(
            "the arguments make a URL of more than {MAX_URL} bytes"
        ));
    }
    let mut request = http::Request::new(&*plan.method, url)
        .as_caller()
        .header("accept", "application/json, text/*;q=0.8, */*;q=0.5");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if let Some(body) = &plan.body {
        match arguments.take(BODY) {
            Some(text) => request = request.body(&*body.mime, text),
            None if body.required => return Err(format!("`{BODY}` is missing")),
            None => {}
        }
    }
    match arguments.into_iter().next() {
        Some((name, _)) => Err(format!(
            "there is no argument `{}`",
            crate::document::shown(&name)
        )),
        None => Ok(request),
    }
}

/// What a JSON text is made of, one level deep.
enum Value {
    One(String),
    Many(Vec<String>),
    Named(Vec<(String, String)>),
}

fn value(param: &Param, text: &str) -> Result<Value, String> {
    let broken = |_| format!("`{}` is not as expected", param.arg);
    Ok(match text.as_bytes().first() {
        Some(b'[') => {
            let all: Vec<&RawValue> = serde_json::from_str(text).map_err(broken)?;
            let all = all.into_iter().filter(|raw| raw.get() != "null");
            Value::Many(
                all.map(|raw| scalar(param, raw.get()))
                    .collect::<Result<_, _>>()?,
            )
        }
        Some(b'{') => {
            let all = Members::parse(text).map_err(broken)?;
            let all = all.into_iter().filter(|(_, raw)| raw.get() != "null");
            let all = all.map(|(name, raw)| Ok((name, scalar(param, raw.get())?)));
            Value::Named(all.collect::<Result<_, String>>()?)
        }
        _ => Value::One(scalar(param, text)?),
    })
}

/// A text without its quotes, a number or a word as it stands.
fn scalar(param: &Param, text: &str) -> Result<String, String> {
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text).map_err(|error| error.to_string()),
        Some(b'[' | b'{') => Err(format!("`{}` must not be nested", param.arg)),
        _ => Ok(text.to_owned()),
    }
}

/// The style `simple`, with each part encoded.
fn joined(param: &Param, text: &str, encode: fn(&str) -> String) -> Result<String, String> {
    if param.style == Style::Json {
        return Ok(encode(text));
    }
    let between = if param.explode { "=" } else { "," };
    Ok(match value(param, text)? {
        Value::One(one) => encode(&one),
        Value::Many(all) => all
            .iter()
            .map(|one| encode(one))
            .collect::<Vec<_>>()
            .join(","),
        Value::Named(all) => {
            let all = all.iter();
            let all = all.map(|(name, one)| format!("{}{between}{}", encode(name), encode(one)));
            all.collect::<Vec<_>>().join(",")
        }
    })
}

/// The styles of a query.
fn in_query(param: &Param, text: &str, query: &mut Vec<String>) -> Result<(), String> {
    let name = percent_encoded(&param.name);
    let mut push = |name: &str, value: &str| query.push(format!("{name}={value}"));
    if param.style == Style::Json {
        push(&name, &percent_encoded(text));
        return Ok(());
    }
    let between = match param.style {
        Style::Space => "%20",
        Style::Pipe => "%7C",
        _ => ",",
    };
    match value(param, text)? {
        Value::One(one) => push(&name, &percent_encoded(&one)),
        Value::Many(all) if param.explode => {
            for one in all {
                push(&name, &percent_encoded(&one));
            }
        }
        Value::Many(all) => {
            let all: Vec<String> = all.iter().map(|one| percent_encoded(one)).collect();
            push(&name, &all.join(between));
        }
        Value::Named(all) if param.style == Style::Deep => {
            for (key, one) in all {
                let key = format!("{name}%5B{}%5D", percent_encoded(&key));
                push(&key, &percent_encoded(&one));
            }
        }
        Value::Named(_) if param.explode && !param.spread => {
            return Err(format!("`{}` must not be an object", param.arg));
        }
        Value::Named(all) if param.explode => {
            for (key, one) in all {
                push(&percent_encoded(&key), &percent_encoded(&one));
            }
        }
        Value::Named(all) => {
            let all = all.iter().flat_map(|(key, one)| [key, one]);
            let all: Vec<String> = all.map(|one| percent_encoded(one)).collect();
            push(&name, &all.join(between));
        }
    }
    Ok(())
}
