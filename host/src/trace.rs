//! Traces: what a request went through and how long each part took, told to an OpenTelemetry collector.
//!
//! What runs for a request finds its place in the trace in a task-local value: nothing is handed
//! through, and without a collector, or for a request that is not sampled, a look at that value is all
//! there is to do. The same value ties log lines to their request. Only this module names `opentelemetry`.

mod export;
mod propagation;
mod request;
mod step;

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::trace::{SpanBuilder, SpanKind, Status, TraceContextExt as _, TraceId};

use crate::types::RequestId;

pub use export::{NoTracing, Tracing};
pub use opentelemetry::KeyValue as Attribute;
pub use propagation::Parent;
pub use request::{Outcome, Trace};
use step::Begun;
pub use step::Step;

tokio::task_local! {
    static CURRENT: Current;
}

/// What is running.
#[derive(Clone)]
struct Current {
    request: RequestId,
    trace: Option<Arc<Trace>>,
    /// The part of the trace that it is, if that is not the request as a whole.
    part: Option<Context>,
}

/// Runs the work of a request.
pub fn within<F: Future>(
    request: RequestId,
    trace: Option<Arc<Trace>>,
    work: F,
) -> impl Future<Output = F::Output> {
    let current = Current {
        request,
        trace,
        part: None,
    };
    CURRENT.scope(current, work)
}

/// The request that is running, and the id of its trace, if it is told to a collector.
pub fn ids() -> Option<(RequestId, Option<TraceId>)> {
    let ids = CURRENT.try_with(|current| {
        let root = current.trace.as_ref().and_then(|trace| trace.root());
        let span = root.map(|root| root.span().span_context().clone());
        let sampled = span.filter(|span| span.is_sampled());
        (current.request, sampled.map(|span| span.trace_id()))
    });
    ids.ok()
}

/// Where in a trace something happens.
enum Place {
    /// Before it is known whether the request is sampled.
    Early(Arc<Trace>),
    /// In this part of it.
    In(Arc<Trace>, Context),
}

fn place() -> Option<Place> {
    let place = CURRENT.try_with(|current| {
        let trace = current.trace.as_ref()?;
        match current.part.as_ref().or_else(|| trace.root()) {
            None => Some(Place::Early(Arc::clone(trace))),
            Some(at) if at.span().is_recording() => Some(Place::In(Arc::clone(trace), at.clone())),
            Some(_) => None,
        }
    });
    place.ok().flatten()
}

/// Runs a part of a request that waits for something.
pub fn step<F: Future>(name: &'static str, work: F) -> Step<F> {
    let begun = match place() {
        None => Begun::Nowhere,
        Some(Place::Early(trace)) => Begun::Early(trace, name, SystemTime::now()),
        Some(Place::In(trace, at)) => Begun::inside(trace.begin(SpanBuilder::from_name(name), &at)),
    };
    Step {
        work,
        begun,
        failed: |_| false,
    }
}

/// Runs a part of a request that waits for nothing.
pub fn now<T>(name: &'static str, work: impl FnOnce() -> T) -> T {
    match place() {
        None => work(),
        Some(Place::Early(trace)) => {
            let began = SystemTime::now();
            let output = work();
            trace.early(name, began);
            output
        }
        Some(Place::In(trace, at)) => {
            let part = trace.begin(SpanBuilder::from_name(name), &at);
            let output = work();
            part.span().end();
            output
        }
    }
}

/// Runs a part that has more to say of itself. A part that ends with an error is marked as failed.
pub fn part<F, T, E>(told: impl FnOnce() -> (String, Vec<Attribute>), work: F) -> Step<F>
where
    F: Future<Output = Result<T, E>>,
{
    let begun = match place() {
        Some(Place::In(trace, at)) => {
            let (name, attributes) = told();
            let builder = SpanBuilder::from_name(name).with_attributes(attributes);
            Begun::inside(trace.begin(builder, &at))
        }
        _ => Begun::Nowhere,
    };
    Step {
        work,
        begun,
        failed: Result::is_err,
    }
}

/// Says something of the part that is running.
pub fn note(told: impl FnOnce() -> Attribute) {
    if let Some(Place::In(_, at)) = place() {
        at.span().set_attribute(told());
    }
}

/// An exchange with somebody else. Ends when dropped.
pub struct Exchange(Context);

impl Exchange {
    /// Begins one, if the request is told of.
    pub fn begin(told: impl FnOnce() -> (String, Vec<Attribute>)) -> Option<Self> {
        let Some(Place::In(trace, at)) = place() else {
            return None;
        };
        let (name, attributes) = told();
        let builder = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Client)
            .with_attributes(attributes);
        Some(Self(trace.begin(builder, &at)))
    }

    /// It was answered with this status. The error is a word for what is wrong about it.
    pub fn answered(&self, status: u16, error: Option<String>) {
        let span = self.0.span();
        span.set_attribute(Attribute::new(
            "http.response.status_code",
            i64::from(status),
        ));
        if let Some(error) = error {
            self.failed(error);
        }
    }

    /// It was not answered.
    pub fn failed(&self, error: impl Into<String>) {
        let span = self.0.span();
        span.set_attribute(Attribute::new("error.type", error.into()));
        span.set_status(Status::error(""));
    }
}

/// Tells whoever is asked next which trace it is a part of (W3C Trace Context, §3).
pub fn inject(headers: &mut HeaderMap, exchange: Option<&Exchange>) {
    match exchange {
        Some(exchange) => propagation::to_headers(&exchange.0, headers),
        None => {
            here(|at| propagation::to_headers(at, headers));
        }
    }
}

/// The same as members of `_meta`: name and value (OpenTelemetry, "Semantic conventions for MCP").
pub fn members() -> Vec<(&'static str, String)> {
    here(propagation::members).unwrap_or_default()
}

fn here<T>(then: impl FnOnce(&Context) -> T) -> Option<T> {
    let told = CURRENT.try_with(|current| {
        let trace = current.trace.as_ref()?;
        current.part.as_ref().or_else(|| trace.root()).map(then)
    });
    told.ok().flatten()
}

#[cfg(test)]
mod tests;
