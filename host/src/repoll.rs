//! Polls a future again that has waked itself while it ran.
//!
//! The runtime would put its task at the end of a queue, and wake another worker for it, which takes it to another
//! core. hyper wakes a connection's task within that task for each request that has a body, so for one client that
//! calls by itself this would be most of what switching between threads costs.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Polls at one time, so that whoever always wakes itself leaves others their turn.
const MOST: usize = 4;

/// Bit of a future that is being polled.
const POLLED: u8 = 1;
/// Bit of one that was waked since that began.
const WAKED: u8 = 2;

/// A future that is polled again at once when it was waked while it was polled.
pub struct Repoll<F> {
    // Pinned, and not by ourselves: it is large, and is moved once.
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
    waker: Waker,
}

struct Wakes {
    state: AtomicU8,
    task: AtomicWaker,
}

thread_local! {
    /// Whether what is waked on this thread is held back.
    static HOLDING: Cell<bool> = const { Cell::new(false) };
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
}

/// A [`Repoll`] that was to be waked.
#[must_use = "dropped, nobody is waked"]
pub struct Held(Arc<Wakes>);

impl Held {
    /// Wakes it.
    pub fn wake(self) {
        self.0.wake();
    }
}

/// Does something that wakes a [`Repoll`] on this thread, but holds that back: whether it is of any use may be known only
/// afterwards.
pub fn holding<T>(doing: impl FnOnce() -> T) -> (T, Option<Held>) {
    let holding = Holding::begin();
    let done = doing();
    drop(holding);
    (done, HELD.take())
}

/// Ends however what is done ends.
struct Holding;

impl Holding {
    fn begin() -> Self {
        HOLDING.set(true);
        Self
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        HOLDING.set(false);
    }
}

impl<F: Future> Repoll<F> {
    /// Wraps a future.
    pub fn new(future: F) -> Self {
        let wakes = Arc::new(Wakes {
            state: AtomicU8::new(0),
            task: AtomicWaker::new(),
        });
        Self {
            future: Box::pin(future),
            waker: Waker::from(Arc::clone(&wakes)),
            wakes,
        }
    }
}

impl<F: Future> Future for Repoll<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        this.wakes.task.register(context.waker());
        for _ in 0..MOST {
            this.wakes.state.store(POLLED, Ordering::Release);
            let polled = this
                .future
                .as_mut()
                .poll(&mut Context::from_waker(&this.waker));
            let state = this.wakes.state.swap(0, Ordering::AcqRel);
            if polled.is_ready() || state & WAKED == 0 {
                return polled;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if HOLDING.get() {
            let before = HELD.replace(Some(Held(Arc::clone(self))));
            // One is what is meant. Nobody else is forgotten.
            if let Some(before) = before.filter(|before| !Arc::ptr_eq(&before.0, self)) {
                before.0.wake_now();
            }
            return;
        }
        self.wake_now();
    }
}

impl Wakes {
    fn wake_now(&self) {
        // Who polls will see it; if nobody does, the task is waked.
        if self.state.fetch_or(WAKED, Ordering::AcqRel) & POLLED == 0 {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests;
