//! HTTP around the methods: one path, POST only, bounded in size and time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::failure::Failure;
use crate::methods::App;
use crate::params::Params;

/// Largest request body.
const LARGEST_BODY: usize = 1024 * 1024;
/// Longest time that headers, and then the body, may take to arrive.
const SLOWEST_READ: Duration = Duration::from_secs(10);
/// Longest time that calls may take to end once the server stops.
const LONGEST_GOODBYE: Duration = Duration::from_secs(5);

/// Serves the backend until `stop` resolves, then lets calls in flight finish.
pub async fn serve(listener: TcpListener, app: Arc<App>, stop: impl Future<Output = ()>) {
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    // Out of file descriptors, most likely: others will end, then it works again.
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let app = Arc::clone(&app);
        let service = service_fn(move |request| {
            let app = Arc::clone(&app);
            async move { Ok::<_, Infallible>(respond(&app, request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(SLOWEST_READ)
            .serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        // A connection that breaks off concerns nobody but its client.
        tokio::spawn(async move { drop(connection.await) });
    }
    drop(listener);
    drop(timeout(LONGEST_GOODBYE, connections.shutdown()).await);
}

async fn respond(app: &App, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.uri().path() != crate::PATH {
        return json_response(StatusCode::NOT_FOUND, &json!({"error": "not found"}));
    }
    if request.method() != Method::POST {
        let mut response = json_response(
            StatusCode::METHOD_NOT_ALLOWED,
            &json!({"error": "POST only"}),
        );
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    match call(app, request).await {
        Ok(value) => json_response(StatusCode::OK, &value),
        Err(failure) => {
            let mut response = json_response(failure.status(), &failure.body());
            if failure.status() == StatusCode::UNAUTHORIZED {
                response
                    .headers_mut()
                    .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            response
        }
    }
}

/// Reads `{"method": …, "params": {…}}` and has it answered.
async fn call(app: &App, request: Request<Incoming>) -> Result<Value, Failure> {
    let (head, body) = request.into_parts();
    let body = match timeout(SLOWEST_READ, Limited::new(body, LARGEST_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(Failure::TooLarge);
        }
        Ok(Err(_)) => return Err(Failure::BadRequest("request body broken off")),
        Err(_) => return Err(Failure::TooSlow),
    };
    let mut body: Value = serde_json::from_slice(&body)
        .map_err(|_| Failure::BadRequest("request body is not JSON"))?;
    let params = match body.get_mut("params").map(Value::take) {
        None | Some(Value::Null) => Params::new(),
        Some(Value::Object(params)) => params,
        Some(_) => return Err(Failure::BadRequest("`params` is not an object")),
    };
    let method = body.get("method").and_then(Value::as_str);
    let method = method.ok_or(Failure::BadRequest("`method` is not a string"))?;
    app.answer(&head.headers, method, &params).await
}

fn json_response(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
