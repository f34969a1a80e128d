//! The way of traces to a collector: OTLP over HTTP, from a bounded queue, on a thread of its own.
//! A collector that is down or slow costs traces and nothing else.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use thiserror::Error;
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::{Attribute, Parent, Trace};
use crate::config::{Sampling, TraceConfig};
use crate::measure::Counter;
use crate::outbound::Client;

/// Longest exchange with the collector.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer of the collector.
const MAX_ANSWER: usize = 64 * 1024;

/// Why there are no traces.
#[derive(Debug, Error)]
#[error(
    "traces cannot be exported; hint: check OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS"
)]
pub struct NoTracing(#[from] opentelemetry_otlp::ExporterBuildError);

/// Makes the traces of requests and sends them. Cheap to clone.
#[derive(Clone)]
pub struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    sent: Arc<Sent>,
}

/// What became of batches of spans.
#[derive(Debug, Default)]
pub struct Sent {
    /// The collector took them.
    pub taken: Counter,
    /// It did not.
    pub failed: Counter,
    /// Whether the last one failed, which has been said.
    failing: AtomicBool,
}

impl Tracing {
    /// Starts the export.
    ///
    /// # Errors
    /// [`NoTracing`].
    pub fn start(config: &TraceConfig, client: Client) -> Result<Self, NoTracing> {
        let sent = Arc::new(Sent::default());
        let collector = Collector {
            client,
            runtime: Handle::current(),
            sent: Arc::clone(&sent),
        };
        // The rest of `OTEL_EXPORTER_OTLP_*` and `OTEL_BSP_*` is read there.
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(config.endpoint.as_str())
            .with_http_client(collector)
            .build()?;
        let mut resource = Resource::builder()
            .with_attribute(Attribute::new("service.version", env!("CARGO_PKG_VERSION")));
        if let Some(name) = &config.service_name {
            resource = resource.with_service_name(name.clone());
        }
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler(config.sampling))
            .with_resource(resource.build())
            .with_batch_exporter(exporter)
            .build();
        Ok(Self {
            tracer: provider.tracer("cortex-gateway"),
            provider,
            sent,
        })
    }

    /// The trace of a request that has arrived.
    pub fn begin(&self, headers: &HeaderMap) -> Arc<Trace> {
        let parent = Parent::of_headers(headers);
        Arc::new(Trace::new(self.tracer.clone(), parent))
    }

    /// What became of batches so far.
    pub fn sent(&self) -> &Sent {
        &self.sent
    }

    /// Sends what is left, for so long at most.
    pub async fn stop(self, limit: Duration) {
        let provider = self.provider;
        let stopped = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(limit));
        if let Ok(Err(error)) = stopped.await {
            warn!("the last traces are lost: {error}");
        }
    }
}

fn sampler(sampling: Sampling) -> Sampler {
    let (own, by_parent) = match sampling {
        Sampling::All { by_parent } => (Sampler::AlwaysOn, by_parent),
        Sampling::None { by_parent } => (Sampler::AlwaysOff, by_parent),
        Sampling::Ratio { ratio, by_parent } => (Sampler::TraceIdRatioBased(ratio), by_parent),
    };
    if by_parent {
        Sampler::ParentBased(Box::new(own))
    } else {
        own
    }
}

/// The collector, reached by the gateway's own client.
struct Collector {
    client: Client,
    runtime: Handle,
    sent: Arc<Sent>,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        // The thread of the queue is none of the runtime's.
        let exchange = self
            .runtime
            .spawn(async move { client.send(request, TIMEOUT, MAX_ANSWER).await });
        let answer = exchange.await.map_err(HttpError::from);
        let answer = answer.and_then(|answer| answer.map_err(HttpError::from));
        match &answer {
            Ok(answer) if answer.status.is_success() => self.sent.worked(),
            Ok(answer) => self.sent.failed(&format!("it answers {}", answer.status)),
            Err(error) => self.sent.failed(&error.to_string()),
        }
        let answer = answer?;
        let mut response = Response::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

impl Sent {
    fn worked(&self) {
        self.taken.one();
        if self.failing.swap(false, Ordering::Relaxed) {
            info!("the collector takes traces again");
        }
    }

    fn failed(&self, why: &str) {
        self.failed.one();
        if !self.failing.swap(true, Ordering::Relaxed) {
            warn!(
                "the collector takes no traces: {why}; they are lost until it does; hint: check OTEL_EXPORTER_OTLP_ENDPOINT"
            );
        }
    }
}
