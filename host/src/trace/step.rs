//! A part of a request while it runs. A future of its own, not an `async fn` around one: those of stages are
//! large, and each `async fn` around them would keep them more than once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::SystemTime;

use opentelemetry::Context;
use opentelemetry::trace::{Status, TraceContextExt as _};
use pin_project_lite::pin_project;

use super::{CURRENT, Current, Trace};

/// Where it has begun.
pub(super) enum Begun {
    /// In no trace.
    Nowhere,
    /// Before it is known whether there is one.
    Early(Arc<Trace>, &'static str, SystemTime),
    /// As this part of one.
    In(Current, Context),
}

impl Begun {
    pub(super) fn inside(part: Context) -> Self {
        match CURRENT.try_with(Current::clone) {
            Ok(current) => {
                let current = Current {
                    part: Some(part.clone()),
                    ..current
                };
                Self::In(current, part)
            }
            Err(_) => Self::Nowhere,
        }
    }
}

pin_project! {
    /// The future of a part.
    pub struct Step<F: Future> {
        #[pin]
        pub(super) work: F,
        pub(super) begun: Begun,
        pub(super) failed: fn(&F::Output) -> bool,
    }
}

impl<F: Future> Future for Step<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<F::Output> {
        let this = self.project();
        let work = this.work;
        let polled = match this.begun {
            Begun::In(current, _) => CURRENT.sync_scope(current.clone(), || work.poll(cx)),
            Begun::Nowhere | Begun::Early(..) => work.poll(cx),
        };
        let output = ready!(polled);
        match this.begun {
            Begun::Nowhere => {}
            Begun::Early(trace, name, began) => trace.early(name, *began),
            Begun::In(_, part) => {
                let span = part.span();
                if (this.failed)(&output) {
                    span.set_status(Status::error(""));
                }
                span.end();
            }
        }
        Poll::Ready(output)
    }
}
