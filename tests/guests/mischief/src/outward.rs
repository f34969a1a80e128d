//! Mischief with what lies outside: requests, and what plugins keep.

use cortex_plugin_sdk::prelude::*;
use cortex_plugin_sdk::{kv, metrics};

/// An argument that is a text.
fn text(call: &ToolCall, name: &str) -> Option<String> {
    call.arg::<String>(name).ok().flatten()
}

pub(crate) fn fetch(_: &Target, call: &ToolCall) -> Reply {
    let mut request = http::Request::get(text(call, "url").unwrap_or_default());
    if let Some(secret) = text(call, "secret") {
        request = request.with_secret(secret);
    }
    Reply::text(match request.send() {
        Ok(response) => format!("{}: {}", response.status, response.text().unwrap_or("?")),
        Err(error) => format!("{error:?}"),
    })
}

pub(crate) fn many_calls(target: &Target, _: &ToolCall) -> Reply {
    let mut done = 0;
    let mut refused = String::new();
    for _ in 0..10_000 {
        match http::Request::post(target.url("/many")).send() {
            Ok(_) => done += 1,
            Err(error) => refused = format!("{error:?}"),
        }
    }
    Reply::text(format!("{done} done, then {refused}"))
}

pub(crate) fn inject(target: &Target, _: &ToolCall) -> Reply {
    let attempts = [
        ("x-a", "b\r\nAuthorization: Bearer stolen"),
        ("x-a\r\nx-smuggled", "1"),
        ("x-a: b\nx-smuggled", "1"),
        ("transfer-encoding", "chunked"),
        ("content-length", "0"),
        ("host", "friend-a.test"),
        ("proxy-authorization", "x"),
        ("x-nul", "a\0b"),
    ];
    let told = attempts.map(|(name, value)| {
        let sent = http::Request::post(target.url("/inject"))
            .header(name, value)
            .send();
        match sent {
            Ok(response) => format!("sent: {}", response.status),
            Err(http::HttpError::InvalidRequest(_)) => "refused".to_owned(),
            Err(error) => format!("{error:?}"),
        }
    });
    Reply::text(told.join("\n"))
}

pub(crate) fn follow(target: &Target, _: &ToolCall) -> Reply {
    let first = http::Request::get(target.url("/redirect"))
        .as_caller()
        .send();
    let response = match first {
        Ok(response) => response,
        Err(error) => return Reply::text(format!("{error:?}")),
    };
    let mut told = vec![response.status.to_string()];
    let there = response.header("location").unwrap_or_default().to_owned();
    for url in [
        there.as_str(),
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:1/",
        "http://10.0.0.1/",
    ] {
        let sent = http::Request::get(url).as_caller().send();
        told.push(match sent {
            Ok(response) => format!("reached: {}", response.status),
            Err(http::HttpError::OriginNotGranted(_)) => "not granted".to_owned(),
            Err(error) => format!("{error:?}"),
        });
    }
    Reply::text(told.join("\n"))
}

pub(crate) fn keep(_: &Target, call: &ToolCall) -> Reply {
    let key = text(call, "key").unwrap_or_default();
    let value = match call.arg::<usize>("fill") {
        Ok(Some(bytes)) => Some("x".repeat(bytes)),
        _ => text(call, "value"),
    };
    let kept = kv::set(&key, value.as_deref().map(str::as_bytes));
    let there = kv::get(&key).map(|value| value.map(|bytes| bytes.len()));
    let keys = kv::keys("", None, 100);
    Reply::text(format!("{kept:?} {there:?} {keys:?}"))
}

/// No mischief: one more, and told how many there are.
pub(crate) fn tally(_: &Target, call: &ToolCall) -> Reply {
    let key = text(call, "key").unwrap_or_default();
    let more = |before: Option<&[u8]>| {
        let before = before.and_then(|bytes| std::str::from_utf8(bytes).ok()?.parse::<u64>().ok());
        Some((before.unwrap_or(0) + 1).to_string().into_bytes())
    };
    Reply::text(match kv::update(&key, more) {
        Ok(Some(now)) => String::from_utf8_lossy(&now).into_owned(),
        other => format!("{other:?}"),
    })
}

pub(crate) fn pry(_: &Target, _: &ToolCall) -> Reply {
    let told = [
        format!("{:?}", kv::get("other\0secret")),
        format!("{:?}", kv::get("../other/secret")),
        format!("{:?}", kv::keys("\0", None, 1000)),
        format!("{:?}", kv::keys("", Some(""), 1000)),
    ];
    Reply::text(told.join("\n"))
}

pub(crate) fn count(_: &Target, call: &ToolCall) -> Reply {
    let times = call.arg::<u64>("times").ok().flatten().unwrap_or(1);
    for number in 0..times {
        metrics::add(&format!("deed_{number}"), 1);
    }
    metrics::set("mood", 0.5);
    metrics::set("Evil\"} 1\ncortex_up", 1.0);
    Reply::text("counted")
}
