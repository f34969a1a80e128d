//! The trace of one request, from its arrival to its audit record.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use opentelemetry::Context;
use opentelemetry::trace::{
    Link, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry_sdk::trace::SdkTracer;

use super::{Attribute, Parent};

/// The trace of one request. What comes before its message is read is kept until then, because the
/// message may say whose part the request is.
pub struct Trace {
    tracer: SdkTracer,
    began: SystemTime,
    /// What its header says.
    parent: Option<Parent>,
    early: Mutex<Vec<Early>>,
    root: OnceLock<Context>,
}

struct Early {
    name: &'static str,
    began: SystemTime,
    ended: SystemTime,
}

/// What came of a request.
pub struct Outcome {
    /// What it is called.
    pub name: String,
    /// What is told of it.
    pub attributes: Vec<Attribute>,
    /// Why it did not end well.
    pub error: Option<String>,
}

impl Trace {
    pub(super) fn new(tracer: SdkTracer, parent: Option<Parent>) -> Self {
        Self {
            tracer,
            began: SystemTime::now(),
            parent,
            early: Mutex::default(),
            root: OnceLock::new(),
        }
    }

    /// That of another message of the same HTTP request.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::new(self.tracer.clone(), self.parent.clone())
    }

    /// The message is read: what it asks for, and what it says of its own trace, which counts for more
    /// than what the header says (OpenTelemetry, "Semantic conventions for MCP", "Context propagation").
    pub fn known(&self, method: &str, told: Option<Parent>) {
        let root = || {
            let mut builder = SpanBuilder::from_name(method.to_owned())
                .with_kind(SpanKind::Server)
                .with_start_time(self.began);
            if let (Some(header), Some(told)) = (&self.parent, &told)
                && header != told
            {
                builder = builder.with_links(vec![Link::with_context(header.span().clone())]);
            }
            let parent = told.as_ref().or(self.parent.as_ref());
            let parent = parent.map_or_else(Context::new, Parent::context);
            self.begin(builder, &parent)
        };
        let root = self.root.get_or_init(root);
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        let early = std::mem::take(&mut *early);
        if !root.span().is_recording() {
            return;
        }
        for Early { name, began, ended } in early {
            let part = self.begin(SpanBuilder::from_name(name).with_start_time(began), root);
            part.span().end_with_timestamp(ended);
        }
    }

    /// The request is over.
    pub fn finish(&self, outcome: impl FnOnce() -> Outcome) {
        // Of a request that was refused before its message was read only the header tells.
        self.known("", None);
        let Some(root) = self.root() else {
            return;
        };
        let span = root.span();
        if !span.is_recording() {
            return;
        }
        let outcome = outcome();
        span.update_name(outcome.name);
        span.set_attributes(outcome.attributes);
        if let Some(error) = outcome.error {
            span.set_attribute(Attribute::new("error.type", error));
            span.set_status(Status::error(""));
        }
        span.end();
    }

    /// Something has ended that began before the message was read, or just now.
    pub fn early(&self, name: &'static str, began: SystemTime) {
        let ended = SystemTime::now();
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        early.push(Early { name, began, ended });
    }

    pub(super) fn root(&self) -> Option<&Context> {
        self.root.get()
    }

    pub(super) fn begin(&self, builder: SpanBuilder, parent: &Context) -> Context {
        parent.with_span(self.tracer.build_with_context(builder, parent))
    }
}
