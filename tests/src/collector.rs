//! An OpenTelemetry collector as far as tests need one: it takes spans over OTLP/HTTP and remembers them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message as _;
use tokio::net::TcpListener;

use crate::gateway::eventually;

/// One span, as much of it as tests look at.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its trace.
    pub trace: String,
    /// Its id.
    pub id: String,
    /// What it is a part of; empty: nothing.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// As the protocol numbers it: 1 internal, 2 server, 3 client.
    pub kind: i32,
    /// Whether it says that it failed.
    pub failed: bool,
    /// When it began and ended.
    pub times: (u64, u64),
    /// Traces that it is linked to.
    pub links: Vec<String>,
    attributes: Vec<(String, String)>,
    resource: Vec<(String, String)>,
}

impl Span {
    /// An attribute; empty when absent.
    pub fn attribute(&self, name: &str) -> &str {
        find(&self.attributes, name)
    }

    /// An attribute of who made it; empty when absent.
    pub fn resource(&self, name: &str) -> &str {
        find(&self.resource, name)
    }
}

#[derive(Default)]
struct Taken {
    spans: Vec<Span>,
    headers: Vec<HeaderMap>,
    /// Everything as it came.
    bytes: Vec<u8>,
}

/// A collector on a free port.
pub struct FakeCollector {
    address: SocketAddr,
    taken: Arc<Mutex<Taken>>,
}

impl FakeCollector {
    /// Starts it.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let taken: Arc<Mutex<Taken>> = Arc::default();
        let into = Arc::clone(&taken);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let into = Arc::clone(&into);
                let service = service_fn(move |request| take(Arc::clone(&into), request));
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(serving);
            }
        });
        Self { address, taken }
    }

    /// Where it is, as `OTEL_EXPORTER_OTLP_ENDPOINT` has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.lock().spans.clone()
    }

    /// The headers of what came so far.
    pub fn headers(&self) -> Vec<HeaderMap> {
        self.lock().headers.clone()
    }

    /// Whether these bytes came at all.
    pub fn has(&self, text: &str) -> bool {
        let taken = self.lock();
        (taken.bytes.windows(text.len())).any(|window| window == text.as_bytes())
    }

    /// Everything as it came.
    pub fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// Waits until the spans are what a test needs, and returns them.
    pub async fn until(&self, enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let shown = || {
            let spans = self.spans();
            let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
            names.join("\n")
        };
        eventually(|| enough(&self.spans()), shown).await;
        self.spans()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(
    into: Arc<Mutex<Taken>>,
    request: http::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let is_traces = head.uri.path() == "/v1/traces";
    let body = body.collect().await.expect("a body").to_bytes();
    let told = ExportTraceServiceRequest::decode(body.clone()).expect("OTLP");
    let mut taken = into.lock().unwrap_or_else(PoisonError::into_inner);
    taken.headers.push(head.headers);
    taken.bytes.extend_from_slice(&body);
    for resource in told.resource_spans {
        let own = resource.resource.unwrap_or_default();
        let own = texts(own.attributes);
        for span in resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans)
        {
            taken.spans.push(Span {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                kind: span.kind,
                failed: span.status.is_some_and(|status| status.code == 2),
                times: (span.start_time_unix_nano, span.end_time_unix_nano),
                links: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
                attributes: texts(span.attributes),
                resource: own.clone(),
            });
        }
    }
    let mut response = Response::new(Full::default());
    if !is_traces {
        *response.status_mut() = http::StatusCode::NOT_FOUND;
    }
    Ok(response)
}

fn texts(attributes: Vec<KeyValue>) -> Vec<(String, String)> {
    let all = attributes.into_iter();
    all.map(|attribute| (attribute.key, text(attribute.value)))
        .collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(is)) => is.to_string(),
        _ => String::new(),
    }
}

fn find<'a>(attributes: &'a [(String, String)], name: &str) -> &'a str {
    let found = attributes.iter().find(|(key, _)| key == name);
    found.map_or("", |(_, value)| value)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
