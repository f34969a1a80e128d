//! Mischief by way of `wasi:http`, for which languages have clients of their own.

use cortex_plugin_sdk::prelude::*;
use serde::Deserialize;

/// A request, and what is done with it.
#[derive(Deserialize)]
#[cfg_attr(
    not(target_family = "wasm"),
    expect(dead_code, reason = "only components have `wasi:http`")
)]
struct Asked {
    #[serde(default)]
    scheme: String,
    #[serde(default)]
    authority: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// Bytes of its body.
    #[serde(default)]
    send: usize,
    /// How often it is made.
    #[serde(default = "once")]
    times: u32,
    /// Leave what comes back unread, and return.
    #[serde(default)]
    leave: bool,
    /// Make so many sets of header fields, and keep them.
    #[serde(default)]
    hoard: u32,
}

fn once() -> u32 {
    1
}

pub(crate) fn wasi_http(target: &Target, call: &ToolCall) -> Reply {
    let mut asked: Asked = match call.args() {
        Ok(asked) => asked,
        Err(error) => return Reply::text(format!("{error:?}")),
    };
    if asked.authority.is_empty() {
        let url = target.base_url.as_str();
        let (scheme, authority) = url.split_once("://").unwrap_or(("http", url));
        asked.scheme = scheme.to_owned();
        asked.authority = authority.split('/').next().unwrap_or_default().to_owned();
    }
    let mut told = Vec::new();
    for _ in 0..asked.times {
        let what = made(&asked);
        if told.last() != Some(&what) {
            told.push(what);
        }
    }
    Reply::text(told.join("\n"))
}

/// Far more timers than anybody needs, all at once, none of which ever ends.
pub(crate) fn hoard_timers(_: &Target, _: &ToolCall) -> Reply {
    #[cfg(target_family = "wasm")]
    let kept: Vec<_> = (0..100_000)
        .map(|_| wasip2::clocks::monotonic_clock::subscribe_duration(u64::MAX))
        .collect();
    #[cfg(not(target_family = "wasm"))]
    let kept: Vec<u8> = Vec::new();
    Reply::text(format!("{} timers", kept.len()))
}

#[cfg(not(target_family = "wasm"))]
fn made(_: &Asked) -> String {
    "only a component can".to_owned()
}

#[cfg(target_family = "wasm")]
fn made(asked: &Asked) -> String {
    use wasip2::http::outgoing_handler::handle;
    use wasip2::http::types::{Fields, Method, OutgoingBody, OutgoingRequest, Scheme};

    let mut hoard = Vec::new();
    for _ in 0..asked.hoard {
        let fields = Fields::new();
        if let Err(error) = fields.append("x", &vec![b'x'; 60_000]) {
            return format!("fields: {error:?}");
        }
        hoard.push(fields);
    }
    let fields = Fields::new();
    for (name, value) in &asked.headers {
        if let Err(error) = fields.append(name, value.as_bytes()) {
            return format!("{name}: {error:?}");
        }
    }
    let request = OutgoingRequest::new(fields);
    let scheme = match asked.scheme.as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let set = (
        request.set_method(if asked.send > 0 {
            &Method::Post
        } else {
            &Method::Get
        }),
        request.set_scheme(Some(&scheme)),
        request.set_authority(Some(&asked.authority)),
        request.set_path_with_query(Some(&asked.path)),
    );
    if set != (Ok(()), Ok(()), Ok(()), Ok(())) {
        return format!("not a request: {set:?}");
    }
    let body = (asked.send > 0).then(|| request.body());
    let answer = match handle(request, None) {
        Ok(answer) => answer,
        Err(error) => return format!("{error:?}"),
    };
    if let Some(Ok(body)) = body {
        if let Ok(stream) = body.write() {
            let piece = vec![b'x'; 4096];
            for _ in 0..asked.send / piece.len() {
                if stream.blocking_write_and_flush(&piece).is_err() {
                    break;
                }
            }
        }
        drop(OutgoingBody::finish(body, None));
    }
    if asked.leave {
        // Without asking for what came: it stays where it is when the call returns.
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::mem::forget(answer);
        return "left".to_owned();
    }
    answer.subscribe().block();
    let response = match answer.get() {
        Some(Ok(Ok(response))) => response,
        other => return format!("{other:?}"),
    };
    let status = response.status();
    let mut read = 0;
    let Ok(body) = response.consume() else {
        return format!("{status}: nothing to read");
    };
    let Ok(stream) = body.stream() else {
        return format!("{status}: nothing to read");
    };
    loop {
        match stream.blocking_read(65_536) {
            Ok(piece) => read += piece.len(),
            Err(wasip2::io::streams::StreamError::Closed) => {
                return format!("{status}: {read} bytes");
            }
            Err(wasip2::io::streams::StreamError::LastOperationFailed(error)) => {
                let code = wasip2::http::types::http_error_code(&error);
                return format!("{status}: {read} bytes, then {code:?}");
            }
        }
    }
}
