//! An HTTP app with an OpenAPI document. It knows pets and notes, and remembers what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// One request that came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Method and target.
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// The app. It ends with its test.
pub(super) struct App {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl App {
    /// Starts one with a document at this path.
    pub(super) async fn start(path: &str, document: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let app = Self {
            address,
            seen: Arc::clone(&seen),
        };
        let place: Arc<str> = format!("GET {path}").into();
        let document = Bytes::from(document.to_owned());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, place) = (Arc::clone(&seen), Arc::clone(&place));
                let document = document.clone();
                let service = service_fn(move |request| {
                    let (seen, place) = (Arc::clone(&seen), Arc::clone(&place));
                    let document = document.clone();
                    async move {
                        let came = read(request).await;
                        let answer = match came.line == *place {
                            true => answer(200, "application/json", document),
                            false => serve(&came.line),
                        };
                        seen.lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(came);
                        Ok::<_, Infallible>(answer)
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        app
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, oldest first.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }
}

async fn read(request: Request<Incoming>) -> Seen {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    Seen {
        line: format!("{} {}", parts.method, parts.uri),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

fn serve(line: &str) -> Response<Full<Bytes>> {
    let json = |status, text: &'static str| answer(status, "application/json", text);
    let problem = |status, text: &'static str| answer(status, "application/problem+json", text);
    let path = line.split('?').next().unwrap_or_default();
    match path {
        "GET /api/v3/pets" => json(200, r#"[{"id":1,"name":"Rex"}]"#),
        "POST /api/v3/pets" => json(201, r#"{"id":7,"name":"Rex"}"#),
        "GET /api/v3/pets/7/photo" => answer(200, "image/png", &b"\x89PNG"[..]),
        "DELETE /api/v3/pets/7" | "PATCH /notes/1" => answer(204, "text/plain", ""),
        "GET /search" => json(200, r#"{"notes":[]}"#),
        "GET /api/v3/pets/foreign" => problem(403, r#"{"title":"Owners only"}"#),
        "GET /api/v3/pets/stale" => problem(401, r#"{"title":"Who are you"}"#),
        "GET /api/v3/pets/odd" => json(200, "[]"),
        "GET /api/v3/pets/missing" => problem(
            404,
            r#"{"title":"No such pet","detail":"it was never here"}"#,
        ),
        _ => problem(404, r#"{"title":"nothing is here"}"#),
    }
}

fn answer(status: u16, mime: &str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let answer = Response::builder().status(status);
    let answer = answer.header("content-type", mime);
    answer.body(Full::new(body.into())).expect("a response")
}
