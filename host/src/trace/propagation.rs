//! Which trace a request belongs to, as it is told on the wire (W3C Trace Context).

use std::collections::HashMap;

use http::{HeaderMap, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// Names of header fields and of members of `_meta`.
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// Longest `tracestate` that is passed on (W3C Trace Context, §3.3.1.5).
const MAX_STATE: usize = 512;

/// What a client says of the trace that its request is a part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent(SpanContext);

impl Parent {
    /// From the header. What is malformed counts for nothing.
    pub fn of_headers(headers: &HeaderMap) -> Option<Self> {
        // Twice is no trace at all.
        let mut all = headers.get_all(TRACEPARENT).iter();
        all.next().filter(|_| all.next().is_none())?;
        Self::of(&TraceContextPropagator::new().extract(&HeaderExtractor(headers)))
    }

    /// From two texts, as `_meta` has them.
    pub fn of_texts(traceparent: String, tracestate: Option<String>) -> Option<Self> {
        let mut carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent)]);
        let state = tracestate.filter(|state| state.len() <= MAX_STATE);
        carrier.extend(state.map(|state| (TRACESTATE.to_owned(), state)));
        Self::of(&TraceContextPropagator::new().extract(&carrier))
    }

    fn of(context: &Context) -> Option<Self> {
        let told = context.span().span_context().clone();
        told.is_valid().then_some(Self(told))
    }

    pub(super) fn context(&self) -> Context {
        Context::new().with_remote_span_context(self.0.clone())
    }

    pub(super) fn span(&self) -> &SpanContext {
        &self.0
    }
}

/// The members that say where in which trace this is.
pub(super) fn members(context: &Context) -> Vec<(&'static str, String)> {
    let span = context.span();
    let told = span.span_context();
    if !told.is_valid() {
        return Vec::new();
    }
    let parent = format!(
        "00-{}-{}-{:02x}",
        told.trace_id(),
        told.span_id(),
        told.trace_flags().to_u8() & 1
    );
    let state = told.trace_state().header();
    let state = (!state.is_empty() && state.len() <= MAX_STATE).then_some((TRACESTATE, state));
    [(TRACEPARENT, parent)].into_iter().chain(state).collect()
}

pub(super) fn to_headers(context: &Context, headers: &mut HeaderMap) {
    for name in [TRACEPARENT, TRACESTATE] {
        headers.remove(name);
    }
    for (name, value) in members(context) {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}
