use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::AtomicUsize;

use super::*;

/// Counts how often a task is waked.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls once, and says what came of it, and how often the task was waked.
fn poll<F: Future>(future: Pin<&mut F>) -> (Poll<F::Output>, usize) {
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let polled = future.poll(&mut Context::from_waker(&waker));
    (polled, count.0.load(Ordering::Relaxed))
}

#[test]
fn who_wakes_itself_is_polled_again_at_once() {
    let mut polls = 0;
    let future = poll_fn(|context| {
        polls += 1;
        if polls == 3 {
            return Poll::Ready(polls);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    });
    assert_eq!(poll(pin!(Repoll::new(future))), (Poll::Ready(3), 0));
}

#[test]
fn who_never_stops_waking_itself_lets_others_go_first() {
    let mut polls = 0;
    let future = poll_fn(|context| -> Poll<()> {
        polls += 1;
        context.waker().wake_by_ref();
        Poll::Pending
    });
    assert_eq!(poll(pin!(Repoll::new(future))), (Poll::Pending, 1));
    assert_eq!(polls, MOST);
}

#[test]
fn who_is_waked_later_has_its_task_waked() {
    let mut polls = 0;
    let mut future = Box::pin(Repoll::new(poll_fn(|_| -> Poll<()> {
        polls += 1;
        Poll::Pending
    })));
    let kept = future.waker.clone();
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    let waked = || count.0.load(Ordering::Relaxed);
    assert!(future.as_mut().poll(&mut context).is_pending());
    assert_eq!(waked(), 0);
    kept.wake_by_ref();
    assert_eq!(waked(), 1);
    // Nobody was polling then, so nobody is polled again for it.
    assert!(future.as_mut().poll(&mut context).is_pending());
    assert_eq!(waked(), 1);
    drop(future);
    assert_eq!(polls, 2);
    // There is nobody any more.
    kept.wake();
}

#[test]
fn what_is_held_back_wakes_when_it_is_let_go() {
    let mut polls = 0;
    let future = poll_fn(|context| {
        polls += 1;
        let ((), held) = holding(|| context.waker().wake_by_ref());
        let held = held.expect("it was waked");
        match polls {
            // Dropped: of no use.
            1 => drop(held),
            2 => held.wake(),
            _ => return Poll::Ready(polls),
        }
        Poll::Pending
    });
    let mut future = pin!(Repoll::new(future));
    assert_eq!(poll(future.as_mut()), (Poll::Pending, 0));
    assert_eq!(poll(future.as_mut()), (Poll::Ready(3), 0));
    let ((), held) = holding(|| ());
    assert!(held.is_none());
}

#[test]
fn of_several_that_are_held_back_none_is_forgotten() {
    let one = pin!(Repoll::new(std::future::pending::<()>()));
    let other = pin!(Repoll::new(std::future::pending::<()>()));
    let (mut one, mut other) = (one, other);
    let counts = [Arc::new(Count::default()), Arc::new(Count::default())];
    let wakers = counts.clone().map(Waker::from);
    let _ = one.as_mut().poll(&mut Context::from_waker(&wakers[0]));
    let _ = other.as_mut().poll(&mut Context::from_waker(&wakers[1]));
    let ((), held) = holding(|| {
        one.waker.wake_by_ref();
        other.waker.wake_by_ref();
    });
    held.expect("the last one").wake();
    assert_eq!(counts.map(|count| count.0.load(Ordering::Relaxed)), [1, 1]);
}
